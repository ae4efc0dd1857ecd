"""Verify OTP after Generate OTP: a customer is sent a code, submits it with a form, and the workflow branches."""

from typing import Any

import pytest

from hubspot_integration.models import Portal
from otp.models import EndReason, OneTimeCode, Verification
from sandbox.local.system import System
from sandbox.local.waiting import becomes
from tests.flows.test_generate_otp import EVERYTHING, finished
from tests.flows.test_generate_otp import enrol as generate
from tests.hubspot import HubSpot
from tests.otp.test_verify_otp_action import other_than

pytestmark = pytest.mark.django_db(transaction=True)


def workflow_that_verifies(hubspot: HubSpot, portal: Portal) -> dict[str, Any]:
    """Return the portal's workflow that begins with the Verify OTP action."""
    workflow: dict[str, Any] = next(
        one for one in hubspot.get("/workflows", portalId=portal.id)["workflows"]
        if one["steps"][0]["actionUid"] == "opsagent_verify_otp"
    )  # fmt: skip
    return workflow


def code_for(hubspot: HubSpot, portal: Portal, contact: dict[str, Any]) -> str:
    """Enrol a contact in the workflow that generates; return the code as the mail brought it."""
    (callback_id,) = generate(hubspot, portal, [contact["contactId"]])
    code: str = finished(hubspot, callback_id)["outputFields"]["otp_code"]
    assert code in hubspot.mails(contact["properties"]["email"])[-1]["text"]
    return code


def submit(hubspot: HubSpot, portal: Portal, contact: dict[str, Any], text: str, **more: Any) -> dict[str, Any]:
    """Fill in the form as the customer does, run the workflow that it starts, and return the execution."""
    hubspot.patch(
        f"/portals/{portal.id}/contacts/{contact['contactId']}", properties={"submitted_code": text}, source="FORM"
    )
    workflow = workflow_that_verifies(hubspot, portal)
    answer = hubspot.post("/enrolments", workflowId=workflow["workflowId"], contactIds=[contact["contactId"]], **more)
    execution = finished(hubspot, answer["enrolments"][0]["callbackId"])
    assert execution["state"] == "SUCCESS"
    assert execution["violations"] == []
    assert text not in execution["message"]
    return execution


def test_it_offers_a_workflow_that_checks_what_a_form_brought(system: System, hubspot: HubSpot) -> None:
    workflow = workflow_that_verifies(hubspot, hubspot.connect())
    (step,) = workflow["steps"]
    assert step["inputs"]["email"] == {"type": "OBJECT_PROPERTY", "propertyName": "email"}
    assert step["inputs"]["submitted_code"] == {"type": "OBJECT_PROPERTY", "propertyName": "submitted_code"}
    assert step["branchOn"] == "otp_result"


def test_it_brings_a_customer_from_the_mail_to_the_right_branch(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contact = hubspot.contacts(portal.id)[0]
    code = code_for(hubspot, portal, contact)

    wrong = submit(hubspot, portal, contact, other_than(code))
    assert (wrong["outputFields"]["otp_result"], wrong["outputFields"]["otp_reason"]) == ("invalid", "wrong_code")
    assert wrong["outputFields"]["otp_attempts_remaining"] == "4"
    assert wrong["branch"] == "otp_result = invalid"
    assert wrong["message"] == "The one-time password was wrong. Attempts remaining: 4."

    right = submit(hubspot, portal, contact, f" {code[:3]}-{code[3:]} ")
    assert (right["outputFields"]["otp_result"], right["outputFields"]["otp_reason"]) == ("valid", "verified")
    assert right["branch"] == "otp_result = valid"
    row = OneTimeCode.objects.get()
    assert (row.end_reason, row.code) == (EndReason.USED, None)
    verified_at = Verification.objects.get(reason="verified").verified_at
    assert verified_at is not None
    assert right["outputFields"]["otp_verified_at"] == str(int(verified_at.timestamp() * 1000))

    again = submit(hubspot, portal, contact, code)
    assert again["outputFields"]["otp_reason"] == "already_used"


def test_it_answers_every_copy_of_an_execution_as_it_answered_the_first(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contact = hubspot.contacts(portal.id)[0]
    code = code_for(hubspot, portal, contact)
    right = submit(hubspot, portal, contact, code, copies=24)
    hubspot.post("/duplicates", callbackId=right["callbackId"], times=24)

    def answers() -> list[Any]:
        attempts = hubspot.get(f"/executions/{right['callbackId']}")["attempts"]
        return [attempt["outputFields"] for attempt in attempts]

    assert right["outputFields"]["otp_reason"] == "verified"
    becomes(answers, [{**right["outputFields"], "hs_execution_state": "SUCCESS"}] * 48)
    assert Verification.objects.count() == 1


def test_it_leaves_no_submitted_code_or_address_in_the_logs(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contact = hubspot.contacts(portal.id)[0]
    code = code_for(hubspot, portal, contact)
    guess = other_than(code)
    before = len(system.log("web"))
    for text in (guess, "no code at all", code):
        submit(hubspot, portal, contact, text)
    log = system.log("web")[before:]
    assert log.count("code_checked") == 3
    for secret in (f'"{guess}"', f'"{code}"', "no code at all", contact["properties"]["email"]):
        assert secret not in log
