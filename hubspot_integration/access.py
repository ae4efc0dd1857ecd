"""Browser session → Portal: the only way a view gets one.

A session holds the memberships that one person has proven by OAuth, one of them chosen. It never gains one otherwise:
the same address in another portal opens nothing until that portal's HubSpot has sent the browser back to us. A proof is
good for eight hours, and until the member's access is ended (`PortalMember.session_epoch`).

A browser has one session and many tabs. What a page does is done for the portal that it was drawn for, or not at all: each
request that changes something names that portal, in the field of `{% for_portal %}`, and so does a link to a download.
"""

import datetime as dt
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from hubspot_integration import turned_away
from hubspot_integration.models import Portal, PortalMember
from opsagent.sessions import LONGEST

P = ParamSpec("P")
FIELD: Final = "for_portal"
HEADER: Final = "X-For-Portal"
RECENT: Final = dt.timedelta(minutes=15)
"""How old a proof may be for what cannot be undone."""

_SEEN_EVERY: Final = dt.timedelta(minutes=1)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SESSION_KEY: Final = "portal_member"
_PROVEN_KEY: Final = "proven_members"  # a member's key → the epoch that was proven, and when (seconds)


def sign_in(request: HttpRequest, member: PortalMember) -> None:
    """Choose a membership that OAuth has just proven.

    The session starts anew, under a new key. It keeps what the same person has proven before in this browser, for as long as
    it was good for then.
    """
    proven = request.session.get(_PROVEN_KEY, {})
    kept = {str(other.pk): proven[str(other.pk)] for other in proven_members(request) if _is_same_person(other, member)}
    request.session.flush()
    request.session[_SESSION_KEY] = member.pk
    request.session[_PROVEN_KEY] = {**kept, str(member.pk): [member.session_epoch, timezone.now().timestamp()]}


def signed_in_member(request: HttpRequest) -> PortalMember | None:
    """Return who is signed in, with the portal loaded."""
    chosen = request.session.get(_SESSION_KEY)
    return next(iter(_proven(request, {str(chosen)})), None) if chosen else None


def proven_members(request: HttpRequest) -> list[PortalMember]:
    """Return the memberships that the session may choose from, with their portals."""
    return _proven(request, request.session.get(_PROVEN_KEY, ()))


def choose(request: HttpRequest, portal_id: str) -> bool:
    """Go on in another portal that the session has proven; return whether it has."""
    member = next((member for member in proven_members(request) if str(member.portal_id) == portal_id), None)
    if member is None:
        return False
    request.session.cycle_key()
    request.session[_SESSION_KEY] = member.pk
    return True


def is_recent(request: HttpRequest, member: PortalMember) -> bool:
    """Whether the member came from HubSpot within the last 15 minutes, in this browser."""
    _, at = request.session[_PROVEN_KEY][str(member.pk)]
    return bool(timezone.now().timestamp() - at < RECENT.total_seconds())


def member_required(
    view: Callable[Concatenate[HttpRequest, PortalMember, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Call the view with whoever is signed in, if the page was drawn for that portal.

    Strangers go to the landing page. Whoever was signed in until now, and whose page was drawn for another portal, is
    told so, and what they sent is not lost.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        member = signed_in_member(request)
        if member is None:
            return turned_away.signed_out(request)
        named = _named_portals(request)
        if named - {str(member.portal_id)} or (request.method not in _SAFE and not named):
            drawn_for = [other for other in proven_members(request) if {str(other.portal_id)} == named]
            return turned_away.another_portal(request, now_in=member, drawn_for=drawn_for[0] if drawn_for else None)
        _note_visit(member)
        return view(request, member, *args, **kwargs)

    return wrapper


def portal_required(
    view: Callable[Concatenate[HttpRequest, Portal, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Call the view with the signed-in portal; everything else is as with `member_required`."""

    @wraps(view)
    @member_required
    def wrapper(request: HttpRequest, member: PortalMember, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return view(request, member.portal, *args, **kwargs)

    return wrapper


def recent_member_required(
    view: Callable[Concatenate[HttpRequest, PortalMember, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Call the view with whoever is signed in and came from HubSpot within the last 15 minutes.

    Everybody else is asked to go there once more. They come back to this address by GET, so that nothing is done before
    they have said once more that they want it.
    """

    @wraps(view)
    @member_required
    def wrapper(request: HttpRequest, member: PortalMember, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not is_recent(request, member):
            return turned_away.not_recent(request, member)
        return view(request, member, *args, **kwargs)

    return wrapper


def who(request: HttpRequest) -> dict[str, Any]:
    """Context processor: `signed_in`, a PortalMember or nothing, and the `memberships` to choose from."""
    if not hasattr(request, "session"):  # a page for a request that was refused before it had one
        return {}
    return {
        "signed_in": SimpleLazyObject(lambda: signed_in_member(request)),
        "memberships": SimpleLazyObject(lambda: proven_members(request)),
    }


def _proven(request: HttpRequest, keys: Collection[str]) -> list[PortalMember]:
    """Return those of the members whose proof in this session still holds."""
    proven = request.session.get(_PROVEN_KEY)
    if not keys or not isinstance(proven, dict):  # the first release kept a list, without epochs
        return []
    oldest = (timezone.now() - LONGEST).timestamp()
    good = {key: epoch for key, (epoch, at) in proven.items() if key in keys and at > oldest}
    found = (
        PortalMember.objects.select_related("portal").filter(pk__in=good).order_by("portal__hub_domain", "portal_id")
    )
    return [member for member in found if member.session_epoch == good[str(member.pk)]]


def _named_portals(request: HttpRequest) -> set[str]:
    named = {*request.GET.getlist(FIELD), *request.POST.getlist(FIELD)}
    return named | {request.headers[HEADER]} if HEADER in request.headers else named


def _note_visit(member: PortalMember) -> None:
    now = timezone.now()
    if member.last_seen_at is None or now - member.last_seen_at >= _SEEN_EVERY:
        PortalMember.objects.filter(pk=member.pk).update(last_seen_at=now)


def _is_same_person(one: PortalMember, other: PortalMember) -> bool:
    """Whether HubSpot vouches that both are one person. It knows a user by one id in every portal."""
    return one.hubspot_user_id == other.hubspot_user_id or (
        one.email != "" and one.email.casefold() == other.email.casefold()
    )
