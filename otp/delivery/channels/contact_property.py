"""Writes codes to the contact property that the portal chose: up to 100 contacts in one call."""

from collections import defaultdict
from typing import Final

from hubspot_integration import client
from hubspot_integration.client import Batches
from hubspot_integration.models import Portal
from otp.delivery.channels import property_clearing
from otp.delivery.channels.base import Clock, FollowUp, Outcome, Steps
from otp.delivery.channels.batches import hand_over
from otp.models import Delivery

# Of codes that were made for one contact and property the newest live one is written, whenever its turn comes.
NEWER_EXISTS: Final = """
    CASE WHEN EXISTS (
        SELECT FROM otp_onetimecode AS newer JOIN otp_delivery AS its ON its.code_id = newer.id
        WHERE newer.contact_id = code.contact_id AND newer.portal_id = code.portal_id
          AND (newer.created_at, newer.id) > (code.created_at, code.id)
          AND newer.ended_at IS NULL AND newer.expires_at > %(now)s
          AND its.channel = delivery.channel AND its.target = delivery.target AND its.status <> 'failed'
    ) THEN 'replaced_by_newer_code' END
"""


class ContactPropertyChannel:
    """HubSpot's batch update of contacts."""

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = True
    needs_recipient = False
    linger_seconds = 1.0
    takes_a_lane = False
    objection = NEWER_EXISTS
    when_unheard: FollowUp | None = property_clearing.CHECK

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Steps:  # noqa: ARG002 (the protocol's)
        """Write every code; the engine has left one for each contact and property."""
        hubspot = Batches(portal.id)

        def write(deliveries: list[Delivery]) -> list[Outcome]:
            property_clearing.remember(deliveries)
            values: dict[int, dict[str, str]] = defaultdict(dict)
            for delivery in deliveries:
                values[delivery.code.contact_id][delivery.target] = delivery.code.code or ""
            refused = hubspot.update_contacts(values)
            return [
                Outcome.of_hubspot_error(delivery, refused[delivery.code.contact_id])
                if delivery.code.contact_id in refused
                else Outcome.sent(delivery)
                for delivery in deliveries
            ]

        yield from hand_over(hubspot, batch, write)
