"""The table of verdicts: one row for each thing that can be said about a submission, in the order in which it is said."""

import datetime as dt
import itertools
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from otp.audit import Actor, ActorKind
from otp.codes import CodeType
from otp.contact.order import CheckFacts, Guard, GuessLimits, RememberedCode, Submission, Verdict
from otp.contact.verdicts import attempts_remaining, judge, with_full_budget
from otp.models import EndReason, Source, VerificationReason

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
GUARD = Guard(portal_id=1, contact_id=904, id=3, version=8)
LIMITS = GuessLimits(wrong_attempts=10, first_minutes=15, longest_minutes=1440)
SUBMISSION = Submission(
    portal_id=1,
    contact_id=904,
    address="ada@example.com",
    guess="482951",
    clear_property=False,
    request_key="workflow:ap-1",
    source=Source.WORKFLOW,
    actor=Actor(ActorKind.WORKFLOW, "workflow 77"),
    now=NOW,
)
_numbers = itertools.count(1)


def code(end: str = "", **changes: Any) -> RememberedCode:
    """Return a six-digit code that is live or came to an `end`; it is not the guess."""
    values: dict[str, Any] = {
        "id": UUID(int=next(_numbers)),
        "is_the_guess": False,
        "code_type": CodeType.NUMERIC,
        "code_length": 6,
        "wrong_attempts": 0,
        "expires_at": NOW + 5 * MINUTE,
        "ended_at": NOW - MINUTE if end else None,
        "end_reason": EndReason(end) if end else None,
    }
    return RememberedCode(**{**values, **changes})


def guessed(end: str = "", **changes: Any) -> RememberedCode:
    """Return the same; it is the guess."""
    return code(end, is_the_guess=True, **changes)


def over(one: RememberedCode) -> RememberedCode:
    """Return a code whose time is over."""
    return replace(one, expires_at=NOW)


def judged(*codes: RememberedCode, guess: str = "482951", guard: Guard = GUARD) -> Verdict:
    facts = CheckFacts(limits=LIMITS, guard=guard, codes=codes, earlier=None)
    return judge(replace(SUBMISSION, guess=guess), facts)


LOCKED = replace(GUARD, locked_until=NOW + MINUTE, lock_count=1)
ALPHA: dict[str, Any] = {"code_type": CodeType.ALPHA, "code_length": 8}

# (name, guard, guess, codes with the newest first, what is said, of which of the codes)
TABLE: list[tuple[str, Guard, str, list[RememberedCode], str, int | None]] = [
    # 1. a locked contact is told nothing else, whatever it submits
    ("locked contact, right code", LOCKED, "482951", [guessed()], "rate_limited", None),
    ("locked contact, no code", LOCKED, "", [], "rate_limited", None),
    ("lock that is over", replace(LOCKED, locked_until=NOW), "482951", [guessed()], "verified", 0),
    # 2. what no live code could be
    ("nothing", GUARD, "", [code()], "malformed", None),
    ("too short", GUARD, "4829", [code()], "malformed", None),
    ("letters for digits", GUARD, "ABCDEF", [code()], "malformed", None),
    ("an older live code's shape", GUARD, "ABCDEFGH", [code(), code(**ALPHA)], "wrong_code", 0),
    ("an ended code's shape counts for nothing", GUARD, "ABCDEFGH", [code(), code("used", **ALPHA)], "malformed", None),
    ("no possible code", GUARD, "12345", [], "malformed", None),
    ("any possible code without a live one", GUARD, "ABCDEFGH", [], "not_found", None),
    ("any possible code at an unknown shape", GUARD, "ABCD", [code(code_type=None, code_length=None)], "wrong_code", 0),
    ("not the locked code's shape", GUARD, "4829", [code("locked")], "malformed", None),
    # 3. the newest code is locked
    ("locked code, right", GUARD, "482951", [guessed("locked")], "locked", 0),
    ("locked code, wrong", GUARD, "482951", [code("locked")], "locked", 0),
    ("locked code before a live one", GUARD, "482951", [code("locked"), guessed()], "locked", 0),
    ("an older locked code", GUARD, "482951", [guessed(), code("locked")], "verified", 0),
    (
        "an older code, the locked one's time over",
        GUARD,
        "482951",
        [over(code("locked")), guessed("used")],
        "already_used",
        1,
    ),
    ("any possible code, the locked one's time over", GUARD, "ABCDEFGH", [over(code("locked"))], "locked", 0),
    # 4. a live code
    ("right", GUARD, "482951", [guessed()], "verified", 0),
    ("right, the older of two", GUARD, "482951", [code(), guessed()], "verified", 1),
    ("right, and equal to an ended one", GUARD, "482951", [guessed("used"), guessed()], "verified", 1),
    # 5. an older code
    ("superseded", GUARD, "482951", [code(), guessed("superseded")], "superseded", 1),
    ("used", GUARD, "482951", [code(), guessed("used")], "already_used", 1),
    ("expired", GUARD, "482951", [code(), guessed("expired")], "expired", 1),
    ("expired, not swept", GUARD, "482951", [code(), over(guessed())], "expired", 1),
    ("the newest of equal ones", GUARD, "482951", [code(), guessed("used"), guessed("superseded")], "already_used", 1),
    ("an older locked code is no answer", GUARD, "482951", [code(), guessed("locked")], "wrong_code", 0),
    ("an erased code is no answer", GUARD, "482951", [code(), guessed("erased")], "wrong_code", 0),
    # 6. no live code
    ("newest used", GUARD, "482951", [code("used"), code("expired")], "already_used", 0),
    ("newest expired", GUARD, "482951", [code("expired"), code("used")], "expired", 0),
    ("newest expired, not swept", GUARD, "482951", [over(code())], "expired", 0),
    ("newest locked, its time over", GUARD, "482951", [over(code("locked"))], "locked", 0),
    ("newest superseded", GUARD, "482951", [over(code("superseded"))], "not_found", None),
    ("newest erased", GUARD, "482951", [code("erased")], "not_found", None),
    ("none", GUARD, "482951", [], "not_found", None),
    # 7. a guess at a live code
    ("wrong", GUARD, "111111", [code()], "wrong_code", 0),
    ("wrong, two live", GUARD, "111111", [code(), code()], "wrong_code", 0),
]


