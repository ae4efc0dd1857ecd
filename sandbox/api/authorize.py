"""The page on which a person connects the app to an account.

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/oauth/working-with-oauth
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.hubspot import HubSpot
from sandbox.pages.rendering import render
from sandbox.project import Project
from sandbox.times import now

MISMATCH = (
    "Authorization failed because there is a mismatch between the scopes in the install URL and the app's configured "
    "scopes."
)
INSUFFICIENT = "Authorization failed because the provided scopes are insufficient."


class InstallRefusedError(Exception):
    """The install URL or the installer is not acceptable; HubSpot shows a page instead of redirecting."""

    def __init__(self, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


@dataclass(frozen=True, slots=True)
class InstallRequest:
    """A valid install URL."""

    redirect_uri: str
    scopes: tuple[str, ...]
    optional_scopes: tuple[str, ...]
    state: str | None
    challenge: str

    def answer_url(self, **parameters: str) -> str:
        """Return the redirect URL with the answer and the state, if there was one."""
        state = {} if self.state is None else {"state": self.state}
        separator = "&" if urlsplit(self.redirect_uri).query else "?"
        return f"{self.redirect_uri}{separator}{urlencode({**parameters, **state})}"


def routes() -> list[BaseRoute]:
    """Return the page with and without a preselected account."""
    return [
        Route("/oauth/authorize", show, methods=["GET"], name="authorize"),
        Route("/oauth/authorize", decide, methods=["POST"]),
        Route("/oauth/authorize/{portal_id:int}", show, methods=["GET"]),
        Route("/oauth/authorize/{portal_id:int}", decide, methods=["POST"]),
    ]


async def show(request: Request) -> Response:
    """Show the app, the scopes it asks for and the accounts to choose from."""
    hubspot: HubSpot = request.app.state.hubspot
    try:
        asked = _read(request, hubspot)
    except InstallRefusedError as reason:
        return _refuse(request, reason)
    preselected = request.path_params.get("portal_id")
    portals = [portal for portal in hubspot.portals.values() if preselected in (None, portal.id)]
    return render(request, "authorize.html", asked=asked, app=hubspot.project, portals=portals)


async def decide(request: Request) -> Response:
    """Redirect to the app with a code, or with ``access_denied`` when the person cancelled.

    The form names the user who decides, which also decides the account.
    """
    hubspot: HubSpot = request.app.state.hubspot
    form = await request.form()
    try:
        asked = _read(request, hubspot)
        if form.get("decision") != "connect":
            message = "The user declined to connect the app"
            return _redirect(asked.answer_url(error="access_denied", error_description=message))
        return _redirect(asked.answer_url(code=_connect(hubspot, asked, str(form.get("user", "")))))
    except InstallRefusedError as reason:
        return _refuse(request, reason)


def _connect(hubspot: HubSpot, asked: InstallRequest, user_id: str) -> str:
    portal = next((p for p in hubspot.portals.values() if user_id in map(str, p.users)), None)
    if portal is None:
        raise InstallRefusedError("Choose the account and the user who connects the app.")
    user = portal.users[int(user_id)]
    if not user.may_install:
        raise InstallRefusedError(
            f"{user.name} cannot install apps in {portal.name}.",
            ("Ask a Super Admin, or somebody with App Marketplace Access.",),
        )
    withheld = tuple(scope for scope in asked.scopes if scope in portal.withheld_scopes)
    if withheld:
        raise InstallRefusedError(f"{INSUFFICIENT} The subscription of {portal.name} does not include:", withheld)
    authorization = hubspot.authorization(portal, user.id, asked.scopes + asked.optional_scopes)
    return hubspot.tokens.issue_code(
        authorization, redirect_uri=asked.redirect_uri, challenge=asked.challenge, now=now()
    )


def _read(request: Request, hubspot: HubSpot) -> InstallRequest:
    query = request.query_params
    if query.get("client_id") != hubspot.options.client_id:
        raise InstallRefusedError("There is no app with this client ID.")
    redirect_uri = query.get("redirect_uri", "")
    if redirect_uri not in hubspot.project.redirect_urls:
        raise InstallRefusedError("The redirect URL is not one the app has registered.", (redirect_uri,))
    scopes = tuple(query.get("scope", "").split())
    optional = tuple(query.get("optional_scope", "").split())
    _check_scopes(hubspot.project, set(scopes), set(optional))
    challenge = query.get("code_challenge", "")
    if challenge and query.get("code_challenge_method") != "S256":
        raise InstallRefusedError("Only the code challenge method S256 is supported.")
    return InstallRequest(redirect_uri, scopes, optional, query.get("state"), challenge)


def _check_scopes(project: Project, scopes: set[str], optional: set[str]) -> None:
    """Hold the install URL against the app's classes of scopes.

    https://community.hubspot.com/t5/Developer-Announcements/Advanced-auth-and-scope-settings-for-public-apps/m-p/961930
    """
    missing = set(project.required_scopes) - scopes
    if missing:
        raise InstallRefusedError(f"{INSUFFICIENT} These required scopes are missing:", tuple(sorted(missing)))
    misplaced = scopes - set(project.required_scopes) - set(project.conditional_scopes)
    misplaced |= optional - set(project.optional_scopes)
    if misplaced:
        raise InstallRefusedError(MISMATCH, tuple(sorted(misplaced)))


def _refuse(request: Request, reason: InstallRefusedError) -> Response:
    context: dict[str, Any] = {"message": reason.message, "details": reason.details}
    return render(request, "cannot_connect.html", status=400, **context)


def _redirect(url: str) -> Response:
    return RedirectResponse(url, 302, {"Cache-Control": "no-store"})
