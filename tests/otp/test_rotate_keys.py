"""`manage.py rotate_keys` on real rows, with others at work on them."""

import datetime as dt
import io
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from hubspot_integration.models import OAuthGrant, Portal
from opsagent import rotation
from opsagent.encryption import DecryptionError
from otp import audit, codes, tasks
from otp.audit import Actor, ActorKind
from otp.contact.order import Checked, IssuedCode
from otp.contact.verifying import verify_code
from otp.management.commands import rotate_keys
from otp.models import AuditNote, OneTimeCode, Source, VerificationReason
from sandbox.local.waiting import PATIENCE
from tests import factories
from tests.otp.test_delivery import issue

pytestmark = pytest.mark.django_db(transaction=True)

NEW_KEY = Fernet.generate_key().decode()
NEW_PEPPER = "another-fixed-pepper-for-tests-of-44-characters"


@pytest.fixture(autouse=True)
def mailing(portal: Portal) -> None:
    """Codes are mailed: then a first name is kept with them."""
    portal.otp_settings.send_email = True
    portal.otp_settings.save()


def rotate(**options: Any) -> str:
    out = io.StringIO()
    call_command("rotate_keys", stdout=out, **options)
    return out.getvalue()


def put_first(settings: Any) -> None:
    """The new key and pepper write, the old ones are still read."""
    settings.ENCRYPTION_KEYS = [NEW_KEY, *settings.ENCRYPTION_KEYS]
    settings.CODE_PEPPERS = [NEW_PEPPER, *settings.CODE_PEPPERS]


def verify(portal: Portal, code: IssuedCode, contact_id: int = 904) -> Checked:
    return verify_code(
        portal_id=portal.id,
        contact_id=contact_id,
        address=f"contact{contact_id}@example.com",
        submitted=code.code or "",
        clear_property=False,
        request_key=f"verify:{code.id}",
        source=Source.WORKFLOW,
        actor=Actor(ActorKind.WORKFLOW, "1"),
        now=timezone.now(),
    )


def test_it_knows_every_encrypted_column() -> None:
    found = {f"{secrets.model.__name__}.{column}" for secrets in rotation.secrets() for column in secrets.columns}
    assert {
        'OAuthGrant."access_token"',
        'OAuthGrant."refresh_token"',
        'OAuthState."code_verifier"',
        'OneTimeCode."address"',
        'OneTimeCode."code"',
        'OneTimeCode."first_name"',
        'AuditNote."typed"',
    } <= found


def test_the_old_key_can_go_afterwards(portal: Portal, settings: Any) -> None:
    code = issue(portal, 904).code
    audit.note(portal=portal, at=timezone.now(), typed={"why": "Jane Doe called"}, contact_id=904)
    put_first(settings)
    assert "Everything is under the first key. Remove the others" in rotate(step=1)
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    assert AuditNote.objects.get().typed == '{"why":"Jane Doe called"}'
    stored = OneTimeCode.objects.get()
    assert (stored.code, stored.address, stored.first_name) == (code.code, "contact904@example.com", "Ada")
    assert OAuthGrant.objects.get().refresh_token == portal.grant.refresh_token


def test_a_second_run_has_nothing_to_do(portal: Portal, settings: Any) -> None:
    issue(portal, 904)
    put_first(settings)
    assert "OneTimeCode: 1 rows, 3 values rewritten" in rotate()
    assert "OneTimeCode: 1 rows, 0 values rewritten" in rotate()


def test_it_goes_on_where_it_was_stopped(portal: Portal, settings: Any) -> None:
    for contact_id in range(1, 6):
        issue(portal, contact_id)
    put_first(settings)
    secrets = next(one for one in rotation.secrets() if one.model is OneTimeCode)
    first = next(secrets.steps(2))
    assert secrets.rewrite(first.stale).values == 6
    assert "OneTimeCode: 5 rows, 9 values rewritten" in rotate(step=2)


def test_it_never_puts_an_old_token_over_a_new_one(
    portal: Portal, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_first(settings)
    refreshing, rotated = threading.Event(), threading.Event()

    def refresh() -> None:
        try:
            with transaction.atomic():
                grant = OAuthGrant.objects.select_for_update().get()
                refreshing.set()
                rotated.wait(PATIENCE)
                grant.refresh_token = "the latest"
                grant.save()
        finally:
            connection.close()

    thread = threading.Thread(target=refresh)

    def let_it_end(_: float) -> None:
        rotated.set()
        thread.join()

    monkeypatch.setattr(rotate_keys, "time", SimpleNamespace(sleep=let_it_end))
    thread.start()
    assert refreshing.wait(PATIENCE)
    secrets = next(one for one in rotation.secrets() if one.model is OAuthGrant)
    assert secrets.rewrite([portal.id]).held == [portal.id]  # at once: nobody waits for anybody
    rotate()  # finds the row held, pauses, and finds it free
    assert not thread.is_alive()
    assert OAuthGrant.objects.get().refresh_token == "the latest"
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    assert OAuthGrant.objects.get().access_token == portal.grant.access_token


def test_it_says_when_a_key_is_missing(portal: Portal, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [NEW_KEY]
    with pytest.raises(CommandError, match="cannot be read with any key") as caught:
        rotate()
    assert "Keep every key" in str(caught.value)
    with pytest.raises(DecryptionError):
        OAuthGrant.objects.get().access_token  # noqa: B018 (reading it is what decrypts it)


def test_a_live_code_keeps_its_pepper_and_is_verified(portal: Portal, settings: Any) -> None:
    one = issue(portal, 904)
    old = settings.CODE_PEPPERS
    put_first(settings)
    said = rotate()
    until = one.code.expires_at + dt.timedelta(hours=24)
    assert f"1 codes need pepper number 2 until {until:%Y-%m-%d %H:%M} UTC" in said
    assert "Remove the others" not in said.partition("CODE_PEPPERS")[2]
    assert verify(portal, one.code).reason == VerificationReason.VERIFIED
    assert old[0] in settings.CODE_PEPPERS


def test_the_old_pepper_can_go_when_its_codes_are_forgotten(portal: Portal, settings: Any) -> None:
    with time_machine.travel(timezone.now() - dt.timedelta(days=2), tick=False):
        issue(portal, 904)
    tasks.end_expired()
    put_first(settings)
    assert "need pepper number 2" in rotate()
    tasks.forget_codes()
    assert "CODE_PEPPERS: Every other digest is under the first pepper. Remove the others" in rotate()
    before = OneTimeCode.objects.get().address_digest
    settings.CODE_PEPPERS = [NEW_PEPPER]
    with time_machine.travel(timezone.now(), tick=False):
        issue(portal, 904, "again")
    assert set(OneTimeCode.objects.values_list("address_digest", flat=True)) == {before}


def test_the_earlier_spelling_of_an_address_keeps_no_pepper(portal: Portal, settings: Any) -> None:
    address = "ada@straße.example"
    factories.OneTimeCodeFactory.create(portal=portal, address=address)
    assert "Every other digest is under the first pepper" in rotate()
    put_first(settings)
    assert "1 codes need pepper number 2 until" in rotate()
    OneTimeCode.objects.update(digest=b"")
    rotate()
    today = codes.address_digests(
        peppers=settings.CODE_PEPPERS, portal_id=portal.id, address=codes.normalise_address(address)
    )[0]
    assert bytes(OneTimeCode.objects.get().address_digest) == today


@pytest.mark.parametrize("step", [0, -1])
def test_it_refuses_a_step_of_nothing(db: None, step: int) -> None:
    with pytest.raises(CommandError, match="--step"):
        rotate(step=step)
