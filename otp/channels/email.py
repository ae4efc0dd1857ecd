"""Mails codes to the contact's address: one message per code, many messages over one connection."""

from collections.abc import Generator, Iterator
from email.utils import parseaddr

from django.conf import settings
from django.utils.dateformat import format as format_date

from emails.content import Content, Texts, compose
from emails.messages import Message, send_each
from hubspot_integration.models import Portal
from otp.channels.base import Clock, Outcome
from otp.models import Delivery, OTPSettings


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
        otp_settings = OTPSettings.objects.get(portal=portal)
        handed_over: list[Delivery] = []
        too_late: list[Delivery] = []

        def messages() -> Iterator[Message]:
            for delivery in batch:
                if delivery.code.is_live(clock()):
                    handed_over.append(delivery)
                    yield _message(delivery, portal, otp_settings)
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


def _message(delivery: Delivery, portal: Portal, otp_settings: OTPSettings) -> Message:
    sender_domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return Message(
        to=delivery.code.address,
        content=_content(delivery, portal, otp_settings),
        message_id=f"{delivery.code_id}@{sender_domain}",  # the same for every attempt: a receiver can tell doubles
    )


def _content(delivery: Delivery, portal: Portal, otp_settings: OTPSettings) -> Content:
    code = delivery.code
    return compose(
        Texts(
            subject=otp_settings.email_subject,
            greeting=otp_settings.greeting,
            body=otp_settings.body_text,
            footer=otp_settings.footer_text,
        ),
        code=code.code or "",
        values={
            "expiry_minutes": str(code.expiry_minutes),
            "expires_at": format_date(code.expires_at.astimezone(portal.zone), "Y-m-d H:i T"),
            "first_name": code.first_name or "",
            "company": portal.hub_domain,
            "reference": str(code.id),
        },
        language="en",
        right_to_left=False,
    )
