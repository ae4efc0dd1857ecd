"""The token endpoint: exchange, refresh, introspect, revoke.

https://developers.hubspot.com/docs/api-reference/latest/authentication/manage-oauth-tokens
"""

import hmac
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.accounts import Portal
from sandbox.api.errors import HubSpotError, not_found
from sandbox.api.gate import CLIENT_GONE, VERSION, Dropped, Endpoint, account_for, fault_reply
from sandbox.faults import HTTP_KINDS, REFRESH_KINDS, TOKEN_KINDS, Fault
from sandbox.hubspot import HubSpot
from sandbox.replies import JSONReply
from sandbox.times import milliseconds, now
from sandbox.tokens import Authorization, GrantError

FORM = "application/x-www-form-urlencoded"
Form = Mapping[str, str]
Operation = Callable[[HubSpot, Form], dict[str, Any]]


def routes() -> list[BaseRoute]:
    """Return the routes, dated or v3; v1 is not served."""
    base = "/oauth/{version}/token"
    return [
        Route(base, _endpoint("oauth.token", _token), methods=["POST"]),
        Route(f"{base}/introspect", _endpoint("oauth.introspect", _introspect), methods=["POST"]),
        Route(f"{base}/revoke", _endpoint("oauth.revoke", _revoke), methods=["POST"]),
    ]


def token_error(error: str, status: str, message: str) -> HubSpotError:
    """Refuse in the form of RFC 6749 with HubSpot's words added.

    https://developers.hubspot.com/changelog/new-oauth-v3-api-endpoints-and-standardized-error-responses
    """
    body = {"error": error, "error_description": message, "status": status, "message": message}
    return HubSpotError(400, body)


_FAULTS = {
    "revoked": ("invalid_grant", "BAD_REFRESH_TOKEN", "refresh token is invalid, expired or revoked"),
    "bad_hub": ("access_denied", "BAD_HUB", "missing or unknown hub id"),
    "bad_client_secret": ("invalid_client", "BAD_CLIENT_SECRET", "missing or invalid client secret"),
}


def _endpoint(name: str, operation: Operation) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        hubspot: HubSpot = request.app.state.hubspot
        at, began = now(), perf_counter()
        body = await request.body()
        portal: Portal | None = None
        try:
            version = request.path_params["version"]
            if version != "v3" and not VERSION.fullmatch(version):
                raise not_found(f"API version {version} does not exist")
            form = _form(request, body)
            portal = _portal_of(hubspot, form)
            portal_id = portal.id if portal else None
            kinds = _kinds(name, form)
            fault = await hubspot.faults.meet(name, kinds=kinds, portal_id=portal_id, subject=request.url.path)
            response = _answer(hubspot, form, operation, fault)
        except HubSpotError as refusal:
            response = JSONReply(refusal.body, refusal.status)
        response.headers["Cache-Control"] = "no-store"
        account_for(hubspot, request, body, response, route=name, portal=portal, at=at, began=began)
        return response

    return endpoint


def _kinds(name: str, form: Form) -> frozenset[str]:
    """Return the faults that can meet a request; an exchange is not refused in the words of a refresh."""
    if name != "oauth.token":
        return HTTP_KINDS
    refreshes = form.get("grant_type") == "refresh_token"
    return HTTP_KINDS | (TOKEN_KINDS if refreshes else TOKEN_KINDS - REFRESH_KINDS)


def _answer(hubspot: HubSpot, form: Form, operation: Operation, fault: Fault | None) -> Response:
    if fault is None:
        return JSONReply(operation(hubspot, form))
    if fault.kind == "drop":
        return Dropped(status_code=CLIENT_GONE)
    if fault.kind == "status":
        return fault_reply(fault)
    if fault.kind in _FAULTS:
        raise token_error(*_FAULTS[fault.kind])
    if fault.kind == "rotate":
        return JSONReply(_token(hubspot, form, rotate=True))
    operation(hubspot, form)
    return Dropped(status_code=CLIENT_GONE)


