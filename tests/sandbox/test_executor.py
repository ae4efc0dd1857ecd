"""Running workflow actions: what is sent, how answers are understood, retried, blocked and completed."""

import time
from itertools import pairwise
from typing import Any

import pytest

from sandbox import signing
from sandbox.local.waiting import PATIENCE, becomes, eventually
from tests.sandbox.app import SUCCESS, App, Received, Reply, outputs
from tests.sandbox.client import CLIENT_SECRET, Sandbox

DONE = {"result": "good", "token": "T-9", "hs_execution_state": "SUCCESS"}


def _set_steps(sandbox: Sandbox, *steps: dict[str, Any]) -> None:
    sandbox.put(f"/workflows/{sandbox.workflow}", steps=list(steps))


def _issue(**inputs: str) -> dict[str, Any]:
    values = {name: {"type": "STATIC_VALUE", "value": value} for name, value in inputs.items()}
    email = {"type": "OBJECT_PROPERTY", "propertyName": "email"}
    return {"actionUid": "issue_badge", "inputs": {"email": email, **values}}


# ---------------------------------------------------------------------------------------------- what is sent


def test_it_sends_what_hubspot_sends(sandbox: Sandbox, app: App) -> None:
    path = f"/portals/{sandbox.portal}/contacts/{sandbox.contact}"
    sandbox.patch(path, properties={"email": "ada@example.com", "firstname": "Zoë 🎉"})

    callback_id = sandbox.enrol()

    sandbox.execution(callback_id, "SUCCESS")
    request = app.received[0]
    assert (request.method, request.target) == ("POST", "/actions/issue")
    assert request.headers["Content-Type"] == "application/json"
    assert "Zoë 🎉".encode() in request.body
    assert b": " not in request.body
    number = callback_id.split("-")[2]
    assert callback_id == f"ap-{sandbox.portal}-{number}-1-0"
    body = request.json
    definition = body["origin"]["actionDefinitionId"]
    assert body == {
        "callbackId": callback_id,
        "origin": {
            "portalId": sandbox.portal,
            "actionDefinitionId": definition,
            "actionDefinitionVersion": 1,
            "extensionDefinitionId": definition,
            "extensionDefinitionVersionId": 1,
        },
        "context": {"workflowId": sandbox.workflow, "actionId": 1, "source": "WORKFLOWS"},
        "object": {
            "objectId": sandbox.contact,
            "objectType": "CONTACT",
            "properties": {"firstname": "Zoë 🎉", "phone": None},
        },
        "fields": {"email": "ada@example.com", "tongue": body["fields"]["tongue"]},
        "inputFields": body["fields"],
        "typedInputs": {name: {"value": value, "type": "STRING"} for name, value in body["fields"].items()},
    }


def _assert_signed(app: App, request: Received) -> None:
    url = f"{app.url}{request.target}"
    timestamp = request.headers["X-HubSpot-Request-Timestamp"]
    assert 0 <= request.at - int(timestamp) / 1000 < PATIENCE
    v3 = signing.v3(CLIENT_SECRET, request.method, url, request.body, timestamp)
    assert request.headers["X-HubSpot-Signature-v3"] == v3
    if request.headers["X-HubSpot-Signature-Version"] == "v2":
        assert request.headers["X-HubSpot-Signature"] == signing.v2(CLIENT_SECRET, request.method, url, request.body)
    else:
        assert request.headers["X-HubSpot-Signature-Version"] == "v1"
        assert request.headers["X-HubSpot-Signature"] == signing.v1(CLIENT_SECRET, request.body)


def test_every_attempt_is_signed_afresh(sandbox: Sandbox, app: App) -> None:
    app.answer(Reply(status=503), Reply(SUCCESS))
    sandbox.execution(sandbox.enrol(), "SUCCESS")
    assert len(app.received) == 2
    for request in app.received:
        _assert_signed(app, request)
    stamps = [request.headers["X-HubSpot-Request-Timestamp"] for request in app.received]
    assert stamps[0] < stamps[1]


