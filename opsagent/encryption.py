"""Text that is readable in Python and ciphertext in the database, bound to the place where it stands.

AES-256-GCM (NIST SP 800-38D) from `cryptography`. Table, column and row of a value are its associated data: copied to any
other place, it cannot be read there. A stored value is `format (1 byte) | key id (4) | nonce (12) | ciphertext | tag (16)`.
The first of ENCRYPTION_KEYS writes, all of them read, so keys rotate while rows are in use. Nonces are random, so one key
may write 2**32 values (SP 800-38D, 8.3): docs/life-cycle.md says when to rotate.

Releases before this format stored Fernet tokens, which say nothing about their place. They are read only while the
database holds a permit: the migration gives it to installations that may have such values, and `rotate_keys`, having
rewritten them all, takes it away.
"""

import hmac
import os
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models.query_utils import DeferredAttribute

FORMAT: Final = b"\x01"
_FERNET: Final = b"gAAAA"  # every Fernet token begins so: version 0x80 and a time of this century, in base64
_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_NONCE_AT: Final = len(FORMAT) + _KEY_ID_BYTES
_TEXT_AT: Final = _NONCE_AT + _NONCE_BYTES
PERMIT_SECONDS: Final = 5.0
"""How long a process goes by a permit to read Fernet tokens before it looks again."""


class DecryptionError(Exception):
    """A stored value cannot be read: its key is not in ENCRYPTION_KEYS, or it belongs to another place."""

    def __init__(self) -> None:
        super().__init__(
            "A stored secret cannot be read with any of ENCRYPTION_KEYS. Put the key that wrote it back into the list. "
            "If no key is missing, the value was changed, or moved here from another row."
        )


@dataclass(frozen=True, slots=True)
class _Key:
    """What one of ENCRYPTION_KEYS is used for: the cipher, what names it in a stored value, and the old cipher."""

    header: bytes
    cipher: AESGCM
    fernet: Fernet
    permit: bytes


@lru_cache(maxsize=16)
def _key(text: str) -> _Key:
    def derived(purpose: bytes, length: int) -> bytes:
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"opsagent " + purpose).derive(
            urlsafe_b64decode(text)
        )

    material = derived(b"aes-256-gcm", _KEY_BYTES + _KEY_ID_BYTES)
    return _Key(
        header=FORMAT + material[_KEY_BYTES:],
        cipher=AESGCM(material[:_KEY_BYTES]),
        fernet=Fernet(text),
        permit=derived(b"permit to read fernet tokens", _KEY_BYTES),
    )


def bound_to(table: str, column: str, row: object) -> bytes:
    """Name the place of a value, for `encrypt` and `decrypt`. `row` is the primary key, as Django holds it."""
    return f"{table}\0{column}\0{row}".encode()


def encrypt(plain: str, place: bytes) -> bytes:
    """Encrypt with the first key; only `decrypt` for the same place reads it."""
    key = _key(settings.ENCRYPTION_KEYS[0])
    nonce = os.urandom(_NONCE_BYTES)
    return key.header + nonce + key.cipher.encrypt(nonce, plain.encode(), key.header + place)


def decrypt(stored: bytes, place: bytes) -> str:
    """Decrypt with whichever key wrote it. Raises DecryptionError, which never holds the value."""
    for text in settings.ENCRYPTION_KEYS:
        plain = _opened(stored, _key(text), place)
        if plain is not None:
            return plain
    if stored.startswith(_FERNET) and _may_read_fernet():
        for text in settings.ENCRYPTION_KEYS:
            try:
                return _key(text).fernet.decrypt(stored).decode()
            except InvalidToken:
                continue
    raise DecryptionError


def is_current(stored: bytes, place: bytes) -> bool:
    """Whether the first key wrote a stored value, for this place."""
    return _opened(stored, _key(settings.ENCRYPTION_KEYS[0]), place) is not None


def _opened(stored: bytes, key: _Key, place: bytes) -> str | None:
    if not stored.startswith(key.header) or len(stored) < _TEXT_AT:
        return None
    try:
        return key.cipher.decrypt(stored[_NONCE_AT:_TEXT_AT], stored[_TEXT_AT:], key.header + place).decode()
    except InvalidTag:
        return None


