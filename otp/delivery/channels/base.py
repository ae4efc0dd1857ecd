"""What a channel is to the delivery engine."""

import datetime as dt
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hubspot_integration.models import Portal
from hubspot_integration.transport import HubSpotError
from otp.models import ChannelName, Delivery, DeliveryStatus

Clock = Callable[[], dt.datetime]

BOUNCED_LATELY: Final = "bounced_within_the_hour"


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A delivery on another channel that an outcome asks for, after a delay.

    `last` says after how long the follow-up looks for the last time, where it looks more than once. `again`: one that there
    is already begins anew; otherwise it stays as it is.
    """

    channel: ChannelName
    delay: dt.timedelta
    last: dt.timedelta | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delivery: sent, failed for good, or to be tried again (after `retry_after` seconds).

    `unheard`: the destination may have done it, or may yet do it, although it did not say so.
    """

    delivery: Delivery
    status: DeliveryStatus
    error: str = ""
    retry_after: float | None = None
    follow_up: FollowUp | None = None
    provider_message_id: str = ""
    unheard: bool = False

    @classmethod
    def sent(cls, delivery: Delivery, follow_up: FollowUp | None = None, *, provider_message_id: str = "") -> "Outcome":
        """The destination has it; `provider_message_id` is what it calls it."""
        return cls(delivery, DeliveryStatus.SENT, follow_up=follow_up, provider_message_id=provider_message_id)

    @classmethod
    def bounced(cls, delivery: Delivery, error: str) -> "Outcome":
        """The recipient's server does not take it, as is known without trying."""
        return cls(delivery, DeliveryStatus.BOUNCED, error)

    @classmethod
    def failed(cls, delivery: Delivery, error: str) -> "Outcome":
        """It never will; `error` is a short word for the log, without anything secret."""
        return cls(delivery, DeliveryStatus.FAILED, error)

    @classmethod
    def postponed(cls, delivery: Delivery, error: str, retry_after: float | None = None) -> "Outcome":
        """Not now; the engine backs off, or waits as long as the destination asked."""
        return cls(delivery, DeliveryStatus.PENDING, error, retry_after)

    @classmethod
    def of_hubspot_error(cls, delivery: Delivery, error: HubSpotError) -> "Outcome":
        """HubSpot refused or did not answer."""
        status = DeliveryStatus.FAILED if error.permanent else DeliveryStatus.PENDING
        retry_after = None if error.permanent else error.retry_after
        return cls(delivery, status, error.reason, retry_after, unheard=error.ambiguous)


@dataclass(frozen=True, slots=True)
class Step:
    """What a channel tells the engine: what became of some deliveries, and which it is about to hand over next."""

    outcomes: Sequence[Outcome] = ()
    about_to: Sequence[Delivery] = ()


Steps = Generator[Step, list[Delivery], None]
"""A channel at work. To each step the engine answers which of `about_to` may be handed over, after it has committed the
outcomes and, in the same statement, looked at those deliveries afresh; it has failed the others itself."""

NO_OBJECTION: Final = "NULL::text"


class Channel(Protocol):
    """One destination.

    `needs_live_code`: a delivery is handed over only while its code would be accepted. `objection`: an SQL expression over
    the rows `delivery`, `code` and `portal`, with `%(now)s`: why a delivery is not to be handed over now, else NULL.
    `needs_recipient`: address and first name are wanted; elsewhere they are not even decrypted. `linger_seconds`: where
    a call costs the same for one delivery as for a whole batch, so long it waits for more under load; 0 where not.
    `takes_a_lane`: its server may be slow, and is not one that everybody depends on: it never takes all threads of a
    worker. `when_unheard`: what is to follow where nobody knows whether the destination did what it was asked for.
    """

    batch_size: int
    needs_live_code: bool
    needs_recipient: bool
    linger_seconds: float
    takes_a_lane: bool
    objection: str
    when_unheard: FollowUp | None

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Steps:
        """Deliver a batch, step by step: nothing leaves that the step before has not named.

        The engine may stop asking in the middle; what has no outcome then is as if it had not been handed over.
        Raises nothing that the destination did.
        """
        ...
