"""What is deleted when its time is over, and what is not."""

import datetime as dt
import threading
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from hubspot_integration import tokens
from hubspot_integration.models import Portal, PortalMember
from otp import tasks
from otp.audit import Action, Actor, ActorKind
from otp.contact.verifying import verify_code
from otp.models import (
    AuditEvent,
    ContactGuard,
    Delivery,
    OneTimeCode,
    OTPSettings,
    Source,
    Verification,
    VerificationReason,
)
from otp.upkeep import retention
from sandbox.local import servers
from sandbox.local.waiting import PATIENCE
from tests import environment, factories
from tests.audit_log import recorded_when_it_happened
from tests.otp.test_delivery import BOTH, issue

pytestmark = pytest.mark.django_db(transaction=True)

DAY = dt.timedelta(days=1)


def ago(days: float) -> dt.datetime:
    return timezone.now() - days * DAY


def live(portal: Portal, days_ago: float, contact_id: int = 904, submitted: str = "000000") -> OneTimeCode:
    """Issue, deliver and check a code some days ago; end it as the sweep does."""
    with time_machine.travel(ago(days_ago), tick=False):
        one = issue(portal, contact_id, f"{contact_id}-{days_ago}")
        verify_code(
            portal_id=portal.id,
            contact_id=contact_id,
            address=f"contact{contact_id}@example.com",
            submitted=submitted,
            clear_property=False,
            request_key=f"verify:{contact_id}-{days_ago}",
            source=Source.WORKFLOW,
            actor=Actor(ActorKind.WORKFLOW, "1"),
            now=timezone.now(),
        )
    tasks.end_expired()
    recorded_when_it_happened()
    return OneTimeCode.objects.get(id=one.code.id)


def counts() -> dict[str, int]:
    models = (OneTimeCode, Delivery, Verification, ContactGuard)
    return {model.__name__: model.objects.count() for model in models}


NOTHING = {"OneTimeCode": 0, "Delivery": 0, "Verification": 0, "ContactGuard": 0}


def test_no_encrypted_code_is_left_a_minute_after_its_end(portal: Portal, settings: Any) -> None:
    OTPSettings.objects.update(**BOTH)
    one = issue(portal, 904)
    with connection.cursor() as cursor:
        cursor.execute("SELECT code FROM otp_onetimecode")
        stored = bytes(cursor.fetchone()[0])
    url = environment.database_url(str(settings.DATABASES["default"]["NAME"]))
    assert stored.hex() in servers.dump(url)
    with time_machine.travel(one.code.expires_at + dt.timedelta(seconds=1)):
        tasks.end_expired()
    assert stored.hex() not in servers.dump(url)
    assert OneTimeCode.objects.get().code is None


def test_a_days_old_code_cannot_be_recognised_any_more(portal: Portal) -> None:
    code = live(portal, 0.5)
    assert code.digest
    with time_machine.travel(code.expires_at + DAY - dt.timedelta(minutes=3)):
        tasks.forget_codes()
        assert OneTimeCode.objects.get().digest
    with time_machine.travel(code.expires_at + DAY - dt.timedelta(minutes=1)):
        tasks.forget_codes()
    forgotten = OneTimeCode.objects.get()
    assert (bytes(forgotten.digest), forgotten.first_name) == (b"", None)
    assert forgotten.address == "contact904@example.com"


def test_a_live_code_is_not_forgotten(portal: Portal) -> None:
    issue(portal, 904)
    with time_machine.travel(timezone.now() + 2 * DAY):
        tasks.forget_codes()
    assert OneTimeCode.objects.get().digest


def test_records_go_after_the_retention_period(portal: Portal) -> None:
    OTPSettings.objects.update(**BOTH)
    live(portal, 91, 904)
    kept = live(portal, 89, 905)
    tasks.delete_old_records()
    assert OneTimeCode.objects.get() == kept
    assert set(Delivery.objects.values_list("code_id", flat=True)) == {kept.id}
    assert Verification.objects.get().contact_id == 905
    assert ContactGuard.objects.get().contact_id == 905
    assert {event.contact for event in AuditEvent.objects.exclude(action=Action.RECORDS_DELETED)} == {
        ContactGuard.objects.get().pseudonym
    }
    line = AuditEvent.objects.get(action=Action.RECORDS_DELETED)
    assert int(line.detail["records"]) >= 3


