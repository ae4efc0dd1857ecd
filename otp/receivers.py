"""What the product does when the platform apps have news."""

from typing import Any

import structlog
from django.dispatch import receiver

from hubspot_integration import client
from hubspot_integration.models import Portal
from hubspot_integration.signals import feature_refused, portal_connected, portal_disconnected
from hubspot_integration.transport import HubSpotError
from otp import notices, tasks
from otp.models import OTPSettings
from otp.services import COMPLETION_SCOPE

log = structlog.get_logger(__name__)


@receiver(portal_connected)
def prepare_portal(*, portal: Portal, scopes: set[str], **_: Any) -> None:
    """Give a new portal its settings (a returning one keeps its own) and fetch its contact properties."""
    OTPSettings.objects.get_or_create(portal=portal, defaults={"wait_until_delivered": COMPLETION_SCOPE in scopes})
    try:
        client.contact_properties(portal.id, timeout=3.0)
    except HubSpotError as error:  # the settings page fetches it again
        log.info("properties_not_fetched", portal_id=portal.id, status=error.status)


@receiver(portal_disconnected)
def tell_of_the_end(*, portal: Portal, **_: Any) -> None:
    """Mail the admins that the connection is gone."""
    _tell(portal.id, notices.DISCONNECTED)


@receiver(feature_refused)
def tell_of_the_refusal(*, portal_id: int, feature: str, **_: Any) -> None:
    """Mail the admins what HubSpot refuses; it comes once, when the refusal is new."""
    _tell(portal_id, feature)


def _tell(portal_id: int, subject: str) -> None:
    try:
        tasks.tell_admins.delay(portal_id, subject)
    except Exception as error:  # noqa: BLE001 (the settings page says the same; no call fails for a missing broker)
        log.warning("admins_not_told", portal_id=portal_id, about=subject, reason=type(error).__name__)
