"""The portal admin's pages."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any, Final
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hubspot_integration import access, client, disconnecting, installing
from hubspot_integration.client import ContactProperty
from hubspot_integration.models import ContactPropertyList, OAuthGrant, Portal, PortalMember
from hubspot_integration.transport import HubSpotError
from opsagent import addresses
from otp import strength, words
from otp.codes import CodeType
from otp.contact.verdicts import MAXIMUM_WRONG_ATTEMPTS
from otp.mails import to_admins
from otp.models import OTPSettings, ResendPolicy
from otp.pages import members, portal_settings
from otp.pages.forms import PolicyForm, SettingsForm
from otp.pages.portal_settings import ChangedMeanwhile
from otp.pages.property_choice import left_out, refusal
from otp.words import SCHEMA_SCOPE

LIST_LIFETIME: Final = dt.timedelta(minutes=10)
LIST_TIMEOUT: Final = 3.0
"""Seconds that somebody who opens the page waits for HubSpot."""

CODE_PROPERTY: Final = {
    "name": "opsagent_otp_code",
    "label": "OpsAgent OTP code",
    "description": "The contact's latest one-time password. OpsAgent OTP writes it; changes made by hand get lost.",
    "group": "opsagent_otp",
    "group_label": "OpsAgent OTP",
}

_SCOPES_IN_WORDS: Final = {
    "oauth": "Know which account is connected",
    "crm.objects.contacts.read": "Read contacts",
    "crm.objects.contacts.write": "Write codes to contacts",
    "automation": "Hold a workflow step until its code is delivered",
    SCHEMA_SCOPE: "Create a contact property for codes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What the page says about the connection to HubSpot."""

    is_working: bool
    installed_by: str
    access_state: str
    granted: list[str]
    not_granted: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that two admins want differently."""

    label: str
    saved: str
    wanted: str


# ------------------------------------------------------------------ the settings
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@access.member_required
def settings_page(request: HttpRequest, member: PortalMember) -> HttpResponse:
    """Show the portal's settings; save what is posted."""
    now = timezone.now()
    portal = member.portal
    if request.method != "POST":
        problem = _refresh_properties(portal, now)
        return _settings_page(request, portal, _form(portal), now, properties_problem=problem)
    form = _form(portal, request.POST)
    seen = request.POST.get("version", "")
    if not form.is_valid():
        form.focus_first_error()
        return _settings_page(request, portal, form, now, version=seen)
    try:
        portal_settings.change(
            portal=portal,
            actor=member.name,
            values=form.cleaned_data,
            version=int(seen) if seen.isascii() and seen.isdigit() and len(seen) < len("2147483648") else None,
            now=now,
        )
    except ChangedMeanwhile as error:
        # The form as it was sent, beside the settings as they are now: sent once more, it is meant.
        form = _form(portal, request.POST)
        return _settings_page(
            request, portal, form, now, status=409, last_change=error.last_change, differences=_differences(form)
        )
    messages.success(request, "Your settings are saved. They hold from the next code on.")
    return redirect("settings")


@never_cache
@require_safe
@access.portal_required
def policy_panel(request: HttpRequest, portal: Portal) -> HttpResponse:
    """Show how strong codes would be with the settings in the query; nothing is saved."""
    form = PolicyForm(request.GET, instance=OTPSettings.of(portal))
    return render(request, "otp/policy.html", {"assessment": _assessment(_as_typed(portal, form))})


@never_cache
@require_POST
@access.portal_required
def sync_properties(request: HttpRequest, portal: Portal) -> HttpResponse:
    """Fetch the portal's contact properties anew."""
    try:
        found = client.contact_properties(portal.id, timeout=LIST_TIMEOUT)
    except HubSpotError as error:
        messages.error(request, words.of_listing_properties(error))
    else:
        usable = sum(refusal(item) is None for item in found)
        messages.success(
            request, f"The list is up to date: {usable} of {len(found)} contact properties can hold a code."
        )
    return redirect("settings")


@never_cache
@require_POST
@access.member_required
def create_property(request: HttpRequest, member: PortalMember) -> HttpResponse:
    """Create a contact property for codes in HubSpot, and choose it where none is chosen."""
    portal = member.portal
    try:
        created = client.create_text_property(portal.id, **CODE_PROPERTY)
        client.contact_properties(portal.id, timeout=LIST_TIMEOUT)
    except HubSpotError as error:
        messages.error(request, words.of_creating_a_property(error))
        return redirect("settings")
    reason = refusal(created)
    if reason is not None:
        messages.error(
            request,
            f"HubSpot has a property “{created.name}” already, but {reason} Choose another one, or mend it there.",
        )
    elif OTPSettings.of(portal).property_name:
        messages.success(request, f"HubSpot now has the property “{created.label}”. You can choose it in the list.")
    else:
        portal_settings.change(
            portal=portal,
            actor=member.name,
            values={"property_name": created.name},
            version=None,
            now=timezone.now(),
        )
        messages.success(
            request,
            f"HubSpot now has the property “{created.label}”, and it is chosen here. "
            "Turn on “Store OTP in HubSpot Property” to write codes to it.",
        )
    return redirect("settings")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@access.recent_member_required
def disconnect(request: HttpRequest, member: PortalMember) -> HttpResponse:
    """Ask whether to uninstall the app from the portal; do so when that is posted."""
    portal = member.portal
    if not portal.is_connected:
        return redirect("settings")
    if request.method != "POST":
        retention_days = OTPSettings.of(portal).retention_days
        return render(request, "otp/disconnect.html", {"portal": portal, "retention_days": retention_days})
    if disconnecting.disconnect(portal.id, asked_by=member.name):
        messages.success(request, "OpsAgent OTP is uninstalled, and its access to HubSpot is deleted.")
    else:
        messages.warning(
            request,
            "The access to HubSpot is deleted here, but HubSpot did not confirm the uninstallation. Check Connected Apps "
            "in HubSpot and uninstall OpsAgent OTP there if it is still listed.",
        )
    return redirect("settings")