def test_what_no_key_can_read_any_more_goes_too(portal: Portal, settings: Any) -> None:
    live(portal, 91)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    tasks.delete_old_records()
    assert counts() == NOTHING


def test_each_portal_has_its_own_period(portal: Portal) -> None:
    other = factories.OTPSettingsFactory.create(retention_days=7).portal
    live(portal, 8)
    live(other, 8)
    tasks.delete_old_records()
    assert OneTimeCode.objects.get().portal == portal


def test_a_second_run_finds_nothing_and_says_nothing(portal: Portal) -> None:
    live(portal, 91)
    tasks.delete_old_records()
    before = AuditEvent.objects.count()
    tasks.delete_old_records()
    assert AuditEvent.objects.count() == before


def test_a_contact_stays_known_while_anything_is_left_of_them(portal: Portal) -> None:
    live(portal, 91)
    live(portal, 1)
    name = ContactGuard.objects.get().pseudonym
    tasks.delete_old_records()
    assert ContactGuard.objects.get().pseudonym == name


def test_a_lock_outlives_the_records(portal: Portal) -> None:
    live(portal, 91)
    ContactGuard.objects.update(locked_until=timezone.now() + DAY)
    tasks.delete_old_records()
    assert counts() == {**NOTHING, "ContactGuard": 1}


def test_checks_without_a_code_go_too(portal: Portal) -> None:
    with time_machine.travel(ago(91), tick=False):
        verification = verify_code(
            portal_id=portal.id,
            contact_id=904,
            address="ada@example.com",
            submitted="123456",
            clear_property=False,
            request_key="verify:1",
            source=Source.WORKFLOW,
            actor=Actor(ActorKind.WORKFLOW, "1"),
            now=timezone.now(),
        )
    assert verification.reason == VerificationReason.NOT_FOUND
    recorded_when_it_happened()
    tasks.delete_old_records()
    assert counts() == NOTHING


def test_it_passes_over_rows_that_somebody_holds(portal: Portal) -> None:
    held, free = live(portal, 91, 904), live(portal, 92, 905)
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                OneTimeCode.objects.select_for_update().get(id=held.id)
                holding.set()
                done.wait(PATIENCE)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert holding.wait(PATIENCE)
        (term,) = retention.terms(now=timezone.now())
        assert retention.delete_records(term=term) == 1
    finally:
        done.set()
        thread.join()
    assert OneTimeCode.objects.get() == held
    assert free != held


@pytest.mark.parametrize("days", [0, 3651])
def test_it_takes_a_day_to_ten_years(portal: Portal, days: int) -> None:
    settings = OTPSettings.objects.get()
    settings.retention_days = days
    with pytest.raises(ValidationError, match="retention_days"):
        settings.full_clean()


# ------------------------------------------------------------------ portals that are gone
def test_a_disconnected_portal_goes_with_everything_after_the_period(portal: Portal) -> None:
    OTPSettings.objects.update(**BOTH)
    factories.PortalMemberFactory.create(portal=portal)
    live(portal, 91)
    live(portal, 90.5, 905)
    Portal.objects.update(disconnected_at=ago(90.1))
    tasks.delete_old_records()
    assert counts() == NOTHING
    for model in (Portal, OTPSettings, PortalMember, AuditEvent):
        assert not model.objects.exists()


def test_a_portal_that_was_disconnected_lately_keeps_what_it_has(portal: Portal) -> None:
    live(portal, 80)
    tokens.mark_disconnected(portal.id)
    Portal.objects.update(disconnected_at=ago(89))
    tasks.delete_old_records()
    assert OneTimeCode.objects.exists()
    assert OTPSettings.objects.exists()


def test_a_portal_that_came_back_in_the_meantime_stays(portal: Portal) -> None:
    Portal.objects.update(disconnected_at=ago(91))
    (term,) = retention.terms(now=timezone.now())
    assert term.ends
    Portal.objects.update(disconnected_at=None)
    retention.finish(term=term, deleted=0, now=timezone.now())
    assert OTPSettings.objects.exists()
