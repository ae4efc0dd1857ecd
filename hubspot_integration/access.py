"""Browser session → Portal: the only way a view gets one.

A session holds the memberships that one person has proven by OAuth, one of them chosen. It never gains one otherwise:
the same address in another portal opens nothing until that portal's HubSpot has sent the browser back to us.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.functional import SimpleLazyObject

from hubspot_integration.models import Portal, PortalMember

P = ParamSpec("P")
_SESSION_KEY: Final = "portal_member"
_PROVEN_KEY: Final = "proven_members"


def sign_in(request: HttpRequest, member: PortalMember) -> None:
    """Choose a membership that OAuth has just proven.

    The session starts anew, under a new key. It keeps what the same person has proven before in this browser.
    """
    proven = [other.pk for other in proven_members(request) if _is_same_person(other, member) and other != member]
    request.session.flush()
    request.session[_SESSION_KEY] = member.pk
    request.session[_PROVEN_KEY] = [*proven, member.pk]


def signed_in_member(request: HttpRequest) -> PortalMember | None:
    """Return who is signed in, with the portal loaded."""
    pk = request.session.get(_SESSION_KEY)
    return PortalMember.objects.select_related("portal").filter(pk=pk).first() if pk else None


def proven_members(request: HttpRequest) -> list[PortalMember]:
    """Return the memberships that the session may choose from, with their portals."""
    proven = request.session.get(_PROVEN_KEY)
    if not proven:
        return []
    return list(PortalMember.objects.select_related("portal").filter(pk__in=proven).order_by("portal__hub_domain"))


def choose(request: HttpRequest, portal_id: str) -> bool:
    """Go on in another portal that the session has proven; return whether it has."""
    member = next((member for member in proven_members(request) if str(member.portal_id) == portal_id), None)
    if member is None:
        return False
    request.session.cycle_key()
    request.session[_SESSION_KEY] = member.pk
    return True


def member_required(
    view: Callable[Concatenate[HttpRequest, PortalMember, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Call the view with whoever is signed in; send everybody else to the landing page."""

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        member = signed_in_member(request)
        if member is None:
            return redirect("landing")
        return view(request, member, *args, **kwargs)

    return wrapper


def portal_required(
    view: Callable[Concatenate[HttpRequest, Portal, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Call the view with the signed-in portal; send everybody else to the landing page."""

    @wraps(view)
    @member_required
    def wrapper(request: HttpRequest, member: PortalMember, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return view(request, member.portal, *args, **kwargs)

    return wrapper


def who(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `signed_in`, a PortalMember or nothing, and the `memberships` to choose from."""
    if not hasattr(request, "session"):  # a page for a request that was refused before it had one
        return {}
    return {
        "signed_in": SimpleLazyObject(lambda: signed_in_member(request)),
        "memberships": SimpleLazyObject(lambda: proven_members(request)),
    }


def _is_same_person(one: PortalMember, other: PortalMember) -> bool:
    """Whether HubSpot vouches that both are one person. It knows a user by one id in every portal."""
    return one.hubspot_user_id == other.hubspot_user_id or (
        one.email != "" and one.email.casefold() == other.email.casefold()
    )
