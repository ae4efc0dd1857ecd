"""What a channel is to the delivery engine."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from hubspot_integration.models import Portal
from hubspot_integration.transport import HubSpotError
from otp.models import Delivery, DeliveryStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delivery: sent, failed for good, or to be tried again (after `retry_after` seconds)."""

    delivery: Delivery
    status: DeliveryStatus
    error: str = ""
    retry_after: float | None = None

    @classmethod
    def sent(cls, delivery: Delivery) -> "Outcome":
        """The destination has it."""
        return cls(delivery, DeliveryStatus.SENT)

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
    """One destination. `needs_live_code`: the engine fails deliveries of ended codes instead of handing them over."""

    batch_size: int
    needs_live_code: bool
    needs_hubspot: bool

    def deliver(self, portal: Portal, batch: list[Delivery], now: dt.datetime) -> Iterator[list[Outcome]]:
        """Deliver a batch; yield outcomes as soon as they are certain: the engine commits them before it goes on.

        Every delivery of the batch gets one outcome. Raises nothing that the destination did.
        """
        ...
