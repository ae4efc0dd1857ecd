"""The decision about a new code, as a table: no database, no clock."""

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp import codes
from otp.audit import Action, Actor, ActorKind
from otp.codes import EXPIRY_MINUTES, CodeType
from otp.contact.decisions import MINUTE, check_address, decide, make
from otp.contact.order import (
    DAY,
    Deliveries,
    Facts,
    Guard,
    InvalidAddress,
    IssuedDelivery,
    Limit,
    LimitReached,
    Made,
    MissingAddress,
    Order,
    Overrides,
    Rules,
)
from otp.models import ChannelName, DeliveryStatus, ResendPolicy, Source

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
REFERENCE = UUID(int=7)
RULES = Rules(
    settings_version=1,
    may_complete=True,
    code_type=CodeType.NUMERIC,
    code_length=6,
    expiry_minutes=10,
    output_code=True,
    store_in_property=False,
    property_name="",
    send_email=False,
    wait_until_delivered=False,
    resend_policy=ResendPolicy.REPLACE,
    contact_limit_10_minutes=5,
    contact_limit_day=20,
    resend_cooldown_seconds=30,
    portal_limit_minute=None,
)
ORDER = Order(
    portal_id=1,
    contact_id=904,
    address="ada@example.com",
    first_name="Ada",
    language="en",
    request_key="workflow:ap-1",
    source=Source.WORKFLOW,
    workflow_id="77",
    callback_id="ap-1",
    overrides=Overrides(),
    actor=Actor(ActorKind.WORKFLOW, "workflow 77"),
    action=Action.CODE_ISSUED,
    now=NOW,
)


def draw(code_type: CodeType, length: int) -> str:
    """Draw a code that tells what it was drawn as."""
    return f"{code_type}-{length}"


def decided(*ages: dt.timedelta, order: Order = ORDER, ceiling: dt.datetime | None = None, **rules: Any) -> Any:
    """Decide about an order of a contact whose earlier codes were made so long ago, the newest first."""
    facts = Facts(
        rules=replace(RULES, **rules),
        guard=Guard(portal_id=1, contact_id=904),
        made_at=[NOW - age for age in ages],
        earlier=None,
        ceiling_reached_at=ceiling,
    )
    return decide(order, facts, reference=REFERENCE, draw=draw)


def made(order: Order = ORDER, **rules: Any) -> Made:
    return make(order, replace(RULES, **rules), reference=REFERENCE, draw=draw)


SECOND = dt.timedelta(seconds=1)
CARD = replace(ORDER, source=Source.CARD)


@pytest.mark.parametrize(
    ("ages", "changes", "limit", "wait"),
    [
        # codes of 10 minutes
        ([SECOND] * 4, {}, None, None),
        ([SECOND] * 5, {}, Limit.CONTACT_10_MINUTES, 10 * MINUTE - SECOND),
        ([SECOND, 9 * MINUTE], {"contact_limit_10_minutes": 2}, Limit.CONTACT_10_MINUTES, MINUTE),
        ([SECOND, 10 * MINUTE], {"contact_limit_10_minutes": 2}, None, None),
        # codes of a day
        ([11 * MINUTE] * 19, {}, None, None),
        ([11 * MINUTE] * 20, {}, Limit.CONTACT_DAY, DAY - 11 * MINUTE),
        ([11 * MINUTE, DAY - SECOND], {"contact_limit_day": 2}, Limit.CONTACT_DAY, SECOND),
        # of two the one that holds longest
        ([SECOND], {"contact_limit_10_minutes": 1, "contact_limit_day": 1}, Limit.CONTACT_DAY, DAY - SECOND),
        # a moment's rest for agents, and for nobody else
        ([SECOND], {"order": CARD}, Limit.RESEND_COOLDOWN, 29 * SECOND),
        ([30 * SECOND], {"order": CARD}, None, None),
        ([SECOND], {"order": CARD, "resend_cooldown_seconds": 0}, None, None),
        ([SECOND], {}, None, None),
        # the portal's ceiling, behind the contact's own limits
        ([], {"ceiling": NOW - SECOND}, Limit.PORTAL_MINUTE, MINUTE - SECOND),
        ([SECOND] * 5, {"ceiling": NOW - SECOND}, Limit.CONTACT_10_MINUTES, 10 * MINUTE - SECOND),
    ],
)
def test_a_limit_stands_against_a_code(
    ages: list[dt.timedelta], changes: dict[str, Any], limit: Limit | None, wait: dt.timedelta | None
) -> None:
    decision = decided(*ages, **changes)
    if limit is None or wait is None:
        assert isinstance(decision, Made)
    else:
        assert decision == LimitReached(limit, NOW + wait)


