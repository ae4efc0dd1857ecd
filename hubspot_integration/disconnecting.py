"""Ending a portal's connection from our side, and noticing that HubSpot's side ended it."""

import datetime as dt
from typing import Final

import structlog
from django.conf import settings

from hubspot_integration import transport
from hubspot_integration.models import OAuthGrant
from hubspot_integration.tokens import NotConnected, access_token_for, form_about, mark_disconnected
from hubspot_integration.transport import HubSpotError

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = dt.timedelta(hours=1)
_FAREWELL_TIMEOUT: Final = 5.0


def disconnect(portal_id: int, *, asked_by: str, by_staff: bool = False) -> bool:
    """Uninstall the app from a portal, on both sides; return whether HubSpot's side is known to be done.

    `asked_by` and `by_staff` say who wants it, as in `mark_disconnected`. Whatever HubSpot answers, if it answers, our side
    is disconnected and holds no token afterwards; where HubSpot's side is not done, the admin removes the app there.
    Source: https://developers.hubspot.com/changelog/app-listing-and-app-certification-requirement-updates-for-may-2026
    """
    grant = OAuthGrant.objects.filter(portal_id=portal_id).first()
    uninstalled = grant is not None and _uninstall(portal_id)
    if grant is not None:
        _revoke(grant.refresh_token)
    mark_disconnected(portal_id, asked_by=asked_by, by_staff=by_staff)
    return uninstalled


def _uninstall(portal_id: int) -> bool:
    try:
        transport.call(
            "DELETE",
            f"/appinstalls/{settings.HUBSPOT_API_VERSION}/external-install",
            token=access_token_for(portal_id),
            timeout=_FAREWELL_TIMEOUT,
        )
    except NotConnected:  # uninstalled there already: that is how the refresh was refused
        return True
    except HubSpotError as error:
        log.warning("uninstall_refused", portal_id=portal_id, status=error.status, reason=error.reason)
        return False
    return True


def _revoke(refresh_token: str) -> None:
    """Make a refresh token worthless; after an uninstall it is that already, and HubSpot may well say so."""
    try:
        transport.call(
            "POST",
            f"/oauth/{settings.HUBSPOT_API_VERSION}/token/revoke",
            form=form_about(refresh_token, "refresh_token"),
            timeout=_FAREWELL_TIMEOUT,
        )
    except HubSpotError as error:
        log.info("revocation_refused", status=error.status, reason=error.reason)


def notice_uninstalls(*, now: dt.datetime) -> None:
    """Refresh tokens that nobody has needed for an hour: HubSpot tells of an uninstall in no other way.

    Stops at the first refusal that says nothing about the portal; whatever stands in the way, it is in everybody's.
    """
    idle = OAuthGrant.objects.filter(refreshed_at__lt=now - LOOK_EVERY).order_by("refreshed_at")
    for portal_id in idle.values_list("portal_id", flat=True):
        try:
            access_token_for(portal_id)
        except NotConnected:
            continue
        except HubSpotError:
            return
