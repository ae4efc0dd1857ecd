"""A request id on every log line and in every answer, and a line for what was answered."""

import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from opsagent.health import PROBES

log = structlog.get_logger(__name__)

HEADER: Final = "X-Request-ID"
_REFUSED: Final = 400


class Line:
    """What the log says of one request. While it is entered, every line that is written bears the request's id."""

    __slots__ = ("_began", "_method", "_path", "request_id")

    def __init__(self, method: str, path: str) -> None:
        self.request_id = uuid.uuid4().hex
        # the path alone: what stands behind the question mark may be a secret
        self._method, self._path, self._began = method, path, time.monotonic()

    def __enter__(self) -> Self:
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        structlog.contextvars.clear_contextvars()

    def write(self, status: int, *, quiet: bool) -> None:
        """Say how the request was answered; successes of those that have lines of their own are `quiet`."""
        if quiet and status < _REFUSED:
            return
        milliseconds = round(1000 * (time.monotonic() - self._began))
        log.info("answered", method=self._method, path=self._path, status_code=status, milliseconds=milliseconds)


class RequestLog:
    """Middleware: `X-Request-ID`, the same id on the lines of the request, and one line that says how it was answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._quiet = (*PROBES, settings.STATIC_URL)  # successes that would drown the other lines

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        with Line(request.method or "", request.path_info) as line:
            response = self.get_response(request)
            line.write(response.status_code, quiet=request.path_info.startswith(self._quiet))
        response[HEADER] = line.request_id
        return response
