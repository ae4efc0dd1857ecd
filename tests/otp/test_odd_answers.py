"""What HubSpot answers against its own documentation: nothing crashes, and nothing that it did not say counts as said."""

import json
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from otp import tasks
from otp.models import ChannelName, Delivery, DeliveryStatus
from tests.hubspot import HubSpot
from tests.otp.test_delivery import drain
from tests.otp.test_one_of_a_batch import enrol
from tests.otp.test_property_clearing import END, STORED

pytestmark = pytest.mark.django_db(transaction=True)

ROUTES = {
    ChannelName.CONTACT_PROPERTY: "contacts.batch_update",
    ChannelName.WORKFLOW_COMPLETION: "callbacks.complete_batch",
}
ODD: dict[str, Any] = {
    "errors are a number": {"results": [], "errors": 5},
    "errors are a text": {"results": [], "errors": "none"},
    "errors are an object": {"results": [], "errors": {"context": {"ids": ["1"]}}},
    "a context is a list": {"results": [], "errors": [{"category": "X", "context": ["ids"]}]},
    "a context is a text": {"results": [], "errors": [{"category": "X", "context": "ids"}]},
    "the ids are a number": {"results": [], "errors": [{"category": "X", "context": {"ids": 5}}]},
    "an id is no id": {"results": [], "errors": [{"category": ["X"], "context": {"ids": [None, {}, "9" * 5000]}}]},
    "the results are a number": {"results": 5},
    "the results are an object": {"results": {"id": "1"}},
    "a list": [],
    "a number": 5,
}


def states(channel: ChannelName) -> set[tuple[str, str]]:
    return set(Delivery.objects.filter(channel=channel).values_list("status", "error"))


@pytest.mark.parametrize("status", [200, 207, 400, 500])
@pytest.mark.parametrize("oddity", ODD)
def test_an_answer_of_another_shape_crashes_nothing(hubspot: HubSpot, oddity: str, status: int) -> None:
    portal = hubspot.connect(**STORED)
    enrol(hubspot, portal, 2)
    for channel, route in ROUTES.items():
        hubspot.fault(route, "status", status=status, body=json.dumps(ODD[oddity]))
        drain(portal, channel)
    # A write that HubSpot did not confirm is not taken for done.
    assert DeliveryStatus.SENT not in {status for status, _ in states(ChannelName.CONTACT_PROPERTY)}


@pytest.mark.parametrize("status", [200, 207])
def test_a_contact_that_an_answer_leaves_out_is_not_taken_for_clear(hubspot: HubSpot, status: int) -> None:
    portal = hubspot.connect(**STORED)
    contacts = enrol(hubspot, portal, 3)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    told = {"id": str(contacts[0]), "properties": {"otp_code": ""}}
    twice = {"id": "999", "properties": {"otp_code": "x"}}
    body = json.dumps({"status": "COMPLETE", "results": [told, twice, twice, told]})
    hubspot.fault("contacts.batch_read", "status", status=status, body=body, times=1)
    with time_machine.travel(timezone.now() + END):
        tasks.end_expired()
        drain(portal, ChannelName.PROPERTY_CLEARING)
        left = Delivery.objects.filter(channel=ChannelName.PROPERTY_CLEARING, status=DeliveryStatus.PENDING)
        assert set(left.values_list("code__contact_id", flat=True)) == set(contacts[1:])
    with time_machine.travel(timezone.now() + 2 * END):
        drain(portal, ChannelName.PROPERTY_CLEARING)
    assert states(ChannelName.PROPERTY_CLEARING) == {(DeliveryStatus.SENT, "")}
    for contact in contacts[1:]:
        assert hubspot.writes(portal.id, contact)[-1] == ""


@pytest.mark.parametrize("category", ["INTERNAL_ERROR", "RATE_LIMITS"])
def test_a_member_that_hubspot_could_not_serve_just_then_is_written_later(hubspot: HubSpot, category: str) -> None:
    portal = hubspot.connect(**STORED)
    contacts = enrol(hubspot, portal, 3)
    error = {"category": category, "context": {"ids": [str(contacts[1])]}}
    results = [{"id": str(contacts[0])}, {"id": str(contacts[2])}]
    body = json.dumps({"status": "COMPLETE", "results": results, "numErrors": 1, "errors": [error]})
    hubspot.fault("contacts.batch_update", "status", status=207, body=body, times=1)
    drain(portal, ChannelName.CONTACT_PROPERTY)
    one = Delivery.objects.get(channel=ChannelName.CONTACT_PROPERTY, code__contact_id=contacts[1])
    assert (one.status, one.error) == (DeliveryStatus.PENDING, category.lower())