@pytest.mark.parametrize(
    ("overrides", "code", "minutes"),
    [
        (Overrides(), "numeric-6", 10),
        (Overrides(code_type=CodeType.ALPHA), "alpha-6", 10),
        (Overrides(code_length=8), "numeric-8", 10),
        (Overrides(expiry_minutes=60), "numeric-6", 60),
    ],
)
def test_a_code_is_as_the_portal_wants_it_unless_the_step_wants_it_otherwise(
    overrides: Overrides, code: str, minutes: int
) -> None:
    new = made(replace(ORDER, overrides=overrides)).code
    assert (new.id, new.code, new.expiry_minutes) == (REFERENCE, code, minutes)
    assert new.expires_at == NOW + minutes * MINUTE
    assert f"{new.code_type}-{new.code_length}" == code
    assert new.is_live(NOW)


@pytest.mark.parametrize("policy", ResendPolicy)
def test_it_replaces_older_codes_where_the_portal_wants_it_so(policy: ResendPolicy) -> None:
    assert made(resend_policy=policy).replaces_older == (policy is ResendPolicy.REPLACE)


@pytest.mark.parametrize(("name", "mails", "kept"), [("Ada", True, "Ada"), ("", True, None), ("Ada", False, None)])
def test_it_keeps_a_first_name_for_a_mail_only(name: str, mails: bool, kept: str | None) -> None:
    assert made(replace(ORDER, first_name=name), send_email=mails).code.first_name == kept


STORES = {"store_in_property": True, "property_name": "otp"}
MAILS = {"send_email": True}
WAITS = {"wait_until_delivered": True}


@pytest.mark.parametrize(
    ("rules", "callback_id", "expected"),
    [
        ({}, "ap-1", (None, None, None)),
        (STORES, "ap-1", ("otp", None, None)),
        (MAILS, "ap-1", (None, "", None)),
        (STORES | MAILS, "ap-1", ("otp", "", None)),
        (STORES | WAITS, "ap-1", ("otp", None, "ap-1")),
        (MAILS | WAITS, "ap-1", (None, "", "ap-1")),
        (WAITS, "ap-1", (None, None, None)),
        (MAILS | WAITS, None, (None, "", None)),
        (MAILS | WAITS | {"may_complete": False}, "ap-1", (None, "", None)),
    ],
)
def test_it_delivers_what_is_on_and_completes_a_step_that_waits_for_something(
    rules: dict[str, Any], callback_id: str | None, expected: tuple[str | None, ...]
) -> None:
    wanted = made(replace(ORDER, callback_id=callback_id), **rules).deliveries
    assert (wanted.contact_property, wanted.email, wanted.workflow_completion) == expected
    assert wanted.complete_not_before == NOW + 2 * SECOND


def test_an_answer_tells_of_the_deliveries_that_there_are() -> None:
    wanted = Deliveries(contact_property=None, email="", workflow_completion="ap-1", complete_not_before=NOW)
    assert wanted.pending == (
        IssuedDelivery(ChannelName.EMAIL, DeliveryStatus.PENDING),
        IssuedDelivery(ChannelName.WORKFLOW_COMPLETION, DeliveryStatus.PENDING),
    )


@given(ages=st.lists(st.integers(0, 3 * 86_400)), order=st.sampled_from([ORDER, CARD]))
def test_whoever_waits_as_long_as_is_said_gets_a_code(ages: list[int], order: Order) -> None:
    made_at = [NOW - age * SECOND for age in sorted(ages) if age < 86_400]
    facts = Facts(rules=RULES, guard=Guard(portal_id=1, contact_id=904), made_at=made_at, earlier=None)
    decision = decide(order, facts, reference=REFERENCE, draw=draw)
    if isinstance(decision, LimitReached):
        assert decision.retry_at > NOW
        later = replace(order, now=decision.retry_at)
        still = replace(facts, made_at=[moment for moment in made_at if moment > later.day_ago])
        assert isinstance(decide(later, still, reference=REFERENCE, draw=draw), Made)


def test_no_code_of_yesterday_is_live() -> None:
    """So the first code of the day has nothing to supersede."""
    assert max(EXPIRY_MINUTES) * MINUTE < DAY


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("", MissingAddress),
        ("ada", InvalidAddress),
        ("ada@example", InvalidAddress),
        ("a b@example.com", InvalidAddress),
        ("a" * 250 + "@example.com", InvalidAddress),
        ("ada@example.com", None),
    ],
)
def test_it_binds_codes_to_addresses_only(address: str, refusal: type[Exception] | None) -> None:
    assert codes.is_address(address) == (refusal is None)
    if refusal is None:
        check_address(address)
    else:
        with pytest.raises(refusal):
            check_address(address)
