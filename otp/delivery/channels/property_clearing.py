"""Takes codes that have ended out of the contact property again: a batch read, then a batch write of what still holds one."""

import datetime as dt
from collections.abc import Collection
from typing import Final

from django.db import connection

from hubspot_integration import budget, client
from hubspot_integration.client import Batches
from hubspot_integration.models import Portal
from otp.delivery.channels import standing
from otp.delivery.channels.base import NO_OBJECTION, Clock, FollowUp, Outcome, Step, Steps
from otp.delivery.channels.batches import hand_over
from otp.models import ChannelName, Delivery, DeliveryStatus, OTPSettings

SHARE_FOR_OTHERS: Final = 0.5
"""The part of the portal's calls that is left to deliveries that somebody waits for."""
PATIENCE: Final = dt.timedelta(seconds=15)
"""No write later than this after the look: its lease must not end in the middle."""
# HubSpot may carry a write out after we have given up waiting for it: by the first look in most cases, by the last in all
# that we can think of.
CHECK: Final = FollowUp(ChannelName.PROPERTY_CHECK, dt.timedelta(seconds=30), last=dt.timedelta(seconds=90), again=True)


class PropertyClearingChannel:
    """HubSpot's batch read and batch update of contacts.

    It takes the turn of the channel that writes codes, so that no code is written between its look and its write.
    """

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False
    needs_recipient = True
    linger_seconds = 5.0  # nobody waits for it
    takes_a_lane = False
    objection = NO_OBJECTION
    when_unheard: FollowUp | None = CHECK

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Steps:
        """Empty the property of every contact where it still holds a code that has ended, and of no other."""
        batch = _wanted(portal, batch)
        too_late = [delivery for delivery in batch if not delivery.code.digest]
        if too_late:  # HubSpot was away for a day: nobody can tell any more what the property holds
            yield Step([Outcome.failed(delivery, "too_late") for delivery in too_late])
        batch = [delivery for delivery in batch if delivery.code.digest]
        if not batch:
            return
        if budget.share_left(portal.id) < SHARE_FOR_OTHERS:
            yield Step([Outcome.postponed(delivery, "budget_spent", budget.WINDOW_SECONDS) for delivery in batch])
            return
        hubspot = Batches(portal.id)
        yield from hand_over(hubspot, batch, lambda deliveries: _clear(hubspot, portal.id, deliveries, clock))


def remember(deliveries: Collection[Delivery]) -> None:
    """Note that these deliveries are about to be written, and that they must be cleared when their codes end.

    Written down before the write: whatever becomes of it, and of whoever makes it, the property is looked at. A code
    that was erased meanwhile is passed over.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO otp_delivery (code_id, portal_id, channel, target, status, attempts, next_attempt_at, error)
            SELECT code.id, code.portal_id, %(channel)s, written.target, 'pending', 0, code.expires_at, ''
            FROM unnest(%(codes)s::uuid[], %(targets)s::text[]) AS written (code_id, target)
            JOIN otp_onetimecode AS code ON code.id = written.code_id
            ORDER BY code.id
            FOR KEY SHARE OF code
            ON CONFLICT (code_id, channel) DO NOTHING
            """,
            {
                "channel": ChannelName.PROPERTY_CLEARING,
                "codes": [delivery.code_id for delivery in deliveries],
                "targets": [delivery.target for delivery in deliveries],
            },
        )


def _wanted(portal: Portal, batch: list[Delivery]) -> list[Delivery]:
    """Keep what the portal, or whoever verified the code, wants cleared; of the rest nothing needs to be on record."""
    if OTPSettings.objects.filter(portal=portal, clear_property=True).exists():
        return batch
    unwanted = [delivery.id for delivery in batch if not delivery.code.clears_property_on_success]
    Delivery.objects.filter(id__in=unwanted).delete()
    return [delivery for delivery in batch if delivery.id not in unwanted]


def _clear(hubspot: Batches, portal_id: int, deliveries: list[Delivery], clock: Clock) -> list[Outcome]:
    """Look at the properties, and empty those that hold a code that has ended.

    A property that a newer live code was, or is about to be, written to is left alone. Where an older one lives on, it is
    written again instead.
    """
    began = clock()
    expected = standing.expected(portal_id, {delivery.code.contact_id for delivery in deliveries}, began)
    looked_at = {
        place
        for delivery in deliveries
        if (writing := expected.get(place := standing.place_of(delivery))) is None
        or writing.code.created_at < delivery.code.created_at
    }
    if not looked_at:
        return [Outcome.sent(delivery) for delivery in deliveries]
    found = standing.read(hubspot, looked_at)
    if clock() > began + PATIENCE:
        return [Outcome.postponed(delivery, "slow_answer") for delivery in deliveries]
    codes = standing.known_codes(portal_id, {contact for contact, _ in looked_at})
    held: dict[int, dict[str, str]] = {}
    overwritten = []
    for place in looked_at:
        contact, name = place
        value, writing = found.values[place], expected.get(place)
        holds_one = any(not code.is_live(began) and standing.is_code(value, code) for code in codes[contact])
        if writing is None and holds_one:
            held.setdefault(contact, {})[name] = ""
        # The older code made room for one that was perhaps never written.
        elif writing is not None and (holds_one or (writing.status == DeliveryStatus.FAILED and not value)):
            overwritten.append(writing)
    standing.write_again(overwritten, began)
    refused = {**found.unread, **(hubspot.update_contacts(held) if held else {})}
    return [
        Outcome.of_hubspot_error(delivery, refused[delivery.code.contact_id])
        if delivery.code.contact_id in refused
        else Outcome.sent(delivery)
        for delivery in deliveries
    ]
