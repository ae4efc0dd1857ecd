"""POST /hubspot/actions/generate-otp: a contact has reached the "Generate OTP" step of a workflow."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from hubspot_integration import workflow_actions
from hubspot_integration.authentication import WorkflowActionSignature
from hubspot_integration.models import Portal
from hubspot_integration.workflow_actions import Execution
from otp import codes, services
from otp.codes import CodeType
from otp.models import Source
from otp.services import Overrides
from otp.workflow_outputs import OTPError, failure, outputs_of

# The step waits a little longer than its code lives: our own completion at expiry comes first.
GRACE: Final = dt.timedelta(minutes=5)
MAXIMUM_TEXT: Final = 200
_SOURCES: Final = {"WORKFLOWS": Source.WORKFLOW, "TEST": Source.TEST}
_CONTACT_TYPES: Final = {"", "CONTACT", "0-1"}


class InvalidInput(Exception):
    """An input of the step cannot be used. The message names the field and the remedy."""


class GenerateOTPAction(APIView):
    """Issue a code for the enrolled contact.

    Answers 200 with outputs for everything a workflow can branch on, 400 for a body that cannot be answered,
    401 for a request that HubSpot did not sign.
    """

    authentication_classes = (WorkflowActionSignature,)

    def post(self, request: Request) -> Response:
        """Translate in, issue, translate out."""
        try:
            execution = workflow_actions.parse_execution(request._request.body)  # noqa: SLF001 (the bytes, as signed)
        except workflow_actions.InvalidEnvelope as error:
            return Response(
                {"error": {"code": "invalid_request", "message": str(error)}}, status=status.HTTP_400_BAD_REQUEST
            )
        return Response(_answer(execution, timezone.now()))


def _answer(execution: Execution, now: dt.datetime) -> dict[str, Any]:  # noqa: PLR0911 (one return per answer)
    portal = Portal.objects.connected().select_related("grant").filter(id=execution.portal_id).first()
    if portal is None:
        return _failed(
            OTPError.NOT_CONNECTED,
            "OpsAgent is not connected to this HubSpot account. Install it again from the OpsAgent settings.",
        )
    try:
        issued = services.issue_code(
            portal=portal,
            contact_id=execution.object_id,
            address=_text(execution.inputs, "email", "Email Property"),
            first_name=_optional(execution.properties.get("firstname")),
            language=_text(execution.inputs, "language", "Preferred Language Property")[:20],
            request_key=f"workflow:{execution.callback_id}",
            source=_source(execution),
            workflow_id=execution.workflow_id,
            callback_id=execution.callback_id,
            overrides=_overrides(execution.inputs),
            now=now,
        )
    except InvalidInput as error:
        return _failed(OTPError.INVALID_INPUT, str(error))
    except services.MissingAddress:
        return _failed(
            OTPError.MISSING_EMAIL,
            "The contact has no value in the Email Property. Fill it in, or pick another property in this step.",
        )
    except services.InvalidAddress:
        return _failed(
            OTPError.INVALID_INPUT,
            "Email Property does not hold an e-mail address. Correct it on the contact, or pick another property.",
        )
    except services.RequestKeyTaken:
        return _failed(OTPError.INVALID_INPUT, "This callbackId was used for another contact. Send a new one.")
    if issued.awaits_completion:
        return workflow_actions.blocked(expires_in=issued.code.expires_at + GRACE - now)
    outputs = outputs_of(issued.code, issued.deliveries, now)
    return (workflow_actions.succeeded if issued.code.is_live(now) else workflow_actions.failed)(outputs)


def _failed(error: OTPError, message: str) -> dict[str, Any]:
    return workflow_actions.failed(failure(error, message))


def _source(execution: Execution) -> Source:
    if execution.object_type.upper() not in _CONTACT_TYPES:
        raise InvalidInput("This action works on contacts only. Use it in a contact-based workflow.")
    source = _SOURCES.get(execution.source)
    if source is None:
        raise InvalidInput("context.source is not WORKFLOWS. Codes are generated for workflows only.")
    return source


def _overrides(inputs: Mapping[str, Any]) -> Overrides:
    wanted = _choice(inputs, "override_settings", "Override App Settings", ("true", "false"))
    if wanted != "true":
        return Overrides()
    code_type = _choice(inputs, "code_type", "Code Type", tuple(CodeType))
    length = _choice(inputs, "code_length", "Code Length", tuple(map(str, codes.LENGTHS)))
    minutes = _choice(inputs, "expires_in_minutes", "Expires In (Minutes)", tuple(map(str, codes.EXPIRY_MINUTES)))
    return Overrides(
        code_type=CodeType(code_type) if code_type else None,
        code_length=int(length) if length else None,
        expiry_minutes=int(minutes) if minutes else None,
    )


def _choice(inputs: Mapping[str, Any], name: str, label: str, allowed: tuple[str, ...]) -> str:
    value = inputs.get(name)
    if value is None or value == "":
        return ""
    if value not in allowed:
        raise InvalidInput(f"{label} must be one of {', '.join(allowed)}. Correct it in this workflow step.")
    return str(value)


def _text(inputs: Mapping[str, Any], name: str, label: str) -> str:
    value = inputs.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"{label} must be a text. Pick another property in this workflow step.")
    return value.strip()


def _optional(value: object) -> str:
    """Return a text that is nice to have; anything else counts as absent."""
    return value.replace("\0", "")[:MAXIMUM_TEXT] if isinstance(value, str) else ""
