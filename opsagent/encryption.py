"""Text that is readable in Python and ciphertext in the database.

Fernet (AES-128-CBC with HMAC-SHA256, https://github.com/fernet/spec) through `cryptography`'s MultiFernet: the
first of ENCRYPTION_KEYS writes, all of them read, so that keys rotate while rows are in use.
"""

from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class DecryptionError(Exception):
    """A stored value was written with a key that is no longer in ENCRYPTION_KEYS."""


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def encrypt(plain: str) -> bytes:
    """Encrypt with the first key."""
    return _cipher(tuple(settings.ENCRYPTION_KEYS)).encrypt(plain.encode())


def decrypt(token: bytes) -> str:
    """Decrypt with whichever key wrote it. Raises DecryptionError, which never holds the value."""
    try:
        return _cipher(tuple(settings.ENCRYPTION_KEYS)).decrypt(token).decode()
    except InvalidToken:
        raise DecryptionError(
            "A stored secret cannot be read with any of ENCRYPTION_KEYS. Put the key that wrote it back into the list."
        ) from None


def is_current(token: bytes) -> bool:
    """Whether the first key wrote a stored value."""
    try:
        _cipher(tuple(settings.ENCRYPTION_KEYS[:1])).decrypt(token)
    except InvalidToken:
        return False
    return True


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text whose column holds a Fernet token (bytea); NULL stays NULL. It cannot be searched."""

    def get_internal_type(self) -> str:
        """Name the column type: bytes."""
        return "BinaryField"

    def from_db_value(self, value: bytes | memoryview | None, *_: object) -> str | None:
        """Decrypt a loaded value."""
        return None if value is None else decrypt(bytes(value))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Encrypt a value on its way to the database."""
        plain = super().get_db_prep_value(value, connection, prepared)
        return None if plain is None else connection.Database.Binary(encrypt(plain))
