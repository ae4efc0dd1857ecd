"""What HubSpot refuses: what lasts and what passes, and that a passing refusal switches nothing off."""

import datetime as dt
import itertools
import json
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from hubspot_integration import client
from hubspot_integration.models import Portal, RefusedFeature
from hubspot_integration.transport import HubSpotError
from opsagent import broker
from otp.models import ChannelName, Delivery, DeliveryStatus
from tests.hubspot import HubSpot, eventually
from tests.otp.test_delivery import BOTH, drain, issue, issued_code, rows
from tests.otp.test_fresh_look import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

FORBIDDEN = json.dumps({"status": "error", "category": "FORBIDDEN", "message": "Not now"})
BANNED = json.dumps({"status": "error", "category": "BANNED", "message": "Not allowed to access this portal"})
PASSING: list[dict[str, Any]] = [
    {"status": 403, "times": 1},
    {"status": 403, "body": FORBIDDEN, "times": 1},
    {"status": 403, "body": "{}", "times": 1},
    {"status": 403, "body": BANNED, "times": 1},
    {"status": 401, "times": 2},
    {"status": 500, "times": 2},
]


def told() -> int:
    """Return how often a worker was asked to mail the admins."""
    return sum(b"tell_admins" in task for task in broker.redis().lrange("celery", 0, -1))


def later(portal: Portal, channel: ChannelName, *, seconds: int) -> None:
    """Work as workers do, every few seconds, for so many seconds from now."""
    start = timezone.now()
    for second in range(0, seconds + 1, 3):
        with time_machine.travel(start + dt.timedelta(seconds=second)):
            drain(portal, channel)


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_refusal_delays_deliveries_and_fails_none(hubspot: HubSpot, fault: dict[str, Any]) -> None:
    portal = hubspot.connect(**BOTH)
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    code = issued_code(portal, contact)
    hubspot.fault("contacts.batch_update", "status", **fault)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert [row.status for row in rows(ChannelName.CONTACT_PROPERTY)] == [DeliveryStatus.PENDING]
    later(portal, ChannelName.CONTACT_PROPERTY, seconds=40)
    assert hubspot.writes(portal.id, contact) == [code.code]
    assert not RefusedFeature.objects.exists()
    assert told() == 0


@pytest.mark.parametrize("fault", [{"status": 403, "times": 1}, {"status": 401, "times": 2}])
def test_steps_are_completed_after_a_passing_refusal(hubspot: HubSpot, fault: dict[str, Any]) -> None:
    portal = hubspot.connect(**{**BOTH, "store_in_property": False})
    issue(portal, 1)
    drain(portal, ChannelName.EMAIL)
    hubspot.fault("callbacks", "status", **fault)
    later(portal, ChannelName.WORKFLOW_COMPLETION, seconds=60)
    assert len(hubspot.get("/strays")["completions"]) == 1


def test_a_refusal_is_looked_into_with_growing_steps_within_two_minutes(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**BOTH, "send_email": False})
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    code = issued_code(portal, contact)
    code.__class__.objects.filter(pk=code.pk).update(expires_at=timezone.now() + dt.timedelta(hours=1))
    fault = hubspot.fault("contacts.batch_update", "status", status=403)
    start = timezone.now()
    looks: list[int] = []
    for second in range(0, 900, 3):
        with time_machine.travel(start + dt.timedelta(seconds=second)):
            drain(portal, ChannelName.CONTACT_PROPERTY)
        if hubspot.fired(fault) > len(looks):
            looks.append(second)
    gaps = [after - before for before, after in itertools.pairwise(looks)]
    assert gaps[0] <= 21
    assert all(after >= before - 6 for before, after in itertools.pairwise(gaps))
    assert 60 < gaps[-1] <= 120
    assert told() == 1  # that it lasts is worth a mail, and one only
    hubspot.release(fault)
    with time_machine.travel(start + dt.timedelta(seconds=905)):
        later(portal, ChannelName.CONTACT_PROPERTY, seconds=117)
    assert hubspot.writes(portal.id, contact) == [code.code]
    assert not RefusedFeature.objects.exists()


def test_one_call_looks_into_it_for_all(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    issue(portal, contact)
    hubspot.fault("contacts.batch_update", "status", status=401, times=2)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    drain(portal, ChannelName.EMAIL)
    Delivery.objects.filter(channel=ChannelName.WORKFLOW_COMPLETION).update(next_attempt_at=timezone.now())
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=20)):
        held = hubspot.fault("contacts.batch_update", "hold")
        worker = in_thread(lambda: drain(portal, ChannelName.CONTACT_PROPERTY))
        eventually(lambda: hubspot.fired(held))
        drain(portal, ChannelName.WORKFLOW_COMPLETION)
        assert hubspot.requests("callbacks.complete_batch") == []
        hubspot.release(held)
        worker.join()
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=50)):
        drain(portal, ChannelName.WORKFLOW_COMPLETION)
    assert len(hubspot.requests("callbacks.complete_batch")) == 1


def test_a_missing_scope_lasts_and_is_told_once(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH, scopes=["oauth", "crm.objects.contacts.read"])
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    issue(portal, contact)
    later(portal, ChannelName.CONTACT_PROPERTY, seconds=300)
    assert [row.error for row in rows(ChannelName.CONTACT_PROPERTY)] == ["missing_scopes"]
    assert len(hubspot.requests("contacts.batch_update")) == 1
    assert told() == 1
    # what was granted goes on
    assert client.contact(portal.id, contact, ["email"]) is not None


def test_a_passing_refusal_that_turns_out_to_last_is_told(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    hubspot.fault("contacts.batch_update", "status", status=403, times=1)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    body = json.dumps({"status": "error", "category": "MISSING_SCOPES"})
    hubspot.fault("contacts.batch_update", "status", status=403, body=body)
    later(portal, ChannelName.CONTACT_PROPERTY, seconds=60)
    assert [row.error for row in rows(ChannelName.CONTACT_PROPERTY)] == ["missing_scopes"]
    assert told() == 1


def test_a_property_that_is_back_is_written_within_two_minutes(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**BOTH, "property_name": "comes_back"})
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    issue(portal, contact, "one")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert [row.error for row in rows(ChannelName.CONTACT_PROPERTY)] == ["property_doesnt_exist"]
    assert told() == 1
    client.create_text_property(
        portal.id, name="comes_back", label="Back", description="", group="mine", group_label="Mine"
    )
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=119)):
        code = issued_code(portal, contact, "two")
        drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact, "comes_back") == [code.code]
    assert told() == 1


def test_somebody_in_front_of_the_card_is_not_held_back(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    hubspot.fault("contacts.read", "status", status=403, times=1)
    with pytest.raises(HubSpotError) as refusal:
        client.contact(portal.id, contact, ["email"])
    assert not refusal.value.permanent
    assert client.contact(portal.id, contact, ["email"]) is not None
    assert not RefusedFeature.objects.exists()


def test_what_an_older_version_noted_is_looked_into_at_once(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    RefusedFeature.objects.create(portal=portal, feature="contacts", reason="forbidden", refused_at=timezone.now())
    code = issued_code(portal, contact)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact) == [code.code]