# ------------------------------------------------------------------ the permit to read Fernet tokens
_permitted_until = 0.0


def new_permit() -> bytes:
    """Return what the migration stores: it is proof that a holder of the keys, not only of the database, wrote it."""
    return _key(settings.ENCRYPTION_KEYS[0]).permit


def end_fernet() -> bool:
    """Take the permit away, for good; return whether there was one. Every process notices within PERMIT_SECONDS."""
    global _permitted_until  # noqa: PLW0603 (one answer per process)
    _permitted_until = 0.0
    deleted, _ = _permits().all().delete()
    return bool(deleted)


def _may_read_fernet() -> bool:
    global _permitted_until  # noqa: PLW0603 (one answer per process)
    now = time.monotonic()
    if now < _permitted_until:
        return True
    accepted = [_key(text).permit for text in settings.ENCRYPTION_KEYS]
    found = _permits().values_list("proof", flat=True)
    permitted = any(hmac.compare_digest(bytes(proof), one) for proof in found for one in accepted)
    if permitted:
        _permitted_until = now + PERMIT_SECONDS
    return permitted


def _permits() -> models.Manager[Any]:
    manager: models.Manager[Any] = apps.get_model("opsagent", "FernetPermit")._default_manager  # noqa: SLF001 (Django's public name)
    return manager


# ------------------------------------------------------------------ the field
class Sealed(bytes):
    """A stored value that has not been opened. It says nothing about what is in it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<sealed>"

    __str__ = __repr__


class _OpenedOnRead(DeferredAttribute):
    """Decrypts a loaded value when it is read first: only the row's own instance knows where the value stands."""

    def __get__(self, instance: models.Model | None, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if instance is not None and isinstance(value, Sealed):
            value = instance.__dict__[self.field.attname] = decrypt(value, _place_of(self.field, instance))
        return value

    def __set__(self, instance: models.Model, value: Any) -> None:
        # There only so that Python asks `__get__` before it looks into the instance.
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text whose column (bytea) holds a value bound to its row; NULL stays NULL. It cannot be searched.

    The row's primary key must be known before it is saved. `QuerySet.update` takes NULL alone, and `values()` gives what
    is stored, sealed. Reading the attribute raises DecryptionError where the value cannot be opened.
    """

    descriptor_class = _OpenedOnRead

    def get_internal_type(self) -> str:
        """Name the column type: bytes."""
        return "BinaryField"

    def from_db_value(self, value: bytes | memoryview | None, *_: object) -> Sealed | None:
        """Keep a loaded value as it is stored, until somebody reads it."""
        return None if value is None else Sealed(value)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: ARG002, FBT001 (Django's signature)
        """Encrypt a value for the row that it is saved in; one that nobody has opened stays as it is."""
        value = model_instance.__dict__.get(self.attname)
        if value is None or isinstance(value, Sealed):
            return value
        return Sealed(encrypt(str(value), _place_of(self, model_instance)))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002 (Django's signature)
        """Hand over what `pre_save` has encrypted. Raises TypeError for text whose row nobody knows."""
        if value is None:
            return None
        if not isinstance(value, Sealed):
            raise TypeError(f"{self.name} is bound to its row: change it on an instance and save that.")
        return connection.Database.Binary(value)


def _place_of(field: "models.Field[Any, Any]", instance: models.Model) -> bytes:
    meta = instance._meta  # noqa: SLF001 (Django's public way to a model's facts)
    if instance.pk is None:
        raise TypeError(f"{meta.label} needs a primary key before {field.name} can be encrypted.")
    return bound_to(meta.db_table, str(field.column), meta.pk.to_python(instance.pk))


def fields_of(model: type[models.Model]) -> Iterator[EncryptedTextField]:
    """Yield the encrypted fields of a model."""
    for field in model._meta.concrete_fields:  # noqa: SLF001 (the same)
        if isinstance(field, EncryptedTextField):
            yield field
