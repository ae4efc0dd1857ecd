"""Of several writes to a contact's property the newest live code stands there in the end, whatever HubSpot did late."""

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from hubspot_integration.models import Portal
from opsagent import broker
from otp import tasks
from otp.delivery import engine
from otp.models import ChannelName, Delivery, DeliveryStatus, EndReason, OneTimeCode, OTPSettings, ResendPolicy
from tests.hubspot import HubSpot, eventually
from tests.otp.test_delivery import drain, issued_code
from tests.otp.test_property_clearing import contact_of, verify

pytestmark = pytest.mark.django_db(transaction=True)

STORED: dict[str, Any] = {"store_in_property": True, "property_name": "otp_code"}
KEEP_BOTH: dict[str, Any] = {**STORED, "resend_policy": ResendPolicy.KEEP_BOTH}
WORKERS = (ChannelName.CONTACT_PROPERTY, ChannelName.PROPERTY_CLEARING, getattr(ChannelName, "PROPERTY_CHECK", None))


def make(portal: Portal, contact: int, key: str) -> OneTimeCode:
    return issued_code(portal, contact, key, callback_id=None)


def settle(portal: Portal, *, seconds: float) -> None:
    """Let the workers work for so many seconds from now, in leaps."""
    start = timezone.now()
    for second in range(0, int(seconds) + 1, 5):
        with time_machine.travel(start + dt.timedelta(seconds=second)):
            tasks.end_expired()
            for channel in WORKERS:
                if channel is not None:
                    drain(portal, channel)


def stands(hubspot: HubSpot, portal: Portal, contact: int) -> str | None:
    value = hubspot.get(f"/portals/{portal.id}/contacts/{contact}")["properties"].get("otp_code")
    return None if value is None else str(value)


def writing(code: OneTimeCode) -> tuple[str, str]:
    row = Delivery.objects.get(code=code, channel=ChannelName.CONTACT_PROPERTY)
    return row.status, row.error


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 500}, {"kind": "status", "status": 429}])
def test_an_older_code_is_not_written_over_a_newer_one(hubspot: HubSpot, fault: dict[str, Any]) -> None:
    portal = hubspot.connect(**KEEP_BOTH)
    contact = contact_of(hubspot, portal)
    hubspot.fault("contacts.batch_update", times=1, **fault)
    older = make(portal, contact, "older")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    broker.redis().flushdb()  # the pause that HubSpot asked for runs in real time
    newer = make(portal, contact, "newer")
    settle(portal, seconds=40)
    assert stands(hubspot, portal, contact) == newer.code
    assert hubspot.writes(portal.id, contact) == [newer.code]
    assert writing(older) == (DeliveryStatus.FAILED, "replaced_by_newer_code")
    assert writing(newer) == (DeliveryStatus.SENT, "")


def test_an_older_code_makes_room_for_one_that_waits_for_its_next_attempt(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**KEEP_BOTH)
    contact = contact_of(hubspot, portal)
    older, newer = make(portal, contact, "older"), make(portal, contact, "newer")
    Delivery.objects.filter(code=newer, channel=ChannelName.CONTACT_PROPERTY).update(
        next_attempt_at=timezone.now() + dt.timedelta(seconds=20)
    )
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert writing(older) == (DeliveryStatus.FAILED, "replaced_by_newer_code")
    assert hubspot.writes(portal.id, contact) == []


def test_an_older_code_is_written_when_the_newer_one_finally_failed(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**KEEP_BOTH)
    contact = contact_of(hubspot, portal)
    older, newer = make(portal, contact, "older"), make(portal, contact, "newer")
    Delivery.objects.filter(code=newer, channel=ChannelName.CONTACT_PROPERTY).update(
        status=DeliveryStatus.FAILED, error="invalid_option", next_attempt_at=None, settled_at=timezone.now()
    )
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact) == [older.code]


@pytest.mark.parametrize("policy", ResendPolicy.values)
@pytest.mark.parametrize("lands_after_seconds", [5, 60])
def test_a_write_that_hubspot_carries_out_late_does_not_stay(
    hubspot: HubSpot, policy: str, lands_after_seconds: int
) -> None:
    portal = hubspot.connect(**{**STORED, "resend_policy": policy})
    contact = contact_of(hubspot, portal)
    late = hubspot.fault("contacts.batch_update", "late", seconds=600, times=1)
    older = make(portal, contact, "older")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    newer = make(portal, contact, "newer")
    settle(portal, seconds=lands_after_seconds)
    assert stands(hubspot, portal, contact) == newer.code
    hubspot.release(late)
    eventually(lambda: stands(hubspot, portal, contact) == older.code)
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=lands_after_seconds)):
        settle(portal, seconds=100)
    assert stands(hubspot, portal, contact) == newer.code
    assert writing(newer) == (DeliveryStatus.SENT, "")


