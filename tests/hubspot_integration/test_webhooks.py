"""POST /hubspot/webhooks, as HubSpot and others may send it."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hubspot_integration.models import Portal
from otp.models import ErasureRequest
from tests import factories
from tests.signing import post_signed, signed_headers

PATH = "/hubspot/webhooks"


def event(portal: Portal, contact_id: Any = 904, kind: str = "contact.privacyDeletion", **more: Any) -> dict[str, Any]:
    """Return an event as HubSpot documents it."""
    return {
        "eventId": 3029365631,
        "subscriptionId": 686627,
        "portalId": portal.id,
        "appId": 1234444,
        "occurredAt": 1795000000000,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": contact_id,
        "changeFlag": "DELETED",
        "changeSource": "CRM_UI",
        **more,
    }


def requested() -> set[tuple[int, int]]:
    """Return whose erasure has been noted."""
    return set(ErasureRequest.objects.values_list("portal_id", "contact_id"))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("contact.privacyDeletion", {}),
        ("contact.deletion", {}),
        ("contact.deletion", {"objectTypeId": "0-1"}),
        ("object.deletion", {"objectTypeId": "0-1"}),
        ("object.deletion", {"objectTypeId": "0-1", "appId": "1234444"}),
    ],
)
def test_it_hears_that_a_contact_was_deleted(portal: Portal, kind: str, more: dict[str, Any]) -> None:
    response = post_signed(PATH, [event(portal, kind=kind, **more)], versions=("v3",))
    assert (response.status_code, response.json()) == (200, {"contacts": 1})
    assert requested() == {(portal.id, 904)}


@pytest.mark.parametrize("told", [{}, {"appId": None}])
def test_an_event_that_does_not_say_whose_it_is_counts_as_ours(portal: Portal, told: dict[str, Any]) -> None:
    one = event(portal)
    del one["appId"]
    assert post_signed(PATH, [{**one, **told}]).json() == {"contacts": 1}


def test_it_reads_the_kind_from_either_field(portal: Portal) -> None:
    one = event(portal)
    one["eventType"] = one.pop("subscriptionType")
    assert post_signed(PATH, [one]).json() == {"contacts": 1}


def test_it_takes_batches_that_span_portals_with_duplicates_in_any_order(portal: Portal) -> None:
    other = factories.PortalFactory.create(disconnected_at=timezone.now())
    batch = [
        event(portal, 905, "object.deletion", objectTypeId="0-1", occurredAt=3),
        event(portal, 905, occurredAt=1),
        event(other, "904"),
        event(portal, 904, eventId=7),
        event(portal, 904, eventId=7),
    ]
    assert post_signed(PATH, batch).json() == {"contacts": 3}
    assert post_signed(PATH, batch[::-1]).json() == {"contacts": 3}
    assert requested() == {(portal.id, 904), (portal.id, 905), (other.id, 904)}


@pytest.mark.parametrize(
    "changes",
    [
        {"portalId": 999},
        {"portalId": None},
        {"portalId": True},
        {"portalId": 10**30},
        {"objectId": "904; DROP"},
        {"objectId": -1},
        {"objectId": "٩٠٤"},
        {"objectId": [904]},
        {"subscriptionType": "contact.creation"},
        {"subscriptionType": "contact.merge"},
        {"subscriptionType": {"a": 1}},
        {"subscriptionType": None},
        {"subscriptionType": "object.deletion", "objectTypeId": "0-2"},
        {"subscriptionType": "object.deletion"},  # of what, nobody knows
        {"subscriptionType": "object.deletion", "objectTypeId": None},
        {"subscriptionType": "contact.deletion", "objectTypeId": "0-2"},
        {"appId": 1234445},
        {"appId": "1234445"},
        {"appId": 0},
        {"appId": True},
        {"appId": ""},
        {"appId": [1234444]},
    ],
)
def test_it_lets_go_of_what_means_nothing_to_us(portal: Portal, changes: dict[str, Any]) -> None:
    response = post_signed(PATH, [{**event(portal), **changes}, {}])
    assert (response.status_code, response.json()) == (200, {"contacts": 0})
    assert requested() == set()


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"null", b"[1]", b"[[]]", b'["x"]', b"\xff", b"[" * 5000, b"[NaN]"])
def test_it_refuses_a_body_that_is_no_batch(db: None, body: bytes) -> None:
    response = post_signed(PATH, body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
    assert "JSON array" in response.json()["error"]["message"]


@pytest.mark.parametrize("options", [{"versions": ()}, {"versions": ("v2",)}, {"secret": "forged"}, {"timestamp": "1"}])
def test_it_hears_hubspot_only(portal: Portal, options: dict[str, Any]) -> None:
    assert post_signed(PATH, [event(portal)], **options).status_code == 401
    assert requested() == set()


def test_it_answers_posts_only(db: None) -> None:
    headers = signed_headers(PATH, b"", method="GET")
    assert Client().get(PATH, headers=headers, secure=True).status_code == 405


def test_it_answers_although_redis_is_away(portal: Portal, no_redis: None) -> None:
    assert post_signed(PATH, [event(portal)]).status_code == 200
    assert requested() == {(portal.id, 904)}


def test_it_takes_a_full_batch(portal: Portal) -> None:
    batch = [event(portal, contact_id) for contact_id in range(1, 101)]
    assert len(json.dumps(batch)) < 1_000_000
    assert post_signed(PATH, batch).json() == {"contacts": 100}
    assert ErasureRequest.objects.count() == 100
