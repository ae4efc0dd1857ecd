"""The rate limit, to the call."""

from sandbox.limits import RollingWindow
from sandbox.local.waiting import becomes
from tests.sandbox.client import Sandbox

PATH = "/account-info/2026-09/details"


def test_the_window_rolls() -> None:
    window = RollingWindow()
    at = [window.take(moment, limit=3, seconds=10) for moment in (0.0, 4.0, 8.0, 9.9, 10.0, 10.1, 14.0)]
    assert at == [True, True, True, False, True, False, True]
    assert window.remaining(3) == 0


def test_110_calls_in_ten_seconds_are_the_limit(sandbox: Sandbox) -> None:
    headers = sandbox.api("GET", PATH, sandbox.token()).headers
    assert headers["X-HubSpot-RateLimit-Max"] == "110"
    assert headers["X-HubSpot-RateLimit-Remaining"] == "109"
    assert headers["X-HubSpot-RateLimit-Interval-Milliseconds"] == "10000"


def test_110_calls_pass_and_the_next_is_told_why_not(sandbox: Sandbox) -> None:
    sandbox.patch("/options", rateWindow=3600)
    token = sandbox.token()
    answers = [sandbox.api("GET", PATH, token) for _ in range(113)]
    assert [answer.status_code for answer in answers] == [200] * 110 + [429] * 3
    refused = answers[-1].json()
    assert refused["message"] == "You have reached your ten_secondly_rolling limit."
    assert refused["policyName"] == "TEN_SECONDLY_ROLLING"
    assert (refused["errorType"], refused["category"]) == ("RATE_LIMIT", "RATE_LIMITS")
    calls = sandbox.get(f"/portals/{sandbox.portal}")["calls"]
    assert (calls["total"], calls["refused"], calls["rateLimited"]) == (113, 3, 3)
    assert calls["byRoute"] == {"account.details": 113}


def test_every_portal_has_its_own_limit_and_the_window_moves_on(sandbox: Sandbox) -> None:
    sandbox.patch("/options", rateLimit=2, rateWindow=3600)
    portals = [portal["portalId"] for portal in sandbox.get("/portals")["portals"]]
    tokens = [sandbox.token(portal) for portal in portals]
    for token in tokens:
        assert [sandbox.api("GET", PATH, token).status_code for _ in range(3)] == [200, 200, 429]
    sandbox.patch("/options", rateWindow=0.001)  # so that every call lies before it
    becomes(lambda: sandbox.api("GET", PATH, tokens[0]).status_code, 200)


def test_callers_without_a_token_take_nothing_from_the_budget(sandbox: Sandbox) -> None:
    sandbox.patch("/options", rateLimit=1, rateWindow=3600)
    token = sandbox.token()
    for _ in range(3):
        assert sandbox.web.get(PATH).status_code == 401
    assert sandbox.api("GET", PATH, token).status_code == 200
