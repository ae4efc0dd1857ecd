"""Browser session → Portal: the only way a view gets one."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from hubspot_integration.models import Portal, PortalMember

P = ParamSpec("P")
_SESSION_KEY: Final = "portal_member"


def sign_in(request: HttpRequest, member: PortalMember) -> None:
    """Bind the browser's session to one member of one portal; whatever was in it before is gone."""
    request.session.flush()
    request.session[_SESSION_KEY] = member.pk


def signed_in_member(request: HttpRequest) -> PortalMember | None:
    """Return who is signed in, with the portal loaded."""
    pk = request.session.get(_SESSION_KEY)
    return PortalMember.objects.select_related("portal").filter(pk=pk).first() if pk else None


def portal_required(
    view: Callable[Concatenate[HttpRequest, Portal, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Call the view with the signed-in portal; send everybody else to the landing page."""

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        member = signed_in_member(request)
        if member is None:
            return redirect("landing")
        return view(request, member.portal, *args, **kwargs)

    return wrapper
