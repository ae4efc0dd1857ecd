"""The control API: what it refuses, and that its tables tell the truth."""

import re
from types import ModuleType
from typing import Any

import pytest
from starlette.routing import Route

from sandbox.control import accounts, faults, mails, operation, workflows
from sandbox.control.fields import PREFIX
from tests.sandbox.app import App
from tests.sandbox.client import Sandbox

MODULES = [accounts, faults, mails, operation, workflows]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_route_stands_in_its_modules_table(module: ModuleType) -> None:
    text = (module.__doc__ or "").replace("…", f"{PREFIX}/portals/{{portalId}}")
    listed = {
        (method, path if path.startswith(PREFIX) else PREFIX + path)
        for method, path in re.findall(r"^(GET|POST|PUT|PATCH|DELETE) +(/\S+)", text, re.MULTILINE)
    }
    served = set()
    for route in module.routes():
        assert isinstance(route, Route)
        path = re.sub(r"\{(\w+?)_(\w)(\w+)(:int)?\}", lambda m: f"{{{m[1]}{m[2].upper()}{m[3]}}}", route.path)
        served |= {(method, path) for method in route.methods or () if method != "HEAD"}
    assert listed == served


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/enrolments", {}, "workflowId"),
        ("POST", "/enrolments", {"workflowId": "1"}, "workflowId"),
        ("POST", "/enrolments", {"workflowId": "W"}, "count"),
        ("POST", "/enrolments", {"workflowId": "W", "count": 0}, "count"),
        ("POST", "/enrolments", {"workflowId": "W", "count": True}, "count"),
        ("POST", "/enrolments", {"workflowId": "W", "contactIds": ["1"]}, "contactIds[0]"),
        ("POST", "/enrolments", {"workflowId": "W", "contactIds": [1]}, "contactIds"),
        ("POST", "/enrolments", {"workflowId": "W", "count": 1, "copies": 0}, "copies"),
        ("POST", "/enrolments", {"workflowId": "W", "count": 1, "colour": 1}, "colour"),
        ("POST", "/duplicates", {"callbackId": "ap-1"}, "callbackId"),
        ("POST", "/faults", {"route": "nowhere", "kind": "drop"}, "route"),
        ("POST", "/faults", {"route": "", "kind": "drop"}, "route"),
        ("POST", "/faults", {"route": "contacts.read", "kind": "half_batch"}, "kind"),
        ("POST", "/faults", {"route": "smtp", "kind": "status"}, "kind"),
        ("POST", "/faults", {"route": "contacts", "kind": "status"}, "status"),
        ("POST", "/faults", {"route": "contacts", "kind": "status", "status": 99}, "status"),
        ("POST", "/faults", {"route": "contacts", "kind": "slow", "seconds": -1}, "seconds"),
        ("POST", "/faults", {"route": "contacts", "kind": "drop", "seconds": 1}, "seconds"),
        ("POST", "/faults", {"route": "contacts", "kind": "drop", "times": 0}, "times"),
        ("POST", "/faults", {"route": "contacts", "kind": "drop", "portalId": 1}, "portalId"),
        ("PATCH", "/options", {"rateLimit": "many"}, "rateLimit"),
        ("PATCH", "/options", {"clientSecret": "x"}, "clientSecret"),
        ("POST", "/reset", {"keepInstalls": 1}, "keepInstalls"),
        ("POST", "/webhooks", {"events": [{"portalId": 1}]}, "events[0].objectId"),
        ("PUT", "/workflows/W", {"steps": []}, "steps"),
        ("PUT", "/workflows/W", {"steps": [{"actionUid": "nothing"}]}, "steps[0].actionUid"),
        ("PUT", "/workflows/W", {"steps": [{"actionUid": "issue_badge", "branchOn": "token"}]}, "steps[0].branchOn"),
        (
            "PUT",
            "/workflows/W",
            {"steps": [{"actionUid": "check_badge", "inputs": {"size": {"type": "STATIC_VALUE", "value": "1"}}}]},
            "steps[0].inputs.size",
        ),
        (
            "PUT",
            "/workflows/W",
            {"steps": [{"actionUid": "check_badge", "inputs": {"token": {"type": "GUESS"}}}]},
            "steps[0].inputs.token.type",
        ),
        (
            "PUT",
            "/workflows/W",
            {
                "steps": [
                    {
                        "actionUid": "check_badge",
                        "inputs": {"token": {"type": "FIELD_DATA", "actionId": 1, "dataKey": "token"}},
                    }
                ]
            },
            "steps[0].inputs.token.dataKey",
        ),
        ("POST", "/portals/P/contacts", {"properties": {"email": 1}}, "properties.email"),
        ("POST", "/portals/P/contacts", {"properties": {"nothing": "1"}}, "properties"),
        ("POST", "/portals/P/contacts", {"count": 1_000_000}, "count"),
        ("PATCH", "/portals/P/contacts/C", {"properties": {}, "source": "GOD"}, "source"),
        ("POST", "/portals/P/contacts/C/merge", {"into": 1}, "into"),
        ("POST", "/portals/P/tokens", {"userId": 1}, "userId"),
        ("POST", "/option-fetch", {"workflowId": "W", "actionId": 1, "inputFieldName": "email"}, "inputFieldName"),
    ],
)
def test_wrong_input_is_named(sandbox: Sandbox, method: str, path: str, body: dict[str, Any], field: str) -> None:
    names = {"W": sandbox.workflow, "P": sandbox.portal, "C": sandbox.contact}
    for name, value in names.items():
        path = re.sub(rf"/{name}(?=/|$)", f"/{value}", path)
    body = {key: names.get(value, value) if isinstance(value, str) else value for key, value in body.items()}
    response = sandbox.control(method, path, json=body)
    assert response.status_code == 400 or (field == "workflowId" and response.status_code == 404), response.text
    assert response.json()["error"]["field"] == field


