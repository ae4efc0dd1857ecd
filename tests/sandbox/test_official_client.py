"""HubSpot's official Python client works against the sandbox, and every answer fits the client's models."""

import json
from typing import Any, Final

import pytest
from hubspot import HubSpot
from hubspot.automation.actions import (
    BatchInputCallbackCompletionBatchRequest,
    CallbackCompletionBatchRequest,
    CallbackCompletionRequest,
)
from hubspot.automation.actions import models as actions
from hubspot.crm.contacts import (
    ApiException,
    BatchInputSimplePublicObjectBatchInput,
    BatchReadInputSimplePublicObjectId,
    SimplePublicObjectBatchInput,
    SimplePublicObjectId,
    SimplePublicObjectInput,
)
from hubspot.crm.contacts import models as contacts
from hubspot.crm.properties import ApiException as PropertyException
from hubspot.crm.properties import PropertyCreate, PropertyGroupCreate
from hubspot.crm.properties import models as properties
from hubspot.oauth import models as oauth

from sandbox.local.waiting import PATIENCE
from tests.sandbox.app import App, outputs
from tests.sandbox.client import CLIENT_ID, CLIENT_SECRET, Sandbox
from tests.sdk_contract import check

IN: Final = (PATIENCE, PATIENCE)


@pytest.fixture
def client(sandbox: Sandbox) -> HubSpot:
    return HubSpot(access_token=sandbox.token(), host=sandbox.url, retry=False)


def test_it_reads_and_updates_a_contact(client: HubSpot, sandbox: Sandbox) -> None:
    api = client.crm.contacts.basic_api
    reference = str(sandbox.contact)
    written = api.update(
        reference, SimplePublicObjectInput(properties={"otp_code": "004213", "firstname": "Åsa"}), _request_timeout=IN
    )
    assert written.properties["otp_code"] == "004213"
    read = api.get_by_id(reference, properties=["otp_code", "firstname", "phone", "no_such"], _request_timeout=IN)
    assert (read.id, read.archived) == (reference, False)
    assert read.properties["firstname"] == "Åsa"
    assert read.properties["phone"] is None
    assert "no_such" not in read.properties
    assert sandbox.history(sandbox.contact, "otp_code") == ["004213"]


def test_it_finds_a_contact_by_address(client: HubSpot, sandbox: Sandbox) -> None:
    address = sandbox.get(f"/portals/{sandbox.portal}/contacts/{sandbox.contact}")["properties"]["email"]
    found = client.crm.contacts.basic_api.get_by_id(address.upper(), id_property="email", _request_timeout=IN)
    assert found.id == str(sandbox.contact)


def test_it_updates_and_reads_a_batch(client: HubSpot, sandbox: Sandbox) -> None:
    first = sandbox.contact
    api = client.crm.contacts.batch_api
    inputs = [
        SimplePublicObjectBatchInput(id=str(first + number), properties={"otp_code": f"10000{number}"})
        for number in range(3)
    ]
    answer = api.update(BatchInputSimplePublicObjectBatchInput(inputs=inputs), _request_timeout=IN)
    assert answer.status == "COMPLETE"
    assert [result.properties["otp_code"] for result in answer.results] == ["100000", "100001", "100002"]
    ids = [SimplePublicObjectId(id=str(first + number)) for number in range(3)]
    body = BatchReadInputSimplePublicObjectId(inputs=ids, properties=["otp_code"], properties_with_history=[])
    read = api.read(body, _request_timeout=IN)
    assert {result.id: result.properties["otp_code"] for result in read.results} == {
        str(first): "100000", str(first + 1): "100001", str(first + 2): "100002",
    }  # fmt: skip


