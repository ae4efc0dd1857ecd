"""What a request is before its body, what an answer is, and what stands between them for calls that bear a signature."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

MAXIMUM_BODY: Final = 1_048_576
"""Bytes of a request's body: `hubspot.fetch` sends at most so many, and the largest form here, the texts file, fewer."""
JSON: Final = "application/json"
SAFE: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
"""On every answer to a signed call and on every refusal: nobody keeps it, nobody takes it for something else."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. `path` is decoded, `query` is not; `header` takes names in lower case."""

    method: str
    path: str
    query: str
    header: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. Content-Length is left to whoever sends it."""

    status: int
    content: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Door(Protocol):
    """What decides about the calls that another server signs, wherever they come in: settings.SIGNED_CALLS names it."""

    def leads(self, path: str) -> bool:
        """Whether an address is for signed calls only."""

    def refused(self, head: Head) -> Answer | None:
        """Return the answer to a call that need not be read any further."""

    def unproven(self, head: Head, body: bytes) -> Answer | None:
        """Return the answer to a call whose signature does not hold."""

    def answer(self, head: Head, body: bytes, request: Callable[[], HttpRequest]) -> Answer:
        """Do what a proven call asks for. `request` makes the call as Django sees it, for whoever needs that."""

    def open(self) -> None:
        """Begin what goes on beside the calls; once in each process that serves."""

    def close(self) -> None:
        """End it, and keep what is not kept yet."""


def door() -> Door:
    """Return the door of this installation."""
    found: Door = import_string(settings.SIGNED_CALLS)
    return found


def problem(status: int, code: str, message: str, *headers: tuple[str, str]) -> Answer:
    """Return a refusal as every machine endpoint writes it."""
    content: dict[str, Any] = {"error": {"code": code, "message": message}}
    return Answer(status, orjson.dumps(content), headers=(*SAFE, *headers))


def plain(answer: Answer) -> Answer:
    """Return what `problem` made as a sentence for whoever sits at a browser."""
    message = orjson.loads(answer.content)["error"]["message"]
    return replace(answer, content=f"{message}\n".encode(), content_type="text/plain; charset=utf-8")


TOO_LARGE: Final = problem(413, "body_too_large", f"The body is larger than 1 MB ({MAXIMUM_BODY:,} bytes). Send less.")


def as_django(answer: Answer) -> HttpResponse:
    """Return an answer as Django's middleware hands it on."""
    response = HttpResponse(
        answer.content, status=answer.status, content_type=answer.content_type, headers=dict(answer.headers)
    )
    response["Content-Length"] = str(len(answer.content))
    return response


class BodyLimit:
    """Middleware: no view is asked to read a body that says of itself that it is too large.

    The web process (opsagent.web) has refused it before; this is for whatever else serves the application.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        declared = request.META.get("CONTENT_LENGTH") or "0"
        if declared.isdecimal() and int(declared) > MAXIMUM_BODY:
            return as_django(plain(TOO_LARGE))
        return self.get_response(request)