@pytest.mark.parametrize(
    "path",
    ["/portals/1", "/workflows/1", "/bursts/1", "/mails/1", "/executions/ap-1", "/portals/51000001/contacts/1"],
)
def test_what_does_not_exist_is_a_404(sandbox: Sandbox, path: str) -> None:
    response = sandbox.control("GET", path)
    assert response.status_code == 404
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"1"])
def test_what_is_no_object_is_refused(sandbox: Sandbox, body: bytes) -> None:
    assert sandbox.control("POST", "/enrolments", content=body).status_code == 400


def test_contacts_are_made_changed_found_and_deleted(sandbox: Sandbox, app: App) -> None:
    base = f"/portals/{sandbox.portal}/contacts"
    made = sandbox.post(base, properties={"email": "ada@example.com", "firstname": "Ada"})
    many = sandbox.post(base, count=3)
    assert many == {"created": 3, "firstId": made["contactId"] + 1, "lastId": made["contactId"] + 3}
    for query in ("ADA@example", str(made["contactId"])):
        assert sandbox.get(base, q=query)["contacts"][0]["contactId"] == made["contactId"]
    taken = sandbox.control("POST", base, json={"properties": {"email": "ADA@example.com"}})
    assert taken.status_code == 400
    changed = sandbox.patch(f"{base}/{made['contactId']}", properties={"submitted_code": "482913"}, source="FORM")
    assert [change["source"] for change in changed["history"]["submitted_code"]] == ["FORM"]
    sandbox.delete(f"{base}/{made['contactId']}")
    assert sandbox.get(base, q="ada@example")["total"] == 0
    assert sandbox.get(f"/portals/{sandbox.portal}")["contacts"] == sandbox.get(base)["total"]


def test_what_a_workflow_shows_can_be_sent_back(sandbox: Sandbox) -> None:
    shown = sandbox.get(f"/workflows/{sandbox.workflow}")
    assert shown["steps"][0]["inputs"] == {
        "email": {"type": "OBJECT_PROPERTY", "propertyName": "email"},
        "tongue": {"type": "OBJECT_PROPERTY", "propertyName": "hs_language"},
    }
    assert shown["steps"][0]["branchOn"] == "result"
    again = sandbox.put(f"/workflows/{sandbox.workflow}", name=shown["name"], steps=shown["steps"])
    assert again == shown


def test_every_portal_has_a_workflow_for_each_action(sandbox: Sandbox) -> None:
    actions = [action["actionUid"] for action in sandbox.get("/actions")["actions"]]
    assert actions == ["issue_badge", "check_badge"]
    for portal in sandbox.get("/portals")["portals"]:
        found = sandbox.get("/workflows", portalId=portal["portalId"])["workflows"]
        assert [workflow["steps"][0]["actionUid"] for workflow in found] == actions


def test_the_log_can_be_filtered_emptied_and_switched_off(sandbox: Sandbox) -> None:
    token = sandbox.token()
    for path in ("/account-info/2026-09/details", "/crm/properties/2026-09/contacts"):
        sandbox.api("GET", path, token)
    assert [call["route"] for call in sandbox.get("/requests")["requests"]] == ["properties.list", "account.details"]
    logged = sandbox.get("/requests", route="account", portalId=sandbox.portal)["requests"][0]
    assert (logged["method"], logged["status"], logged["portalId"]) == ("GET", 200, sandbox.portal)
    assert re.fullmatch(r"[0-9a-f]{8}", logged["token"])
    sandbox.delete("/requests")
    sandbox.patch("/options", logRequests=False)
    sandbox.api("GET", "/account-info/2026-09/details", token)
    assert sandbox.get("/requests") == {"requests": []}
