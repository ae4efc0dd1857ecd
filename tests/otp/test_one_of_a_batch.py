"""A batch that HubSpot refuses because of one member: the others are not to suffer for it, whatever the call."""

import datetime as dt
import json
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from hubspot_integration.models import Portal
from otp import tasks
from otp.models import ChannelName, DeliveryStatus
from tests.hubspot import HubSpot
from tests.otp.test_delivery import BOTH, drain, issue, rows
from tests.otp.test_property_clearing import END

pytestmark = pytest.mark.django_db(transaction=True)

STORED: dict[str, Any] = {**BOTH, "send_email": False}
MEMBERS = 30
MOST_CALLS = 1 + 2 * 5  # halving 30 until one stands alone


def enrol(hubspot: HubSpot, portal: Portal, number: int = MEMBERS) -> list[int]:
    contacts = [int(contact["contactId"]) for contact in hubspot.contacts(portal.id, 24)]
    more = hubspot.post(f"/portals/{portal.id}/contacts", count=max(1, number - 24))
    contacts = [*contacts, *range(more["firstId"], more["lastId"] + 1)][:number]
    for contact in contacts:
        issue(portal, contact)
    return contacts


def drain_all(portal: Portal, channel: ChannelName, *, seconds: float) -> None:
    """Make what is due so many seconds from now, over as many turns as it takes."""
    for turn in range(12):
        with time_machine.travel(timezone.now() + dt.timedelta(seconds=seconds + 2 * turn)):
            drain(portal, channel)


def statuses(channel: ChannelName) -> list[str]:
    return [row.status for row in rows(channel)]


@pytest.mark.parametrize("status", [400, 404, 409])
@pytest.mark.parametrize("channel", [ChannelName.WORKFLOW_COMPLETION, ChannelName.WORKFLOW_CONFIRMATION])
def test_one_bad_callback_blocks_no_other_step(hubspot: HubSpot, channel: ChannelName, status: int) -> None:
    portal = hubspot.connect(**STORED)
    contacts = enrol(hubspot, portal)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    if channel == ChannelName.WORKFLOW_CONFIRMATION:
        drain_all(portal, ChannelName.WORKFLOW_COMPLETION, seconds=3)
    before = len(hubspot.requests("callbacks.complete_batch"))
    hubspot.fault("callbacks.complete_batch", "status", status=status, member=f"ap-{contacts[7]}")
    drain_all(portal, channel, seconds=90)
    assert statuses(channel) == ["sent"] * 7 + ["failed"] + ["sent"] * (MEMBERS - 8)
    assert len(hubspot.requests("callbacks.complete_batch")) - before <= MOST_CALLS


def test_a_callback_that_is_refused_among_the_answers_blocks_no_other(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contacts = enrol(hubspot, portal, 5)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    error = {"category": "VALIDATION_ERROR", "context": {"ids": [f"ap-{contacts[2]}"]}}
    body = json.dumps({"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [error]})
    hubspot.fault("callbacks.complete_batch", "status", status=207, body=body, times=1)
    drain_all(portal, ChannelName.WORKFLOW_COMPLETION, seconds=3)
    assert statuses(ChannelName.WORKFLOW_COMPLETION) == ["sent", "sent", "failed", "sent", "sent"]


@pytest.mark.parametrize("status", [400, 404, 409])
def test_one_bad_contact_stops_no_other_write(hubspot: HubSpot, status: int) -> None:
    portal = hubspot.connect(**STORED)
    contacts = enrol(hubspot, portal)
    hubspot.fault("contacts.batch_update", "status", status=status, member=str(contacts[7]))
    drain_all(portal, ChannelName.CONTACT_PROPERTY, seconds=0)
    assert statuses(ChannelName.CONTACT_PROPERTY) == ["sent"] * 7 + ["failed"] + ["sent"] * (MEMBERS - 8)
    assert len(hubspot.requests("contacts.batch_update")) <= MOST_CALLS


@pytest.mark.parametrize("route", ["contacts.batch_read", "contacts.batch_update"])
def test_one_bad_contact_leaves_no_other_code_in_hubspot(hubspot: HubSpot, route: str) -> None:
    portal = hubspot.connect(**STORED)
    contacts = enrol(hubspot, portal)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    before = len(hubspot.requests("contacts.batch"))
    hubspot.fault(route, "status", status=400, member=str(contacts[7]))
    end = END.total_seconds()
    with time_machine.travel(timezone.now() + END):
        tasks.end_expired()
    drain_all(portal, ChannelName.PROPERTY_CLEARING, seconds=end)
    for contact in contacts:
        assert (hubspot.writes(portal.id, contact)[-1] == "") is (contact != contacts[7])
    assert statuses(ChannelName.PROPERTY_CLEARING).count(DeliveryStatus.FAILED) == 1
    assert len(hubspot.requests("contacts.batch")) - before <= 2 * MOST_CALLS


def test_a_contact_that_could_not_be_read_is_not_taken_for_clear(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    contacts = enrol(hubspot, portal, 3)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    error = {"category": "INTERNAL_ERROR", "context": {"ids": [str(contacts[1])]}}
    body = json.dumps({"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [error]})
    hubspot.fault("contacts.batch_read", "status", status=207, body=body, times=1)
    with time_machine.travel(timezone.now() + END):
        tasks.end_expired()
        drain(portal, ChannelName.PROPERTY_CLEARING)
        assert set(statuses(ChannelName.PROPERTY_CLEARING)) == {DeliveryStatus.PENDING}
    drain_all(portal, ChannelName.PROPERTY_CLEARING, seconds=(2 * END).total_seconds())
    assert set(statuses(ChannelName.PROPERTY_CLEARING)) == {DeliveryStatus.SENT}
    assert hubspot.writes(portal.id, contacts[1])[-1] == ""


def test_a_verdict_on_the_property_is_not_asked_for_each_contact(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**STORED, "property_name": "no_such_property"})
    enrol(hubspot, portal)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert set(statuses(ChannelName.CONTACT_PROPERTY)) == {DeliveryStatus.FAILED}
    assert len(hubspot.requests("contacts.batch_update")) == 1


def test_a_batch_of_bad_members_spends_no_more_than_its_share_at_once(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**STORED)
    enrol(hubspot, portal, 100)
    hubspot.fault("contacts.batch_update", "status", status=409)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert len(hubspot.requests("contacts.batch_update")) <= 32
    found = statuses(ChannelName.CONTACT_PROPERTY)
    assert DeliveryStatus.FAILED in found
    assert DeliveryStatus.PENDING in found
