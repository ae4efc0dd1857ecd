"""The gate every API call passes: token, rate limit, scope, faults; then it is counted and logged."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sandbox.accounts import Portal
from sandbox.api import errors
from sandbox.faults import ROUTES, Fault
from sandbox.hubspot import HubSpot
from sandbox.replies import JSONReply
from sandbox.times import now
from sandbox.tokens import AccessToken

VERSION = re.compile(r"20\d\d-(03|09)")
CLIENT_GONE = 499
# the event loop itself keeps no task alive
_LATE: set[asyncio.Task[None]] = set()


@dataclass(slots=True)
class Call:
    """One authenticated API call."""

    hubspot: HubSpot
    portal: Portal
    access: AccessToken
    request: Request
    body: bytes
    half_batch: bool = False

    @property
    def is_dated(self) -> bool:
        """Return whether the call came over a dated path, not its v3 or v4 twin."""
        return "version" in self.request.path_params

    def json(self) -> dict[str, Any]:
        """Return the body, which must be a JSON object. Raises HubSpotError."""
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError as problem:
            raise errors.validation(f"Invalid input JSON: {problem}") from None
        if not isinstance(content, dict):
            raise errors.validation("Invalid input JSON: an object is expected")
        return content

    def members(self) -> frozenset[str]:
        """Return the ids of contacts or callbacks that a batch names; none for other calls."""
        with contextlib.suppress(errors.HubSpotError):
            inputs = self.json().get("inputs") if self.body else None
            if isinstance(inputs, list):
                named = [item.get("id", item.get("callbackId")) for item in inputs if isinstance(item, dict)]
                return frozenset(name for name in named if isinstance(name, str))
        return frozenset()


Handler = Callable[[Call], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


class Dropped(Response):
    """No answer at all: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close the connection and wait until the server has noticed; else it would answer 500."""
        scope["extensions"]["sandbox.abort"]["now"]()
        while (await receive())["type"] != "http.disconnect":
            pass


def route(path: str, method: str, name: str, handler: Handler, *scopes: str) -> Route:
    """Return a route under a name, open to tokens that have at least one of the scopes."""
    return Route(path, _gated(name, handler, scopes), methods=[method], name=name)


def _gated(name: str, handler: Handler, scopes: tuple[str, ...]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        hubspot: HubSpot = request.app.state.hubspot
        at, began = now(), perf_counter()
        body = await request.body()
        portal: Portal | None = None
        try:
            _check_version(request)
            access = _authenticate(hubspot, request, at)
            portal = hubspot.portals[access.authorization.portal_id]
            _admit(hubspot, portal, access, name, scopes)
            call = Call(hubspot, portal, access, request, body)
            response = await _perform(call, name, handler)
        except errors.HubSpotError as refusal:
            response = JSONReply(refusal.body, refusal.status, refusal.headers)
        if portal is not None:
            _add_limit_headers(hubspot, portal, response)
        account_for(hubspot, request, body, response, route=name, portal=portal, at=at, began=began)
        return response

    return endpoint


def account_for(
    hubspot: HubSpot,
    request: Request,
    body: bytes,
    response: Response,
    *,
    route: str,
    portal: Portal | None,
    at: float,
    began: float,
) -> None:
    """Count a call for its portal and log it. ``began`` is its start on ``perf_counter``."""
    status = response.status_code
    if portal is not None:
        portal.calls.by_route[route] += 1
        portal.calls.by_status[status] += 1
    if hubspot.options.log_requests:
        ms = (perf_counter() - began) * 1000
        portal_id = portal.id if portal else None
        hubspot.log.record(request, body, route=route, status=status, portal_id=portal_id, at=at, ms=ms)


async def _perform(call: Call, name: str, handler: Handler) -> Response:
    options = call.hubspot.options
    if options.latency_ms:
        await asyncio.sleep(options.latency_ms / 1000)
    faults = call.hubspot.faults
    members = call.members() if any(fault.member for fault in faults) else frozenset()
    fault = await faults.meet(
        name, kinds=ROUTES[name], portal_id=call.portal.id, subject=call.request.url.path, members=members
    )
    match fault.kind if fault else None:
        case "drop":
            return Dropped(status_code=CLIENT_GONE)
        case "status" if fault:
            return fault_reply(fault)
        case "half_batch":
            call.half_batch = True
        case "late" if fault:
            work = asyncio.create_task(_do_later(fault, call, handler))
            _LATE.add(work)
            work.add_done_callback(_LATE.discard)
            return Dropped(status_code=CLIENT_GONE)
    response = handler(call)
    return Dropped(status_code=CLIENT_GONE) if fault and fault.kind == "drop_after" else response


async def _do_later(fault: Fault, call: Call, handler: Handler) -> None:
    """Carry a request out although nobody waits for its answer any more."""
    await fault.until_late()
    with contextlib.suppress(errors.HubSpotError):
        handler(call)


def fault_reply(fault: Fault) -> Response:
    """Return the answer a ``status`` fault gives: its own body, else one in HubSpot's shape."""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    if fault.body:
        return Response(fault.body, fault.status, headers, media_type="application/json")
    if fault.status == HTTPStatus.TOO_MANY_REQUESTS:
        return JSONReply(errors.rate_limited(fault.route).body, 429, headers)
    message = f"This answer was asked for by fault {fault.id}."
    return JSONReply(errors.error(fault.status, "FAULT", message).body, fault.status, headers)


def _check_version(request: Request) -> None:
    version = request.path_params.get("version")
    if version is not None and not VERSION.fullmatch(version):
        raise errors.not_found(f"API version {version} does not exist")


def _authenticate(hubspot: HubSpot, request: Request, at: float) -> AccessToken:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    access = hubspot.tokens.access(token) if scheme.lower() == "bearer" else None
    if access is None:
        raise errors.unauthenticated()
    if access.expires_at <= at:
        raise errors.expired(access.expires_at, at)
    return access


def _admit(hubspot: HubSpot, portal: Portal, access: AccessToken, name: str, scopes: tuple[str, ...]) -> None:
    options = hubspot.options
    if not portal.window.take(now(), limit=options.rate_limit, seconds=options.rate_window):
        raise errors.rate_limited(name)
    if not any(scope in access.authorization.scopes for scope in scopes):
        raise errors.missing_scopes(scopes)


def _add_limit_headers(hubspot: HubSpot, portal: Portal, response: Response) -> None:
    options = hubspot.options
    response.headers["X-HubSpot-RateLimit-Max"] = str(options.rate_limit)
    response.headers["X-HubSpot-RateLimit-Remaining"] = str(portal.window.remaining(options.rate_limit))
    response.headers["X-HubSpot-RateLimit-Interval-Milliseconds"] = str(int(options.rate_window * 1000))
