"""Errors of the machine endpoints: always JSON, always `{"error": {"code", "message"}}`."""

from typing import Any

import structlog
from django.db import InterfaceError, OperationalError
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler

log = structlog.get_logger(__name__)


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn an exception of an endpoint into an answer.

    A database that is away is a 503: HubSpot then calls again, and the request key makes that harmless. A defect of
    ours stays an exception (500, logged with its traceback).
    """
    if isinstance(error, OperationalError | InterfaceError):
        log.error("database_unavailable", reason=type(error).__name__)
        body = {"error": {"code": "unavailable", "message": "The service is restarting. Call again in a moment."}}
        return Response(body, status=status.HTTP_503_SERVICE_UNAVAILABLE)
    response = exception_handler(error, context)
    if response is not None and isinstance(error, APIException):
        detail = response.data.get("detail", "") if isinstance(response.data, dict) else ""
        response.data = {"error": {"code": error.default_code, "message": str(detail)}}
    return response
