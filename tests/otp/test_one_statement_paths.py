"""What one statement does without reading first is what the pure decision says, and leaves the same behind."""

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import pytest
from django.db import models, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hubspot_integration.models import OAuthGrant, Portal
from otp import codes
from otp.codes import CodeType
from otp.contact import ledger
from otp.contact.decisions import decide, make
from otp.contact.order import NotInstalled, Order, Rules, Submission
from otp.contact.verdicts import judge
from otp.models import (
    AuditEvent,
    ContactGuard,
    Delivery,
    EndReason,
    OneTimeCode,
    OTPSettings,
    ResendPolicy,
    Source,
    Verification,
    VerificationReason,
)
from tests import factories
from tests.otp.test_decisions import ORDER
from tests.otp.test_verdicts import SUBMISSION

pytestmark = pytest.mark.django_db

NOW: Final = SUBMISSION.now
CONTACT: Final = 904
MINUTE: Final = dt.timedelta(minutes=1)
RIGHT, OTHER = "482951", "111111"
_numbers = itertools.count()

some_examples = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@contextmanager
def undone() -> Iterator[None]:
    """Take back whatever is done inside."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def left_behind() -> dict[str, list[dict[str, Any]]]:
    """Return every row that issuing and verifying write, without numbers that the database gave and ciphertext."""
    hidden = {"id", "pseudonym", "contact", "code", "address", "first_name", "recorded_at", "keep_until", "written_in"}
    kinds: list[type[models.Model]] = [ContactGuard, OneTimeCode, Delivery, Verification, AuditEvent]
    return {
        kind.__name__: [
            {name: value for name, value in row.items() if name not in hidden}
            for row in kind._default_manager.order_by("id").values()
        ]
        for kind in kinds
    }


def what_it_does(work: Callable[[], Any]) -> tuple[Any, dict[str, list[dict[str, Any]]]]:
    """Return what a call gives and leaves behind; take it back."""
    with undone():
        return work(), left_behind()


# ------------------------------------------------------------------ the first code of the day

CHANGES: Final[list[Callable[[Portal], object]]] = [
    lambda portal: Portal.objects.filter(id=portal.id).update(disconnected_at=NOW),
    lambda portal: OTPSettings.objects.filter(portal=portal).update(code_length=8),
    lambda portal: OTPSettings.objects.filter(portal=portal).update(portal_limit_minute=1),
    lambda portal: OTPSettings.objects.filter(portal=portal).delete(),
    lambda portal: OAuthGrant.objects.filter(portal=portal).update(scopes=["oauth"]),
    lambda portal: OAuthGrant.objects.filter(portal=portal).delete(),
]


first: Final[dict[str, Any]] = {
    "ages": [], "somebody_elses": False, "repeats": None, "budget": (3, 1), "policy": ResendPolicy.REPLACE,
    "delivers": True, "source": Source.WORKFLOW, "change": None,
}  # fmt: skip


@some_examples
@given(
    ages=st.lists(st.sampled_from([0, 1, 9, 11, 1439, 1440, 1441, 3000]), max_size=3),
    somebody_elses=st.booleans(),
    repeats=st.sampled_from([None, None, None, 1, 3000]),
    budget=st.sampled_from([None, (0, 0), (3, 1)]),
    policy=st.sampled_from(ResendPolicy),
    delivers=st.booleans(),
    source=st.sampled_from([Source.WORKFLOW, Source.CARD]),
    change=st.sampled_from([None, None, None, *CHANGES]),
)
@example(**first)
@example(**{**first, "ages": [1439]})
@example(**{**first, "ages": [1440]})
@example(**{**first, "repeats": 3000})
@example(**{**first, "somebody_elses": True})
@example(**{**first, "change": CHANGES[0]})
@example(**{**first, "change": CHANGES[1]})
@example(**{**first, "change": CHANGES[2]})
@example(**{**first, "change": CHANGES[3]})
@example(**{**first, "change": CHANGES[4]})
@example(**{**first, "change": CHANGES[5]})
def test_the_first_code_of_the_day_is_the_one_that_is_decided_on_after_reading(
    ages: list[int],
    somebody_elses: bool,
    repeats: int | None,
    budget: tuple[int, int] | None,
    policy: ResendPolicy,
    delivers: bool,
    source: Source,
    change: Callable[[Portal], object] | None,
) -> None:
    with undone():
        portal = factories.OAuthGrantFactory.create().portal
        factories.OTPSettingsFactory.create(
            portal=portal, resend_policy=policy, send_email=delivers, wait_until_delivered=delivers
        )
        order = replace(ORDER, portal_id=portal.id, contact_id=CONTACT, source=source, request_key="asked")
        rules = ledger.read_for_order(order).rules
        for age in ages:
            earlier_code(portal, CONTACT, age)
        if somebody_elses:
            earlier_code(portal, CONTACT + 1, 1)
        if repeats is not None:
            earlier_code(portal, CONTACT, repeats, request_key="asked")
        if budget is not None:
            wrong_attempts, lock_count = budget
            factories.ContactGuardFactory.create(
                portal=portal, contact_id=CONTACT, wrong_attempts=wrong_attempts, lock_count=lock_count
            )
        if change is not None:
            change(portal)
        _compare_first_codes(order, rules)


def _compare_first_codes(order: Order, rules: Rules) -> None:
    reference = UUID(int=next(_numbers))

    def draw(_: CodeType, length: int) -> str:
        return RIGHT[:length]

    made = make(order, rules, reference=reference, draw=draw)
    before = left_behind()
    wrote, at_once = what_it_does(lambda: ledger.write_first_of_the_day(order, rules, made))
    if not wrote:
        assert at_once == before
    with undone():
        try:
            facts = ledger.read_for_order(order)
        except NotInstalled:
            assert not wrote
            return
    is_as_assumed = facts.earlier is None and not facts.made_at and facts.rules == rules
    assert wrote == is_as_assumed
    if wrote:
        assert decide(order, facts, reference=reference, draw=draw) == made
        _, after_reading = what_it_does(lambda: ledger.write_new_code(order, facts.guard, made))
        assert at_once == after_reading


def earlier_code(portal: Portal, contact_id: int, minutes_ago: int, **values: Any) -> OneTimeCode:
    """Have a code made some minutes ago, that ended when its time was over."""
    made_at = NOW - minutes_ago * MINUTE
    ended = {"ended_at": NOW, "end_reason": EndReason.EXPIRED, "code": None} if minutes_ago >= 10 else {}
    return factories.OneTimeCodeFactory.create(
        portal=portal, contact_id=contact_id, created_at=made_at, expires_at=made_at + 10 * MINUTE, **ended, **values
    )


# ------------------------------------------------------------------ the right answer

histories = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from([RIGHT, RIGHT, OTHER]),
            "address": st.sampled_from(["ada@example.com", "ada@example.com", "ada@elsewhere.example"]),
            "minutes_ago": st.sampled_from([0, 1, 9, 10, 11, 60, 1440]),
            "minutes": st.sampled_from([5, 10, 60]),
            "end": st.sampled_from([None, None, None, *EndReason]),
            "wrong_attempts": st.integers(0, 4),
        }
    ),
    max_size=4,
)
live: Final = {
    "text": RIGHT, "address": "ada@example.com", "minutes_ago": 1, "minutes": 10, "end": None, "wrong_attempts": 0
}  # fmt: skip


accepted: Final[dict[str, Any]] = {
    "history": [live], "guess": RIGHT, "budget": (2, 1, None), "clear_property": True, "is_repeated": False,
    "is_connected": True,
}  # fmt: skip


@some_examples
@given(
    history=histories,
    guess=st.sampled_from([RIGHT, RIGHT, OTHER, "4829", "ABCDEF"]),
    budget=st.sampled_from([(0, 0, None), (0, 0, None), (9, 1, None), (2, 1, 0), (2, 1, 5), None]),
    clear_property=st.booleans(),
    is_repeated=st.sampled_from([False, False, False, True]),
    is_connected=st.sampled_from([True, True, True, False]),
)
# one example for each condition of the statement: all is well, and each thing that can stand in the way
@example(**accepted)
@example(**{**accepted, "budget": (9, 1, 0)})
@example(**{**accepted, "budget": (0, 1, 5)})
@example(**{**accepted, "budget": None})
@example(**{**accepted, "guess": OTHER})
@example(**{**accepted, "history": [{**live, "minutes_ago": 10}]})
@example(**{**accepted, "history": [{**live, "end": EndReason.USED}]})
@example(**{**accepted, "history": [{**live, "end": EndReason.LOCKED}]})
@example(**{**accepted, "history": [live, {**live, "minutes_ago": 0, "text": OTHER}]})
@example(**{**accepted, "history": [live, {**live, "minutes_ago": 0, "address": "ada@elsewhere.example"}]})
@example(**{**accepted, "history": [live, {**live, "minutes_ago": 0}]})
@example(**{**accepted, "is_repeated": True})
@example(**{**accepted, "is_connected": False})
def test_a_right_answer_is_accepted_as_the_verdict_says(
    history: list[dict[str, Any]],
    guess: str,
    budget: tuple[int, int, int | None] | None,
    clear_property: bool,
    is_repeated: bool,
    is_connected: bool,
) -> None:
    with undone():
        portal = factories.OAuthGrantFactory.create().portal
        factories.OTPSettingsFactory.create(portal=portal)
        if budget is not None:
            wrong_attempts, lock_count, locked_for = budget
            factories.ContactGuardFactory.create(
                portal=portal,
                contact_id=CONTACT,
                wrong_attempts=wrong_attempts,
                lock_count=lock_count,
                locked_until=None if locked_for is None else NOW + locked_for * MINUTE,
            )
        for one in history:
            submitted_code(portal, **one)
        submission = replace(
            SUBMISSION, portal_id=portal.id, contact_id=CONTACT, guess=guess, clear_property=clear_property
        )
        if is_repeated:
            ledger.write_verdict(submission, judge(submission, ledger.read_for_check(submission)))
        if not is_connected:
            Portal.objects.filter(id=portal.id).update(disconnected_at=NOW)
        _compare_answers(submission, is_met=budget is not None or is_repeated)


def _compare_answers(submission: Submission, *, is_met: bool) -> None:
    before = left_behind()
    checked, at_once = what_it_does(lambda: ledger.accept_right_answer(submission))
    if checked is None:
        assert at_once == before
    try:
        facts = ledger.read_for_check(submission)
    except NotInstalled:
        assert checked is None
        return
    verdict = judge(submission, facts)
    newest = (
        OneTimeCode.objects.filter(portal=submission.portal_id, contact_id=CONTACT)
        .order_by("-created_at", "-id")
        .values_list("id", flat=True)
        .first()
    )
    is_the_newest = (verdict.answer.reason, verdict.code_id) == (VerificationReason.VERIFIED, newest)
    assert (checked is not None) == (is_the_newest and facts.earlier is None and is_met)
    if checked is not None:
        after_reading, left = what_it_does(lambda: ledger.write_verdict(submission, verdict))
        assert replace(after_reading, id=checked.id) == checked
        assert at_once == left


def submitted_code(
    portal: Portal,
    *,
    text: str,
    address: str,
    minutes_ago: int,
    minutes: int,
    end: EndReason | None,
    wrong_attempts: int,
) -> None:
    """Have a code made some minutes ago that lived some minutes, unless it ended before."""
    made_at = NOW - minutes_ago * MINUTE
    factories.OneTimeCodeFactory.create(
        portal=portal,
        contact_id=CONTACT,
        address=address,
        code=None if end else text,
        digest=codes.digest(
            pepper="a-fixed-pepper-for-tests-of-40-characters",
            portal_id=portal.id,
            contact_id=CONTACT,
            address=address,
            code=text,
        ),
        created_at=made_at,
        expires_at=made_at + minutes * MINUTE,
        ended_at=made_at if end else None,
        end_reason=end,
        wrong_attempts=wrong_attempts,
    )