def test_a_partly_failed_batch_is_a_207(client: HubSpot, sandbox: Sandbox) -> None:
    inputs = [
        SimplePublicObjectBatchInput(id=reference, properties={"otp_code": "1"})
        for reference in (str(sandbox.contact), "999999")
    ]
    body = BatchInputSimplePublicObjectBatchInput(inputs=inputs)
    answer = client.crm.contacts.batch_api.update(body, _request_timeout=IN)
    assert answer.num_errors == 1
    assert answer.errors[0].context == {"ids": ["999999"]}
    assert [result.id for result in answer.results] == [str(sandbox.contact)]


def test_it_lists_and_creates_properties_and_groups(client: HubSpot) -> None:
    api = client.crm.properties
    names = {item.name for item in api.core_api.get_all("contacts", _request_timeout=IN).results}
    assert {"email", "hs_language", "otp_code", "submitted_code", "lifecyclestage"} <= names
    group = PropertyGroupCreate(name="badges", label="Badges", display_order=-1)
    assert api.groups_api.create("contacts", group, _request_timeout=IN).name == "badges"
    egg = PropertyCreate(name="badge_code", label="Badge code", type="string", field_type="text", group_name="badges")
    assert api.core_api.create("contacts", egg, _request_timeout=IN).label == "Badge code"
    one = api.core_api.get_by_name("contacts", "badge_code", _request_timeout=IN)
    assert (one.group_name, one.hubspot_defined) == ("badges", False)
    assert "badges" in {item.name for item in api.groups_api.get_all("contacts", _request_timeout=IN).results}
    with pytest.raises(PropertyException) as refused:
        api.core_api.create("contacts", egg, _request_timeout=IN)
    assert refused.value.status == 409


def test_it_completes_blocked_actions(client: HubSpot, sandbox: Sandbox, app: App) -> None:
    app.answer(outputs(hs_execution_state="BLOCK"))
    first, second = sandbox.enrol(), sandbox.enrol()
    for callback_id in (first, second):
        sandbox.execution(callback_id, "BLOCKED")
    api = client.automation.actions.callbacks_api
    done = {"result": "good", "token": "T", "hs_execution_state": "SUCCESS"}
    api.complete(first, CallbackCompletionRequest(output_fields=done), _request_timeout=IN)
    batch = [CallbackCompletionBatchRequest(callback_id=second, output_fields=done)]
    api.complete_batch(BatchInputCallbackCompletionBatchRequest(inputs=batch), _request_timeout=IN)
    for callback_id in (first, second):
        assert sandbox.execution(callback_id, "SUCCESS")["outputFields"] == {"result": "good", "token": "T"}


