"""POST /hubspot/actions/verify-otp: a contact has reached the "Verify OTP" step of a workflow."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import structlog

from hubspot_integration import workflow_actions
from hubspot_integration.workflow_actions import Execution, epoch_milliseconds
from otp import words
from otp.contact.order import Checked
from otp.contact.verifying import verify_code
from otp.counters import CHECKS_REFUSED
from otp.hubspot import workflow_action
from otp.hubspot.workflow_action import WorkflowAction
from otp.words import InvalidInput, NoCheck

log = structlog.get_logger(__name__)


class VerifyOTPAction(WorkflowAction):
    """Check what the enrolled contact submitted."""

    def answer(self, execution: Execution, now: dt.datetime) -> dict[str, Any]:
        """Translate in, verify, translate out."""
        inputs = execution.inputs
        try:
            checked = verify_code(
                portal_id=execution.portal_id,
                contact_id=execution.object_id,
                address=workflow_action.text(inputs, "email", "Email Property"),
                submitted=_submitted(inputs),
                clear_property=_choice(inputs) == "true",
                request_key=workflow_action.request_key(execution),
                source=workflow_action.source(execution, done="checked"),
                actor=workflow_action.actor(execution),
                now=now,
            )
        except words.STEP_FAILURES as error:
            return _failed(execution, *words.of_checking(workflow_action.what_comes_first(execution, error)))
        return workflow_actions.succeeded(outputs_of(checked))


def outputs_of(checked: Checked) -> dict[str, str]:
    """Return every output of the action for a check that came to a decision."""
    verified_at = checked.verified_at
    return {
        "otp_result": checked.result,
        "otp_reason": checked.reason,
        "otp_attempts_remaining": str(checked.attempts_remaining),
        "otp_verified_at": epoch_milliseconds(verified_at) if verified_at else "",
    }


NOT_CHECKED: Final = "not_checked"
"""The result where no check was possible. A word of the wire: no verification is on record for it."""


def failure(reason: NoCheck) -> dict[str, str]:
    """Return every output of the action when nothing could be checked."""
    return {
        "otp_result": NOT_CHECKED,  # an outage or a mistake in the step is not the customer's wrong answer
        "otp_reason": reason,
        "otp_attempts_remaining": "",
        "otp_verified_at": "",
    }


def _failed(execution: Execution, reason: NoCheck, problem: str) -> dict[str, Any]:
    # The action has no output for a sentence: what to mend stands in the log, and in words in the execution rule.
    CHECKS_REFUSED.add(reason)
    log.info("check_not_possible", portal_id=execution.portal_id, reason=reason.value, problem=problem)
    return workflow_actions.failed(failure(reason))


def _choice(inputs: Mapping[str, Any]) -> str:
    label = "Delete code after successful verification"
    return workflow_action.choice(inputs, "delete_after_success", label, ("true", "false"))


def _submitted(inputs: Mapping[str, Any]) -> str:
    """Return what the customer typed, as it is: whatever text that may be, it is theirs, and no mistake of the step."""
    value = inputs.get("submitted_code")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidInput("Submitted Code Property must be a text. Pick another property in this workflow step.")
    return value
