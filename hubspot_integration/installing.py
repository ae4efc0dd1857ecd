"""The round trip to HubSpot and back: installing the app in a portal, signing in, confirming who somebody is.

Source: https://developers.hubspot.com/docs/api-reference/latest/authentication/manage-oauth-tokens
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from hubspot_integration import attempts, tokens, transport, zones
from hubspot_integration.attempts import Attempt, InstallationError, Purpose
from hubspot_integration.models import OAuthGrant, Portal, PortalMember
from hubspot_integration.signals import portal_connected
from hubspot_integration.tokens import Refusal
from hubspot_integration.transport import HubSpotError

log = structlog.get_logger(__name__)

# Each class goes into its own parameter of the authorize URL; a scope in the wrong one blocks the installation.
REQUIRED_SCOPES: Final = ("oauth", "crm.objects.contacts.read", "crm.objects.contacts.write")
OPTIONAL_SCOPES: Final = ("automation", "crm.schemas.contacts.write")

_LONGEST_ZONE: Final = 64
_INSTALLATION_SENTENCES: Final = {
    Refusal.CODE: "This installation link has expired. Please start again.",
    Refusal.REVOKED: "HubSpot refused the connection. Please start again.",
    Refusal.CONFIGURATION: (
        "HubSpot does not accept this app's credentials. Please tell the operator of this app; nothing was changed."
    ),
    Refusal.TRANSIENT: "HubSpot did not answer in time. Please start again in a minute.",
}


class UnknownPortal(Exception):
    """Somebody signed in to a portal that the app is not installed in. `portal_name` is what HubSpot calls it."""

    def __init__(self, portal_name: str) -> None:
        super().__init__("The app is not installed in this portal")
        self.portal_name = portal_name


def redirect_uri() -> str:
    """Return the callback address as HubSpot knows it."""
    return str(settings.PUBLIC_BASE_URL) + reverse("hubspot_oauth_callback")


def begin(
    *, purpose: Purpose, now: dt.datetime, return_to: str = "", member: PortalMember | None = None
) -> tuple[str, str]:
    """Begin an attempt; return HubSpot's authorize URL and the attempt's state.

    With `member` nobody else can finish it, and HubSpot's page proposes that member's account.
    """
    state, challenge = attempts.begin(purpose=purpose, now=now, return_to=return_to, member=member)
    query = {
        "client_id": settings.HUBSPOT_CLIENT_ID,
        "redirect_uri": redirect_uri(),
        "scope": " ".join(REQUIRED_SCOPES),
        "optional_scope": " ".join(OPTIONAL_SCOPES),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    account = f"/{member.portal_id}" if member else ""
    return f"{settings.HUBSPOT_APP_BASE_URL}/oauth/authorize{account}?{urlencode(query, quote_via=quote)}", state


def finish(*, attempt: Attempt, code: str) -> PortalMember:
    """Exchange the authorization code and do what the browser went for; return who came back.

    An installation stores the portal, its tokens and its installer. Signing in and confirming store only that somebody
    came: the portal keeps its tokens. Raises InstallationError, when somebody else came back to confirm too, and
    UnknownPortal for whoever signs in to a portal that is not connected.
    """
    now = timezone.now()
    try:
        token = tokens.request_tokens(
            grant_type="authorization_code", code=code, redirect_uri=redirect_uri(), code_verifier=attempt.verifier
        )
        facts = tokens.introspect(token["access_token"])
    except HubSpotError as error:
        refusal = tokens.classify(error, refreshing=False)
        log.warning("installation_refused", refusal=refusal.value, status=error.status, words=sorted(error.words))
        raise InstallationError(_INSTALLATION_SENTENCES[refusal]) from None
    portal_id, user_id = facts.get("hub_id") or token.get("hub_id"), facts.get("user_id") or token.get("user_id")
    if not isinstance(portal_id, int) or not isinstance(user_id, int):
        raise InstallationError("HubSpot did not say which account was connected. Please start again.")
    person = {"email": str(facts.get("user") or "")[:254], "signed_in_at": now, "last_seen_at": now}
    if attempt.purpose is Purpose.INSTALL:
        return _install(portal_id, user_id, person, token, facts, now)
    if attempt.purpose is Purpose.CONFIRM:
        return _confirm(attempt, portal_id, user_id, person)
    portal = Portal.objects.connected().filter(id=portal_id).first()
    if portal is None:
        raise UnknownPortal(str(facts.get("hub_domain") or portal_id)[:255])
    member, _ = PortalMember.objects.update_or_create(portal=portal, hubspot_user_id=user_id, defaults=person)
    log.info("signed_in", portal_id=portal.id)
    return member


def _confirm(attempt: Attempt, portal_id: int, user_id: int, person: Mapping[str, Any]) -> PortalMember:
    """Note that a member has come back from HubSpot. Raises InstallationError when it was somebody else."""
    if (portal_id, user_id) != (attempt.portal_id, attempt.user_id):
        raise InstallationError(
            f"HubSpot answered for {person['email'] or 'another user'} in account {portal_id}, and not for whoever is signed "
            "in here. Nothing was changed. Try again, and choose the same account and user at HubSpot."
        )
    members = PortalMember.objects.filter(portal_id=portal_id, hubspot_user_id=user_id)
    members.update(**person)
    member = members.first()
    if member is None:  # taken off the list while they were at HubSpot, or in this very moment
        raise InstallationError("Your access to these settings has been ended, so nothing was changed. Sign in again.")
    log.info("identity_confirmed", portal_id=portal_id)
    return member


def _install(
    portal_id: int,
    user_id: int,
    person: Mapping[str, Any],
    token: Mapping[str, Any],
    facts: Mapping[str, Any],
    now: dt.datetime,
) -> PortalMember:
    listed = token.get("scopes") or facts.get("scopes")
    scopes = [scope for scope in listed if isinstance(scope, str)] if isinstance(listed, list) else []
    details = _account_details(token["access_token"])
    with transaction.atomic():
        portal, _ = Portal.objects.update_or_create(
            id=portal_id,
            defaults={
                "hub_domain": str(facts.get("hub_domain") or "")[:255],
                "ui_domain": str(details.get("uiDomain") or "app.hubspot.com")[:255],
                "time_zone": _zone(details.get("timeZone")),
                "account_type": str(details.get("accountType") or "")[:32],
                "installed_at": now,
                "disconnected_at": None,
            },
        )
        OAuthGrant.objects.update_or_create(
            portal=portal, defaults={**tokens.grant_fields(token, now), "scopes": scopes}
        )
        portal.refused_features.all().delete()
        member, _ = PortalMember.objects.update_or_create(portal=portal, hubspot_user_id=user_id, defaults=person)
        portal.installed_by = member
        portal.save(update_fields=["installed_by"])
    portal_connected.send(sender=Portal, portal=portal, scopes=set(scopes), member=member)
    log.info("portal_connected", portal_id=portal.id, scopes=scopes)
    return member


def _account_details(access_token: str) -> dict[str, Any]:
    try:
        answer = transport.call(
            "GET", f"/account-info/{settings.HUBSPOT_API_VERSION}/details", token=access_token, timeout=3.0
        )
    except HubSpotError as error:  # some accounts refuse it (403): the portal then counts in UTC
        log.info("account_details_unavailable", status=error.status)
        return {}
    return answer if isinstance(answer, dict) else {}


def _zone(name: object) -> str:
    """Return the name of the portal's time zone; UTC for what is none."""
    return name if isinstance(name, str) and len(name) <= _LONGEST_ZONE and zones.named(name) else "UTC"
