"""What the app sends, held against the models of HubSpot's own Python SDK."""

import json

import pytest
from hubspot.automation.actions import BatchInputCallbackCompletionBatchRequest
from hubspot.crm.contacts import BatchInputSimplePublicObjectBatchInput

from hubspot_integration.client import Batches
from tests.hubspot import HubSpot
from tests.sdk_contract import check

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_updates_contacts_as_the_sdk_would(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    contacts = [contact["contactId"] for contact in hubspot.contacts(portal.id, 3)]
    assert Batches(portal.id).update_contacts({contact: {"otp_code": "012345"} for contact in contacts}) == {}
    (call,) = hubspot.requests("contacts.batch_update")
    assert check(BatchInputSimplePublicObjectBatchInput, json.loads(call["body"])) == []
    assert [hubspot.writes(portal.id, contact) for contact in contacts] == [["012345"]] * 3


def test_it_completes_callbacks_as_the_sdk_would(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    outputs = {"otp_status": "success", "hs_execution_state": "SUCCESS"}
    assert Batches(portal.id).complete_callbacks([("ap-1-2-3-4", outputs), ("ap-1-2-3-5", outputs)]) == {}
    (call,) = hubspot.requests("callbacks.complete")
    # HubSpot's specification requires typedOutputs; the SDK's models of 2025 do not know it yet
    assert check(BatchInputCallbackCompletionBatchRequest, json.loads(call["body"]), newer=("typedOutputs",)) == []