def test_empty_optional_inputs_are_left_out_and_required_ones_are_not(sandbox: Sandbox, app: App) -> None:
    path = f"/portals/{sandbox.portal}/contacts/{sandbox.contact}"
    sandbox.patch(path, properties={"email": "", "hs_language": ""})
    sandbox.execution(sandbox.enrol(), "SUCCESS")
    assert app.received[0].json["inputFields"] == {"email": ""}


def test_greyed_out_inputs_are_not_sent(sandbox: Sandbox, app: App) -> None:
    _set_steps(sandbox, _issue(custom="no", colour="red"), _issue(custom="yes", colour="red"))
    sandbox.enrol()
    eventually(lambda: len(app.received) == 2)
    first, second = (request.json["inputFields"] for request in app.received)
    assert "colour" not in first
    assert second["colour"] == "red"


def test_later_steps_use_earlier_outputs(sandbox: Sandbox, app: App) -> None:
    token = {"type": "FIELD_DATA", "actionId": 1, "dataKey": "token"}
    _set_steps(sandbox, _issue(), {"actionUid": "check_badge", "inputs": {"token": token}})
    app.respond = lambda request: outputs(verdict="known") if "check" in request.target else Reply(SUCCESS)
    sandbox.enrol()
    eventually(lambda: sandbox.get("/executions", state="SUCCESS")["total"] == 2)
    check = app.received[1].json
    assert app.received[1].target == "/actions/check"
    assert check["inputFields"] == {"token": "T-1"}
    assert check["context"]["actionId"] == 2
    assert check["callbackId"] != app.received[0].json["callbackId"]
    assert "properties" not in check["object"]  # this action asks for none


# ------------------------------------------------------------------------------------- how answers are understood


def test_success_shows_its_rule_branch_and_outputs(sandbox: Sandbox, app: App) -> None:
    execution = sandbox.execution(sandbox.enrol(), "SUCCESS")
    assert execution["message"] == "Badge T-1 issued."
    assert execution["branch"] == "result = good"
    assert execution["outputFields"] == {"result": "good", "token": "T-1"}
    assert execution["violations"] == []
    attempt = execution["attempts"][0]
    assert (attempt["status"], attempt["duplicate"], attempt["error"]) == (200, False, "")
    assert attempt["latencyMs"] > 0
    moments = [execution[name] for name in ("queuedAt", "answeredAt", "finishedAt")]
    assert moments == sorted(moments)


def test_a_failure_that_goes_on_looks_like_success_unless_a_rule_matches(sandbox: Sandbox, app: App) -> None:
    app.answer(outputs(result="bad", hs_execution_state="FAIL_CONTINUE"))
    assert sandbox.execution(sandbox.enrol(), "FAIL_CONTINUE")["message"] == "Action succeeded"
    app.answer(outputs(result="bad", token="TOO_LATE", hs_execution_state="FAIL_CONTINUE"))
    assert sandbox.execution(sandbox.enrol(), "FAIL_CONTINUE")["message"] == "Too late for TOO_LATE."


@pytest.mark.parametrize("status", [400, 401, 404, 301])
def test_other_statuses_fail_and_the_contact_goes_on(sandbox: Sandbox, app: App, status: int) -> None:
    _set_steps(sandbox, _issue(), _issue())
    app.answer(Reply({"error": "no"}, status, {"Location": "/elsewhere"}), Reply(SUCCESS))
    execution = sandbox.execution(sandbox.enrol(), "REJECTED")
    assert len(execution["attempts"]) == 1
    eventually(lambda: sandbox.get("/executions", state="SUCCESS")["total"] == 1)


