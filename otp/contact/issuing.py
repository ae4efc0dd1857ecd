"""Issuing a code: once per request, within the limits, with everything that must be delivered written down."""

import datetime as dt
from functools import partial

import structlog
from django.db import transaction

from otp import codes
from otp.audit import Action, Actor
from otp.contact import ledger
from otp.contact.decisions import check_address, decide, make
from otp.contact.order import Facts, Issued, LimitReached, Made, Order, Overrides, RateLimited
from otp.counters import CODES_ISSUED
from otp.delivery import waking
from otp.models import ChannelName, Source, new_reference

log = structlog.get_logger(__name__)


def issue_code(
    *,
    portal_id: int,
    contact_id: int,
    address: str,
    first_name: str,
    language: str,
    request_key: str,
    source: Source,
    workflow_id: str,
    callback_id: str | None,
    overrides: Overrides,
    actor: Actor,
    action: Action = Action.CODE_ISSUED,
    now: dt.datetime,
) -> Issued:
    """Generate a code for a contact and write down what must be delivered, and in the audit log who had it made.

    The same `request_key` gives the same code and no second delivery, however often and however simultaneously it
    comes, and is never limited. The contact's older live codes are superseded unless the portal keeps them. With
    `callback_id` a workflow step can be made to wait; it is then completed no sooner than two seconds after the latest
    call for it. Costs one round trip to the database for a contact's first code in 24 hours; otherwise three.

    Raises NotInstalled, MissingAddress, InvalidAddress, RequestKeyTaken, after which nothing has changed, and
    RateLimited, which leaves a line in the audit log.
    """
    order = Order(
        portal_id=portal_id, contact_id=contact_id, address=codes.normalise_address(address), first_name=first_name,
        language=language, request_key=request_key, source=source, workflow_id=workflow_id, callback_id=callback_id,
        overrides=overrides, actor=actor, action=action, now=now,
    )  # fmt: skip
    outcome = ledger.one_at_a_time(partial(_attempt, order), portal_id=portal_id, contact_id=contact_id)
    _tell(order, outcome)
    if isinstance(outcome, LimitReached):
        raise RateLimited(outcome.limit, outcome.retry_at)
    if not outcome.repeated:
        _wake(portal_id, outcome)
    return outcome


def _attempt(order: Order) -> Issued | LimitReached:
    """Decide and write once. Raises Overtaken."""
    rules = ledger.remembered_rules(order.portal_id)
    if rules is not None and codes.is_address(order.address):
        made = make(order, rules, reference=new_reference(), draw=codes.generate)
        if ledger.write_first_of_the_day(order, rules, made):
            return _issued(made)
    facts = ledger.read_for_order(order)
    if facts.earlier is not None:
        return ledger.repeat_order(order, facts.earlier)
    check_address(order.address)
    if facts.rules.portal_limit_minute is not None:
        return _attempt_in_line(order)
    return _carry_out(order, facts)


def _attempt_in_line(order: Order) -> Issued | LimitReached:
    """The same in a portal with a ceiling, whose contacts wait for each other."""
    with transaction.atomic():
        facts = ledger.read_in_line(order)
        if facts.earlier is not None:
            return ledger.repeat_order(order, facts.earlier)
        return _carry_out(order, facts)


def _carry_out(order: Order, facts: Facts) -> Issued | LimitReached:
    """Decide by what was read, and write that down."""
    decision = decide(order, facts, reference=new_reference(), draw=codes.generate)
    if isinstance(decision, LimitReached):
        ledger.write_refusal(order, facts.guard, decision)
        return decision
    ledger.write_new_code(order, facts.guard, decision)
    return _issued(decision)


def _issued(made: Made) -> Issued:
    return Issued(code=made.code, deliveries=made.deliveries.pending, repeated=False)


def _tell(order: Order, outcome: Issued | LimitReached) -> None:
    """Count and log what became of an order; one that is repeated is no news."""
    about = {"portal_id": order.portal_id, "source": order.source.value}
    if isinstance(outcome, LimitReached):
        log.info("code_refused", **about, limit=outcome.limit.value, retry_at=str(outcome.retry_at))
    elif not outcome.repeated:
        CODES_ISSUED.add(order.source)
        log.info("code_issued", **about, reference=str(outcome.code.id))


def _wake(portal_id: int, issued: Issued) -> None:
    channels = [one.channel for one in issued.deliveries if one.channel != ChannelName.WORKFLOW_COMPLETION]
    if not channels:
        return

    def wake() -> None:
        waking.wake_in_background(portal_id, *channels)

    # A named function, not a partial: Django 5.2 formats the name of a robust callback that fails.
    transaction.on_commit(wake, robust=True)