# ------------------------------------------------------------------ pages for everybody
@require_safe
def privacy(request: HttpRequest) -> HttpResponse:
    """Say which data the app keeps, why and for how long, and who answers for it here."""
    context = {
        "operator": urlsplit(settings.PUBLIC_BASE_URL).hostname,
        "address": addresses.for_people(parseaddr(settings.DEFAULT_FROM_EMAIL)[1]),
    }
    return render(request, "otp/privacy.html", context)


# ------------------------------------------------------------------ what the page shows
def _settings_page(
    request: HttpRequest,
    portal: Portal,
    form: SettingsForm,
    now: dt.datetime,
    *,
    status: int = 200,
    version: str = "",
    **context: Any,
) -> HttpResponse:
    grant = OAuthGrant.objects.filter(portal=portal).first()
    property_list = ContactPropertyList.objects.filter(portal=portal).first()
    context |= {
        "form": form,
        "version": version or form.instance.version,
        "portal": portal,
        "zone": portal.zone,
        "connection": _connection(portal, grant, now),
        "refusals": [to_admins.sentences_of(refused) for refused in portal.refused_features.all()],
        "property_list": property_list,
        "left_out": left_out(_properties(property_list)),
        "may_create_property": grant is not None and SCHEMA_SCOPE in grant.scopes,
        "assessment": _assessment(_as_typed(portal, form)),
        "people": members.people(portal),
    }
    return render(request, "otp/settings.html", context, status=status)


def _form(portal: Portal, data: QueryDict | None = None) -> SettingsForm:
    grant = OAuthGrant.objects.filter(portal=portal).first()
    return SettingsForm(
        data,
        instance=OTPSettings.of(portal),
        properties=_properties(ContactPropertyList.objects.filter(portal=portal).first()),
        scopes=grant.scopes if grant else None,
    )


def _as_typed(portal: Portal, form: SettingsForm | PolicyForm) -> OTPSettings:
    """Return the portal's settings with every valid value of the form put in; the form's own instance has all of them."""
    otp_settings = OTPSettings.of(portal)
    if form.is_bound:
        form.is_valid()
        for name, value in form.cleaned_data.items():
            setattr(otp_settings, name, value)
    return otp_settings


def _differences(form: SettingsForm) -> list[Difference]:
    """Compare what was sent with what is saved by now, in the words of the page."""
    form.full_clean()
    return [
        Difference(
            label=str(form[name].label),
            saved=_in_words(form.fields[name], form.initial.get(name)),
            wanted=_in_words(form.fields[name], form.cleaned_data.get(name)),
        )
        for name in form.changed_data
    ]


def _in_words(field: forms.Field, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    for key, said in field.widget.choices if isinstance(field.widget, forms.Select) else ():
        if str(key) == str(value):
            return str(said)
    return str(value) if value not in {None, ""} else "nothing"


def _assessment(otp_settings: OTPSettings) -> strength.Assessment:
    return strength.assess(
        strength.Choice(
            code_type=CodeType(otp_settings.code_type),
            code_length=otp_settings.code_length,
            expiry_minutes=otp_settings.expiry_minutes,
            keeps_older_codes=otp_settings.resend_policy == ResendPolicy.KEEP_BOTH,
            sends_email=otp_settings.send_email,
            attempts_per_code=MAXIMUM_WRONG_ATTEMPTS,
            attempts_per_contact=otp_settings.wrong_attempts_limit,
            lock_minutes=otp_settings.lock_minutes,
            longest_lock_minutes=otp_settings.longest_lock_minutes,
            codes_in_10_minutes=otp_settings.contact_limit_10_minutes,
            codes_a_day=otp_settings.contact_limit_day,
        )
    )


def _refresh_properties(portal: Portal, now: dt.datetime) -> str:
    """Fetch the property list when there is none or it is old; return a sentence when that did not work."""
    if ContactPropertyList.objects.filter(portal=portal, fetched_at__gt=now - LIST_LIFETIME).exists():
        return ""
    try:
        client.contact_properties(portal.id, timeout=LIST_TIMEOUT)
    except HubSpotError as error:
        # The connection may just have ended: show the portal as it is now. The page says so by itself.
        portal.refresh_from_db()
        return words.of_listing_properties(error) if portal.is_connected else ""
    return ""


def _properties(property_list: ContactPropertyList | None) -> list[ContactProperty]:
    return [ContactProperty(**item) for item in property_list.properties] if property_list else []


def _connection(portal: Portal, grant: OAuthGrant | None, now: dt.datetime) -> Connection:
    if not portal.is_connected or grant is None:
        access_state = "There is none: it was deleted when the connection ended."
    elif grant.is_fresh(now):
        access_state = "Valid, and renewed by itself."
    else:
        access_state = "Expired; it is renewed with the next call to HubSpot."
    scopes = grant.scopes if grant else []
    return Connection(
        is_working=portal.is_connected and grant is not None,
        installed_by=portal.installed_by.name if portal.installed_by else "",
        access_state=access_state,
        granted=_scopes_in_words(scopes),
        not_granted=(
            _scopes_in_words([scope for scope in installing.OPTIONAL_SCOPES if scope not in scopes]) if grant else []
        ),
    )


def _scopes_in_words(scopes: Sequence[str]) -> list[str]:
    return [_SCOPES_IN_WORDS.get(scope, scope) for scope in scopes]
