"""Takes codes that have ended out of the contact property again: a batch read, then a batch write of what still holds one."""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Generator
from typing import Final

from django.conf import settings
from django.db import connection

from hubspot_integration import budget, client
from hubspot_integration.models import Portal
from hubspot_integration.transport import HubSpotError
from otp import codes
from otp.channels.base import Clock, Outcome
from otp.models import ChannelName, Delivery, DeliveryStatus, OneTimeCode, OTPSettings

SHARE_FOR_OTHERS: Final = 0.5
"""The part of the portal's calls that is left to deliveries that somebody waits for."""
PATIENCE: Final = dt.timedelta(seconds=15)
"""No write later than this after the claim: its lease must not end in the middle."""


class PropertyClearingChannel:
    """HubSpot's batch read and batch update of contacts.

    It takes the turn of the channel that writes codes, so that no code is written between its look and its write.
    """

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False
    needs_hubspot = True
    needs_recipient = True
    linger_seconds = 5.0  # nobody waits for it

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Generator[list[Outcome], None, None]:
        """Empty the property of every contact where it still holds a code that has ended, and of no other."""
        began = clock()
        batch = _wanted(portal, batch)
        too_late = [delivery for delivery in batch if not delivery.code.digest]
        if too_late:  # HubSpot was away for a day: nobody can tell any more what the property holds
            yield [Outcome.failed(delivery, "too_late") for delivery in too_late]
        batch = [delivery for delivery in batch if delivery.code.digest]
        if not batch:
            return
        if budget.share_left(portal.id) < SHARE_FOR_OTHERS:
            yield [Outcome.postponed(delivery, "budget_spent", budget.WINDOW_SECONDS) for delivery in batch]
            return
        try:
            held = _held(portal.id, batch, began)
            if clock() > began + PATIENCE:
                yield [Outcome.postponed(delivery, "slow_answer") for delivery in batch]
                return
            refused = client.update_contacts(portal.id, held) if held else {}
        except HubSpotError as error:
            yield [Outcome.of_hubspot_error(delivery, error) for delivery in batch]
            return
        yield [
            Outcome.of_hubspot_error(delivery, refused[delivery.code.contact_id])
            if delivery.code.contact_id in refused
            else Outcome.sent(delivery)
            for delivery in batch
        ]


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


def _held(portal_id: int, batch: list[Delivery], now: dt.datetime) -> dict[int, dict[str, str]]:
    """Ask HubSpot which of the contacts' properties hold a code of theirs that has ended; return them, emptied.

    A property that a live code has been, or is about to be, written to is left alone. Raises HubSpotError.
    """
    contacts = sorted({delivery.code.contact_id for delivery in batch})
    taken = set(
        Delivery.objects.filter(
            channel=ChannelName.CONTACT_PROPERTY,
            status__in=(DeliveryStatus.PENDING, DeliveryStatus.SENT),
            code__in=OneTimeCode.objects.live(now).filter(portal_id=portal_id, contact_id__in=contacts),
        ).values_list("code__contact_id", "target")
    )
    looked_at = {
        (delivery.code.contact_id, delivery.target)
        for delivery in batch
        if (delivery.code.contact_id, delivery.target) not in taken
    }
    if not looked_at:
        return {}
    values = client.contact_values(
        portal_id, sorted({contact for contact, _ in looked_at}), sorted({target for _, target in looked_at})
    )
    ended: dict[int, list[OneTimeCode]] = defaultdict(list)
    for code in OneTimeCode.objects.filter(portal_id=portal_id, contact_id__in=contacts).exclude(digest=b""):
        if not code.is_live(now):
            ended[code.contact_id].append(code)
    held: dict[int, dict[str, str]] = {}
    for contact, target in looked_at:
        value = values.get(contact, {}).get(target, "")
        if any(_equals(code, value) for code in ended[contact]):
            held.setdefault(contact, {})[target] = ""
    return held


def _equals(code: OneTimeCode, value: str) -> bool:
    """Whether a property's value is the code, which by now is known by its keyed digest alone."""
    return bytes(code.digest) in codes.digests(
        peppers=settings.CODE_PEPPERS,
        portal_id=code.portal_id,
        contact_id=code.contact_id,
        address=code.address,
        code=codes.normalise(value),
    )
