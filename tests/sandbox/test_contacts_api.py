"""The contacts API, where it refuses and where it surprises."""

import json
from typing import Any

import httpx
import pytest

from tests.sandbox.client import Sandbox

DATED = "/crm/objects/2026-09/contacts"


@pytest.fixture
def token(sandbox: Sandbox) -> str:
    return sandbox.token()


def _patch(sandbox: Sandbox, token: str, contact: int, **properties: Any) -> httpx.Response:
    return sandbox.api("PATCH", f"{DATED}/{contact}", token, json={"properties": properties})


def _batch(sandbox: Sandbox, token: str, *inputs: tuple[object, dict[str, Any]]) -> httpx.Response:
    body = {"inputs": [{"id": reference, "properties": properties} for reference, properties in inputs]}
    return sandbox.api("POST", f"{DATED}/batch/update", token, json=body)


def test_a_record_links_to_its_page(sandbox: Sandbox, token: str) -> None:
    record = sandbox.api("GET", f"{DATED}/{sandbox.contact}", token).json()
    url = f"https://app.hubspot.com/contacts/{sandbox.portal}/record/0-1/{sandbox.contact}"
    assert record["url"] == url
    assert sandbox.web.get(url.removeprefix("https://app.hubspot.com")).status_code == 200


def test_reads_answer_what_is_asked_for_and_three_more(sandbox: Sandbox, token: str) -> None:
    path = f"{DATED}/{sandbox.contact}?properties=phone,city&properties=no_such"
    read = sandbox.api("GET", path, token).json()["properties"]
    assert set(read) == {"createdate", "lastmodifieddate", "hs_object_id", "phone", "city"}
    assert read["phone"] is None
    assert read["hs_object_id"] == str(sandbox.contact)


def test_an_empty_value_clears_and_the_history_remembers(sandbox: Sandbox, token: str) -> None:
    for value in ("482913", "482913", "", None):
        assert _patch(sandbox, token, sandbox.contact, otp_code=value).status_code == 200
    assert sandbox.history(sandbox.contact, "otp_code") == ["482913", "482913", "", ""]
    detail = sandbox.get(f"/portals/{sandbox.portal}/contacts/{sandbox.contact}")
    assert {change["source"] for change in detail["history"]["otp_code"]} == {"INTEGRATION"}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("no_such_property", "1", "PROPERTY_DOESNT_EXIST"),
        ("fax_code", "1", "PROPERTY_DOESNT_EXIST"),  # archived
        ("membership_status", "1", "READ_ONLY_VALUE"),
        ("hs_email_domain", "1", "READ_ONLY_VALUE"),  # calculated
        ("lifecyclestage", "astronaut", "INVALID_OPTION"),
        ("loyalty_points", "many", "INVALID_INTEGER"),
        ("verified_at", "yesterday", "INVALID_DATE"),
        ("email", "not-an-address", "INVALID_EMAIL"),
    ],
)
def test_a_refused_value_is_named(sandbox: Sandbox, token: str, name: str, value: str, code: str) -> None:
    single = _patch(sandbox, token, sandbox.contact, otp_code="1", **{name: value})
    batch = _batch(sandbox, token, (str(sandbox.contact), {"otp_code": "1", name: value}))
    for response in (single, batch):
        assert response.status_code == 400
        body = response.json()
        assert body["category"] == "VALIDATION_ERROR"
        assert body["errors"][0]["code"] == code
        assert body["errors"][0]["context"] == {"propertyName": [name]}
        prefix = "Property values were not valid: "
        assert body["message"].startswith(prefix)
        entry = json.loads(body["message"].removeprefix(prefix))[0]
        assert (entry["error"], entry["name"], entry["portalId"]) == (code, name, sandbox.portal)
    assert sandbox.history(sandbox.contact, "otp_code") == []


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("loyalty_points", "004213", "4213"),  # why a code does not belong into a number
        ("loyalty_points", " 12.50 ", "12.50"),
        ("verified_at", "1795000600000", "2026-11-18T11:16:40.000Z"),
        ("verified_at", "2026-11-18T12:16:40+01:00", "2026-11-18T11:16:40.000Z"),
        ("otp_code", "004213", "004213"),
        ("hs_language", "pt-br", "pt-br"),
    ],
)
def test_values_are_stored_as_their_type_says(sandbox: Sandbox, token: str, name: str, value: str, stored: str) -> None:
    assert _patch(sandbox, token, sandbox.contact, **{name: value}).json()["properties"][name] == stored


