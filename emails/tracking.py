"""What mail providers report about mails that they took, in our words. Pure."""

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from anymail.signals import EventType, RejectReason

REFERENCE: Final = "reference"
"""The name under which a mail carries its reference to the provider and back."""


class MailStatus(enum.StrEnum):
    """What became of a mail, in the order of weight: later news of less weight changes nothing.

    Reports come more than once and out of order. A delivery that is reported late does not take back a bounce, and a
    complaint means that the mail has arrived, whatever else was said.
    """

    DEFERRED = "deferred"
    DELIVERED = "delivered"
    FAILED = "failed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"

    @property
    def weight(self) -> int:
        """How much the news counts."""
        return list(MailStatus).index(self)


_STATUSES: Final = {
    EventType.DEFERRED: MailStatus.DEFERRED,
    EventType.DELIVERED: MailStatus.DELIVERED,
    EventType.FAILED: MailStatus.FAILED,
    EventType.BOUNCED: MailStatus.BOUNCED,
    EventType.COMPLAINED: MailStatus.COMPLAINED,
    # Somebody who opens a mail has it. The app asks for no such tracking; an account may have it on for all mails.
    EventType.OPENED: MailStatus.DELIVERED,
    EventType.CLICKED: MailStatus.DELIVERED,
}
# The provider did not even try: because of the address, or because of the mail or the account.
_THE_ADDRESS: Final = frozenset(
    {RejectReason.INVALID, RejectReason.BOUNCED, RejectReason.BLOCKED, RejectReason.UNSUBSCRIBED, RejectReason.SPAM}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One report: which mail, what became of it, and when, as far as the provider says."""

    message_id: str
    reference: UUID | None
    status: MailStatus
    at: dt.datetime | None


def news_of(event: Any) -> News | None:
    """Put one of Anymail's tracking events into our words; None for what says nothing about a mail's arrival.

    The reference is the one that the mail carried as metadata, else the left side of a Message-ID of ours, which some
    providers keep. Addresses and the provider's own words are left behind.
    """
    status = _STATUSES.get(event.event_type)
    if event.event_type == EventType.REJECTED:
        status = MailStatus.BOUNCED if event.reject_reason in _THE_ADDRESS else MailStatus.FAILED
    if status is None:
        return None
    message_id = event.message_id if isinstance(event.message_id, str) else ""
    metadata = event.metadata if isinstance(event.metadata, Mapping) else {}
    at = event.timestamp if isinstance(event.timestamp, dt.datetime) else None
    return News(
        message_id=message_id,
        reference=_uuid(metadata.get(REFERENCE)) or _uuid(message_id.strip("<>").partition("@")[0]),
        status=status,
        at=at if at is None or at.tzinfo else at.replace(tzinfo=dt.UTC),
    )


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None
