"""The one door for calls that HubSpot signs: which protocol an address speaks, who may pass, and who answers.

One client secret signs three protocols. What HubSpot's workflows and webhooks send is theirs as a whole. What a card sends
through `hubspot.fetch` is not: there path and body are the choice of whoever sits at a browser, in any portal, and HubSpot
vouches for the four parameters that it adds to the query and for nothing else. So a signature alone does not say whose
body it is; the address does, and an address that speaks one protocol refuses the signs of another.
Source: https://developers.hubspot.com/docs/apps/developer-platform/add-features/ui-extensions/fetching-data
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import resolve

from hubspot_integration import signature_versions, signatures
from opsagent import calls, request_log
from opsagent.calls import Answer, Head

log = structlog.get_logger(__name__)

VOUCHED: Final = "opsagent.vouched"
"""In a request's META: the door has checked the signature already. No header can set it: those begin with HTTP_."""


# ------------------------------------------------------------------ who speaks what
@dataclass(frozen=True, slots=True)
class Protocol:
    """How HubSpot calls every address that begins with `prefix`, those of tomorrow included."""

    prefix: str
    has_query: bool
    """Whether HubSpot calls with a query: only where it does is a query anything but the sign of a card's call."""
    may_be_v2: bool
    """Whether a signature of version 2 alone may do; `signature_versions` says for how long."""


PROTOCOLS: Final = (
    Protocol("/hubspot/actions", has_query=False, may_be_v2=True),
    Protocol("/hubspot/cards", has_query=True, may_be_v2=False),
    Protocol("/hubspot/webhooks", has_query=False, may_be_v2=False),
)
CARD_IDENTITY: Final = ("userId", "portalId", "userEmail", "appId")
"""What HubSpot adds to a card's call, each exactly once: portal and user come from nowhere else."""


def protocol_of(path: str) -> Protocol | None:
    """Return what an address (decoded, as Django resolves it) speaks; None where nothing signed is expected."""
    return next((protocol for protocol in PROTOCOLS if path.startswith(protocol.prefix)), None)


# ------------------------------------------------------------------ who may pass
_V3: Final = signatures.V3.lower()
_V2: Final = signatures.V2.lower()
_HEADERS: Final = tuple((name, name.lower()) for name in signatures.HEADERS)
_UNKNOWN: Final = calls.problem(404, "not_found", "Nothing is called here.")
_UNPROVEN: Final = calls.problem(
    401,
    "authentication_failed",
    "Incorrect authentication credentials.",
    ("WWW-Authenticate", "HubSpot-Signature"),
)
_SENSELESS: Final = calls.problem(400, "invalid_request", "The request makes no sense. Send it anew.")
_AWAY: Final = calls.problem(503, "unavailable", "The service is restarting. Call again in a moment.")
_BROKEN: Final = calls.problem(500, "internal", "Something went wrong on our side. Call again in a moment.")


class SignedCalls:
    """The door itself (see opsagent.calls.Door); it keeps nothing."""

    def leads(self, path: str) -> bool:
        """Whether an address is for signed calls only."""
        return protocol_of(path) is not None

    def refused(self, head: Head) -> Answer | None:
        """Refuse what needs no body to be refused: an address that is none, a query where HubSpot sends none, no signature."""
        protocol = protocol_of(head.path)
        if protocol is None or _endpoint(head.path) is None:
            return _UNKNOWN
        if head.query and not protocol.has_query:
            return _UNPROVEN
        if head.header(_V3) is None and not (protocol.may_be_v2 and head.header(_V2) is not None):
            return _UNPROVEN
        return None

    def unproven(self, head: Head, body: bytes) -> Answer | None:
        """Refuse what HubSpot did not sign; without saying what was wrong."""
        return None if _is_signed(head, body) else _UNPROVEN

    def answer(self, head: Head, body: bytes, request: Callable[[], HttpRequest]) -> Answer:
        """Let the endpoint answer: by its `respond` where it has one, else as the view that it is. Never raises."""
        try:
            return _answer(head, body, request)
        except (OperationalError, InterfaceError) as error:
            # HubSpot calls again after a 503, and the request key makes that harmless. A defect of ours stays a 500.
            log.error("database_unavailable", reason=type(error).__name__)  # noqa: TRY400 (messages may hold values)
            return _AWAY
        except RequestDataTooBig:
            return calls.TOO_LARGE
        except SuspiciousOperation:
            return _SENSELESS
        except Exception:  # whatever it is, HubSpot gets an answer that it understands
            got_request_exception.send(sender=type(self), request=None)
            logging.getLogger("django.request").exception("Internal Server Error: %s", head.path)
            return _BROKEN

    def open(self) -> None:
        """Learn which actions no longer take version 2, and go on learning."""
        signature_versions.begin()

    def close(self) -> None:
        """Bring what was counted to the database."""
        signature_versions.end()


