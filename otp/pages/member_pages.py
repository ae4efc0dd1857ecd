"""The portal admin's pages for who has access to the settings."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hubspot_integration import access
from hubspot_integration.models import PortalMember
from otp.pages import members


@never_cache
@require_safe
@access.member_required
def member_list(request: HttpRequest, member: PortalMember) -> HttpResponse:
    """Show who has access, and what can be done about it."""
    context = {
        "portal": member.portal,
        "zone": member.portal.zone,
        "me": member,
        "people": members.people(member.portal),
    }
    return render(request, "otp/members.html", context)


@never_cache
@require_POST
@access.member_required
def end_sessions(request: HttpRequest, member: PortalMember, member_id: int) -> HttpResponse:
    """End somebody's sessions, one's own too."""
    try:
        ended = members.end_sessions(by=member, member_id=member_id, now=timezone.now())
    except members.UnknownMember:
        raise Http404 from None
    except members.NoAccess:
        return redirect("members")  # which says that they are signed out
    if ended.pk == member.pk:
        request.session.flush()
        messages.success(request, "You are signed out in every browser.")
        return redirect("landing")
    messages.success(request, f"{ended.name} is signed out in every browser, and can sign in again with HubSpot.")
    return redirect("members")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@access.recent_member_required
def remove_member(request: HttpRequest, member: PortalMember, member_id: int) -> HttpResponse:
    """Ask whether to take somebody's access; do so when that is posted."""
    if request.method != "POST":
        wanted = member.portal.members.filter(pk=member_id).first()
        if wanted is None:
            raise Http404
        is_last = not member.portal.members.exclude(pk=member_id).exists()
        context = {"portal": member.portal, "me": member, "member": wanted, "is_last": is_last}
        return render(request, "otp/remove_member.html", context)
    try:
        removed = members.remove(by=member, member_id=member_id, now=timezone.now())
    except members.UnknownMember:
        raise Http404 from None
    except members.NoAccess:
        return redirect("members")
    except members.LastMember:
        messages.error(request, "You are the only one with access, so you stay: notices must reach somebody.")
        return redirect("members")
    if removed.pk == member.pk:
        request.session.flush()
        messages.success(request, "Your access is removed.")
        return redirect("landing")
    messages.success(request, f"{removed.name} has no access any more.")
    return redirect("members")
