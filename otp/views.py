"""The portal admin's pages."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from hubspot_integration import access, client, oauth
from hubspot_integration.client import ContactProperty
from hubspot_integration.models import ContactPropertyList, OAuthGrant, Portal, RefusedFeature
from hubspot_integration.transport import HubSpotError
from otp import notices
from otp.forms import SettingsForm
from otp.models import OTPSettings
from otp.property_choice import refusal

LIST_LIFETIME: Final = dt.timedelta(minutes=10)
LIST_TIMEOUT: Final = 3.0
"""Seconds that somebody who opens the page waits for HubSpot."""

_SCOPES_IN_WORDS: Final = {
    "oauth": "Know which account is connected",
    "crm.objects.contacts.read": "Read contacts",
    "crm.objects.contacts.write": "Write codes to contacts",
    "automation": "Hold a workflow step until its code is delivered",
    "crm.schemas.contacts.write": "Create a contact property for codes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What the page says about the connection to HubSpot."""

    is_working: bool
    installed_by: str
    access_state: str
    granted: list[str]
    not_granted: list[str]


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@access.portal_required
def settings_page(request: HttpRequest, portal: Portal) -> HttpResponse:
    """Show the portal's settings; save what is posted."""
    now = timezone.now()
    otp_settings = OTPSettings.objects.filter(portal=portal).first() or OTPSettings(portal=portal)
    problem = "" if request.method == "POST" else _refresh_properties(portal, now)
    property_list = ContactPropertyList.objects.filter(portal=portal).first()
    properties = _properties(property_list)
    grant = OAuthGrant.objects.filter(portal=portal).first()
    scopes = grant.scopes if grant else None
    if request.method == "POST":
        form = SettingsForm(request.POST, instance=otp_settings, properties=properties, scopes=scopes)
        if form.is_valid():
            form.save()
            messages.success(request, "Your settings are saved. They hold from the next code on.")
            return redirect("settings")
    else:
        form = SettingsForm(instance=otp_settings, properties=properties, scopes=scopes)
    context = {
        "form": form,
        "portal": portal,
        "zone": portal.zone,
        "connection": _connection(portal, grant, now),
        "refusals": [notices.sentences(refused.feature) for refused in portal.refused_features.all()],
        "property_list": property_list,
        "properties_problem": problem,
    }
    return render(request, "otp/settings.html", context)


@never_cache
@require_POST
@access.portal_required
def sync_properties(request: HttpRequest, portal: Portal) -> HttpResponse:
    """Fetch the portal's contact properties anew."""
    try:
        found = client.contact_properties(portal.id, timeout=LIST_TIMEOUT)
    except HubSpotError as error:
        messages.error(request, _sentence(error))
    else:
        usable = sum(refusal(item) is None for item in found)
        messages.success(
            request, f"The list is up to date: {usable} of {len(found)} contact properties can hold a code."
        )
    return redirect("settings")


def _refresh_properties(portal: Portal, now: dt.datetime) -> str:
    """Fetch the property list when there is none or it is old; return a sentence when that did not work."""
    if ContactPropertyList.objects.filter(portal=portal, fetched_at__gt=now - LIST_LIFETIME).exists():
        return ""
    try:
        client.contact_properties(portal.id, timeout=LIST_TIMEOUT)
    except HubSpotError as error:
        # The connection may just have ended: show the portal as it is now. The page says so by itself.
        portal.refresh_from_db()
        return _sentence(error) if portal.is_connected else ""
    return ""


def _properties(property_list: ContactPropertyList | None) -> list[ContactProperty]:
    return [ContactProperty(**item) for item in property_list.properties] if property_list else []


def _connection(portal: Portal, grant: OAuthGrant | None, now: dt.datetime) -> Connection:
    # Installing signs the installer in at the same moment.
    installer = portal.members.filter(signed_in_at=portal.installed_at).first()
    if not portal.is_connected or grant is None:
        access_state = "There is none: it was deleted when the connection ended."
    elif grant.is_fresh(now):
        access_state = "Valid, and renewed by itself."
    else:
        access_state = "Expired; it is renewed with the next call to HubSpot."
    scopes = grant.scopes if grant else []
    return Connection(
        is_working=portal.is_connected
        and grant is not None
        and not portal.refused_features.filter(feature=RefusedFeature.EVERYTHING).exists(),
        installed_by=installer.email if installer else "",
        access_state=access_state,
        granted=_in_words(scopes),
        not_granted=_in_words([scope for scope in oauth.OPTIONAL_SCOPES if scope not in scopes]) if grant else [],
    )


def _in_words(scopes: Sequence[str]) -> list[str]:
    return [_SCOPES_IN_WORDS.get(scope, scope) for scope in scopes]


def _sentence(error: HubSpotError) -> str:
    """Say what went wrong and what to do, to somebody who wanted the list of properties."""
    if isinstance(error, oauth.NotConnected):
        return "HubSpot is not connected, so the properties could not be fetched. Reconnect HubSpot."
    if error.permanent:
        return (
            "HubSpot does not let this app read your contact properties. Reconnect HubSpot and grant what it asks for."
        )
    if error.retry_after is not None:
        return "Your HubSpot account has used up its calls for the moment. Press “Sync Properties” again in a minute."
    return "HubSpot did not answer, so the properties could not be fetched. Press “Sync Properties” again in a minute."