@pytest.mark.parametrize(
    ("guard", "guess", "codes", "reason", "about"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_a_submission_is_told(
    guard: Guard, guess: str, codes: list[RememberedCode], reason: str, about: int | None
) -> None:
    verdict = judged(*codes, guess=guess, guard=guard)
    assert verdict.answer.reason == reason
    assert verdict.code_id == (None if about is None else codes[about].id)
    # nothing but a guess at a live code costs anything
    assert bool(verdict.counted) == (reason == VerificationReason.WRONG_CODE)
    if reason not in {VerificationReason.WRONG_CODE, VerificationReason.VERIFIED}:
        assert verdict.guard == guard


def test_every_reason_stands_in_the_table() -> None:
    assert {row[4] for row in TABLE} == set(VerificationReason)


def test_a_success_gives_the_whole_budget_back_and_leaves_nothing_to_guess() -> None:
    guard = replace(GUARD, wrong_attempts=7, lock_count=2, locked_until=NOW)
    verdict = judged(guessed(wrong_attempts=3), guard=guard)
    assert verdict.guard == with_full_budget(guard) == GUARD
    assert verdict.answer.attempts_remaining == 0


@pytest.mark.parametrize(
    ("wrong_before", "budget_used", "left", "locks_the_code", "locks_the_contact"),
    [
        (0, 0, 4, False, False),
        (3, 3, 1, False, False),
        (4, 4, 0, True, False),
        (0, 8, 1, False, False),
        (0, 9, 0, False, True),
        (4, 9, 0, True, True),
    ],
)
def test_a_wrong_answer_costs(
    wrong_before: int, budget_used: int, left: int, locks_the_code: bool, locks_the_contact: bool
) -> None:
    newest, older = code(wrong_attempts=wrong_before), code()
    verdict = judged(newest, older, code("used"), guard=replace(GUARD, wrong_attempts=budget_used))
    assert verdict.answer.attempts_remaining == left
    assert verdict.counted == [newest.id, older.id]
    assert verdict.locked == ([newest.id] if locks_the_code else [])
    assert verdict.contact_locked == locks_the_contact
    assert verdict.guard.wrong_attempts == (0 if locks_the_contact else budget_used + 1)
    assert verdict.guard.locked_until == (NOW + 15 * MINUTE if locks_the_contact else None)


@pytest.mark.parametrize(("locks", "minutes"), [(0, 15), (1, 30), (2, 60), (6, 960), (7, 1440), (200, 1440)])
def test_each_lock_is_twice_as_long_up_to_the_longest(locks: int, minutes: int) -> None:
    guard = judged(code(), guard=replace(GUARD, wrong_attempts=9, lock_count=locks)).guard
    assert (guard.locked_until, guard.lock_count) == (NOW + minutes * MINUTE, locks + 1)


@pytest.mark.parametrize(
    ("codes", "guess", "left"),
    [
        ([code(wrong_attempts=2)], "", 3),
        ([code(wrong_attempts=2), guessed("superseded")], "482951", 3),
        ([code("used")], "482951", 0),
        ([], "482951", 0),
    ],
)
def test_it_says_what_is_left_at_a_live_code_and_nothing_without_one(
    codes: list[RememberedCode], guess: str, left: int
) -> None:
    assert judged(*codes, guess=guess).answer.attempts_remaining == left


def test_a_contact_has_no_more_guesses_than_its_budget() -> None:
    assert judged(code(), guess="", guard=replace(GUARD, wrong_attempts=8)).answer.attempts_remaining == 2
    assert attempts_remaining(1, of_the_contact=10) == 4
    assert attempts_remaining(1, of_the_contact=2) == 2
