"""Mail to a portal's admins when something needs them: what happened, and what to do."""

import hashlib
from email.utils import parseaddr
from typing import Final

import structlog
from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from emails.content import Content
from emails.messages import Message, send_each
from hubspot_integration.models import Portal, PortalMember, RefusedFeature

log = structlog.get_logger(__name__)

DISCONNECTED: Final = "disconnected"
DISCONNECTED_BY_ADMIN: Final = "disconnected_by_admin"
DISCONNECTED_BY_STAFF: Final = "disconnected_by_staff"


def tell_admins(portal_id: int, subject: str) -> int:
    """Mail everybody who has signed in to the portal's settings; return how many mails were accepted.

    `subject`: one of DISCONNECTED, or the feature that HubSpot refuses (see hubspot_integration.models.RefusedFeature). A
    notice that is not true any more by the time it could leave is not sent.
    """
    portal = Portal.objects.get(id=portal_id)
    happened = _happened(portal, subject)
    if happened is None:
        log.info("notice_out_of_date", portal_id=portal_id, about=subject)
        return 0
    content = _content(portal, *happened)
    today = timezone.now().date()
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    messages = [
        Message(
            to=member.email,
            content=content,
            # The same notice on the same day is the same mail, however often it is sent.
            message_id=f"{hashlib.sha256(f'{member.pk} {subject} {today}'.encode()).hexdigest()[:32]}@{domain}",
        )
        for member in PortalMember.objects.filter(portal=portal).exclude(email="")
    ]
    accepted = sum(outcome.accepted for _, outcome in send_each(messages))
    log.info("admins_told", portal_id=portal_id, about=subject, mails=accepted)
    return accepted


def _happened(portal: Portal, subject: str) -> tuple[str, str] | None:
    """Return the sentences of a notice, or None if they are not true now."""
    if subject in {DISCONNECTED, DISCONNECTED_BY_ADMIN, DISCONNECTED_BY_STAFF}:
        return None if portal.is_connected else _of_the_end(subject)
    refusal = portal.refused_features.filter(feature=subject).first()
    return None if refusal is None else sentences_of(refusal)


def _of_the_end(subject: str) -> tuple[str, str]:
    if subject == DISCONNECTED:
        return (
            "OpsAgent OTP is no longer connected to your HubSpot account: HubSpot says it was uninstalled.",
            (
                "Workflows that still generate codes get the outcome “not connected”. Install the app again to go on; your "
                "settings are kept."
            ),
        )
    if subject == DISCONNECTED_BY_ADMIN:
        return (
            "OpsAgent OTP was disconnected from your HubSpot account by one of its admins.",
            (
                "Workflows that still generate codes get the outcome “not connected”. If this was not intended, install the "
                "app again; your settings are kept."
            ),
        )
    return (
        "OpsAgent OTP was disconnected from your HubSpot account by its support staff.",
        (
            "Workflows that still generate codes get the outcome “not connected”. To go on, install the app again; your "
            "settings are kept."
        ),
    )


def sentences_of(refusal: RefusedFeature) -> tuple[str, str]:
    """Return what HubSpot refuses and what to do."""
    if refusal.is_of_a_property:
        name = refusal.feature.removeprefix(RefusedFeature.PROPERTY)
        return (
            (
                f"HubSpot refuses to write codes to the contact property {name}: it does not exist any more, or it is "
                "read-only."
            ),
            (
                "Create the property again and choose Sync Properties, or choose another one in the settings. Until then "
                "codes are still generated, and mailed if you want that."
            ),
        )
    if not refusal.is_lasting:
        what = "every call" if refusal.feature == RefusedFeature.EVERYTHING else f"calls for {refusal.feature}"
        since = refusal.refused_at.astimezone(refusal.portal.zone)
        return (
            f"HubSpot refuses {what} of OpsAgent OTP for your account since {since:%H:%M} on {since.day} {since:%B} ({refusal.reason}).",
            (
                "Codes are still generated. What is to be written or completed waits, and is tried again every two minutes "
                "until the code expires. If it does not pass by itself, open the settings and choose Reconnect."
            ),
        )
    return (
        (
            f"HubSpot refuses OpsAgent OTP something it needs: {refusal.feature}. The permission was not granted or has been "
            "withdrawn."
        ),
        "Open the settings, choose Reconnect and grant what HubSpot asks you for.",
    )


def _content(portal: Portal, happened: str, remedy: str) -> Content:
    context = {
        "portal": portal,
        "happened": happened,
        "remedy": remedy,
        "settings_url": str(settings.PUBLIC_BASE_URL) + reverse("settings"),
    }
    return Content(
        subject=f"OpsAgent OTP needs your attention in {portal.hub_domain or portal.id}",
        text=render_to_string("emails/notice.txt", context),
        html=render_to_string("emails/notice.html", context),
    )
