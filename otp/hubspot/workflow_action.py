"""What the workflow actions share: the envelope, whom they work for, and how they read their inputs."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import orjson
from django.http import HttpResponse
from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.views import APIView

from hubspot_integration import workflow_actions
from hubspot_integration.authentication import HubSpotSignature
from hubspot_integration.models import Portal
from hubspot_integration.workflow_actions import Execution
from otp.audit import Actor, ActorKind
from otp.contact.order import NotInstalled
from otp.models import Source
from otp.words import InvalidInput, StepFailure

_SOURCES: Final = {"WORKFLOWS": Source.WORKFLOW, "TEST": Source.TEST}
_CONTACT_TYPES: Final = {"", "CONTACT", "0-1"}


class WorkflowAction(APIView):
    """What HubSpot calls when a contact reaches one of our steps.

    Answers 200 with outputs for everything a workflow can branch on, 400 for a body that cannot be answered,
    401 for a request that HubSpot did not sign.
    """

    authentication_classes = (HubSpotSignature,)

    def answer(self, execution: Execution, now: dt.datetime) -> dict[str, Any]:
        """Do what the step is there for, and return HubSpot's answer."""
        raise NotImplementedError

    def post(self, request: Request) -> HttpResponse:
        """Answer an execution."""
        status_code, content = self.respond(request._request.body)  # noqa: SLF001 (the bytes, as signed)
        return HttpResponse(content, content_type="application/json", status=status_code)

    def respond(self, body: bytes) -> tuple[int, bytes]:
        """Return status and JSON for an execution that HubSpot is known to have signed.

        The door calls it directly: negotiation, parsers, permissions and throttles decide nothing here.
        """
        try:
            execution = workflow_actions.parse_execution(body)
        except workflow_actions.InvalidEnvelope as error:
            problem = {"error": {"code": "invalid_request", "message": str(error)}}
            return status.HTTP_400_BAD_REQUEST, orjson.dumps(problem)
        return status.HTTP_200_OK, orjson.dumps(self.answer(execution, timezone.now()))


def what_comes_first(execution: Execution, error: StepFailure) -> StepFailure:
    """Return what the step is told: where the app is not installed that, and not what is wrong with an input."""
    if isinstance(error, InvalidInput) and not Portal.objects.connected().filter(id=execution.portal_id).exists():
        return NotInstalled()
    return error


def actor(execution: Execution) -> Actor:
    """Return who the audit log names: the workflow."""
    return Actor(ActorKind.WORKFLOW, f"workflow {execution.workflow_id}".strip())


def request_key(execution: Execution) -> str:
    """Return what makes a repeated execution the same request."""
    return f"workflow:{execution.callback_id}"


def source(execution: Execution, *, done: str) -> Source:
    """Return what runs the step. Raises InvalidInput unless it is a contact-based workflow; `done` is what it does."""
    if execution.object_type.upper() not in _CONTACT_TYPES:
        raise InvalidInput("This action works on contacts only. Use it in a contact-based workflow.")
    known = _SOURCES.get(execution.source)
    if known is None:
        raise InvalidInput(f"context.source is not WORKFLOWS. Codes are {done} for workflows only.")
    return known


def choice(inputs: Mapping[str, Any], name: str, label: str, allowed: tuple[str, ...]) -> str:
    """Return an input that is one of a few values, or nothing. Raises InvalidInput."""
    value = inputs.get(name)
    if value is None or value == "":
        return ""
    if value not in allowed:
        raise InvalidInput(f"{label} must be one of {', '.join(allowed)}. Correct it in this workflow step.")
    return str(value)


def text(inputs: Mapping[str, Any], name: str, label: str) -> str:
    """Return an input that is a text, without space around it; empty when there is none. Raises InvalidInput."""
    value = inputs.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidInput(f"{label} must be a text. Pick another property in this workflow step.")
    return value.strip()
