"""What the admin's pages say when they do nothing: signed out, drawn for another portal, not recent enough.

Each answer is a page of its own, a sentence in place where htmx asked for a part of a page, and plain text in a frame. What
was posted goes along, so that it can be sent again; files do not, a browser hands them out once.
"""

import contextlib
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve, reverse

from hubspot_integration.models import PortalMember

SIGNED_OUT: Final = "You are signed out. That happens after 60 minutes without use, after eight hours, and when an admin ends your access."
_LONGEST_PATH: Final = 200


def signed_out(request: HttpRequest) -> HttpResponseBase:
    """Answer somebody who is not signed in (any more)."""
    is_part = bool(request.headers.get("HX-Request")) or _is_framed(request)
    was_signed_in = settings.SESSION_COOKIE_NAME in request.COOKIES
    if not is_part and not was_signed_in:
        return redirect("landing")
    if not is_part and request.method in {"GET", "HEAD"}:
        # The first page says why. A message would begin a session, a row for each cookie that somebody makes up.
        return redirect(reverse("landing", query={"next": own_page(request.path)}))
    return _answer(request, "signed_out", HTTPStatus.UNAUTHORIZED, SIGNED_OUT, **_sent(request))


def another_portal(request: HttpRequest, *, now_in: PortalMember, drawn_for: PortalMember | None) -> HttpResponseBase:
    """Answer a request of a page that was drawn for another portal than the one the browser is in by now.

    `drawn_for` is the membership in that portal, if the session has proven it.
    """
    here = _name(now_in)
    if drawn_for is not None:
        sentence = (
            f"This page was for {_name(drawn_for)}, but in another tab or window you have gone on to {here} since. Nothing "
            "was done in either account."
        )
    else:
        sentence = (
            f"This page was not drawn for {here}, the account that you are signed in to now, so nothing was done. Open the "
            "settings anew, or sign in to the other account."
        )
    return _answer(
        request, "another_portal", HTTPStatus.CONFLICT, sentence, now_in=now_in, drawn_for=drawn_for, **_sent(request)
    )


def not_recent(request: HttpRequest, member: PortalMember) -> HttpResponseBase:
    """Ask a member to go to HubSpot once more, and to come back to this address."""
    sentence = (
        "This cannot be undone from here, so it needs a sign-in with HubSpot from the last 15 minutes. HubSpot sends you "
        "back to this page, and nothing is done before you confirm it there."
    )
    return _answer(
        request,
        "not_recent",
        HTTPStatus.FORBIDDEN,
        sentence,
        member=member,
        next=own_page(request.path),
        **_sent(request),
    )


def own_page(address: str) -> str:
    """Return a path (and query) of the settings, as it was given or, where it is none, that of the first page."""
    # What is not printable leads nowhere, and PostgreSQL takes no text with a NUL in it.
    if address.startswith("/settings/") and address.isprintable() and len(address) <= _LONGEST_PATH:
        with contextlib.suppress(Resolver404):
            resolve(urlsplit(address).path)
            return address
    return reverse("settings")


def _answer(request: HttpRequest, name: str, status: HTTPStatus, sentence: str, **context: Any) -> HttpResponse:
    if _is_framed(request):
        return HttpResponse(f"{sentence}\n", content_type="text/plain; charset=utf-8", status=status)
    context["sentence"] = sentence
    if not request.headers.get("HX-Request"):
        return render(request, f"hubspot_integration/{name}.html", context, status=status)
    response = render(request, "hubspot_integration/notice.html", context, status=status)
    response["HX-Retarget"], response["HX-Reswap"] = "#notice", "innerHTML show:window:top"
    return response


def _sent(request: HttpRequest) -> dict[str, Any]:
    """Return what was posted, to be sent again, and where one is to go on otherwise."""
    is_post = request.method == "POST"
    fields = [
        (name, value) for name, values in request.POST.lists() for value in values if name != "csrfmiddlewaretoken"
    ]
    before = ""
    with contextlib.suppress(ValueError):  # a Referer may hold anything, such as `http://[`
        before = urlsplit(request.headers.get("Referer", "")).path
    return {
        "is_post": is_post,
        "fields": fields,
        "may_send_again": is_post and not request.FILES,
        "page": own_page(before if is_post else request.get_full_path()),
        "address": own_page(request.path),
    }


def _is_framed(request: HttpRequest) -> bool:
    return request.headers.get("Sec-Fetch-Dest") in {"iframe", "frame"}


def _name(member: PortalMember) -> str:
    return f"{member.portal.hub_domain or 'the HubSpot account'} ({member.portal_id})"
