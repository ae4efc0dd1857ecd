"""Errors of the machine endpoints: always JSON, always `{"error": {"code", "message"}}`."""

from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn a refusal of an endpoint into an answer; whatever else was raised stays an exception."""
    response = exception_handler(error, context)
    if response is not None and isinstance(error, APIException):
        detail = response.data.get("detail", "") if isinstance(response.data, dict) else ""
        response.data = {"error": {"code": error.default_code, "message": str(detail)}}
    return response
