"""Rendering of the pages for people."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Generic, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sandbox.executions import State, branch_line

HERE = Path(__file__).resolve().parent.parent
PAGE_SIZE = 50
# Styles inside are for the mails shown in frames, which inherit this policy.
CONTENT_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'"
# A state in the words of the history, and the tone in which it is shown.
STATES = {
    State.QUEUED: ("Waiting", "quiet"),
    State.SENDING: ("Calling the app", "quiet"),
    State.RETRYING: ("Will retry", "warn"),
    State.BLOCKED: ("Waiting for the app", "info"),
    State.SUCCESS: ("Succeeded", "good"),
    State.FAIL_CONTINUE: ("Failed, went on", "warn"),
    State.REJECTED: ("Refused, went on", "bad"),
    State.EXPIRED: ("Expired, went on", "bad"),
    State.GAVE_UP: ("Gave up", "bad"),
    State.UNENROLLED: ("Left the workflow", "quiet"),
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a longer list."""

    items: Sequence[T]
    total: int
    number: int
    path: str

    @property
    def last(self) -> int:
        """Return the number of the last page."""
        return max(1, -(-self.total // PAGE_SIZE))


def page_of(request: Request, items: Sequence[T]) -> Page[T]:
    """Return the page that the query asks for, or the last one there is."""
    asked = request.query_params.get("page", "1")
    last = max(1, -(-len(items) // PAGE_SIZE))
    number = min(int(asked), last) if asked.isdecimal() and int(asked) else 1
    kept = request.url.remove_query_params("page")
    path = f"{kept.path}?{kept.query}&" if kept.query else f"{kept.path}?"
    return Page(items[(number - 1) * PAGE_SIZE : number * PAGE_SIZE], len(items), number, path)


def clock(moment: float | None) -> str:
    """Return a moment as people read it here: UTC, with seconds."""
    if moment is None:
        return "-"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def environment() -> Environment:
    """Return the template environment. Everything is escaped; an unknown name is an error."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["clock"] = clock
    templates.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    templates.filters["branch"] = branch_line
    templates.globals["states"] = STATES
    templates.globals["error"] = ""
    return templates


def render(request: Request, template: str, *, status: int = HTTPStatus.OK, **context: Any) -> Response:
    """Return a page."""
    templates: Environment = request.app.state.templates
    page = templates.get_template(template)
    html = page.render(request=request, hubspot=request.app.state.hubspot, **context)
    # Pages hold codes and mails, and must be fresh after "Back".
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": CONTENT_POLICY}
    return HTMLResponse(html, status, headers)


def not_found(request: Request, what: str) -> Response:
    """Return the page for something that is not there."""
    return render(request, "not_found.html", status=HTTPStatus.NOT_FOUND, what=what)


def see(path: str) -> Response:
    """Send the browser on after a form has done its work."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)