def test_the_live_codes_row_does_not_say_sent_while_another_value_stands_there(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    late = hubspot.fault("contacts.batch_update", "late", seconds=600, times=1)
    make(portal, contact, "older")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    newer = make(portal, contact, "newer")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    hubspot.release(late)
    eventually(lambda: stands(hubspot, portal, contact) != newer.code)
    hubspot.fault("contacts.batch_update", "status", status=503)
    settle(portal, seconds=40)
    assert writing(newer)[0] == DeliveryStatus.PENDING


@pytest.mark.parametrize("end", ["used", "superseded", "expired"])
def test_a_dead_code_that_lands_late_is_cleared(hubspot: HubSpot, end: str) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    late = hubspot.fault("contacts.batch_update", "late", seconds=6000, times=1)
    hubspot.fault("contacts.batch_update", "status", status=503, times=2)
    code = make(portal, contact, "one")
    ends_in = dt.timedelta(0)
    if end == "expired":
        OneTimeCode.objects.filter(pk=code.pk).update(expires_at=timezone.now() + dt.timedelta(seconds=20))
        ends_in = dt.timedelta(seconds=21)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    if end == "used":
        verify(portal, contact, code)
    elif end == "superseded":
        OTPSettings.objects.update(store_in_property=False)
        make(portal, contact, "newer")
    with time_machine.travel(timezone.now() + ends_in):
        settle(portal, seconds=5)
    assert writing(code) == (DeliveryStatus.FAILED, end)
    hubspot.release(late)
    eventually(lambda: stands(hubspot, portal, contact) == code.code)
    with time_machine.travel(timezone.now() + ends_in):
        settle(portal, seconds=100)
    assert stands(hubspot, portal, contact) == ""


def test_a_clearing_that_lands_late_does_not_stay(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    older = make(portal, contact, "older")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    verify(portal, contact, older)
    late = hubspot.fault("contacts.batch_update", "late", seconds=600, times=1)
    tasks.end_expired()
    drain(portal, ChannelName.PROPERTY_CLEARING)
    newer = make(portal, contact, "newer")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    hubspot.release(late)
    eventually(lambda: stands(hubspot, portal, contact) == "")
    settle(portal, seconds=100)
    assert stands(hubspot, portal, contact) == newer.code


def test_what_a_dead_worker_wrote_is_looked_at_again(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    older = make(portal, contact, "older")
    # what a worker leaves that dies in the middle of its call
    leased = Delivery.objects.filter(code=older, channel=ChannelName.CONTACT_PROPERTY)
    leased.update(attempts=1, next_attempt_at=timezone.now() + dt.timedelta(seconds=30))
    newer = make(portal, contact, "newer")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert stands(hubspot, portal, contact) == newer.code
    hubspot.patch(f"/portals/{portal.id}/contacts/{contact}", properties={"otp_code": older.code})
    settle(portal, seconds=130)
    assert stands(hubspot, portal, contact) == newer.code
    assert writing(newer) == (DeliveryStatus.SENT, "")


def test_an_older_live_code_stands_there_again_when_the_newer_one_ends(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**KEEP_BOTH)
    contact = contact_of(hubspot, portal)
    older = make(portal, contact, "older")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    newer = make(portal, contact, "newer")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    OneTimeCode.objects.filter(pk=newer.pk).end(EndReason.LOCKED, timezone.now())
    settle(portal, seconds=10)
    assert hubspot.writes(portal.id, contact) == [older.code, newer.code, older.code]
    assert writing(older) == (DeliveryStatus.SENT, "")


def test_an_older_code_that_made_room_is_written_when_the_newer_one_ends_unwritten(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**KEEP_BOTH)
    contact = contact_of(hubspot, portal)
    older, newer = make(portal, contact, "older"), make(portal, contact, "newer")
    hubspot.fault("contacts.batch_update", "status", status=503, times=1)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert writing(older) == (DeliveryStatus.FAILED, "replaced_by_newer_code")
    OneTimeCode.objects.filter(pk=newer.pk).end(EndReason.LOCKED, timezone.now())
    settle(portal, seconds=10)
    assert hubspot.writes(portal.id, contact) == [older.code]


def test_what_somebody_else_wrote_stays(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    hubspot.fault("contacts.batch_update", "drop_after", times=1)
    make(portal, contact, "one")
    settle(portal, seconds=5)
    hubspot.patch(f"/portals/{portal.id}/contacts/{contact}", properties={"otp_code": "by hand"})
    settle(portal, seconds=100)
    assert stands(hubspot, portal, contact) == "by hand"


@pytest.mark.parametrize("fault", [{"status": 429, "retryAfter": "1"}, {"status": 423}, {"status": 400}])
def test_a_certain_refusal_costs_no_look(hubspot: HubSpot, fault: dict[str, Any]) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    hubspot.fault("contacts.batch_update", "status", times=2, **fault)
    make(portal, contact, "one")
    settle(portal, seconds=100)
    assert hubspot.requests("contacts.batch_read") == []


def test_the_looks_of_an_outage_come_together(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    hubspot.fault("contacts.batch_update", "status", status=503, times=2)
    for contact in hubspot.contacts(portal.id, 20):
        make(portal, contact["contactId"], "")
    settle(portal, seconds=100)
    assert len(hubspot.requests("contacts.batch_read")) <= 4
    assert engine.drain(portal_id=portal.id, channel="contact_property", clock=timezone.now).worked_on == 0
