"""Webhooks, card requests and option fetches: the other calls HubSpot makes."""

import json
from typing import Any

import pytest

from sandbox import signing
from sandbox.local.waiting import eventually
from tests.sandbox.app import App, Received, Reply
from tests.sandbox.client import APP_ID, CLIENT_SECRET, Sandbox


def _assert_signed(app: App, request: Received, version: str) -> None:
    url, timestamp = f"{app.url}{request.target}", request.headers["X-HubSpot-Request-Timestamp"]
    v3 = signing.v3(CLIENT_SECRET, request.method, url, request.body, timestamp)
    assert request.headers["X-HubSpot-Signature-v3"] == v3
    older = {
        "v1": signing.v1(CLIENT_SECRET, request.body),
        "v2": signing.v2(CLIENT_SECRET, request.method, url, request.body),
    }
    assert request.headers["X-HubSpot-Signature-Version"] == version
    assert request.headers["X-HubSpot-Signature"] == older[version]


# ------------------------------------------------------------------------------------------------------ webhooks


@pytest.mark.parametrize("by", ["control", "page"])
def test_a_privacy_deletion_is_two_events(sandbox: Sandbox, app: App, by: str) -> None:
    app.answer(Reply())
    if by == "control":
        path = f"/portals/{sandbox.portal}/contacts/{sandbox.contact}"
        assert sandbox.delete(path, privacy="true") == {"events": 2}
    else:
        record = f"/contacts/{sandbox.portal}/record/0-1/{sandbox.contact}"
        assert sandbox.web.post(f"{record}/delete", data={"kind": "privacy"}).status_code == 303
    eventually(lambda: app.received)
    request = app.received[0]
    assert request.target == "/webhooks"
    _assert_signed(app, request, "v1")
    privacy, deletion = request.json
    assert [privacy["subscriptionType"], deletion["subscriptionType"]] == ["contact.privacyDeletion", "object.deletion"]
    for event in (privacy, deletion):
        assert (event["portalId"], event["objectId"], event["appId"]) == (sandbox.portal, sandbox.contact, APP_ID)
        assert event["attemptNumber"] == 0
    assert deletion["objectTypeId"] == "0-1"
    assert privacy["eventId"] != deletion["eventId"]


def test_an_ordinary_deletion_is_one_event(sandbox: Sandbox, app: App) -> None:
    assert sandbox.delete(f"/portals/{sandbox.portal}/contacts/{sandbox.contact}") == {"events": 1}
    eventually(lambda: app.received)
    assert [event["subscriptionType"] for event in app.received[0].json] == ["object.deletion"]


def test_webhooks_are_repeated_until_they_are_heard(sandbox: Sandbox, app: App) -> None:
    app.answer(Reply(status=404), Reply(drop=True), Reply(status=500), Reply(status=204, body=b""))
    sandbox.delete(f"/portals/{sandbox.portal}/contacts/{sandbox.contact}")
    eventually(lambda: [d["status"] for d in sandbox.get("/webhooks")["deliveries"]] == [404, None, 500, 204])
    assert [request.json[0]["attemptNumber"] for request in app.received] == [0, 1, 2, 3]
    assert len({request.json[0]["eventId"] for request in app.received}) == 1
    for request in app.received:
        _assert_signed(app, request, "v1")


def test_one_batch_spans_portals_and_holds_100_events(sandbox: Sandbox, app: App) -> None:
    portals = [portal["portalId"] for portal in sandbox.get("/portals")["portals"]]
    events = [
        {"portalId": portals[number % 3], "subscriptionType": "object.deletion", "objectId": number}
        for number in range(150)
    ]
    unwanted = {"portalId": portals[0], "subscriptionType": "contact.deletion", "objectId": 1}
    assert sandbox.post("/webhooks", events=[*events, unwanted]) == {"events": 150}
    eventually(lambda: len(app.received) == 2)
    assert sorted(len(request.json) for request in app.received) == [50, 100]
    assert {event["portalId"] for event in app.received[0].json} == set(portals)


# --------------------------------------------------------------------------------------------------- card requests


def _fetch(sandbox: Sandbox, app: App, **more: Any) -> Any:
    body = {"portalId": sandbox.portal, "url": f"{app.url}/card?contactId=51", **more}
    return sandbox.post("/card-fetch", **body)


def test_a_cards_request_carries_who_asks_signed(sandbox: Sandbox, app: App) -> None:
    app.answer(Reply({"ok": True}, headers={"Cache-Control": "no-store"}))
    user = sandbox.get(f"/portals/{sandbox.portal}")["users"][1]
    answer = _fetch(sandbox, app, userId=user["userId"])
    assert (answer["status"], answer["body"], answer["attempts"]) == (200, {"ok": True}, 1)
    assert answer["headers"]["cache-control"] == "no-store"
    request = app.received[0]
    assert request.target == (
        f"/card?contactId=51&userId={user['userId']}&portalId={sandbox.portal}"
        f"&userEmail=tom%40aurora-outdoor.example&appId={APP_ID}"
    )
    assert request.body == b""
    _assert_signed(app, request, "v2")


def test_a_cards_body_is_compact_json(sandbox: Sandbox, app: App) -> None:
    _fetch(sandbox, app, method="POST", url=f"{app.url}/card/issue", body={"name": "Zoë", "n": 1})
    request = app.received[0]
    assert request.target.startswith("/card/issue?userId=")
    assert request.body == json.dumps({"name": "Zoë", "n": 1}, separators=(",", ":"), ensure_ascii=False).encode()
    _assert_signed(app, request, "v2")


