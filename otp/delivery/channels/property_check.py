"""Looks at a contact property again after a write of which nobody knows the end, and has put right what stands there.

HubSpot may carry a write out after we gave up waiting for it: then an older value stands over a newer one, or a code that
has ended where none should stand. This channel writes nothing itself: it makes the writing, or the clearing, due again.
"""

from typing import Final

from hubspot_integration import client
from hubspot_integration.client import Batches
from hubspot_integration.models import Portal
from otp.delivery.channels import standing
from otp.delivery.channels.base import NO_OBJECTION, Clock, FollowUp, Outcome, Step, Steps
from otp.delivery.channels.batches import hand_over
from otp.models import Delivery, DeliveryStatus, OneTimeCode

LATER: Final = "looked_at_once_more"


class PropertyCheckChannel:
    """HubSpot's batch read of contacts. It takes the turn of the channel that writes codes."""

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False
    needs_recipient = False
    linger_seconds = 5.0  # looks of one outage come together
    takes_a_lane = False
    objection = NO_OBJECTION
    when_unheard: FollowUp | None = None

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Steps:
        """Compare every property with the newest live code, and once more at the time in `not_before`."""
        too_late = [delivery for delivery in batch if not delivery.code.digest]
        if too_late:
            yield Step([Outcome.failed(delivery, "too_late") for delivery in too_late])
        hubspot = Batches(portal.id)
        recognisable = [delivery for delivery in batch if delivery.code.digest]
        if recognisable:
            yield from hand_over(hubspot, recognisable, lambda some: _look(hubspot, portal.id, some, clock))


def _look(hubspot: Batches, portal_id: int, deliveries: list[Delivery], clock: Clock) -> list[Outcome]:
    contacts = {delivery.code.contact_id for delivery in deliveries}
    found = standing.read(hubspot, {standing.place_of(delivery) for delivery in deliveries})
    now = clock()
    expected = standing.expected(portal_id, contacts, now)
    codes = standing.known_codes(portal_id, contacts)
    overwritten: list[Delivery] = []
    left_over: list[OneTimeCode] = []
    for (contact, name), value in found.values.items():
        ours = [code for code in codes[contact] if standing.is_code(value, code)]
        writing = expected.get((contact, name))
        if contact in found.unread:
            continue
        if writing is None:
            left_over += [code for code in ours if not code.is_live(now)]
        # What somebody else wrote is left alone; nothing at all may be a clearing that came late.
        elif writing.status != DeliveryStatus.PENDING and writing.code not in ours and (ours or not value):
            overwritten.append(writing)
    standing.write_again(overwritten, now)
    standing.clear_again(left_over, now)
    outcomes = []
    for delivery in deliveries:
        if error := found.unread.get(delivery.code.contact_id):
            outcomes.append(Outcome.of_hubspot_error(delivery, error))
        elif delivery.not_before is not None and delivery.not_before > now:
            outcomes.append(Outcome.postponed(delivery, LATER, (delivery.not_before - now).total_seconds()))
        else:
            outcomes.append(Outcome.sent(delivery))
    return outcomes
