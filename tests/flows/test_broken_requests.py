"""Signed but broken: whatever a caller sends, no endpoint of ours fails, and a refusal changes nothing."""

import copy
import json
import random
from typing import Any

import pytest
from django.urls import get_resolver

from hubspot_integration.models import Portal
from otp.models import Delivery, OneTimeCode
from tests.otp.test_generate_otp_action import execution
from tests.signing import post_signed

# What HubSpot calls, with a body that each understands.
ENDPOINTS = {"/hubspot/actions/generate-otp": execution}
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
    assert called == set(ENDPOINTS)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ENDPOINTS)
def test_it_survives_randomly_broken_bodies(portal: Portal, path: str) -> None:
    randomly = random.Random(path)
    refused = 0
    for number in range(ROUNDS):
        body = _broken(ENDPOINTS[path](portal, callbackId=f"ap-{number}"), randomly)
        before = _rows()
        response = post_signed(path, body)
        assert response.status_code < 500, body[:500]
        answer = response.json()
        accepted = response.status_code == 200 and answer["outputFields"]["hs_execution_state"] != "FAIL_CONTINUE"
        if not accepted:
            refused += 1
            assert _rows() == before, body[:500]
    # both kinds must occur, or this test shows nothing
    assert 0.2 * ROUNDS < refused < ROUNDS


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


def _rows() -> tuple[int, int]:
    return OneTimeCode.objects.count(), Delivery.objects.count()


def _leaves(resolver: Any) -> list[Any]:
    return (
        [leaf for inner in resolver.url_patterns for leaf in _leaves(inner)]
        if hasattr(resolver, "url_patterns")
        else [resolver]
    )