@pytest.mark.parametrize(
    "reply",
    [Reply(status=500), Reply(status=503), Reply(drop=True), None],
    ids=["500", "503", "drop", "timeout"],
)
def test_failures_are_retried_under_the_same_callback_id(sandbox: Sandbox, app: App, reply: Reply | None) -> None:
    if reply is None:
        sandbox.patch("/options", actionTimeoutSeconds=0.5)
    app.answer(reply or app.held(), Reply(SUCCESS))
    callback_id = sandbox.enrol()
    execution = sandbox.execution(callback_id, "SUCCESS")
    *failed, last = execution["attempts"]
    assert len(failed) == 1 or reply is None  # a busy machine may take more than half a second again
    for attempt in failed:
        assert (attempt["status"] or 599) >= 500
        assert bool(attempt["error"]) == (attempt["status"] is None)
    assert last["status"] == 200
    assert {request.json["callbackId"] for request in app.received} == {callback_id}


def test_retries_wait_twice_as_long_each_time(sandbox: Sandbox, app: App) -> None:
    app.answer(Reply(status=503), Reply(status=503), Reply(status=503), Reply(SUCCESS))
    execution = sandbox.execution(sandbox.enrol(), "SUCCESS")
    starts = [attempt["startedAt"] for attempt in execution["attempts"]]
    for (earlier, later), least in zip(pairwise(starts), (50, 100, 200), strict=True):
        assert later - earlier >= least


def test_a_timeout_says_so_while_it_waits(sandbox: Sandbox, app: App) -> None:
    sandbox.patch("/options", retryBaseSeconds=3600, actionTimeoutSeconds=0.1)
    app.answer(app.held())
    execution = sandbox.execution(sandbox.enrol(), "RETRYING")
    assert execution["message"].startswith("Action failed because the connected app took too long to respond")
    assert execution["attempts"][0]["error"] == "no answer within 0.1 s"


def test_429_is_retried_after_the_milliseconds_it_names(sandbox: Sandbox, app: App) -> None:
    sandbox.patch("/options", retryBaseSeconds=60)
    app.answer(Reply(status=429, headers={"Retry-After": "150"}), Reply(SUCCESS))
    execution = sandbox.execution(sandbox.enrol(), "SUCCESS")
    starts = [attempt["startedAt"] for attempt in execution["attempts"]]
    assert starts[1] - starts[0] >= 150


@pytest.mark.parametrize(
    ("reply", "violation"),
    [
        (outputs(token=7), "token is int, every output must be a string"),
        (outputs(result=None), "result is NoneType, every output must be a string"),
        (outputs(colour="red"), "colour is not declared in outputFields"),
        (outputs(result="perhaps"), "result has the value 'perhaps', which is not one of its options"),
        (outputs(left="few"), "left is 'few', which is not a number"),
        (outputs(at="soon"), "at is 'soon', which is neither epoch milliseconds nor ISO-8601"),
        (outputs(hs_execution_state="MAYBE"), "hs_execution_state 'MAYBE' is not one HubSpot knows here"),
        (Reply(b"<html>"), "the answer has no outputFields"),
        (Reply(b""), "the answer has no outputFields"),
        (Reply({"ok": True}), "the answer has no outputFields"),
    ],
)
def test_what_hubspot_takes_in_silence_is_recorded(sandbox: Sandbox, app: App, reply: Reply, violation: str) -> None:
    app.answer(reply)
    assert sandbox.execution(sandbox.enrol(), "SUCCESS")["violations"] == [violation]


def test_outputs_that_are_no_strings_reach_later_steps_as_far_as_they_can(sandbox: Sandbox, app: App) -> None:
    app.answer(outputs(token=7, result=None, left=["a"]))
    assert sandbox.execution(sandbox.enrol(), "SUCCESS")["outputFields"] == {"token": "7", "left": '["a"]'}


def test_allowed_outputs_are_no_violation(sandbox: Sandbox, app: App) -> None:
    app.answer(outputs(result="", at="1795000600000", left="3", unlabelled="x", hs_anything="y"))
    assert sandbox.execution(sandbox.enrol(), "SUCCESS")["violations"] == []


# ------------------------------------------------------------------------------------------ blocking and completing