def test_values_are_strings_or_null(sandbox: Sandbox, token: str) -> None:
    for value in (1, True, ["1"]):
        assert _patch(sandbox, token, sandbox.contact, otp_code=value).status_code == 400


def test_unique_values_stay_unique(sandbox: Sandbox, token: str) -> None:
    assert _patch(sandbox, token, sandbox.contact, member_number="7").status_code == 200
    assert _patch(sandbox, token, sandbox.contact, member_number="7").status_code == 200
    refused = _patch(sandbox, token, sandbox.contact + 1, member_number="7")
    assert (refused.status_code, refused.json()["category"]) == (409, "CONFLICT")
    found = sandbox.api("GET", f"{DATED}/7?idProperty=member_number", token)
    assert found.json()["id"] == str(sandbox.contact)


def test_a_new_address_finds_the_contact_and_the_old_one_does_not(sandbox: Sandbox, token: str) -> None:
    old = sandbox.api("GET", f"{DATED}/{sandbox.contact}?properties=email", token).json()["properties"]["email"]
    _patch(sandbox, token, sandbox.contact, email="ada@example.com")
    found = sandbox.api("PATCH", f"{DATED}/ada@example.com?idProperty=email", token, json={"properties": {}})
    assert found.json()["id"] == str(sandbox.contact)
    assert sandbox.api("GET", f"{DATED}/{old}?idProperty=email", token).status_code == 404


def test_a_repeated_id_fails_the_whole_batch(sandbox: Sandbox, token: str) -> None:
    first = str(sandbox.contact)
    response = _batch(sandbox, token, (first, {"otp_code": "1"}), ("999999", {}), (first, {"otp_code": "2"}))
    assert response.status_code == 400
    assert response.json()["message"] == f"Duplicate IDs found in batch input: [{first}]. IDs must be unique"
    assert response.json()["context"] == {"ids": [first]}
    assert sandbox.history(sandbox.contact, "otp_code") == []