def test_awkward_urls_are_signed_as_they_are_sent(sandbox: Sandbox, app: App) -> None:
    _fetch(sandbox, app, url=f"{app.url}/card?q=a%20b%2Bc&d=(x)'y',z&e=ö#part")
    request = app.received[0]
    assert request.target.startswith("/card?q=a%20b%2Bc&d=(x)'y',z&e=%C3%B6&userId=")
    _assert_signed(app, request, "v2")


@pytest.mark.parametrize("first", [Reply(status=503), Reply(drop=True)])
def test_a_failed_card_request_is_repeated_once(sandbox: Sandbox, app: App, first: Reply) -> None:
    app.answer(first, Reply({"ok": True}))
    answer = _fetch(sandbox, app, method="POST", body={"key": "k"})
    assert (answer["status"], answer["attempts"]) == (200, 2)
    assert app.received[0].body == app.received[1].body


def test_other_statuses_and_a_second_failure_come_through(sandbox: Sandbox, app: App) -> None:
    app.answer(Reply({"no": 1}, 409))
    assert (_fetch(sandbox, app)["status"], len(app.received)) == (409, 1)
    app.answer(Reply({"no": 1}, 500))
    assert (_fetch(sandbox, app)["status"], len(app.received)) == (500, 3)
    app.answer(Reply(drop=True))
    body = {"portalId": sandbox.portal, "url": f"{app.url}/card"}
    assert sandbox.control("POST", "/card-fetch", json=body).status_code == 502
    app.answer(app.held())
    assert sandbox.control("POST", "/card-fetch", json={**body, "timeout": 100}).status_code == 502


def test_redirects_are_not_followed(sandbox: Sandbox, app: App) -> None:
    app.answer(Reply(status=302, headers={"Location": f"{app.url}/else"}))
    assert _fetch(sandbox, app)["status"] == 302
    assert len(app.received) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "https://evil.example/card"}, "url"),
        ({"method": "TRACE"}, "method"),
        ({"method": "GET", "body": {}}, "body"),
        ({"userId": 1}, "userId"),
        ({"portalId": 1}, "portalId"),
    ],
)
def test_hubspot_refuses_some_card_requests_itself(
    sandbox: Sandbox, app: App, changes: dict[str, Any], field: str
) -> None:
    body = {"portalId": sandbox.portal, "url": f"{app.url}/card", **changes}
    response = sandbox.control("POST", "/card-fetch", json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (400, field)
    assert app.received == []


def test_a_card_sends_objects_only(sandbox: Sandbox, app: App) -> None:
    body = {"portalId": sandbox.portal, "url": f"{app.url}/card", "method": "POST", "body": [{"a": 1}]}
    response = sandbox.control("POST", "/card-fetch", json=body)
    assert response.status_code == 400
    assert "one object" in response.json()["error"]["message"]
    assert app.received == []


def test_without_hubspots_fence_a_page_has_anything_signed(sandbox: Sandbox, app: App) -> None:
    assert sandbox.control("PATCH", "/options", json={"enforcePermittedUrls": False}).is_success
    elsewhere = app.url.replace("127.0.0.1", "localhost")
    try:
        _fetch(sandbox, app, method="POST", url=f"{elsewhere}/anything", body=[{"a": 1}])
    finally:
        assert sandbox.control("PATCH", "/options", json={"enforcePermittedUrls": True}).is_success
    (request,) = app.received
    assert request.body == b'[{"a":1}]'
    assert request.target.startswith("/anything?userId=")


# -------------------------------------------------------------------------------------------------- option fetches


def _options(sandbox: Sandbox, **more: str) -> Any:
    return sandbox.post("/option-fetch", workflowId=sandbox.workflow, actionId=1, inputFieldName="shelf", **more)


def test_options_are_asked_for_with_what_controls_them(sandbox: Sandbox, app: App) -> None:
    inputs = {
        "email": {"type": "OBJECT_PROPERTY", "propertyName": "email"},
        "custom": {"type": "STATIC_VALUE", "value": "yes"},
    }
    sandbox.put(f"/workflows/{sandbox.workflow}", steps=[{"actionUid": "issue_badge", "inputs": inputs}])
    options = [{"label": "Top", "value": "1", "description": ""}]
    app.answer(Reply({"options": options, "after": "20", "searchable": True}))
    answer = _options(sandbox, q="to")
    assert answer == {
        "status": 200, "options": [{"value": "1", "label": "Top"}], "after": "20", "searchable": True, "problem": "",
    }  # fmt: skip
    request = app.received[0]
    _assert_signed(app, request, "v2")
    body = request.json
    assert body["inputFieldName"] == "shelf"
    assert body["inputFields"] == {"custom": {"type": "STATIC_VALUE", "value": "yes"}}
    assert body["fetchOptions"] == {"q": "to"}
    assert body["origin"]["portalId"] == sandbox.portal


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(status=500), "HTTP 500 without a list of options"),
        (Reply({"options": [{"label": "A"}]}), "HTTP 200 without a list of options"),
        (Reply({"options": [{"label": "A", "value": 1}]}), "every option's value must be a string"),
        (Reply(drop=True), "the connection was closed without an answer"),
    ],
)
def test_what_is_wrong_with_options_is_said(sandbox: Sandbox, app: App, reply: Reply, problem: str) -> None:
    app.answer(reply)
    assert _options(sandbox)["problem"] == problem
    page = sandbox.web.get(f"/workflows/{sandbox.portal}/flow/{sandbox.workflow}").text
    assert "The app gave no options" in page
