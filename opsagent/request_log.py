"""A request id on every log line and in every answer, and a line for what was answered."""

import time
import uuid
from collections.abc import Callable
from typing import Final

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from opsagent.health import PROBES
from opsagent.signed_calls import SIGNED

log = structlog.get_logger(__name__)

_REFUSED: Final = 400
# Successes that would drown the other lines; what HubSpot's servers call has lines of its own, with what was done.
_QUIET: Final = (*SIGNED, *PROBES, settings.STATIC_URL)


class RequestLog:
    """Middleware: `X-Request-ID`, the same id on the lines of the request, and one line that says how it was answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        request_id = uuid.uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.monotonic()
        try:
            response = self.get_response(request)
            if response.status_code >= _REFUSED or not request.path_info.startswith(_QUIET):
                # the path alone: what stands behind the question mark may be a secret
                log.info(
                    "answered",
                    method=request.method,
                    path=request.path_info,
                    status_code=response.status_code,
                    milliseconds=round(1000 * (time.monotonic() - began)),
                )
        finally:
            structlog.contextvars.clear_contextvars()
        response["X-Request-ID"] = request_id
        return response