def test_its_pool_reaches_the_dated_token_endpoint(client: HubSpot, sandbox: Sandbox) -> None:
    grant = sandbox.post(f"/portals/{sandbox.portal}/tokens")
    form = {
        "grant_type": "refresh_token", "refresh_token": grant["refresh_token"],
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
    }  # fmt: skip
    token = client.oauth.tokens_api.api_client.call_api(
        "/oauth/2026-09/token",
        "POST",
        header_params={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        post_params=list(form.items()),
        response_types_map={200: "TokenResponseIF"},
        auth_settings=[],
        _return_http_data_only=True,
        _request_timeout=IN,
    )
    assert token.refresh_token == grant["refresh_token"]
    assert token.expires_in == 1800


def _errors(body: Any) -> list[str]:
    return check(contacts.Error, body, newer=("status",))


def test_every_answer_fits_the_generated_models(sandbox: Sandbox) -> None:
    token = sandbox.token()
    newer = ("url", "dataSensitivity")

    def answer(method: str, path: str, body: Any = None) -> Any:
        return sandbox.api(method, path, token, json=body).json()

    def both(path: str) -> tuple[str, str]:
        return path.format("v3/objects"), path.format("objects/2026-09")

    contact = {"properties": {"otp_code": "1"}}
    batch: Any = {"inputs": [{"id": str(sandbox.contact), "properties": {}}]}
    for path in both("/crm/{}/contacts"):
        read = answer("GET", f"{path}/{sandbox.contact}?properties=phone")
        assert check(contacts.SimplePublicObject, read, newer=newer) == []
        updated = answer("PATCH", f"{path}/{sandbox.contact}", contact)
        assert check(contacts.SimplePublicObject, updated, newer=newer) == []
        for operation in ("read", "update"):
            done = answer("POST", f"{path}/batch/{operation}", batch)
            assert check(contacts.BatchResponseSimplePublicObject, done, newer=newer) == []
            partly = answer("POST", f"{path}/batch/{operation}", {"inputs": [{"id": "1", "properties": {}}]})
            assert check(contacts.BatchResponseSimplePublicObjectWithErrors, partly, newer=newer) == []
        assert _errors(answer("GET", f"{path}/1")) == []
        assert _errors(answer("PATCH", f"{path}/{sandbox.contact}", {"properties": {"no_such": "1"}})) == []
    # What v3 answers has no key that the models do not know.
    assert check(contacts.SimplePublicObject, answer("GET", f"/crm/v3/objects/contacts/{sandbox.contact}")) == []
    for number, path in enumerate(("/crm/v3/properties/contacts", "/crm/properties/2026-09/contacts")):
        listed = answer("GET", path)
        assert check(properties.CollectionResponsePropertyNoPaging, listed, newer=newer) == []
        group = answer("POST", f"{path}/groups", {"name": f"g{number}", "label": "G"})
        assert check(properties.PropertyGroup, group) == []
        egg = {"name": f"p{number}", "label": "P", "type": "string", "fieldType": "text", "groupName": f"g{number}"}
        assert check(properties.ModelProperty, answer("POST", path, egg), newer=newer) == []
        assert check(properties.ModelProperty, answer("GET", f"{path}/email"), newer=newer) == []
        assert _errors(answer("POST", path, egg)) == []
    token_answer = sandbox.post(f"/portals/{sandbox.portal}/tokens")
    assert check(oauth.TokenResponseIF, token_answer, newer=("hub_id", "user_id", "scopes", "token_use")) == []


def test_refusals_surface_as_the_clients_exceptions(client: HubSpot, sandbox: Sandbox) -> None:
    limited = HubSpot(access_token=sandbox.token(None, "oauth"), host=sandbox.url, retry=False)
    with pytest.raises(ApiException) as refused:
        limited.crm.contacts.basic_api.get_by_id(str(sandbox.contact), _request_timeout=IN)
    assert refused.value.status == 403
    assert _errors(json.loads(refused.value.body)) == []
    with pytest.raises(ApiException) as absent:
        client.crm.contacts.basic_api.get_by_id("1", _request_timeout=IN)
    assert absent.value.status == 404


def test_the_checker_finds_what_is_wrong() -> None:
    record = {
        "id": 904, "properties": {"otp_code": 1, "phone": None}, "createdAt": "yesterday",
        "updatedAt": "2026-11-23T08:00:00.000Z", "archived": "no", "colour": "red",
    }  # fmt: skip
    assert check(contacts.SimplePublicObject, record) == [
        "SimplePublicObject.colour is unknown",
        "SimplePublicObject.createdAt is 'yesterday', not a date and time with a zone",
        "SimplePublicObject.archived is str, not bool",
        "SimplePublicObject.id is int, not str",
        "SimplePublicObject.properties[otp_code] is int, not str",
    ]
    assert check(contacts.SimplePublicObject, []) == ["SimplePublicObject is list, not an object"]
    batch: Any = {"status": "DONE", "results": [{}], "startedAt": "2026-11-23T08:00:00Z", "completedAt": None}
    problems = check(contacts.BatchResponseSimplePublicObject, batch)
    assert any("completedAt" in problem and "must not be `None`" in problem for problem in problems)
    assert any("must be one of" in problem for problem in problems)
    assert any(problem.startswith("BatchResponseSimplePublicObject.results[0].id") for problem in problems)
    assert check(actions.CallbackCompletionRequest, {"outputFields": {"a": "b"}}) == []
