"""POST /hubspot/actions/generate-otp: a contact has reached the "Generate OTP" step of a workflow."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from hubspot_integration import workflow_actions
from hubspot_integration.workflow_actions import Execution
from otp import codes, words
from otp.codes import CodeType
from otp.contact.issuing import issue_code
from otp.contact.order import Overrides
from otp.counters import CODES_REFUSED
from otp.hubspot import workflow_action
from otp.hubspot.workflow_action import WorkflowAction
from otp.workflow_outputs import Failure, failure, outputs_of

# The step waits a little longer than its code lives: our own completion at expiry comes first.
GRACE: Final = dt.timedelta(minutes=5)
MAXIMUM_TEXT: Final = 200


class GenerateOTPAction(WorkflowAction):
    """Issue a code for the enrolled contact."""

    def answer(self, execution: Execution, now: dt.datetime) -> dict[str, Any]:
        """Translate in, issue, translate out."""
        try:
            issued = issue_code(
                portal_id=execution.portal_id,
                contact_id=execution.object_id,
                address=workflow_action.text(execution.inputs, "email", "Email Property"),
                first_name=_optional(execution.properties.get("firstname")),
                language=workflow_action.text(execution.inputs, "language", "Preferred Language Property")[:20],
                request_key=workflow_action.request_key(execution),
                source=workflow_action.source(execution, done="generated"),
                workflow_id=execution.workflow_id,
                callback_id=execution.callback_id,
                overrides=_overrides(execution.inputs),
                actor=workflow_action.actor(execution),
                now=now,
            )
        except words.STEP_FAILURES as error:
            return _failed(*words.of_generating(workflow_action.what_comes_first(execution, error), now))
        if issued.awaits_completion:
            return workflow_actions.blocked(expires_in=issued.code.expires_at + GRACE - now)
        outputs = outputs_of(issued.code, issued.deliveries, now)
        return (workflow_actions.succeeded if issued.code.is_live(now) else workflow_actions.failed)(outputs)


def _failed(error: Failure, message: str) -> dict[str, Any]:
    CODES_REFUSED.add(error)
    return workflow_actions.failed(failure(error, message))


def _overrides(inputs: Mapping[str, Any]) -> Overrides:
    choice = workflow_action.choice
    wanted = choice(inputs, "override_settings", "Override App Settings", ("true", "false"))
    if wanted != "true":
        return Overrides()
    code_type = choice(inputs, "code_type", "Code Type", tuple(CodeType))
    length = choice(inputs, "code_length", "Code Length", tuple(map(str, codes.LENGTHS)))
    minutes = choice(inputs, "expires_in_minutes", "Expires In (Minutes)", tuple(map(str, codes.EXPIRY_MINUTES)))
    return Overrides(
        code_type=CodeType(code_type) if code_type else None,
        code_length=int(length) if length else None,
        expiry_minutes=int(minutes) if minutes else None,
    )


def _optional(value: object) -> str:
    """Return a text that is nice to have; anything else counts as absent."""
    return value.replace("\0", "")[:MAXIMUM_TEXT] if isinstance(value, str) else ""