def _form(request: Request, body: bytes) -> Form:
    if request.headers.get("content-type", "").partition(";")[0].strip() != FORM:
        raise token_error("invalid_request", "BAD_REQUEST", f"the body must be {FORM}")
    if request.url.query:
        raise token_error("invalid_request", "BAD_REQUEST", "parameters belong into the body, not into the query")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _portal_of(hubspot: HubSpot, form: Form) -> Portal | None:
    """Return the portal a refresh is for, so that a fault can be limited to it."""
    try:
        return hubspot.portals[hubspot.tokens.owner(form.get("refresh_token", "")).portal_id]
    except GrantError:
        return None


def _check_client(hubspot: HubSpot, form: Form) -> None:
    options = hubspot.options
    if form.get("client_id") != options.client_id:
        raise token_error("invalid_client", "BAD_CLIENT_ID", "missing or invalid client id")
    if not hmac.compare_digest(form.get("client_secret", "").encode(), options.client_secret.encode()):
        raise token_error(*_FAULTS["bad_client_secret"])


def _token(hubspot: HubSpot, form: Form, *, rotate: bool = False) -> dict[str, Any]:
    if form.get("grant_type") not in ("authorization_code", "refresh_token"):
        raise token_error("unsupported_grant_type", "BAD_GRANT_TYPE", "missing or unknown grant type")
    _check_client(hubspot, form)
    tokens = hubspot.tokens
    try:
        if form["grant_type"] == "authorization_code":
            refresh_token, authorization = tokens.redeem(
                form.get("code", ""),
                redirect_uri=form.get("redirect_uri", ""),
                verifier=form.get("code_verifier", ""),
                now=now(),
            )
            hubspot.install(authorization)
        else:
            refresh_token = form.get("refresh_token", "")
            authorization = tokens.owner(refresh_token)
            if rotate:
                refresh_token = tokens.rotate(refresh_token)
    except GrantError as reason:
        error = "invalid_request" if reason.status == "BAD_REDIRECT_URI" else "invalid_grant"
        raise token_error(error, reason.status, reason.message) from None
    return token_pair(hubspot, refresh_token, authorization)


def token_pair(hubspot: HubSpot, refresh_token: str, authorization: Authorization) -> dict[str, Any]:
    """Return the endpoint's answer with a new access token."""
    seconds = hubspot.options.access_token_seconds
    access = hubspot.tokens.issue_access(authorization, seconds=seconds, now=now())
    return {
        "token_type": "bearer",
        "refresh_token": refresh_token,
        "access_token": access.token,
        "hub_id": authorization.portal_id,
        "user_id": authorization.user_id,
        "scopes": list(authorization.scopes),
        "expires_in": seconds,
        "token_use": "access_token",
    }


def _introspect(hubspot: HubSpot, form: Form) -> dict[str, Any]:
    _check_client(hubspot, form)
    token = form.get("token", "")
    access = hubspot.tokens.access(token)
    moment = now()
    if access is not None and access.expires_at > moment:
        authorization, use = access.authorization, "access_token"
    else:
        try:
            authorization, use = hubspot.tokens.owner(token), "refresh_token"
        except GrantError:
            return {"active": False}
    portal = hubspot.portals[authorization.portal_id]
    answer: dict[str, Any] = {
        "active": True,
        "token": token,
        "hub_id": portal.id,
        "user_id": authorization.user_id,
        "client_id": hubspot.options.client_id,
        "app_id": hubspot.options.app_id,
        "user": portal.users[authorization.user_id].email,
        "hub_domain": portal.domain,
        "scopes": list(authorization.scopes),
        "is_private_distribution": hubspot.project.distribution == "private",
        "token_use": use,
        "token_type": "Bearer",
    }
    if access is not None and use == "access_token":
        answer["expires_in"] = int(access.expires_at - moment)
        answer["signed_access_token"] = {
            "expiresAt": milliseconds(access.expires_at),
            "hubId": portal.id,
            "userId": authorization.user_id,
            "appId": hubspot.options.app_id,
            "hublet": portal.hublet,
            "isPrivateDistribution": hubspot.project.distribution == "private",
        }
    return answer


def _revoke(hubspot: HubSpot, form: Form) -> dict[str, Any]:
    _check_client(hubspot, form)
    hubspot.tokens.revoke(form.get("token", ""))
    return {}
