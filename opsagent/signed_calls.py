"""The short way for calls that HubSpot signs: no session, no negotiation."""

import functools
from collections.abc import Callable
from typing import Any, Final, cast

import structlog
from django.core.handlers.exception import convert_exception_to_response
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import ResolverMatch, resolve
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request

log = structlog.get_logger(__name__)

SIGNED: Final = ("/hubspot/actions/", "/hubspot/cards/", "/hubspot/webhooks")
"""What HubSpot's servers call, with a signature in place of a session."""


class StraightToTheView:
    """Middleware: calls that HubSpot signs skip what follows in MIDDLEWARE and go to their views.

    Sessions, CSRF tokens, messages, static files and browser policies mean nothing to them, and cost a tenth of their
    time.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.call_view = convert_exception_to_response(_call_view)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        if request.path_info.startswith(SIGNED):
            return cast(HttpResponse, self.call_view(request))
        return self.get_response(request)


def _call_view(request: HttpRequest) -> HttpResponse:
    request.resolver_match = match = _resolve(request.path_info)
    try:
        response = cast(HttpResponse, match.func(request, *match.args, **match.kwargs))
    except (OperationalError, InterfaceError) as error:
        # HubSpot calls again after a 503, and the request key makes that harmless. A defect of ours stays a 500.
        log.error("database_unavailable", reason=type(error).__name__)  # noqa: TRY400 (messages may hold values)
        problem = {"code": "unavailable", "message": "The service is restarting. Call again in a moment."}
        response = JsonResponse({"error": problem}, status=503)
    render = getattr(response, "render", None)
    if render is not None:
        response = render()
    response["Content-Length"] = str(len(response.content))
    return response


@functools.lru_cache(maxsize=64)
def _resolve(path: str) -> ResolverMatch:
    """Return what an address leads to; the addresses of signed calls have no variable parts. Raises Http404."""
    return resolve(path)


class FirstRenderer(BaseContentNegotiation):
    """Answer in the endpoint's one format whatever `Accept` says: nobody who calls these addresses has a choice."""

    def select_parser(self, request: Request, parsers: Any) -> Any:  # noqa: ARG002 (DRF's signature)
        """Return the endpoint's first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:  # noqa: ARG002 (DRF's signature)
        """Return the endpoint's first renderer and its media type."""
        return renderers[0], renderers[0].media_type