signed_calls: Final = SignedCalls()


def _is_signed(head: Head, body: bytes) -> bool:
    """Whether HubSpot signed this call with one of our client secrets, in a version that the address takes."""
    protocol = protocol_of(head.path)
    if protocol is None:
        return False
    headers = {name: value for name, asked in _HEADERS if (value := head.header(asked)) is not None}
    signed = signatures.verify(
        secrets=settings.HUBSPOT_CLIENT_SECRETS,
        method=head.method,
        # The configured address, not the Host header: a proxy may rewrite that one, and a caller may forge it.
        uri=f"{settings.PUBLIC_BASE_URL}{head.path}{'?' + head.query if head.query else ''}",
        body=body,
        headers=headers,
        now_ms=time.time_ns() // 1_000_000,
        allow_v2=protocol.may_be_v2,
    )
    if not signed or not protocol.may_be_v2:
        return signed
    if head.header(_V3) is not None:
        signature_versions.saw_v3(head.path)
        return True
    return signature_versions.may_pass(head.path)


# ------------------------------------------------------------------ who answers
@dataclass(frozen=True, slots=True)
class _Endpoint:
    view: Callable[..., Any]
    respond: Callable[[bytes], tuple[int, bytes]] | None


_endpoints: Final[dict[str, _Endpoint]] = {}
"""Those that were called so far. What leads nowhere is not kept: strangers can think of any number of addresses."""


def _endpoint(path: str) -> _Endpoint | None:
    """Return what an address leads to; the addresses of signed calls have no variable parts."""
    found = _endpoints.get(path)
    if found is None:
        try:
            view = resolve(path).func
        except Http404:
            return None
        kind = getattr(view, "cls", None)
        respond = kind().respond if kind is not None and hasattr(kind, "respond") else None
        found = _endpoints[path] = _Endpoint(view, respond)
    return found


def _answer(head: Head, body: bytes, request: Callable[[], HttpRequest]) -> Answer:
    endpoint = _endpoint(head.path)
    if endpoint is None:
        return _UNKNOWN
    if endpoint.respond is None or head.method != "POST":
        return _of_view(endpoint.view, request())
    status, content = endpoint.respond(body)
    return Answer(status, content, headers=calls.SAFE)


def _of_view(view: Callable[..., Any], request: HttpRequest) -> Answer:
    request.META[VOUCHED] = True
    # One format for everybody: nobody who calls these addresses has a choice, so what they would accept decides nothing.
    request.META["HTTP_ACCEPT"] = "*/*"
    response = cast(HttpResponse, view(request))
    render = getattr(response, "render", None)
    if render is not None:
        response = render()
    headers = {**dict(response.items()), **dict(calls.SAFE)}
    content_type = headers.pop("Content-Type", calls.JSON)
    headers.pop("Content-Length", None)
    return Answer(response.status_code, response.content, content_type, tuple(headers.items()))


# ------------------------------------------------------------------ the door in Django's own wall
class Middleware:
    """The same door for whoever comes through Django's handler, such as its test client.

    The web process (opsagent.web) asks the door before Django is asked at all.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        if not signed_calls.leads(request.path_info):
            return self.get_response(request)
        head = head_of(request)
        with request_log.Line(head.method, head.path) as line:
            answer = signed_calls.refused(head) or self._answer(head, request)
            line.write(answer.status, quiet=True)
        response = calls.as_django(answer)
        response[request_log.HEADER] = line.request_id
        return response

    @staticmethod
    def _answer(head: Head, request: HttpRequest) -> Answer:
        try:
            body = request.body
        except RequestDataTooBig:
            return calls.TOO_LARGE
        return signed_calls.unproven(head, body) or signed_calls.answer(head, body, lambda: request)


def head_of(request: HttpRequest) -> Head:
    """Return what the door has to know of a request."""

    def header(name: str) -> str | None:
        # Picked out by name: `request.headers` would translate every header of the request first.
        return cast("str | None", request.META.get(f"HTTP_{name.upper().replace('-', '_')}"))

    return Head(request.method or "", request.path_info, request.META.get("QUERY_STRING", ""), header)
