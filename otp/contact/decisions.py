"""Whether a code is made, which one, and what is delivered of it. Pure: no database, no clock, no settings."""

import datetime as dt
from collections.abc import Callable
from typing import Final
from uuid import UUID

from otp import codes
from otp.codes import CodeType
from otp.contact.order import (
    COMPLETION_DELAY,
    DAY,
    Deliveries,
    Facts,
    InvalidAddress,
    Limit,
    LimitReached,
    Made,
    MissingAddress,
    NewCode,
    Order,
    Rules,
)
from otp.models import ResendPolicy, Source

MINUTE: Final = dt.timedelta(minutes=1)
_TEN_MINUTES: Final = dt.timedelta(minutes=10)

Draw = Callable[[CodeType, int], str]
"""Draws a code of a type and length at random."""


def check_address(address: str) -> None:
    """Refuse a normalised address that codes cannot be bound to. Raises MissingAddress, InvalidAddress."""
    if not address:
        raise MissingAddress
    if not codes.is_address(address):
        raise InvalidAddress


def decide(order: Order, facts: Facts, *, reference: UUID, draw: Draw) -> Made | LimitReached:
    """Return the new code, or the limit that stands against it: of several the one that holds longest."""
    return _limit(order, facts) or make(order, facts.rules, reference=reference, draw=draw)


def make(order: Order, rules: Rules, *, reference: UUID, draw: Draw) -> Made:
    """Return a new code, with what must be delivered of it, for a contact whom no limit concerns.

    That is so for a contact who was given no code for 24 hours, in a portal without a ceiling.
    """
    wanted = order.overrides
    code_type = wanted.code_type or rules.code_type
    length = wanted.code_length or rules.code_length
    minutes = wanted.expiry_minutes or rules.expiry_minutes
    code = NewCode(
        id=reference,
        code=draw(code_type, length),
        code_type=code_type,
        code_length=length,
        expiry_minutes=minutes,
        # Only a mail greets by name; where none is sent the name is not kept.
        first_name=(order.first_name or None) if rules.send_email else None,
        outputs_code=rules.output_code,
        expires_at=order.now + minutes * MINUTE,
    )
    return Made(
        code=code,
        deliveries=_deliveries(order, rules),
        replaces_older=rules.resend_policy == ResendPolicy.REPLACE,
    )


def _deliveries(order: Order, rules: Rules) -> Deliveries:
    anything = rules.store_in_property or rules.send_email
    waits = anything and rules.wait_until_delivered and rules.may_complete
    return Deliveries(
        contact_property=rules.property_name if rules.store_in_property else None,
        email="" if rules.send_email else None,  # the code knows the address
        workflow_completion=(order.callback_id or None) if waits else None,
        complete_not_before=order.now + COMPLETION_DELAY,
    )


def _limit(order: Order, facts: Facts) -> LimitReached | None:
    rules = facts.rules
    limits = [
        (Limit.CONTACT_10_MINUTES, rules.contact_limit_10_minutes, _TEN_MINUTES),
        (Limit.CONTACT_DAY, rules.contact_limit_day, DAY),
    ]
    if order.source is Source.CARD:
        limits.append((Limit.RESEND_COOLDOWN, 1, dt.timedelta(seconds=rules.resend_cooldown_seconds)))
    made_at = facts.made_at
    reached = [
        (made_at[allowed - 1] + period, limit)
        for limit, allowed, period in limits
        if len(made_at) >= allowed and made_at[allowed - 1] + period > order.now
    ]
    if reached:
        retry_at, limit = max(reached)
        return LimitReached(limit, retry_at)
    if facts.ceiling_reached_at is not None:
        return LimitReached(Limit.PORTAL_MINUTE, facts.ceiling_reached_at + MINUTE)
    return None
