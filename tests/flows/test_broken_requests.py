"""Signed but broken: whatever a caller sends, no endpoint of ours fails, and a refusal changes nothing."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from django.test import Client
from django.urls import get_resolver

from hubspot_integration import client
from hubspot_integration.models import Portal
from otp.models import AuditEvent, Delivery, ErasureRequest, OneTimeCode, OTPSettings, Verification
from tests.generating import execution
from tests.otp.test_otp_card import address
from tests.signing import post_signed, signed_headers

Body = Callable[[Portal, int], dict[str, Any]]
CONTACT = 904


def action(inputs: dict[str, Any]) -> Body:
    """Return what makes executions of a workflow step, each for a contact of its own."""

    def body(portal: Portal, number: int) -> dict[str, Any]:
        target = {"objectId": number + 1, "objectType": "CONTACT", "properties": {"firstname": "Ada"}}
        return execution(portal, callbackId=f"ap-{number}", object=target, inputs=inputs)

    return body


def order(contact: int | None = None, **more: Any) -> Body:
    """Return what makes orders of the card, each for a contact of its own unless one is named."""
    return lambda _, number: {"contactId": contact or number + 1, "idempotencyKey": f"order-{number}", **more}


# What HubSpot calls, with a body that each understands.
ENDPOINTS: dict[str, Body] = {
    "/hubspot/actions/generate-otp": action({}),
    "/hubspot/actions/verify-otp": action({"submitted_code": "482951"}),
    "/hubspot/cards/otp/generate": order(),
    "/hubspot/cards/otp/resend": order(),
    "/hubspot/cards/otp/verify": order(code="482951"),
    "/hubspot/cards/otp/reveal": order(CONTACT, reason="The mail has not come"),
}
BATCHES = "/hubspot/webhooks"
QUERIES = ("/hubspot/cards/otp", "/hubspot/cards/settings")
ROUNDS = 400

JUNK: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**30, 2**63, -(2**63), "", " ", "x" * 70_000, "\0", "ü" * 300, "1" * 5_000, [], {}, [None],
    {"a": {"b": {"c": []}}}, "2026-11-23", "٤٨٢٩", "<script>", "'; DROP TABLE otp_onetimecode; --", "\u202e", "=cmd()", [[[[]]]],
]  # fmt: skip


def test_it_is_tried_on_every_address_that_hubspot_calls() -> None:
    routes = {f"/{pattern.pattern}" for resolver in get_resolver().url_patterns for pattern in _leaves(resolver)}
    called = {
        route for route in routes if route.startswith(("/hubspot/actions", "/hubspot/cards", "/hubspot/webhooks"))
    }
    assert called == {*ENDPOINTS, *QUERIES, BATCHES}


@pytest.fixture
def busy(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> Portal:
    """A portal that mails, in which HubSpot knows every contact, and one of them has a live code."""

    def contact(_: int, __: int, properties: Sequence[str], **___: Any) -> dict[str, str]:
        return {name: "ada@example.com" if name == "email" else "" for name in properties}

    monkeypatch.setattr(client, "contact", contact)
    OTPSettings.objects.filter(portal=portal).update(send_email=True)
    path = address("/hubspot/cards/otp/generate", portal)
    assert post_signed(path, {"contactId": CONTACT, "idempotencyKey": "the-first"}).json()["ok"]
    return portal


@pytest.mark.parametrize("path", ENDPOINTS)
def test_it_survives_randomly_broken_bodies(busy: Portal, path: str) -> None:
    randomly = random.Random(path)
    where = address(path, busy) if path.startswith("/hubspot/cards") else path
    refused = 0
    for number in range(ROUNDS):
        body = _broken(ENDPOINTS[path](busy, number), randomly)
        before = _rows()
        response = post_signed(where, body)
        assert response.status_code < 500, body[:500]
        if not _accepted(response):
            refused += 1
            assert _rows() == before, body[:500]
    # both kinds must occur, or this test shows nothing
    assert 0.2 * ROUNDS < refused < ROUNDS


def test_it_survives_randomly_broken_batches(busy: Portal) -> None:
    randomly = random.Random(BATCHES)
    event = {"portalId": busy.id, "objectId": CONTACT, "subscriptionType": "object.deletion", "objectTypeId": "0-1"}
    heard = 0
    for _ in range(ROUNDS):
        events = b",".join(_broken(event, randomly) for _ in range(randomly.randint(1, 2)))
        response = post_signed(BATCHES, b"[" + events + b"]")
        assert response.status_code in (200, 400), events[:500]
        told = response.status_code == 200 and response.json()["contacts"] > 0
        assert ErasureRequest.objects.exists() == told, events[:500]
        heard += told
        ErasureRequest.objects.all().delete()
    # both kinds must occur, or this test shows nothing
    assert 0.1 * ROUNDS < heard < 0.9 * ROUNDS


@pytest.mark.parametrize("path", QUERIES)
def test_it_survives_randomly_broken_queries(busy: Portal, path: str) -> None:
    randomly = random.Random(path)
    refused = 0
    for _ in range(ROUNDS):
        query = parse_qsl(urlsplit(address(path, busy, contact=CONTACT)).query)
        for _ in range(randomly.randint(1, 2)):
            place = randomly.randrange(len(query))
            name, value = query[place]
            junk = quote(str(randomly.choice(JUNK))[:500], safe="")
            query[place : place + 1] = randomly.choice([[], [(name, junk)], [(name, value)] * 2, [(junk, value)]])
            if not query:
                break
        broken = f"{path}?{'&'.join(f'{name}={value}' for name, value in query)}"
        headers = signed_headers(broken, b"", method="GET", versions=("v3",))
        response = Client(raise_request_exception=False).get(broken, headers=headers, secure=True)
        assert response.status_code < 500, broken
        refused += not _accepted(response)
    assert 0.2 * ROUNDS < refused <= ROUNDS


def _accepted(response: Any) -> bool:
    if response.status_code != 200:
        return False
    answer = response.json()
    if "ok" in answer:
        return bool(answer["ok"])
    return bool(answer["outputFields"]["hs_execution_state"] != "FAIL_CONTINUE")


def _broken(payload: dict[str, Any], randomly: random.Random) -> bytes:
    payload = copy.deepcopy(payload)
    for _ in range(randomly.randint(1, 3)):
        place, key = _somewhere(payload, randomly)
        action = randomly.randrange(3)
        if action == 0:
            del place[key]
        elif action == 1:
            place[key] = randomly.choice(JUNK)
        else:
            place[str(randomly.choice(JUNK))[:50]] = randomly.choice(JUNK)
        if not payload:
            break
    body = bytearray(json.dumps(payload).encode())
    if randomly.random() < 0.3:
        for _ in range(randomly.randint(1, 4)):
            body[randomly.randrange(len(body))] = randomly.randrange(256)
    if randomly.random() < 0.1:
        del body[randomly.randrange(len(body)) :]
    return bytes(body)


def _somewhere(payload: dict[str, Any], randomly: random.Random) -> tuple[dict[str, Any], str]:
    place = payload
    while True:
        key = randomly.choice(list(place))
        inner = place[key]
        if not isinstance(inner, dict) or not inner or randomly.random() < 0.3:
            return place, key
        place = inner


def _rows() -> list[int]:
    return [model.objects.count() for model in (OneTimeCode, Delivery, Verification, AuditEvent)]


def _leaves(resolver: Any) -> list[Any]:
    return (
        [leaf for inner in resolver.url_patterns for leaf in _leaves(inner)]
        if hasattr(resolver, "url_patterns")
        else [resolver]
    )
