"""The Generate OTP action's outputs: what later workflow steps can use and branch on. Pure."""

import datetime as dt
import enum
from collections.abc import Iterable
from typing import Final, Protocol
from uuid import UUID

from hubspot_integration.workflow_actions import epoch_milliseconds
from otp.models import ChannelName, DeliveryStatus


class Failure(enum.StrEnum):
    """Why no code can be given: the closed list that workflows branch on."""

    INVALID_INPUT = "invalid_input"
    MISSING_EMAIL = "missing_email"
    RATE_LIMITED = "rate_limited"
    NOT_CONNECTED = "not_connected"
    EXPIRED = "expired"
    INTERNAL = "internal"


class DeliverySummary(enum.StrEnum):
    """What became of a code's deliveries together: what workflows branch on besides `otp_status`."""

    DELIVERED = "delivered"
    PARTLY = "partly"
    FAILED = "failed"
    PENDING = "pending"
    OFF = "off"


_DONE: Final = {ChannelName.CONTACT_PROPERTY: "written", ChannelName.EMAIL: "sent"}
_ENDED: Final = "The code has ended. Generate a new one."


class HasLife(Protocol):
    """As much of a code as the outputs tell."""

    @property
    def id(self) -> UUID:
        """What people see of it."""

    @property
    def code(self) -> str | None:
        """The code itself; None once it has been wiped."""

    @property
    def outputs_code(self) -> bool:
        """Whether later workflow steps get to see it."""

    @property
    def expires_at(self) -> dt.datetime:
        """When it stops being accepted."""

    def is_live(self, now: dt.datetime) -> bool:
        """Whether it would be accepted at `now`."""

    def was_live(self, at: dt.datetime) -> bool:
        """Whether it was accepted at `at`."""


class HasStatus(Protocol):
    """As much of a delivery as its outcome."""

    @property
    def channel(self) -> str:
        """Where to."""

    @property
    def status(self) -> str:
        """How far it has come."""


def outputs_of(
    code: HasLife, deliveries: Iterable[HasStatus], now: dt.datetime, *, answered_at: dt.datetime | None = None
) -> dict[str, str]:
    """Return every output of the action for a code: the code itself only while it is live, and only if wanted.

    With `answered_at` the answer of that earlier moment is repeated: a code that was live then still counts as
    generated, but is left out if it has ended since.
    """
    statuses = {delivery.channel: DeliveryStatus(delivery.status) for delivery in deliveries}
    live = code.was_live(answered_at or now)
    property_status = _word(ChannelName.CONTACT_PROPERTY, statuses)
    email_status = _word(ChannelName.EMAIL, statuses)
    return {
        "otp_status": "success" if live else "failed",
        "otp_error": "" if live else Failure.EXPIRED,
        "otp_error_message": "" if live else _ENDED,
        "otp_code": (code.code or "") if code.is_live(now) and code.outputs_code else "",
        "otp_expires_at": epoch_milliseconds(code.expires_at),
        "otp_property_status": property_status,
        "otp_email_status": email_status,
        "otp_reference": str(code.id),
        "otp_delivery_status": delivery_status(property_status, email_status),
    }


def failure(error: Failure, message: str) -> dict[str, str]:
    """Return every output of the action when no code was generated; `message` is one sentence for the admin."""
    return {
        "otp_status": "failed",
        "otp_error": error,
        "otp_error_message": message,
        "otp_code": "",
        "otp_expires_at": "",
        "otp_property_status": "off",
        "otp_email_status": "off",
        "otp_reference": "",
        "otp_delivery_status": DeliverySummary.OFF,
    }


def delivery_status(*statuses: str) -> "DeliverySummary":
    """Sum up what became of a code's deliveries: pending while any is, off where none is on, a bounce is a failure."""
    on = [status for status in statuses if status != "off"]
    if not on:
        return DeliverySummary.OFF
    if "pending" in on:
        return DeliverySummary.PENDING
    made = sum(status in _DONE.values() for status in on)
    if made == len(on):
        return DeliverySummary.DELIVERED
    return DeliverySummary.PARTLY if made else DeliverySummary.FAILED


def _word(channel: ChannelName, statuses: dict[str, DeliveryStatus]) -> str:
    status = statuses.get(channel)
    if status is None:
        return "off"
    return _DONE[channel] if status is DeliveryStatus.SENT else status.value
