"""What a channel is to the delivery engine."""

import datetime as dt
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol

from hubspot_integration.models import Portal
from hubspot_integration.transport import HubSpotError
from otp.models import ChannelName, Delivery, DeliveryStatus

Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A delivery on another channel that a sent one asks for, after a delay."""

    channel: ChannelName
    delay: dt.timedelta


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delivery: sent, failed for good, or to be tried again (after `retry_after` seconds)."""

    delivery: Delivery
    status: DeliveryStatus
    error: str = ""
    retry_after: float | None = None
    follow_up: FollowUp | None = None
    provider_message_id: str = ""

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
        if error.permanent:
            return cls.failed(delivery, error.reason)
        return cls.postponed(delivery, error.reason, error.retry_after)


class Channel(Protocol):
    """One destination.

    `needs_live_code`: the engine fails deliveries of ended codes instead of handing them over. `needs_recipient`: address
    and first name are wanted; elsewhere they are not even decrypted. `linger_seconds`: where
    a call costs the same for one delivery as for a whole batch, so long it waits for more under load; 0 where not.
    """

    batch_size: int
    needs_live_code: bool
    needs_hubspot: bool
    needs_recipient: bool
    linger_seconds: float

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Generator[list[Outcome], None, None]:
        """Deliver a batch; yield outcomes as soon as they are certain: the engine commits them before it goes on.

        The engine may stop asking in the middle; what has no outcome then is as if it had not been handed over.
        Raises nothing that the destination did.
        """
        ...
