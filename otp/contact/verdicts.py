"""What is said about a submitted code, and what that costs. Pure: no database, no clock, no settings."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from otp import codes
from otp.contact.order import Answer, CheckFacts, Guard, GuessLimits, RememberedCode, Submission, Verdict
from otp.models import EndReason, VerificationReason

MAXIMUM_WRONG_ATTEMPTS: Final = 5
RIGHT_ANSWER: Final = Answer(VerificationReason.VERIFIED, attempts_remaining=0)

# What is said of a submitted code that has ended, and of any other text when the newest code has ended.
_EQUAL_TO_AN_OLDER_CODE: Final[dict[EndReason | None, VerificationReason]] = {
    EndReason.SUPERSEDED: VerificationReason.SUPERSEDED,
    EndReason.USED: VerificationReason.ALREADY_USED,
    EndReason.EXPIRED: VerificationReason.EXPIRED,
}
_WITHOUT_A_LIVE_CODE: Final[dict[EndReason | None, VerificationReason]] = {
    EndReason.USED: VerificationReason.ALREADY_USED,
    EndReason.EXPIRED: VerificationReason.EXPIRED,
    EndReason.LOCKED: VerificationReason.LOCKED,
}


def judge(submission: Submission, facts: CheckFacts) -> Verdict:
    """Decide about a submission, and what the decision does to the contact and its codes."""
    now, guard = submission.now, facts.guard
    reason, code = _reason(submission.guess, facts, now)
    live = [one for one in facts.codes if one.is_live(now)]
    if code is not None and reason is VerificationReason.VERIFIED:
        return Verdict(answer=RIGHT_ANSWER, code_id=code.id, guard=with_full_budget(guard))
    if code is not None and reason is VerificationReason.WRONG_CODE:
        return _count(code, live, guard, facts.limits, now)
    left = 0
    if live:
        of_the_contact = guard.attempts_remaining(facts.limits.wrong_attempts, now)
        left = attempts_remaining(live[0].wrong_attempts, of_the_contact=of_the_contact)
    return Verdict(answer=Answer(reason, left), code_id=None if code is None else code.id, guard=guard)


def attempts_remaining(wrong_attempts: int, *, of_the_contact: int) -> int:
    """Return how many wrong answers are left at a code that was guessed wrong `wrong_attempts` times."""
    return min(MAXIMUM_WRONG_ATTEMPTS - wrong_attempts, of_the_contact)


def with_full_budget(guard: Guard) -> Guard:
    """Return a contact's guard as a success, or a lift of its lock, leaves it."""
    return replace(guard, wrong_attempts=0, lock_count=0, locked_until=None)


def _reason(  # noqa: PLR0911 (one return per line of the table)
    guess: str, facts: CheckFacts, now: dt.datetime
) -> tuple[VerificationReason, RememberedCode | None]:
    """Return what is said about a guess, and of which code.

    The order matters: nothing but a guess at a live code can cost an attempt.
    """
    if facts.guard.is_locked(now):
        return VerificationReason.RATE_LIMITED, None
    newest = facts.codes[0] if facts.codes else None
    is_locked = newest is not None and newest.end_reason == EndReason.LOCKED and newest.expires_at > now
    live = [code for code in facts.codes if code.is_live(now)]
    if not _has_a_shape_of(facts.codes[:1] if is_locked else live, guess):
        return VerificationReason.MALFORMED, None
    if is_locked:
        return VerificationReason.LOCKED, newest
    equal = [code for code in facts.codes if code.is_the_guess]
    for code in equal:
        if code.is_live(now):
            return VerificationReason.VERIFIED, code
    for code in equal:
        reason = _EQUAL_TO_AN_OLDER_CODE.get(code.end_reason_at(now))
        if reason is not None:
            return reason, code
    if live:
        return VerificationReason.WRONG_CODE, live[0]
    reason = None if newest is None else _WITHOUT_A_LIVE_CODE.get(newest.end_reason_at(now))
    return (VerificationReason.NOT_FOUND, None) if reason is None else (reason, newest)


def _has_a_shape_of(expected: Sequence[RememberedCode], guess: str) -> bool:
    """Whether a guess could be one of the expected codes, or any code at all when none is expected."""
    if not expected:
        return codes.fits(guess)
    return any(codes.fits(guess, code_type=code.code_type, length=code.code_length) for code in expected)


def _count(
    newest: RememberedCode, live: Sequence[RememberedCode], guard: Guard, limits: GuessLimits, now: dt.datetime
) -> Verdict:
    """Count a wrong answer against every code that it could have been, and against the contact."""
    guard = _with_one_wrong_answer_more(guard, limits, now)
    of_the_contact = guard.attempts_remaining(limits.wrong_attempts, now)
    left = attempts_remaining(newest.wrong_attempts + 1, of_the_contact=of_the_contact)
    return Verdict(
        answer=Answer(VerificationReason.WRONG_CODE, left),
        code_id=newest.id,
        guard=guard,
        counted=[code.id for code in live],
        locked=[code.id for code in live if code.wrong_attempts + 1 >= MAXIMUM_WRONG_ATTEMPTS],
        contact_locked=guard.is_locked(now),
    )


def _with_one_wrong_answer_more(guard: Guard, limits: GuessLimits, now: dt.datetime) -> Guard:
    """Use up one guess; the last one locks the contact, each time for twice as long."""
    if guard.wrong_attempts + 1 < limits.wrong_attempts:
        return replace(guard, wrong_attempts=guard.wrong_attempts + 1)
    minutes = min(limits.first_minutes * 2**guard.lock_count, limits.longest_minutes)
    return replace(
        guard,
        wrong_attempts=0,
        lock_count=guard.lock_count + 1,
        locked_until=now + dt.timedelta(minutes=minutes),
    )
