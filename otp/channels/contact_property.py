"""Writes codes to the contact property that the portal chose: up to 100 contacts in one call."""

from collections.abc import Generator
from http import HTTPStatus

from hubspot_integration import client
from hubspot_integration.models import Portal
from hubspot_integration.transport import HubSpotError
from otp.channels import property_clearing
from otp.channels.base import Clock, Outcome
from otp.models import Delivery


class ContactPropertyChannel:
    """HubSpot's batch update of contacts."""

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = True
    needs_hubspot = True
    needs_recipient = False
    linger_seconds = 1.0

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Generator[list[Outcome], None, None]:  # noqa: ARG002 (the protocol's)
        """Write the newest code of every contact; a contact named twice would make HubSpot refuse the whole call."""
        newest: dict[int, Delivery] = {}
        for delivery in sorted(batch, key=lambda one: one.code.created_at):
            newest[delivery.code.contact_id] = delivery
        older = [delivery for delivery in batch if newest[delivery.code.contact_id] is not delivery]
        if older:
            yield [Outcome.failed(delivery, "replaced_by_newer_code") for delivery in older]
        property_clearing.remember(newest.values())
        yield from _write(portal.id, newest)


def _write(portal_id: int, deliveries: dict[int, Delivery]) -> Generator[list[Outcome], None, None]:
    values = {contact: {delivery.target: delivery.code.code or ""} for contact, delivery in deliveries.items()}
    try:
        refused = client.update_contacts(portal_id, values)
    except HubSpotError as error:
        concerns_the_property = bool(error.properties & {delivery.target for delivery in deliveries.values()})
        if error.status == HTTPStatus.BAD_REQUEST and len(deliveries) > 1 and not concerns_the_property:
            # One bad contact fails the whole call: halve it until the culprit stands alone.
            items = list(deliveries.items())
            middle = len(items) // 2
            yield from _write(portal_id, dict(items[:middle]))
            yield from _write(portal_id, dict(items[middle:]))
            return
        yield [Outcome.of_hubspot_error(delivery, error) for delivery in deliveries.values()]
        return
    yield [
        Outcome.of_hubspot_error(delivery, refused[contact]) if contact in refused else Outcome.sent(delivery)
        for contact, delivery in deliveries.items()
    ]
