"""Secrets at rest: bound to their place, readable under every key, and what older releases stored until it is rewritten."""

import io
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from hubspot_integration.models import OAuthGrant, Portal
from opsagent import encryption
from opsagent.encryption import DecryptionError, bound_to, decrypt, encrypt, is_current
from opsagent.models import FernetPermit
from otp.models import OneTimeCode
from tests.factories import OAuthGrantFactory, OneTimeCodeFactory, PortalFactory

PLACE = bound_to("table", "column", 7)


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    """No process remembers a permit of another test."""
    encryption._permitted_until = 0.0
    yield
    encryption._permitted_until = 0.0


def stored(model: Any, column: str, pk: Any) -> bytes:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {model._meta.db_table} WHERE {model._meta.pk.column} = %s", [pk])
        return bytes(cursor.fetchone()[0])


def store(model: Any, column: str, pk: Any, value: bytes) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {model._meta.db_table} SET {column} = %s WHERE {model._meta.pk.column} = %s", [value, pk]
        )


def as_older_releases_stored_it(text: str, key: str) -> bytes:
    return Fernet(key).encrypt(text.encode())


# ------------------------------------------------------------------ the cipher
@given(st.text())
def test_it_reads_what_it_wrote(plain: str) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in plain):
        return  # PostgreSQL and every entrance of ours refuse half a surrogate pair
    assert decrypt(encrypt(plain, PLACE), PLACE) == plain


def test_the_same_text_is_never_stored_the_same() -> None:
    assert len({encrypt("482951", PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "elsewhere",
    [
        bound_to("another", "column", 7),
        bound_to("table", "another", 7),
        bound_to("table", "column", 8),
        bound_to("tabl", "ecolumn", 7),
        bound_to("table", "column", ""),
        b"",
    ],
)
def test_it_reads_nothing_in_another_place(elsewhere: bytes) -> None:
    with pytest.raises(DecryptionError):
        decrypt(encrypt("482951", PLACE), elsewhere)


def test_it_reads_nothing_that_was_changed() -> None:
    value = encrypt("482951", PLACE)
    for position in range(len(value)):
        changed = bytearray(value)
        changed[position] ^= 1
        with pytest.raises(DecryptionError):
            decrypt(bytes(changed), PLACE)
    for length in range(len(value)):
        with pytest.raises(DecryptionError):
            decrypt(value[:length], PLACE)


def test_every_key_reads_and_the_first_writes(settings: Any) -> None:
    old = settings.ENCRYPTION_KEYS
    written = encrypt("ada@example.com", PLACE)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *old]
    assert decrypt(written, PLACE) == "ada@example.com"
    assert not is_current(written, PLACE)
    assert is_current(encrypt("ada@example.com", PLACE), PLACE)
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    with pytest.raises(DecryptionError, match="Put the key that wrote it back") as caught:
        decrypt(written, PLACE)
    assert "ada" not in str(caught.value)


# ------------------------------------------------------------------ the field
@pytest.mark.django_db
def test_a_value_cannot_be_put_in_another_row_column_or_portal() -> None:
    one, other = OneTimeCodeFactory.create(), OneTimeCodeFactory.create(code="173046")
    store(OneTimeCode, "code", other.pk, stored(OneTimeCode, "code", one.pk))
    store(OneTimeCode, "address", one.pk, stored(OneTimeCode, "code", one.pk))
    first, second = OAuthGrantFactory.create().pk, OAuthGrantFactory.create().pk
    store(OAuthGrant, "access_token", second, stored(OAuthGrant, "access_token", first))
    assert OneTimeCode.objects.get(pk=one.pk).code == "482951"
    for row, name in (
        (OneTimeCode.objects.get(pk=other.pk), "code"),
        (OneTimeCode.objects.get(pk=one.pk), "address"),
        (OAuthGrant.objects.get(pk=second), "access_token"),
    ):
        with pytest.raises(DecryptionError):
            getattr(row, name)


@pytest.mark.django_db
def test_a_row_keeps_what_nobody_has_opened() -> None:
    code = OneTimeCodeFactory.create()
    before = stored(OneTimeCode, "address", code.pk)
    again = OneTimeCode.objects.get(pk=code.pk)
    again.language = "de"
    again.save()
    assert stored(OneTimeCode, "address", code.pk) == before
    assert OneTimeCode.objects.get(pk=code.pk).address == "ann@example.com"


@pytest.mark.django_db
def test_a_key_that_is_text_in_python_is_the_same_place() -> None:
    code = OneTimeCodeFactory.create(id=str(uuid4()).upper())
    assert OneTimeCode.objects.get().address == code.address


@pytest.mark.django_db
def test_deferred_and_refreshed_rows_are_read_too() -> None:
    code = OneTimeCodeFactory.create()
    assert OneTimeCode.objects.only("id").get().code == "482951"
    code.refresh_from_db()
    assert code.address == "ann@example.com"


@pytest.mark.django_db
def test_text_without_a_row_is_not_stored() -> None:
    OneTimeCodeFactory.create()
    with pytest.raises(TypeError, match="bound to its row"), transaction.atomic():
        OneTimeCode.objects.update(code="482951")
    assert OneTimeCode.objects.update(code=None) == 1


@pytest.mark.django_db
def test_what_is_sealed_says_nothing() -> None:
    OneTimeCodeFactory.create()
    (sealed,) = OneTimeCode.objects.values_list("code", flat=True)
    assert (repr(sealed), str(sealed), f"{sealed}") == ("<sealed>",) * 3


# ------------------------------------------------------------------ what older releases stored
@pytest.mark.django_db
def test_a_new_installation_reads_nothing_unbound(settings: Any) -> None:
    code = OneTimeCodeFactory.create()
    store(OneTimeCode, "code", code.pk, as_older_releases_stored_it("482951", settings.ENCRYPTION_KEYS[0]))
    with pytest.raises(DecryptionError):
        OneTimeCode.objects.get().code  # noqa: B018 (reading it is what decrypts it)


@pytest.mark.django_db
def test_a_permit_that_the_keys_did_not_give_is_none(settings: Any) -> None:
    FernetPermit.objects.create(proof=b"please")
    test_a_new_installation_reads_nothing_unbound(settings)


@pytest.mark.django_db(transaction=True)
def test_old_values_are_read_until_they_are_rewritten_and_never_again(settings: Any) -> None:
    code = OneTimeCodeFactory.create()
    old = as_older_releases_stored_it("482951", settings.ENCRYPTION_KEYS[0])
    store(OneTimeCode, "code", code.pk, old)
    permit(existing=True)
    assert OneTimeCode.objects.get().code == "482951"
    out = io.StringIO()
    call_command("rotate_keys", stdout=out)
    assert "1 values rewritten" in out.getvalue()
    assert "Every secret is bound to its row now" in out.getvalue()
    assert OneTimeCode.objects.get().code == "482951"
    assert stored(OneTimeCode, "code", code.pk).startswith(encryption.FORMAT)
    store(OneTimeCode, "code", code.pk, old)
    with pytest.raises(DecryptionError):
        OneTimeCode.objects.get().code  # noqa: B018 (the same)


@pytest.mark.django_db
def test_an_upgrade_gives_the_permit_only_where_there_is_something_to_read() -> None:
    permit(existing=False)
    assert not FernetPermit.objects.exists()
    PortalFactory.create()
    permit(existing=True)
    assert FernetPermit.objects.count() == 1


def permit(*, existing: bool) -> None:
    """Do what the migration does at an upgrade."""
    assert Portal.objects.exists() is existing
    import_module("opsagent.migrations.0001_fernet_permit").permit(apps, None)
