"""Faults, switched on and off by hand."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.control.faults import read_fault
from sandbox.control.fields import BadInputError, QueryFields
from sandbox.faults import ROUTES
from sandbox.hubspot import HubSpot
from sandbox.pages.rendering import render, see

# Every kind with the sentence that explains it.
KINDS = {
    "status": "answers with this status",
    "slow": "answers after so many seconds",
    "hold": "answers only once the fault is switched off",
    "drop": "closes the connection without an answer",
    "drop_after": "does its work, then closes the connection without an answer",
    "late": "closes the connection without an answer, and does its work so many seconds later",
    "half_batch": "writes every other contact of a batch and answers 207",
    "revoked": "refuses refresh tokens as revoked",
    "bad_hub": "says the account no longer exists",
    "bad_client_secret": "refuses the app's client secret",
    "rotate": "gives out a new refresh token and voids the old one",
    "refuse": "SMTP: refuses with this reply",
}


@dataclass(frozen=True, slots=True)
class Preset:
    """A fault worth trying, behind one button."""

    title: str
    text: str
    fields: dict[str, str]


PRESETS = (
    Preset("HubSpot is down", "Every contacts call answers 503.", {"route": "contacts", "kind": "status", "status": "503"}),
    Preset(
        "Rate limit reached",
        "The next five contacts calls answer 429.",
        {"route": "contacts", "kind": "status", "status": "429", "times": "5"},
    ),
    Preset("HubSpot is slow", "Contacts calls take 5 seconds.", {"route": "contacts", "kind": "slow", "seconds": "5"}),
    Preset("Half a batch fails", "Batch updates answer 207.", {"route": "contacts.batch_update", "kind": "half_batch"}),
    Preset(
        "The answer gets lost",
        "The next batch is written, but the app never hears of it.",
        {"route": "contacts.batch_update", "kind": "drop_after", "times": "1"},
    ),
    Preset(
        "HubSpot does it late",
        "The next batch is written 20 seconds after the app was left without an answer.",
        {"route": "contacts.batch_update", "kind": "late", "seconds": "20", "times": "1"},
    ),
    Preset("Access was revoked", "Refreshing a token fails for good.", {"route": "oauth.token", "kind": "revoked"}),
    Preset("Mail server is down", "SMTP greets with 421.", {"route": "smtp.connect", "kind": "refuse", "code": "421"}),
    Preset(
        "Recipient unknown",
        "SMTP refuses every recipient with 550.",
        {"route": "smtp.rcpt", "kind": "refuse", "code": "550", "text": "No such user here"},
    ),
)  # fmt: skip


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        Route("/faults", show, methods=["GET"]),
        Route("/faults", add, methods=["POST"]),
        Route("/faults/clear", clear, methods=["POST"]),
        Route("/faults/{fault_id:int}/remove", remove, methods=["POST"]),
    ]


async def show(request: Request) -> Response:
    """Show the faults that are on, and the form for another."""
    return _page(request, {})


async def add(request: Request) -> Response:
    """Switch a fault on."""
    hubspot: HubSpot = request.app.state.hubspot
    form = {name: str(value).strip() for name, value in (await request.form()).items()}
    kept = {name: value for name, value in form.items() if value and name in _relevant(form.get("kind", ""))}
    try:
        hubspot.faults.add(read_fault(hubspot, QueryFields(kept)))
    except BadInputError as problem:
        return _page(request, form, f"{problem.field}: {problem.message}", HTTPStatus.BAD_REQUEST)
    return see("/faults")


async def remove(request: Request) -> Response:
    """Switch one fault off."""
    hubspot: HubSpot = request.app.state.hubspot
    hubspot.faults.remove(request.path_params["fault_id"])
    return see("/faults")


async def clear(request: Request) -> Response:
    """Switch all faults off."""
    hubspot: HubSpot = request.app.state.hubspot
    hubspot.faults.clear()
    return see("/faults")


def _relevant(kind: str) -> set[str]:
    """Return the fields that mean something for a kind; the form sends them all."""
    own = {
        "status": {"status", "body", "retryAfter"},
        "slow": {"seconds"},
        "late": {"seconds"},
        "refuse": {"code", "text"},
    }
    return {"route", "kind", "portalId", "match", "member", "times", *own.get(kind, set())}


def _page(request: Request, form: dict[str, str], error: str = "", status: int = HTTPStatus.OK) -> Response:
    return render(
        request,
        "faults.html",
        status=status,
        routes=ROUTES,
        groups=["contacts", "properties", "callbacks", "oauth", "smtp"],
        kinds=KINDS,
        presets=PRESETS,
        form=form,
        error=error,
    )
