"""What the workflow actions share: the envelope, whom they work for, and how they read their inputs."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import orjson
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework import status
from rest_framework.request import Request
from rest_framework.views import APIView

from hubspot_integration import workflow_actions
from hubspot_integration.authentication import WorkflowActionSignature, is_signed
from hubspot_integration.models import Portal
from hubspot_integration.workflow_actions import Execution
from otp.audit import Actor, ActorKind
from otp.models import Source

_SOURCES: Final = {"WORKFLOWS": Source.WORKFLOW, "TEST": Source.TEST}
_CONTACT_TYPES: Final = {"", "CONTACT", "0-1"}


class InvalidInput(Exception):
    """An input of the step cannot be used. The message names the field and the remedy."""


class WorkflowAction(APIView):
    """What HubSpot calls when a contact reaches one of our steps.

    Answers 200 with outputs for everything a workflow can branch on, 400 for a body that cannot be answered,
    401 for a request that HubSpot did not sign.
    """

    authentication_classes = (WorkflowActionSignature,)

    def answer(self, execution: Execution, now: dt.datetime) -> dict[str, Any]:
        """Do what the step is there for, and return HubSpot's answer."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer what HubSpot signed at once, and refuse everything else in DRF's words.

        Negotiation, parsers, permissions and throttles decide nothing here, and cost a tenth of a request's time.
        """
        try:
            signed = request.method == "POST" and is_signed(request, allow_v2=WorkflowActionSignature.allow_v2)
        except RequestDataTooBig:
            signed = False
        return self._respond(request.body) if signed else super().dispatch(request, *args, **kwargs)

    def post(self, request: Request) -> HttpResponse:
        """Answer an execution."""
        return self._respond(request._request.body)  # noqa: SLF001 (the bytes, as signed)

    def _respond(self, body: bytes) -> HttpResponse:
        try:
            execution = workflow_actions.parse_execution(body)
        except workflow_actions.InvalidEnvelope as error:
            return _json({"error": {"code": "invalid_request", "message": str(error)}}, status.HTTP_400_BAD_REQUEST)
        return _json(self.answer(execution, timezone.now()))


def _json(content: dict[str, Any], status_code: int = status.HTTP_200_OK) -> HttpResponse:
    # DRF's own Response is a template that is rendered later; for one format that is a tenth of a request's time.
    return HttpResponse(orjson.dumps(content), content_type="application/json", status=status_code)


def is_connected(execution: Execution) -> bool:
    """Whether the app is installed in the portal that the step runs in."""
    return Portal.objects.connected().filter(id=execution.portal_id).exists()


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
