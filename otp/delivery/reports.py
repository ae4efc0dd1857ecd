"""What became of a mail after the provider took it: its reports, written on the delivery."""

import datetime as dt
from typing import Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from emails.tracking import MailStatus
from otp.models import ChannelName, Delivery, DeliveryStatus

log = structlog.get_logger(__name__)

# What a report makes of a delivery. A mail of which we do not know that it was taken (the worker died in between) is
# settled by it, so that it is not mailed twice.
_SETTLES_AS: Final = {
    MailStatus.DELIVERED: DeliveryStatus.SENT,
    MailStatus.FAILED: DeliveryStatus.FAILED,
    MailStatus.BOUNCED: DeliveryStatus.BOUNCED,
    MailStatus.COMPLAINED: DeliveryStatus.SENT,
}


def note(
    *, message_id: str, reference: UUID | None, status: MailStatus, at: dt.datetime | None, now: dt.datetime
) -> bool:
    """Write a provider's report down; return whether it changed anything.

    Found by what the provider calls the mail, else by the code's reference. Reports may repeat and overtake each
    other: one that weighs no more than what is known changes nothing (see MailStatus), and none is about a mail
    that is unknown. A step that waits for the delivery goes on with the sweep, if the report was what settled it.
    """
    same_mail = Q(code_id=reference) if reference is not None else Q(pk__in=())
    if message_id:
        same_mail |= Q(provider_message_id=message_id)
    with transaction.atomic():
        delivery = Delivery.objects.select_for_update().filter(same_mail, channel=ChannelName.EMAIL).first()
        if delivery is None or not _is_news(delivery, status):
            return False
        delivery.provider_status = status
        delivery.provider_status_at = now if at is None else min(at, now)
        settled_as = _SETTLES_AS.get(status)
        if settled_as is not None and delivery.status in {DeliveryStatus.PENDING, DeliveryStatus.SENT}:
            delivery.status = settled_as
            delivery.error = "" if settled_as is DeliveryStatus.SENT else f"reported_{status}"
            delivery.next_attempt_at = None
            delivery.settled_at = delivery.settled_at or now
        delivery.save(
            update_fields=["provider_status", "provider_status_at", "status", "error", "next_attempt_at", "settled_at"]
        )
    log.info("mail_status_changed", portal_id=delivery.portal_id, reference=str(delivery.code_id), status=status.value)
    return True


def _is_news(delivery: Delivery, status: MailStatus) -> bool:
    return not delivery.provider_status or status.weight > MailStatus(delivery.provider_status).weight
