"""What becomes of the code in the contact property when it has ended, against HubSpot's stand-in."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from hubspot_integration import budget
from hubspot_integration.models import Portal
from otp import tasks
from otp.audit import Actor, ActorKind
from otp.contact.verifying import verify_code
from otp.delivery import engine, queue
from otp.models import ChannelName, Delivery, DeliveryStatus, EndReason, OneTimeCode, OTPSettings, ResendPolicy, Source
from tests.hubspot import HubSpot
from tests.otp.test_delivery import drain, issue

pytestmark = pytest.mark.django_db(transaction=True)

STORED: dict[str, Any] = {"store_in_property": True, "property_name": "otp_code"}
END = dt.timedelta(minutes=10, seconds=1)


def write(portal: Portal, contact_id: int, key: str = "", **changes: Any) -> OneTimeCode:
    """Issue a code and write it."""
    one = issue(portal, contact_id, key, callback_id=None, **changes)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    return OneTimeCode.objects.get(id=one.code.id)


def clear(portal: Portal) -> list[tuple[str, str]]:
    """End what has expired and clear what has ended; return what became of it."""
    tasks.end_expired()
    drain(portal, ChannelName.PROPERTY_CLEARING)
    rows = Delivery.objects.filter(channel=ChannelName.PROPERTY_CLEARING).order_by("id")
    return list(rows.values_list("status", "error"))


def contact_of(hubspot: HubSpot, portal: Portal) -> int:
    return int(hubspot.contacts(portal.id)[0]["contactId"])


def test_it_clears_expired_codes_with_one_read_and_one_write(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contacts = [contact["contactId"] for contact in hubspot.contacts(portal.id, 20)]
    issued = {contact: issue(portal, contact, callback_id=None).code for contact in contacts}
    drain(portal, ChannelName.CONTACT_PROPERTY)
    with time_machine.travel(timezone.now() + END):
        assert set(clear(portal)) == {(DeliveryStatus.SENT, "")}
    for contact, code in issued.items():
        assert hubspot.writes(portal.id, contact) == [code.code, ""]
    assert len(hubspot.requests("contacts.batch_read")) == 1
    assert len(hubspot.requests("contacts.batch_update")) == 2


def test_it_does_nothing_before_the_code_ends(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    code = write(portal, contact)
    assert clear(portal) == [(DeliveryStatus.PENDING, "")]
    assert hubspot.writes(portal.id, contact) == [code.code]


def test_it_clears_a_used_code_at_once(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    code = write(portal, contact)
    verify(portal, contact, code)
    assert clear(portal) == [(DeliveryStatus.SENT, "")]
    assert hubspot.writes(portal.id, contact)[-1] == ""


def test_it_leaves_the_property_where_the_portal_wants_it_so(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED, clear_property=False)
    contact = contact_of(hubspot, portal)
    code = write(portal, contact)
    with time_machine.travel(timezone.now() + END):
        assert clear(portal) == []
    assert hubspot.writes(portal.id, contact) == [code.code]
    assert hubspot.requests("contacts.batch_read") == []


def test_it_clears_all_the_same_when_whoever_verified_asked_for_it(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED, clear_property=False)
    contact = contact_of(hubspot, portal)
    verify(portal, contact, write(portal, contact), clear_property=True)
    assert clear(portal) == [(DeliveryStatus.SENT, "")]
    assert hubspot.writes(portal.id, contact)[-1] == ""


def test_it_leaves_what_somebody_else_wrote(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    write(portal, contact)
    hubspot.patch(f"/portals/{portal.id}/contacts/{contact}", properties={"otp_code": "999999x"})
    with time_machine.travel(timezone.now() + END):
        assert clear(portal) == [(DeliveryStatus.SENT, "")]
    assert hubspot.writes(portal.id, contact)[-1] == "999999x"


def test_it_never_clears_a_newer_code(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    write(portal, contact, "first")
    second = write(portal, contact, "second")
    assert clear(portal) == [(DeliveryStatus.SENT, ""), (DeliveryStatus.PENDING, "")]
    assert hubspot.writes(portal.id, contact)[-1] == second.code
    with time_machine.travel(timezone.now() + END):
        clear(portal)
    assert hubspot.writes(portal.id, contact)[-1] == ""


def test_it_leaves_the_property_to_a_newer_code_that_is_about_to_be_written(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    write(portal, contact, "first")
    second = issue(portal, contact, "second", callback_id=None).code
    assert clear(portal) == [(DeliveryStatus.SENT, "")]
    assert len(hubspot.writes(portal.id, contact)) == 1
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact)[-1] == second.code


def test_it_clears_a_superseded_code_when_the_newer_one_is_stored_nowhere(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    write(portal, contact, "first")
    OTPSettings.objects.update(store_in_property=False)
    issue(portal, contact, "second", callback_id=None)
    assert clear(portal) == [(DeliveryStatus.SENT, "")]
    assert hubspot.writes(portal.id, contact)[-1] == ""


def test_it_clears_both_codes_of_a_contact_in_one_call(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED, resend_policy=ResendPolicy.KEEP_BOTH)
    contact = contact_of(hubspot, portal)
    write(portal, contact, "first")
    write(portal, contact, "second")
    with time_machine.travel(timezone.now() + END):
        assert clear(portal) == [(DeliveryStatus.SENT, "")] * 2
    assert len(hubspot.writes(portal.id, contact)) == 3


def test_it_clears_a_code_whose_writing_nobody_heard_the_end_of(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    hubspot.fault("contacts.batch_update", "drop_after", times=1)
    code = write(portal, contact)
    assert Delivery.objects.get(channel=ChannelName.CONTACT_PROPERTY).status == DeliveryStatus.PENDING
    assert hubspot.writes(portal.id, contact) == [code.code]
    with time_machine.travel(timezone.now() + END):
        assert clear(portal) == [(DeliveryStatus.SENT, "")]
    assert hubspot.writes(portal.id, contact)[-1] == ""


def in_another_connection(work: Callable[[], OneTimeCode]) -> OneTimeCode:
    """Do something as another worker would."""

    def run() -> OneTimeCode:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def test_it_writes_no_code_while_it_clears(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    with engine._only_one(portal.id, ChannelName.PROPERTY_CLEARING) as alone:
        assert alone
        code = in_another_connection(lambda: write(portal, contact_of(hubspot, portal)))
        assert Delivery.objects.get(code=code, channel=ChannelName.CONTACT_PROPERTY).status == DeliveryStatus.PENDING


def test_the_writing_is_woken_when_the_clearing_is_done(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    write(portal, contact_of(hubspot, portal), "first")
    with time_machine.travel(timezone.now() + END):
        issue(portal, int(hubspot.contacts(portal.id, 2)[1]["contactId"]), "second", callback_id=None)
        progress = drain(portal, ChannelName.PROPERTY_CLEARING)
    assert list(progress.due_later) == [ChannelName.CONTACT_PROPERTY]


def test_it_leaves_half_of_the_calls_to_others(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    write(portal, contact_of(hubspot, portal))
    with time_machine.travel(timezone.now() + END, tick=False):  # the budget is one of ten seconds
        for _ in range(60):
            budget.take(portal.id)
        assert clear(portal) == [(DeliveryStatus.PENDING, "budget_spent")]
    assert hubspot.requests("contacts.batch_read") == []


def test_it_tries_again_when_hubspot_is_away(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    write(portal, contact)
    hubspot.fault("contacts.batch_read", "status", status=503, times=1)
    with time_machine.travel(timezone.now() + END):
        ((status, _),) = clear(portal)
        assert status == DeliveryStatus.PENDING
    with time_machine.travel(timezone.now() + END + queue.LEASE):
        assert clear(portal) == [(DeliveryStatus.SENT, "")]
    assert hubspot.writes(portal.id, contact)[-1] == ""


def test_a_deleted_contact_needs_no_clearing(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contact = contact_of(hubspot, portal)
    write(portal, contact)
    hubspot.delete(f"/portals/{portal.id}/contacts/{contact}")
    with time_machine.travel(timezone.now() + END):
        assert clear(portal) == [(DeliveryStatus.SENT, "")]


def verify(portal: Portal, contact_id: int, code: OneTimeCode, *, clear_property: bool = False) -> None:
    verify_code(
        portal_id=portal.id,
        contact_id=contact_id,
        address=code.address,
        submitted=code.code or "",
        clear_property=clear_property,
        request_key=f"verify:{code.id}",
        source=Source.WORKFLOW,
        actor=Actor(ActorKind.WORKFLOW, "1"),
        now=timezone.now(),
    )
    assert OneTimeCode.objects.get(id=code.id).end_reason == EndReason.USED
