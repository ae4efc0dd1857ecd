"""POST /hubspot/actions/generate-otp: a contact has reached the "Generate OTP" step of a workflow."""

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, Final

from hubspot_integration import workflow_actions
from hubspot_integration.workflow_actions import Execution
from otp import codes
from otp.codes import CodeType
from otp.contact.issuing import issue_code
from otp.contact.order import (
    InvalidAddress,
    Limit,
    MissingAddress,
    NotInstalled,
    Overrides,
    RateLimited,
    RequestKeyTaken,
)
from otp.counters import CODES_REFUSED
from otp.hubspot import workflow_action
from otp.hubspot.workflow_action import InvalidInput, WorkflowAction
from otp.workflow_outputs import OTPError, failure, outputs_of

# The step waits a little longer than its code lives: our own completion at expiry comes first.
GRACE: Final = dt.timedelta(minutes=5)
MAXIMUM_TEXT: Final = 200
_INSTALL: Final = "OpsAgent is not connected to this HubSpot account. Install it again from the OpsAgent settings."


class GenerateOTPAction(WorkflowAction):
    """Issue a code for the enrolled contact."""

    def answer(self, execution: Execution, now: dt.datetime) -> dict[str, Any]:  # noqa: PLR0911 (one return per answer)
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
        except NotInstalled:
            return _failed(OTPError.NOT_CONNECTED, _INSTALL)
        except InvalidInput as error:
            if workflow_action.is_connected(execution):
                return _failed(OTPError.INVALID_INPUT, str(error))
            return _failed(OTPError.NOT_CONNECTED, _INSTALL)
        except MissingAddress:
            return _failed(
                OTPError.MISSING_EMAIL,
                "The contact has no value in the Email Property. Fill it in, or pick another property in this step.",
            )
        except InvalidAddress:
            return _failed(
                OTPError.INVALID_INPUT,
                "Email Property does not hold an e-mail address. Correct it on the contact, or pick another property.",
            )
        except RequestKeyTaken:
            return _failed(OTPError.INVALID_INPUT, "This callbackId was used for another contact. Send a new one.")
        except RateLimited as limited:
            return _failed(OTPError.RATE_LIMITED, _too_many(limited, now))
        if issued.awaits_completion:
            return workflow_actions.blocked(expires_in=issued.code.expires_at + GRACE - now)
        outputs = outputs_of(issued.code, issued.deliveries, now)
        return (workflow_actions.succeeded if issued.code.is_live(now) else workflow_actions.failed)(outputs)


def _failed(error: OTPError, message: str) -> dict[str, Any]:
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


_OF_WHOM: Final = {
    Limit.RESEND_COOLDOWN: "A code was generated for this contact a moment ago.",
    Limit.CONTACT_10_MINUTES: "This contact has been given as many codes as the OpsAgent settings allow in 10 minutes.",
    Limit.CONTACT_DAY: "This contact has been given as many codes as the OpsAgent settings allow in 24 hours.",
    Limit.PORTAL_MINUTE: "This HubSpot account has generated as many codes as the OpsAgent settings allow in a minute.",
}


def _too_many(limited: RateLimited, now: dt.datetime) -> str:
    return f"{_OF_WHOM[limited.limit]} Try again in {_in_words(limited.retry_at - now)}."


def _in_words(wait: dt.timedelta) -> str:
    """Return a wait rounded up to seconds, minutes or hours: never too short."""
    seconds = max(1, math.ceil(wait.total_seconds()))
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds > 2 * size:
            return _counted(math.ceil(seconds / size), unit)
    return _counted(seconds, "second")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