def _blocked(sandbox: Sandbox, app: App, **more: str) -> str:
    app.answer(outputs(hs_execution_state="BLOCK", **more))
    callback_id = sandbox.enrol()
    sandbox.execution(callback_id, "BLOCKED")
    return callback_id


def test_a_blocked_step_waits_for_its_completion(sandbox: Sandbox, app: App) -> None:
    _set_steps(sandbox, _issue(), _issue())
    callback_id = _blocked(sandbox, app)
    token = sandbox.token()
    completed_at = time.time()
    assert sandbox.complete(token, callback_id, **DONE).status_code == 204
    execution = sandbox.execution(callback_id, "SUCCESS")
    assert execution["outputFields"] == {"result": "good", "token": "T-9"}
    assert execution["message"] == "Badge T-9 issued."
    assert [completion["effect"] for completion in execution["completions"]] == ["APPLIED"]
    eventually(lambda: len(app.received) == 2)
    assert app.received[1].at >= completed_at  # the second step did not begin before


def test_without_a_duration_it_waits_a_week(sandbox: Sandbox, app: App) -> None:
    execution = sandbox.execution(_blocked(sandbox, app), "BLOCKED")
    began_at = execution["expiresAt"] - 7 * 86_400_000
    assert execution["answeredAt"] <= began_at <= time.time() * 1000
    assert execution["violations"] == []


def test_a_duration_that_is_none_is_recorded(sandbox: Sandbox, app: App) -> None:
    execution = sandbox.execution(_blocked(sandbox, app, hs_expiration_duration="20 minutes"), "BLOCKED")
    assert "'20 minutes' is not an ISO-8601 duration" in execution["violations"][0]


def test_a_block_runs_out_and_the_contact_goes_on_without_outputs(sandbox: Sandbox, app: App) -> None:
    _set_steps(sandbox, _issue(), _issue())
    app.answer(outputs(hs_execution_state="BLOCK", hs_expiration_duration="PT0.2S"), Reply(SUCCESS))
    callback_id = sandbox.enrol()
    execution = sandbox.execution(callback_id, "EXPIRED")
    assert execution["outputFields"] == {}
    assert execution["branch"] == "result = (empty)"
    eventually(lambda: sandbox.get("/executions", state="SUCCESS")["total"] == 1)
    assert sandbox.complete(sandbox.token(), callback_id, **DONE).status_code == 204
    assert sandbox.execution(callback_id)["completions"][0]["effect"] == "LATE"


def test_a_completion_before_the_block_answer_is_lost(sandbox: Sandbox, app: App) -> None:
    token = sandbox.token()

    def complete_too_early(request: Received) -> Reply:
        assert sandbox.complete(token, request.json["callbackId"], **DONE).status_code == 204
        return outputs(hs_execution_state="BLOCK", hs_expiration_duration="PT0.3S")

    app.respond = complete_too_early
    execution = sandbox.execution(sandbox.enrol(), "EXPIRED")
    assert execution["lostCompletions"] == 1
    assert execution["completions"][0]["effect"] == "LOST"


def test_a_repeated_completion_changes_nothing(sandbox: Sandbox, app: App) -> None:
    callback_id, token = _blocked(sandbox, app), sandbox.token()
    sandbox.complete(token, callback_id, **DONE)
    sandbox.complete(token, callback_id, result="bad", hs_execution_state="FAIL_CONTINUE")
    execution = sandbox.execution(callback_id, "SUCCESS")
    assert [completion["effect"] for completion in execution["completions"]] == ["APPLIED", "LATE"]
    assert execution["outputFields"]["result"] == "good"


def test_204_proves_nothing(sandbox: Sandbox, app: App) -> None:
    callback_id = _blocked(sandbox, app)
    assert sandbox.complete(sandbox.token(), "ap-1-2-3-0", **DONE).status_code == 204
    assert sandbox.get("/strays")["completions"][0]["effect"] == "UNKNOWN"
    foreign = sandbox.token(sandbox.get("/portals")["portals"][2]["portalId"])
    assert sandbox.complete(foreign, callback_id, **DONE).status_code == 204
    execution = sandbox.execution(callback_id)
    assert (execution["state"], execution["completions"][0]["effect"]) == ("BLOCKED", "FOREIGN")


