"""What the product does when the platform apps have news."""

from typing import Any

import structlog
from django.dispatch import receiver

from hubspot_integration import client
from hubspot_integration.models import Portal
from hubspot_integration.signals import portal_connected
from hubspot_integration.transport import HubSpotError
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
