"""A card's page in one portal has HubSpot sign what is meant for another portal.

What `hubspot.fetch` signs is any path and any body that somebody in *some* portal likes, with the secret that also signs
workflow actions and webhooks. HubSpot's own fence (permittedUrls) is taken down here: the product must hold without it.
"""

import contextlib
import http.client
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from hubspot_integration.models import Portal
from otp.models import ContactGuard, Delivery, ErasureRequest, OneTimeCode, Verification
from sandbox.local.system import APP_ID, CLIENT_SECRET, System
from tests.flows.test_generate_otp import EVERYTHING, finished
from tests.flows.test_generate_otp import enrol as generate
from tests.hubspot import HubSpot
from tests.hubspot_integration.test_door import SPELLINGS
from tests.signing import signed_headers

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Attacker:
    """Somebody with a browser in a portal of their own."""

    hubspot: HubSpot
    system: System
    portal: Portal

    def fetch(self, path: str, body: Any) -> dict[str, Any]:
        """Have HubSpot sign and send a call, as `hubspot.fetch` in the own portal does."""
        url = f"{self.system.app_url}{path}"
        answer: dict[str, Any] = self.hubspot.post(
            "/card-fetch", portalId=self.portal.id, method="POST", url=url, body=body
        )
        return answer


@pytest.fixture
def victim(system: System, hubspot: HubSpot) -> Portal:
    """The portal that is attacked; everything is on."""
    return hubspot.connect(0, **EVERYTHING)


@pytest.fixture
def attacker(system: System, hubspot: HubSpot, victim: Portal) -> Attacker:
    """Another portal's user."""
    hubspot.patch("/options", enforcePermittedUrls=False)
    return Attacker(hubspot, system, hubspot.connect(1))


def execution(portal: Portal, contact: dict[str, Any], **inputs: str) -> dict[str, Any]:
    """Return a body as HubSpot's workflows send it, naming whichever portal its author likes."""
    address = contact["properties"]["email"]
    return {
        "callbackId": f"ap-{portal.id}-666-1-0",
        "origin": {"portalId": portal.id, "actionDefinitionId": 1, "actionDefinitionVersion": 1},
        "context": {"source": "WORKFLOWS", "workflowId": 1},
        "object": {"objectId": contact["contactId"], "objectType": "CONTACT", "properties": {}},
        "inputFields": {"email": address, **inputs},
    }


def deletion(portal: Portal, contact: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "eventId": 1,
            "portalId": portal.id,
            "appId": APP_ID,
            "occurredAt": 1795000000000,
            "subscriptionType": "contact.privacyDeletion",
            "objectId": contact["contactId"],
        }
    ]


# What a browser may write: each is one address to HubSpot's proxy, which puts its four parameters behind it.
FETCHED = ("", "?", "?a=b", "#", "?userId=1&portalId=1", "/")


@pytest.mark.parametrize("spelling", FETCHED)
def test_nobody_elsewhere_makes_a_code(attacker: Attacker, victim: Portal, hubspot: HubSpot, spelling: str) -> None:
    contact = hubspot.contacts(victim.id)[0]
    answer = attacker.fetch(f"/hubspot/actions/generate-otp{spelling}", execution(victim, contact))
    assert answer["status"] in {401, 404}
    assert "otp_code" not in str(answer["body"])
    assert not OneTimeCode.objects.exists()
    assert not Delivery.objects.exists()


def test_no_spelling_of_an_address_leads_past_the_door(system: System, hubspot: HubSpot, victim: Portal) -> None:
    """The web process reads addresses itself: it and Django must take each for the same."""
    body = orjson.dumps(execution(victim, hubspot.contacts(victim.id)[0]))
    for spelling in SPELLINGS:
        for query in ("", "?a=b"):
            for signed_as in (f"{spelling}{query}", "/hubspot/actions/generate-otp"):
                headers = signed_headers(signed_as, body, secret=CLIENT_SECRET, base_url=system.app_url)
                headers["Host"] = "localhost"
                # not httpx, which would tidy the address up
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", system.web_port, timeout=30)) as one:
                    one.request("POST", f"{spelling}{query}", body, headers)
                    status = one.getresponse().status
                assert status in {401, 403, 404}, (spelling, query, signed_as)
    assert not OneTimeCode.objects.exists()


def test_nobody_elsewhere_checks_or_locks_a_code(attacker: Attacker, victim: Portal, hubspot: HubSpot) -> None:
    contact = hubspot.contacts(victim.id)[0]
    (callback_id,) = generate(hubspot, victim, [contact["contactId"]])
    code = finished(hubspot, callback_id)["outputFields"]["otp_code"]
    for submitted in (code, *["000000"] * 12):
        body = execution(victim, contact, submitted_code=submitted)
        assert attacker.fetch("/hubspot/actions/verify-otp", body)["status"] == 401
    assert not Verification.objects.exists()
    row = OneTimeCode.objects.get()
    assert (row.ended_at, row.wrong_attempts) == (None, 0)
    assert ContactGuard.objects.get().locked_until is None


def test_nobody_elsewhere_erases_a_contact(attacker: Attacker, victim: Portal, hubspot: HubSpot) -> None:
    contact = hubspot.contacts(victim.id)[0]
    assert attacker.fetch("/hubspot/webhooks", deletion(victim, contact))["status"] == 401
    assert attacker.fetch("/hubspot/webhooks", deletion(victim, contact)[0])["status"] == 401
    assert not ErasureRequest.objects.exists()


def test_a_card_acts_in_its_own_portal_whatever_its_body_says(
    attacker: Attacker, victim: Portal, hubspot: HubSpot
) -> None:
    contact = hubspot.contacts(attacker.portal.id)[0]
    order = {"contactId": contact["contactId"], "idempotencyKey": "an-order-of-1002", "portalId": victim.id}
    answer = attacker.fetch("/hubspot/cards/otp/generate", order)
    assert (answer["status"], answer["body"]["ok"]) == (200, True)
    assert OneTimeCode.objects.get().portal_id == attacker.portal.id
    answer = attacker.fetch(f"/hubspot/cards/otp/generate?portalId={victim.id}", order)
    assert answer["body"]["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("path", ["/hubspot/actions/generate-otp", "/hubspot/webhooks", "/hubspot/install", "/"])
def test_hubspots_own_fence_stands_in_front(system: System, hubspot: HubSpot, path: str) -> None:
    portal = hubspot.connect(1)
    with pytest.raises(AssertionError, match="permittedUrls"):
        Attacker(hubspot, system, portal).fetch(path, {})
