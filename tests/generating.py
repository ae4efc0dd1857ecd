"""Generate OTP as HubSpot's workflows ask for it, for tests that need codes."""

import itertools
from typing import Any

from hubspot_integration.models import Portal
from otp.models import OTPSettings
from tests.signing import post_signed

PATH = "/hubspot/actions/generate-otp"


def execution(portal: Portal, **changes: Any) -> dict[str, Any]:
    """Return an execution as HubSpot sends it; `inputs` are merged over the usual ones."""
    inputs = {"email": "ada@example.com", **changes.pop("inputs", {})}
    payload: dict[str, Any] = {
        "callbackId": "ap-102670506-56776413549-7-0",
        "origin": {"portalId": portal.id, "actionDefinitionId": 264737568, "actionDefinitionVersion": 3},
        "context": {"workflowId": 192814114, "actionId": 7, "source": "WORKFLOWS"},
        "object": {"objectId": 904, "objectType": "CONTACT", "properties": {"firstname": "Ada"}},
        "fields": inputs,
        "inputFields": inputs,
        "typedInputs": {},
    }
    payload.update(changes)
    return payload


def outputs(payload: Any, **options: Any) -> dict[str, str]:
    """Send an execution; return its outputs, after checking what is true of every answer."""
    response = post_signed(PATH, payload, **options)
    assert response.status_code == 200, response.content
    fields: dict[str, str] = response.json()["outputFields"]
    assert all(isinstance(value, str) for value in fields.values())
    return fields


_numbers = itertools.count()


def generate(portal: Portal, *, contact_id: int = 904, **changes: Any) -> dict[str, str]:
    """Run the workflow action for a contact, as a new execution."""
    where = {"objectId": contact_id, "objectType": "CONTACT"}
    return outputs(execution(portal, **{"callbackId": f"ap-{next(_numbers)}", "object": where, **changes}))


def limit(portal: Portal, **limits: int | None) -> None:
    """Save limits in the portal's settings."""
    OTPSettings.objects.filter(portal=portal).update(**limits)


def error(fields: dict[str, str]) -> str:
    """Return an answer's error, after checking that it is whole."""
    if fields["otp_error"]:
        assert (fields["hs_execution_state"], fields["otp_status"]) == ("FAIL_CONTINUE", "failed")
        assert fields["otp_code"] == fields["otp_reference"] == ""
    return fields["otp_error"]