def test_completing_needs_the_scope_and_strings(sandbox: Sandbox, app: App) -> None:
    callback_id = _blocked(sandbox, app)
    without = sandbox.token(None, "oauth")
    refused = sandbox.complete(without, callback_id, **DONE)
    assert refused.json()["errors"][0]["context"] == {"requiredGranularScopes": ["automation"]}
    token, base = sandbox.token(), "/automation/actions/callbacks/2026-09"
    for path, body in (
        (f"{base}/{callback_id}/complete", {"outputFields": {"left": 3}}),
        (f"{base}/{callback_id}/complete", {}),
        (f"{base}/complete", {"inputs": [{"callbackId": callback_id, "outputFields": {"left": 3}}]}),
        (f"{base}/complete", {"inputs": [{"outputFields": DONE}]}),
        (f"{base}/complete", {"inputs": [{"callbackId": callback_id, "outputFields": DONE}] * 101}),
    ):
        response = sandbox.api("POST", path, token, json=body)
        assert (response.status_code, response.json()["category"]) == (400, "VALIDATION_ERROR")
    assert sandbox.execution(callback_id)["completions"] == []


def test_completions_are_checked_like_answers(sandbox: Sandbox, app: App) -> None:
    callback_id = _blocked(sandbox, app)
    sandbox.complete(sandbox.token(), callback_id, colour="red", hs_execution_state="BLOCK")
    assert sandbox.execution(callback_id, "SUCCESS")["violations"] == [
        "colour is not declared in outputFields",
        "hs_execution_state 'BLOCK' is not one HubSpot knows here",
    ]


# ---------------------------------------------------------------------------------------------- duplicates and bursts


def test_duplicates_come_at_once_or_one_after_another(sandbox: Sandbox, app: App) -> None:
    callback_id = sandbox.enrol()
    sandbox.execution(callback_id, "SUCCESS")
    app.answer(app.together(4))
    together = sandbox.post("/duplicates", callbackId=callback_id, times=4)["attempts"]
    assert app.most_at_once == 4
    received = list(app.received)
    app.reset()
    one_by_one = sandbox.post("/duplicates", callbackId=callback_id, times=2, concurrently=False)["attempts"]
    assert app.most_at_once == 1
    assert len(together) == 4
    assert all(attempt["duplicate"] and attempt["status"] == 200 for attempt in together + one_by_one)
    assert {request.json["callbackId"] for request in received + app.received} == {callback_id}
    execution = sandbox.execution(callback_id)
    assert (execution["state"], len(execution["attempts"])) == ("SUCCESS", 7)


def test_first_deliveries_may_come_in_copies(sandbox: Sandbox, app: App) -> None:
    app.answer(app.together(3))
    callback_id = sandbox.enrol(copies=3)
    becomes(lambda: [a["status"] for a in sandbox.execution(callback_id)["attempts"]], [200] * 3)
    attempts = sandbox.execution(callback_id)["attempts"]
    assert app.most_at_once == 3
    assert [a["duplicate"] for a in attempts].count(True) == 2
    assert sandbox.execution(callback_id)["state"] == "SUCCESS"


def test_a_deleted_contact_leaves_its_workflows(sandbox: Sandbox, app: App) -> None:
    _set_steps(sandbox, _issue(), _issue())
    callback_id = _blocked(sandbox, app)
    sandbox.delete(f"/portals/{sandbox.portal}/contacts/{sandbox.contact}")
    sandbox.complete(sandbox.token(), callback_id, **DONE)
    eventually(lambda: sandbox.get("/executions", state="UNENROLLED")["total"] == 1)


