"""Mails codes to the contact's address: one message per code, many messages over one connection."""

from collections.abc import Generator, Iterator

from emails.messages import Message, send_each
from hubspot_integration.models import Portal
from otp.channels.base import Clock, Outcome
from otp.mail import Letterhead
from otp.models import Delivery


class EmailChannel:
    """The mail provider, whichever it is."""

    batch_size = 100
    needs_live_code = True
    needs_hubspot = False
    linger_seconds = 0.0

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Generator[list[Outcome], None, None]:
        """Mail every code; each outcome is committed before the next message is handed over.

        A slow server can take longer than a code lives: each is looked at again when its turn comes.
        """
        letterhead = Letterhead.of(portal)
        handed_over: list[Delivery] = []
        too_late: list[Delivery] = []

        def messages() -> Iterator[Message]:
            for delivery in batch:
                if delivery.code.is_live(clock()):
                    handed_over.append(delivery)
                    yield _message(delivery, letterhead)
                else:
                    too_late.append(delivery)

        for position, outcome in send_each(messages()):
            delivery = handed_over[position]
            if outcome.accepted:
                yield [Outcome.sent(delivery)]
            elif outcome.permanent:
                yield [Outcome.failed(delivery, outcome.reason)]
            else:
                yield [Outcome.postponed(delivery, outcome.reason, outcome.retry_after)]
        yield [Outcome.failed(delivery, "expired") for delivery in too_late]


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
