"""Mails codes to the contact's address: one message per code, many messages over one connection."""

import datetime as dt
from collections.abc import Generator, Iterator
from typing import Final

from django.conf import settings

from emails.messages import Message, send_each
from hubspot_integration.models import Portal
from otp import codes
from otp.channels.base import Clock, Outcome
from otp.mail import Letterhead
from otp.models import ChannelName, Delivery, DeliveryStatus

BOUNCE_HOLDS: Final = dt.timedelta(hours=1)
"""So long an address that bounced is not mailed again: providers punish senders who insist."""


class EmailChannel:
    """The mail provider, whichever it is."""

    batch_size = 100
    needs_live_code = True
    needs_hubspot = False
    needs_recipient = True
    linger_seconds = 0.0

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Generator[list[Outcome], None, None]:
        """Mail every code; each outcome is committed before the next message is handed over.

        A slow server can take longer than a code lives: each is looked at again when its turn comes. An address that
        bounced within the hour is not mailed again.
        """
        bounced = _bounced_within_the_hour(portal, batch, clock())
        if bounced:
            yield [Outcome.bounced(delivery, "bounced_within_the_hour") for delivery in bounced]
        to_mail = [delivery for delivery in batch if delivery not in bounced]
        letterhead = Letterhead.of(portal)
        handed_over: list[Delivery] = []
        too_late: list[Delivery] = []

        def messages() -> Iterator[Message]:
            for delivery in to_mail:
                if delivery.code.is_live(clock()):
                    handed_over.append(delivery)
                    yield _message(delivery, letterhead)
                else:
                    too_late.append(delivery)

        for position, outcome in send_each(messages()):
            delivery = handed_over[position]
            if outcome.accepted:
                yield [Outcome.sent(delivery, provider_message_id=outcome.provider_message_id)]
            elif outcome.permanent:
                yield [Outcome.failed(delivery, outcome.reason)]
            else:
                yield [Outcome.postponed(delivery, outcome.reason, outcome.retry_after)]
        yield [Outcome.failed(delivery, "expired") for delivery in too_late]


def _bounced_within_the_hour(portal: Portal, batch: list[Delivery], now: dt.datetime) -> list[Delivery]:
    """Return the deliveries to addresses of which the provider has reported a bounce."""
    digests = {
        delivery.id: set(
            codes.address_digests(
                peppers=settings.CODE_PEPPERS,
                portal_id=portal.id,
                address=codes.normalise_address(delivery.code.address),
            )
        )
        for delivery in batch
    }
    found = Delivery.objects.filter(
        code__portal=portal,
        code__address_digest__in=list(set().union(*digests.values())),
        channel=ChannelName.EMAIL,
        status=DeliveryStatus.BOUNCED,
        provider_status_at__gt=now - BOUNCE_HOLDS,
    )
    bounced = {bytes(digest) for digest in found.values_list("code__address_digest", flat=True)}
    return [delivery for delivery in batch if digests[delivery.id] & bounced]


def _message(delivery: Delivery, letterhead: Letterhead) -> Message:
    code = delivery.code
    content = letterhead.content(
        code=code.code or "",
        first_name=code.first_name or "",
        language=code.language,
        expiry_minutes=code.expiry_minutes,
        expires_at=code.expires_at,
        reference=code.id,
    )
    return letterhead.message(to=code.address, content=content, reference=code.id)