def test_only_so_many_executions_run_at_a_time_in_each_portal(sandbox: Sandbox, app: App) -> None:
    sandbox.patch("/options", executionConcurrency=2)
    held = app.held()
    app.respond = lambda one: held if one.json["origin"]["portalId"] == sandbox.portal else Reply(SUCCESS)
    ids = range(sandbox.contact, sandbox.contact + 6)
    sandbox.enrol(*ids)
    other = sandbox.get("/portals")["portals"][2]["portalId"]
    workflow = sandbox.get("/workflows", portalId=other)["workflows"][0]["workflowId"]
    alone = sandbox.post("/enrolments", workflowId=workflow, count=1)["enrolments"][0]["callbackId"]
    sandbox.execution(alone, "SUCCESS")
    becomes(lambda: len(app.received), 3)  # two that are held, and the other portal's
    app.let_go.set()
    becomes(lambda: sandbox.get("/executions", portalId=sandbox.portal, state="SUCCESS")["total"], 6)
    assert app.most_at_once <= 3
    executions = sandbox.get("/executions", portalId=sandbox.portal)["executions"]
    spans = [(e["attempts"][0]["startedAt"], e["answeredAt"]) for e in executions]
    for start, _ in spans:
        assert sum(begin <= start < end for begin, end in spans) <= 2


def test_a_burst_counts_what_becomes_of_it(sandbox: Sandbox, app: App) -> None:
    token = sandbox.token()
    app.answer(outputs(hs_execution_state="BLOCK"))
    answer = sandbox.post("/enrolments", workflowId=sandbox.workflow, count=120, property="otp_code")
    burst_id, enrolments = answer["burstId"], answer["enrolments"]
    assert len({enrolment["callbackId"] for enrolment in enrolments}) == 120
    eventually(lambda: sandbox.get(f"/bursts/{burst_id}")["blocked"] == 120)
    inputs = [{"id": str(e["contactId"]), "properties": {"otp_code": "1"}} for e in enrolments[:100]]
    sandbox.api("POST", "/crm/objects/2026-09/contacts/batch/update", token, json={"inputs": inputs})
    other = [{"id": str(e["contactId"]), "properties": {"city": "Bonn"}} for e in enrolments[100:]]
    sandbox.api("POST", "/crm/objects/2026-09/contacts/batch/update", token, json={"inputs": other})
    for number, enrolment in enumerate(enrolments[:3]):
        state = "FAIL_CONTINUE" if number else "SUCCESS"
        sandbox.complete(token, enrolment["callbackId"], hs_execution_state=state)
    summary = eventually(lambda: (s := sandbox.get(f"/bursts/{burst_id}"))["blocked"] == 117 and s)
    assert isinstance(summary, dict)
    counts = {name: summary[name] for name in ("enrolled", "executions", "answered", "written", "completed", "failed")}
    assert counts == {
        "enrolled": 120, "executions": 120, "answered": 120, "written": 100, "completed": 1, "failed": 2,
    }  # fmt: skip
    assert set(summary["answerMs"]) == {"p50", "p90", "p99", "max"}
    assert summary["firstAnswerAt"] <= summary["lastAnswerAt"] <= summary["lastWriteAt"] <= summary["lastCompletionAt"]
    assert sandbox.get("/bursts")["bursts"][0]["enrolled"] == 120
    assert sandbox.get("/executions", burstId=burst_id, state="BLOCKED")["total"] == 117


def test_a_reset_ends_everything_under_way(sandbox: Sandbox, app: App) -> None:
    token, callback_id = sandbox.token(), _blocked(sandbox, app)
    sandbox.post("/reset", keepInstalls=True)
    assert sandbox.control("GET", f"/executions/{callback_id}").status_code == 404
    assert sandbox.get(f"/portals/{sandbox.portal}")["installed"]
    assert sandbox.api("GET", "/account-info/2026-09/details", token).status_code == 200
    sandbox.post("/reset")
    assert not sandbox.get(f"/portals/{sandbox.portal}")["installed"]
    assert sandbox.api("GET", "/account-info/2026-09/details", token).status_code == 401