def test_a_batch_holds_100_contacts(sandbox: Sandbox, token: str) -> None:
    sandbox.post(f"/portals/{sandbox.portal}/contacts", count=100)
    ids = range(sandbox.contact, sandbox.contact + 101)
    hundred = [(str(number), {"otp_code": "1"}) for number in ids]
    assert len(_batch(sandbox, token, *hundred[:100]).json()["results"]) == 100
    refused = _batch(sandbox, token, *hundred)
    assert (refused.status_code, refused.json()["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"inputs": {}}', '{"inputs": [{"id": 904, "properties": {}}]}'])
def test_a_malformed_batch_is_refused(sandbox: Sandbox, token: str, body: str) -> None:
    response = sandbox.api("POST", f"{DATED}/batch/update", token, content=body)
    assert (response.status_code, response.json()["category"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("how", ["deleted", "merged"])
def test_a_contact_that_is_gone_is_not_found(sandbox: Sandbox, token: str, how: str) -> None:
    gone, other = sandbox.contact, sandbox.contact + 1
    path = f"/portals/{sandbox.portal}/contacts/{gone}"
    if how == "deleted":
        sandbox.delete(path)
    else:
        _patch(sandbox, token, gone, otp_code="1")
        merged = sandbox.post(f"{path}/merge", into=other)
        assert merged["properties"]["otp_code"] == "1"
    for response in (
        sandbox.api("GET", f"{DATED}/{gone}", token),
        _patch(sandbox, token, gone, otp_code="1"),
    ):
        assert (response.status_code, response.json()["category"]) == (404, "OBJECT_NOT_FOUND")
    partly = _batch(sandbox, token, (str(gone), {"otp_code": "1"}), (str(other), {"otp_code": "2"}))
    assert (partly.status_code, partly.json()["numErrors"]) == (207, 1)
    assert sandbox.history(other, "otp_code")[-1] == "2"


def test_writing_needs_its_scope(sandbox: Sandbox) -> None:
    token = sandbox.token(None, "oauth", "crm.objects.contacts.read")
    assert sandbox.api("GET", f"{DATED}/{sandbox.contact}", token).status_code == 200
    for response in (
        _patch(sandbox, token, sandbox.contact, otp_code="1"),
        _batch(sandbox, token, (str(sandbox.contact), {"otp_code": "1"})),
    ):
        body = response.json()
        assert (response.status_code, body["category"]) == (403, "MISSING_SCOPES")
        assert body["errors"][0]["context"] == {"requiredGranularScopes": ["crm.objects.contacts.write"]}


def test_a_token_opens_its_own_portal_only(sandbox: Sandbox) -> None:
    other = sandbox.get("/portals")["portals"][2]["portalId"]
    created = sandbox.post(f"/portals/{other}/contacts", count=1)["firstId"]
    assert sandbox.api("GET", f"{DATED}/{created}", sandbox.token(other)).status_code == 200
    assert sandbox.api("GET", f"{DATED}/{created}", sandbox.token()).status_code == 404


def test_unknown_versions_do_not_exist(sandbox: Sandbox, token: str) -> None:
    assert sandbox.api("GET", f"/crm/objects/2026-03/contacts/{sandbox.contact}", token).status_code == 200
    assert sandbox.api("GET", f"/crm/objects/2026-05/contacts/{sandbox.contact}", token).status_code == 404
    assert sandbox.api("GET", "/crm/objects/2026-09/llamas/1", token).json()["category"] == "OBJECT_NOT_FOUND"


def test_sensitive_and_archived_properties_show_only_when_asked_for(sandbox: Sandbox, token: str) -> None:
    def names(query: str = "") -> set[str]:
        answer = sandbox.api("GET", f"/crm/properties/2026-09/contacts{query}", token)
        return {item["name"] for item in answer.json()["results"]}

    assert "passport_number" not in names()
    assert names("?dataSensitivity=sensitive") == {"passport_number"}
    assert "fax_code" not in names()
    assert names("?archived=true") == {"fax_code"}
    gone = sandbox.api("GET", "/crm/properties/2026-09/contacts/fax_code", token)
    assert gone.status_code == 404


def test_an_admin_can_take_a_property_away(sandbox: Sandbox, token: str) -> None:
    path = f"/portals/{sandbox.portal}/properties/otp_code"
    assert sandbox.patch(path, readOnlyValue=True)["modificationMetadata"]["readOnlyValue"] is True
    refused = _patch(sandbox, token, sandbox.contact, otp_code="1").json()
    assert refused["errors"][0]["code"] == "READ_ONLY_VALUE"
    sandbox.delete(path)
    refused = _patch(sandbox, token, sandbox.contact, otp_code="1").json()
    assert refused["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 201),
        ({"name": "email"}, 409),
        ({"name": "hs_mine"}, 400),
        ({"name": "With Spaces"}, 400),
        ({"fieldType": "number"}, 400),
        ({"groupName": "nowhere"}, 400),
        ({"label": ""}, 400),
    ],
)
def test_creating_a_property(sandbox: Sandbox, token: str, changes: dict[str, str], status: int) -> None:
    egg = {"name": "badge", "label": "Badge", "type": "string", "fieldType": "text", "groupName": "verification"}
    response = sandbox.api("POST", "/crm/properties/2026-09/contacts", token, json={**egg, **changes})
    assert response.status_code == status
    if status == 201:
        assert _patch(sandbox, token, sandbox.contact, badge="1").status_code == 200


def test_creating_a_property_needs_its_scope(sandbox: Sandbox) -> None:
    token = sandbox.token(None, "oauth", "crm.objects.contacts.read")
    assert sandbox.api("GET", "/crm/properties/2026-09/contacts", token).status_code == 200
    response = sandbox.api("POST", "/crm/properties/2026-09/contacts/groups", token, json={"name": "a", "label": "A"})
    assert response.json()["errors"][0]["context"] == {"requiredGranularScopes": ["crm.schemas.contacts.write"]}
