"""Mails codes to the contact's address: one message per code, many messages over one connection."""

import contextlib
import datetime as dt
from typing import Final

from django.conf import settings

from emails.messages import HandOver, Message, Sender
from hubspot_integration.models import Portal
from otp import codes
from otp.delivery.channels.base import BOUNCED_LATELY, Clock, FollowUp, Outcome, Step, Steps
from otp.mails.to_contacts import Letterhead
from otp.models import ChannelName, Delivery, DeliveryStatus

BOUNCE_HOLDS: Final = dt.timedelta(hours=1)
"""So long an address that bounced is not mailed again: providers punish senders who insist."""


class EmailChannel:
    """The mail provider, whichever it is."""

    batch_size = 100
    needs_live_code = True
    needs_recipient = True
    linger_seconds = 0.0
    takes_a_lane = True
    # A bounce that was reported while the batch is on its way; the batch itself is held against all of the hour's.
    objection = f"""
        CASE WHEN EXISTS (
            SELECT FROM otp_onetimecode AS other JOIN otp_delivery AS its ON its.code_id = other.id
            WHERE other.address_digest = code.address_digest AND other.portal_id = code.portal_id
              AND other.created_at > %(now)s - interval '1 day'
              AND its.channel = delivery.channel AND its.status = 'bounced'
              AND its.provider_status_at > %(now)s - interval '1 hour'
        ) THEN '{BOUNCED_LATELY}' END
    """
    when_unheard: FollowUp | None = (
        None  # a mail cannot be taken back; whoever gets it twice can tell by its Message-ID
    )

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Steps:
        """Mail every code; each outcome is committed, and the next code looked at, before the next message leaves.

        An address that bounced within the hour is not mailed again. After a message that got no answer in time the next
        one shows whether it was the message or the server, and the turn does not end before that; a server that is silent
        is left alone for now.
        """
        bounced = _bounced_within_the_hour(portal, batch, clock())
        untold = [Outcome.bounced(delivery, BOUNCED_LATELY) for delivery in bounced]
        to_mail = [delivery for delivery in batch if delivery not in bounced]
        letterhead = Letterhead.of(portal)
        with contextlib.closing(Sender()) as sender:
            for position, delivery in enumerate(to_mail, start=1):
                told = [] if sender.is_in_doubt else untold
                untold = untold[len(told) :]
                if not (yield Step(told, [delivery])):
                    continue
                result = sender.send(_message(delivery, letterhead))
                untold.append(_outcome(delivery, result))
                if sender.has_given_up:
                    untold += [Outcome.postponed(rest, result.reason) for rest in to_mail[position:]]
                    break
        yield Step(untold)


def _outcome(delivery: Delivery, result: HandOver) -> Outcome:
    if result.accepted:
        return Outcome.sent(delivery, provider_message_id=result.provider_message_id)
    if result.permanent:
        return Outcome.failed(delivery, result.reason)
    return Outcome.postponed(delivery, result.reason, result.retry_after)


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
