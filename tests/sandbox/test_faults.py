"""Faults on HTTP routes. Those of the token endpoint are with OAuth, those of SMTP with the mailbox."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from sandbox.local.waiting import eventually
from tests.sandbox.client import Process, Sandbox

CONTACTS = "/crm/objects/2026-09/contacts"


@pytest.fixture
def token(sandbox: Sandbox) -> str:
    return sandbox.token()


def _write(sandbox: Sandbox, token: str, *contacts: int) -> httpx.Response:
    inputs = [{"id": str(number), "properties": {"otp_code": "1"}} for number in contacts or (sandbox.contact,)]
    return sandbox.api("POST", f"{CONTACTS}/batch/update", token, json={"inputs": inputs})


def test_a_status_comes_with_body_and_retry_after(sandbox: Sandbox, token: str) -> None:
    sandbox.fault("contacts.batch_update", "status", status=477, body='{"category": "MOVED"}', retryAfter="3", times=1)
    response = _write(sandbox, token)
    assert (response.status_code, response.json()) == (477, {"category": "MOVED"})
    assert response.headers["Retry-After"] == "3"
    assert _write(sandbox, token).status_code == 200
    assert sandbox.history(sandbox.contact, "otp_code") == ["1"]


def test_a_status_without_a_body_has_hubspots_shape(sandbox: Sandbox, token: str) -> None:
    sandbox.fault("contacts", "status", status=503, times=1)
    assert set(_write(sandbox, token).json()) >= {"status", "message", "correlationId", "category"}
    sandbox.fault("contacts", "status", status=429, times=1)
    assert _write(sandbox, token).json()["policyName"] == "TEN_SECONDLY_ROLLING"


def test_a_fault_concerns_its_routes_portal_and_path_only(sandbox: Sandbox, token: str) -> None:
    other = sandbox.get("/portals")["portals"][2]["portalId"]
    fault = sandbox.fault("contacts", "status", status=503, portalId=other)
    dated = sandbox.fault("contacts.read", "status", status=500, match="/2026-09/")
    assert _write(sandbox, token).status_code == 200
    assert sandbox.api("GET", f"{CONTACTS}/{sandbox.contact}", token).status_code == 500
    assert sandbox.api("GET", f"/crm/objects/2026-03/contacts/{sandbox.contact}", token).status_code == 200
    assert sandbox.api("GET", "/crm/properties/2026-09/contacts", sandbox.token(other)).status_code == 200
    assert _write(sandbox, sandbox.token(other)).status_code == 503
    assert (sandbox.fired(fault), sandbox.fired(dated)) == (1, 1)
    sandbox.delete(f"/faults/{fault}")
    assert _write(sandbox, sandbox.token(other)).status_code == 200
    sandbox.delete("/faults")
    assert sandbox.get("/faults")["faults"] == []


@pytest.mark.parametrize(("kind", "written"), [("drop", []), ("drop_after", ["1"])])
def test_a_dropped_call_has_no_answer(sandbox: Sandbox, token: str, kind: str, written: list[str]) -> None:
    sandbox.fault("contacts.batch_update", kind, times=1)
    with pytest.raises(httpx.TransportError):
        _write(sandbox, token)
    assert sandbox.history(sandbox.contact, "otp_code") == written
    assert _write(sandbox, token).status_code == 200
    logged = sandbox.get("/requests", route="contacts.batch_update")["requests"]
    assert [call["status"] for call in logged] == [200, 499]


def test_the_token_endpoint_can_drop_too(sandbox: Sandbox) -> None:
    sandbox.fault("oauth.token", "drop", times=1)
    form = {"grant_type": "refresh_token"}
    with pytest.raises(httpx.TransportError):
        sandbox.web.post("/oauth/2026-09/token", data=form)
    assert sandbox.web.post("/oauth/2026-09/token", data=form).status_code == 400


def test_a_slow_call_is_answered_late_and_other_faults_still_strike(sandbox: Sandbox, token: str) -> None:
    sandbox.fault("contacts", "slow", seconds=0.2)
    sandbox.fault("contacts", "status", status=502)
    began = time.monotonic()
    assert _write(sandbox, token).status_code == 502
    assert time.monotonic() - began >= 0.2


def test_a_held_call_goes_on_when_the_fault_is_removed(sandbox: Sandbox, token: str) -> None:
    fault = sandbox.fault("contacts.batch_update", "hold")
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(_write(sandbox, token).status_code))
    caller.start()
    eventually(lambda: sandbox.fired(fault) == 1)
    assert answers == []
    assert sandbox.history(sandbox.contact, "otp_code") == []
    sandbox.delete(f"/faults/{fault}")
    caller.join()
    assert answers == [200]


def test_half_a_batch_fails(sandbox: Sandbox, token: str) -> None:
    sandbox.fault("contacts.batch_update", "half_batch", times=1)
    first = sandbox.contact
    answer = _write(sandbox, token, first, first + 1, first + 2, first + 3)
    body = answer.json()
    assert (answer.status_code, body["numErrors"]) == (207, 2)
    assert [result["id"] for result in body["results"]] == [str(first), str(first + 2)]
    assert [problem["context"]["ids"] for problem in body["errors"]] == [[str(first + 1)], [str(first + 3)]]
    assert [sandbox.history(first + number, "otp_code") for number in range(4)] == [["1"], [], ["1"], []]


def test_completions_can_get_lost(sandbox: Sandbox, token: str) -> None:
    sandbox.fault("callbacks.complete", "status", status=500)
    assert sandbox.complete(token, "ap-1-2-3-0", a="b").status_code == 500
    batch = {"inputs": [{"callbackId": "ap-1-2-3-0", "outputFields": {}}]}
    path = "/automation/actions/callbacks/2026-09/complete"
    assert sandbox.api("POST", path, token, json=batch).status_code == 500
    assert sandbox.get("/strays")["completions"] == []


def test_every_route_can_fail(sandbox: Sandbox, token: str) -> None:
    calls: dict[str, Callable[[], httpx.Response]] = {
        "account.details": lambda: sandbox.api("GET", "/account-info/2026-09/details", token),
        "contacts.batch_read": lambda: sandbox.api("POST", f"{CONTACTS}/batch/read", token, json={}),
        "contacts.update": lambda: sandbox.api("PATCH", f"{CONTACTS}/1", token, json={}),
        "contacts.read": lambda: sandbox.api("GET", f"{CONTACTS}/1", token),
        "properties.list": lambda: sandbox.api("GET", "/crm/properties/2026-09/contacts", token),
        "properties.read": lambda: sandbox.api("GET", "/crm/properties/2026-09/contacts/email", token),
        "properties.create": lambda: sandbox.api("POST", "/crm/properties/2026-09/contacts", token, json={}),
        "groups.list": lambda: sandbox.api("GET", "/crm/properties/2026-09/contacts/groups", token),
        "groups.create": lambda: sandbox.api("POST", "/crm/properties/2026-09/contacts/groups", token, json={}),
        "appinstalls.uninstall": lambda: sandbox.api("DELETE", "/appinstalls/2026-09/external-install", token),
        "oauth.introspect": lambda: sandbox.web.post("/oauth/2026-09/token/introspect", data={"a": "b"}),
        "oauth.revoke": lambda: sandbox.web.post("/oauth/2026-09/token/revoke", data={"a": "b"}),
        "oauth.token": lambda: sandbox.web.post("/oauth/2026-09/token", data={"a": "b"}),
    }
    for route, call in calls.items():
        fault = sandbox.fault(route, "status", status=418)
        assert call().status_code == 418, route
        sandbox.delete(f"/faults/{fault}")


def test_added_latency_is_added_to_every_call(sandbox: Sandbox, token: str) -> None:
    sandbox.patch("/options", latencyMs=100)
    began = time.monotonic()
    assert _write(sandbox, token).status_code == 200
    assert time.monotonic() - began >= 0.1


def test_what_is_held_does_not_hold_up_the_end(project: Path) -> None:
    process = Process(project, "--profile", "test")
    sandbox = Sandbox(process)
    token, fault = sandbox.token(), sandbox.fault("contacts", "hold")
    caller = threading.Thread(target=lambda: _write_quietly(sandbox, token))
    caller.start()
    eventually(lambda: sandbox.fired(fault) == 1)
    assert process.stop() == 0  # for ever, were what is held not let go
    caller.join()


def _write_quietly(sandbox: Sandbox, token: str) -> None:
    with contextlib.suppress(httpx.TransportError):
        _write(sandbox, token)


def test_a_late_call_is_carried_out_although_nobody_was_told(sandbox: Sandbox, token: str) -> None:
    fault = sandbox.fault("contacts.batch_update", "late", seconds=60, times=1)
    with pytest.raises(httpx.TransportError):
        _write(sandbox, token)
    assert sandbox.history(sandbox.contact, "otp_code") == []
    sandbox.delete(f"/faults/{fault}")
    eventually(lambda: sandbox.history(sandbox.contact, "otp_code") == ["1"])
    sandbox.fault("contacts.batch_update", "late", seconds=0.1, times=1)
    with pytest.raises(httpx.TransportError):
        _write(sandbox, token)
    eventually(lambda: sandbox.history(sandbox.contact, "otp_code") == ["1", "1"])


def test_a_fault_can_concern_batches_with_one_member_only(sandbox: Sandbox, token: str) -> None:
    other = sandbox.contact + 1
    sandbox.fault("contacts.batch_update", "status", status=400, member=str(other))
    assert _write(sandbox, token, sandbox.contact).status_code == 200
    assert _write(sandbox, token, sandbox.contact, other).status_code == 400
    sandbox.fault("callbacks.complete_batch", "status", status=400, member="ap-2")
    path = "/automation/actions/callbacks/2026-09/complete"
    for number, status in ((1, 204), (2, 400)):
        inputs = [{"callbackId": f"ap-{number}", "outputFields": {}, "typedOutputs": {}}]
        assert sandbox.api("POST", path, token, json={"inputs": inputs}).status_code == status
