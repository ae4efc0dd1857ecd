"""The portal admin's way in: landing page, installation, signing in and out, changing portals."""

import math
from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe
from limits import RateLimitItemPerMinute

from hubspot_integration import access, attempts, installing, turned_away
from hubspot_integration.attempts import Attempt, InstallationError, Purpose
from hubspot_integration.models import PortalMember
from opsagent import callers, throttling

BEGINNINGS: Final = RateLimitItemPerMinute(60, multiples=10, namespace="hubspot-attempts")
"""How many attempts to install or to sign in a network may begin."""

_DECLINED: Final = "HubSpot did not go on, because the request was declined. Nothing was changed."
_REFUSED: Final = "HubSpot did not go on. Nothing was changed. Please start again in a minute."


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """Say what the app is and offer to install it; and why somebody who wanted to go to `next` has come here instead."""
    wanted = request.GET.get("next", "")
    if wanted and access.signed_in_member(request) is None:
        messages.info(request, turned_away.SIGNED_OUT)  # shown on this very page
    return render(request, "hubspot_integration/landing.html", {"next": wanted})


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    """Keep crawlers from what is for people alone."""
    return render(request, "robots.txt", content_type="text/plain; charset=utf-8")


@require_GET
@never_cache
def install(request: HttpRequest) -> HttpResponse:
    """Send the browser to HubSpot's authorize page, to install the app or to connect it anew."""
    return _to_hubspot(request, Purpose.INSTALL)


@require_GET
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Send the browser to HubSpot's authorize page, to come back as a portal's admin, to the page `next` of the settings."""
    return _to_hubspot(request, Purpose.SIGN_IN, return_to=turned_away.own_page(request.GET.get("next", "")))


@never_cache
@require_POST
@access.member_required
def confirm(request: HttpRequest, member: PortalMember) -> HttpResponse:
    """Send a member to HubSpot once more, to come back as the same user of the same portal, to the page `next`."""
    if not member.portal.is_connected:
        messages.error(request, "HubSpot is not connected. Reconnect it first: that shows who you are as well.")
        return redirect("settings")
    return_to = turned_away.own_page(request.POST.get("next", ""))
    return _to_hubspot(request, Purpose.CONFIRM, return_to=return_to, member=member)


@require_GET
@never_cache
def oauth_callback(request: HttpRequest) -> HttpResponse:
    """Finish what the browser went to HubSpot for, and show it the page that it wanted, which is the settings mostly.

    Ends the attempt that the address names, and only if this browser began it.
    """
    state, code, error = (request.GET.get(name, "") for name in ("state", "code", "error"))
    if not error and (not state or not code):
        # HubSpot's Marketplace opens this address without our state: a proper installation starts with one.
        return redirect("hubspot_install")
    refusal = _DECLINED if error == "access_denied" else _REFUSED if error else ""
    try:
        attempt = attempts.take(request, state=state, now=timezone.now())
    except InstallationError as problem:
        return _failed(request, Purpose.INSTALL, refusal or str(problem))
    if refusal:
        response = _failed(request, attempt.purpose, refusal, attempt.return_to)
    else:
        response = _finished(request, attempt, code)
    attempts.let_go(response, state=state)
    return response


@never_cache
@require_POST
def choose_portal(request: HttpRequest) -> HttpResponse:
    """Go on in another portal that this browser has signed in to.

    In the query: `next`, the page to go on with, and `resend`, which has the browser post this form's other fields there.
    """
    if not access.choose(request, request.POST.get("portal", "")):
        raise Http404
    return redirect(turned_away.own_page(request.GET.get("next", "")), preserve_request="resend" in request.GET)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    request.session.flush()
    return redirect("landing")


def _to_hubspot(
    request: HttpRequest, purpose: Purpose, *, return_to: str = "", member: PortalMember | None = None
) -> HttpResponse:
    """Begin an attempt, unless this network has begun too many; nothing is kept of whoever does not come back."""
    wait = throttling.seconds_to_wait(BEGINNINGS, "attempts", callers.network(request))
    if wait:
        context = {"minutes": math.ceil(wait / 60)}
        response = render(request, "hubspot_integration/too_many.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
        response["Retry-After"] = str(wait)
        return response
    now = timezone.now()
    url, state = installing.begin(purpose=purpose, now=now, return_to=return_to, member=member)
    response = redirect(url)
    attempts.keep(request, response, state=state, now=now)
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _finished(request: HttpRequest, attempt: Attempt, code: str) -> HttpResponse:
    try:
        member = installing.finish(attempt=attempt, code=code)
    except installing.UnknownPortal as error:
        return render(request, "hubspot_integration/not_installed.html", {"portal_name": error.portal_name}, status=400)
    except InstallationError as error:
        return _failed(request, attempt.purpose, str(error), attempt.return_to)
    access.sign_in(request, member)
    return redirect(turned_away.own_page(attempt.return_to))


def _failed(request: HttpRequest, purpose: Purpose, sentence: str, return_to: str = "") -> HttpResponse:
    context = {"purpose": purpose.value, "sentence": sentence, "page": turned_away.own_page(return_to)}
    return render(request, "hubspot_integration/installation_failed.html", context, status=400)
