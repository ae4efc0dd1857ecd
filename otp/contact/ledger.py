"""The only reader and writer of what a contact's codes depend on: a function for each document in `sql/`.

What is written goes by the contact's guard: if it is not any more what was read, or things are not as they were taken to
be, nothing is written, and the function says so. Secrets are sealed here: what others see is plain, what is stored is
ciphertext and keyed digests.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from hubspot_integration.models import Portal
from opsagent.database import Statement, once_more_when_disconnected
from opsagent.encryption import bound_to, encrypt
from otp import codes
from otp.codes import REMEMBERED_FOR, CodeType
from otp.contact.decisions import MINUTE
from otp.contact.documents import (
    ACCEPT,
    ACCEPT_RIGHT_ANSWER,
    CHECK,
    COUNT,
    ISSUE,
    ISSUE_FIRST_OF_THE_DAY,
    LOCK,
    READ_FOR_CHECK,
    READ_FOR_ORDER,
    REFUSE,
    CheckedRow,
    CheckQuestion,
    CheckRow,
    Contact,
    FirstOfTheDay,
    Judgement,
    NewCodeAfterReading,
    OrderRow,
    Refusal,
    RightAnswer,
    Sealed,
)
from otp.contact.order import (
    COMPLETION_DELAY,
    Answer,
    Checked,
    CheckFacts,
    Facts,
    Guard,
    GuessLimits,
    Issued,
    IssuedCode,
    IssuedDelivery,
    LimitReached,
    Made,
    NotInstalled,
    Order,
    Overtaken,
    RememberedCode,
    RequestKeyTaken,
    Rules,
    Submission,
    Verdict,
)
from otp.contact.verdicts import RIGHT_ANSWER
from otp.models import (
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    EndReason,
    OneTimeCode,
    OTPSettings,
    ResendPolicy,
    Verification,
    VerificationReason,
)

T = TypeVar("T")
Feed = TypeVar("Feed")
_OPTIMISTIC_ATTEMPTS: Final = 5
_CODES: Final = OneTimeCode._meta.db_table  # noqa: SLF001 (Django's public way to a table)
_PORTALS_REMEMBERED: Final = 1000


# ------------------------------------------------------------------ one contact at a time


def one_at_a_time(attempt: Callable[[], T], *, portal_id: int, contact_id: int) -> T:
    """Repeat `attempt`, which reads, decides and writes, until nobody has overtaken it in between.

    Of several at once one always succeeds. After five vain attempts the contact is locked before the next one, so that
    this one waits for its turn. Safe on a dead connection too: a request that has been answered is answered the same.
    """
    for _ in range(_OPTIMISTIC_ATTEMPTS):
        try:
            return once_more_when_disconnected(attempt)
        except Overtaken:
            continue
    with transaction.atomic():
        lock_contact(portal_id=portal_id, contact_id=contact_id)
        return attempt()


def lock_contact(*, portal_id: int, contact_id: int) -> Guard:
    """Wait until this transaction is the only one that concerns the contact's codes, and keep it so. Needs a transaction."""
    row = LOCK.rows(Contact(portal_id, contact_id))[0]
    return Guard(
        portal_id=portal_id,
        contact_id=contact_id,
        id=row.id,
        version=row.version,
        wrong_attempts=row.wrong_attempts,
        lock_count=row.lock_count,
        locked_until=row.locked_until,
    )


def save_budget(guard: Guard) -> None:
    """Write down a guess budget. In the transaction that has locked the contact."""
    ContactGuard.objects.filter(portal=guard.portal_id, contact_id=guard.contact_id).update(
        wrong_attempts=guard.wrong_attempts, lock_count=guard.lock_count, locked_until=guard.locked_until
    )


# ------------------------------------------------------------------ issuing

# What this process last read of portals. A statement that goes by it makes sure that nothing has changed since.
_portals: Final[dict[int, Rules]] = {}


def remembered_rules(portal_id: int) -> Rules | None:
    """Return how a portal wants its codes, as this process last read it; None for one that has a ceiling, or is unknown."""
    return _portals.get(portal_id)


def write_first_of_the_day(order: Order, rules: Rules, made: Made) -> bool:
    """Write a code that was decided on without reading; False, and nothing written, if it is not as simple as that."""
    feed = FirstOfTheDay(order, rules, made, _sealed(order, made), made.code.id)
    return bool(_written(ISSUE_FIRST_OF_THE_DAY, feed))


def read_for_order(order: Order) -> Facts:
    """Return what an order depends on, and remember the portal. Raises NotInstalled."""
    rows = READ_FOR_ORDER.rows(order)
    if not rows:
        _make_settings(order.portal_id)
        rows = READ_FOR_ORDER.rows(order)
    row = rows[0]
    rules = Rules(
        settings_version=row.version,
        may_complete=row.may_complete,
        code_type=CodeType(row.code_type),
        code_length=row.code_length,
        expiry_minutes=row.expiry_minutes,
        output_code=row.output_code,
        store_in_property=row.store_in_property,
        property_name=row.property_name,
        send_email=row.send_email,
        wait_until_delivered=row.wait_until_delivered,
        resend_policy=ResendPolicy(row.resend_policy),
        contact_limit_10_minutes=row.contact_limit_10_minutes,
        contact_limit_day=row.contact_limit_day,
        resend_cooldown_seconds=row.resend_cooldown_seconds,
        portal_limit_minute=row.portal_limit_minute,
    )
    _remember(order.portal_id, rules)
    guard = _guard(order.portal_id, order.contact_id, row)
    return Facts(rules=rules, guard=guard, made_at=row.made_at or (), earlier=row.earlier)


def read_in_line(order: Order) -> Facts:
    """Wait for the turn of this contact, then of this portal; return what an order depends on. Needs a transaction.

    Only in a portal with a ceiling do contacts wait for each other: it is counted exactly, or not at all. Everybody locks
    the contact first, so that nobody waits in a circle.
    """
    lock_contact(portal_id=order.portal_id, contact_id=order.contact_id)
    OTPSettings.objects.select_for_update(no_key=True).get(portal=order.portal_id)
    facts = read_for_order(order)
    allowed = facts.rules.portal_limit_minute
    if allowed is None:
        return facts
    made_in_a_minute = OneTimeCode.objects.filter(portal=order.portal_id, created_at__gt=order.now - MINUTE)
    made_at = made_in_a_minute.order_by("-created_at").values_list("created_at", flat=True)
    return replace(facts, ceiling_reached_at=made_at[allowed - 1 : allowed].first())


def write_new_code(order: Order, guard: Guard, made: Made) -> None:
    """Write a code that was decided on by what was read; `guard` is the guard as it was then. Raises Overtaken."""
    if not _written(ISSUE, NewCodeAfterReading(order, guard, made, _sealed(order, made), made.code.id)):
        raise Overtaken


def write_refusal(order: Order, guard: Guard, reached: LimitReached) -> None:
    """Write in the audit log that a limit stands against a code. Raises Overtaken."""
    if not _written(REFUSE, Refusal(order, guard, reached, reached.retry_at.isoformat())):
        raise Overtaken


def repeat_order(order: Order, earlier: UUID) -> Issued:
    """Answer an order again; a completion that is still to come waits for this answer too. Raises RequestKeyTaken."""
    code = OneTimeCode.objects.get(pk=earlier)
    if code.contact_id != order.contact_id:
        raise RequestKeyTaken
    due = order.now + COMPLETION_DELAY
    Delivery.objects.filter(code=code, channel=ChannelName.WORKFLOW_COMPLETION, status=DeliveryStatus.PENDING).update(
        not_before=due, next_attempt_at=Greatest(F("next_attempt_at"), Value(due))
    )
    return Issued(
        code=IssuedCode(
            id=code.id,
            code=code.code,
            outputs_code=code.outputs_code,
            expires_at=code.expires_at,
            ended_at=code.ended_at,
        ),
        deliveries=[
            IssuedDelivery(ChannelName(channel), DeliveryStatus(status))
            for channel, status in code.deliveries.values_list("channel", "status")
        ],
        repeated=True,
    )


def _remember(portal_id: int, rules: Rules) -> None:
    if rules.portal_limit_minute is not None:
        _portals.pop(portal_id, None)
        return
    if len(_portals) >= _PORTALS_REMEMBERED:
        _portals.clear()
    _portals[portal_id] = rules


def _sealed(order: Order, made: Made) -> Sealed:
    pepper, portal_id, address, code = settings.CODE_PEPPERS[0], order.portal_id, order.address, made.code
    return Sealed(
        address=encrypt(address, bound_to(_CODES, "address", code.id)),
        address_digest=codes.address_digests(peppers=(pepper,), portal_id=portal_id, address=address)[0],
        first_name=encrypt(code.first_name, bound_to(_CODES, "first_name", code.id)) if code.first_name else None,
        code=encrypt(code.code, bound_to(_CODES, "code", code.id)),
        digest=codes.digest(
            pepper=pepper, portal_id=portal_id, contact_id=order.contact_id, address=address, code=code.code
        ),
    )


# ------------------------------------------------------------------ verifying


def accept_right_answer(submission: Submission) -> Checked | None:
    """Accept the contact's newest code without reading first; None, and nothing written, for all else."""
    right = RightAnswer(submission, _digests(submission), RIGHT_ANSWER, submission.now)
    rows = _written(ACCEPT_RIGHT_ANSWER, right)
    return _checked(submission, RIGHT_ANSWER, rows[0]) if rows else None


def read_for_check(submission: Submission) -> CheckFacts:
    """Return what a check depends on. Raises NotInstalled."""
    question = CheckQuestion(submission, _address_digests(submission), submission.now - REMEMBERED_FOR)
    rows = READ_FOR_CHECK.rows(question)
    if not rows:
        _make_settings(submission.portal_id)
        rows = READ_FOR_CHECK.rows(question)
    first = rows[0]
    digests = _digests(submission) if codes.fits(submission.guess) else []
    return CheckFacts(
        limits=GuessLimits(
            wrong_attempts=first.wrong_attempts_limit,
            first_minutes=first.lock_minutes,
            longest_minutes=first.longest_lock_minutes,
        ),
        guard=_guard(submission.portal_id, submission.contact_id, first),
        codes=[_remembered(row, row.code_id, digests) for row in rows if row.code_id is not None],
        earlier=first.earlier,
    )


def write_verdict(submission: Submission, verdict: Verdict) -> Checked:
    """Write a verdict that was come to by what was read, and what it costs. Raises Overtaken."""
    answer, locked_until = verdict.answer, verdict.guard.locked_until
    judgement = Judgement(
        submission=submission,
        guard=verdict.guard,
        verdict=verdict,
        answer=answer,
        code_id=verdict.code_id,
        verified_at=submission.now if answer.reason is VerificationReason.VERIFIED else None,
        until=locked_until.isoformat() if locked_until else None,
    )
    rows = _written(_BY_REASON.get(answer.reason, CHECK), judgement)
    if not rows:
        raise Overtaken
    return _checked(submission, answer, rows[0])


_BY_REASON: Final = {VerificationReason.VERIFIED: ACCEPT, VerificationReason.WRONG_CODE: COUNT}


def repeat_check(submission: Submission, earlier: int) -> Checked:
    """Answer a submission again as it was answered first. Raises RequestKeyTaken."""
    verification = Verification.objects.get(pk=earlier)
    if verification.contact_id != submission.contact_id:
        raise RequestKeyTaken
    return Checked(
        id=verification.id,
        code_id=verification.code_id,
        reason=VerificationReason(verification.reason),
        attempts_remaining=verification.attempts_remaining,
        verified_at=verification.verified_at,
        repeated=True,
    )


def _checked(submission: Submission, answer: Answer, row: CheckedRow) -> Checked:
    return Checked(
        id=row.id,
        code_id=row.code_id,
        reason=answer.reason,
        attempts_remaining=answer.attempts_remaining,
        verified_at=submission.now if answer.reason is VerificationReason.VERIFIED else None,
        repeated=False,
    )


def _remembered(row: CheckRow, code_id: UUID, digests: Sequence[bytes]) -> RememberedCode:
    return RememberedCode(
        id=code_id,
        # Every pair is compared, each in constant time: how long it takes tells nothing.
        is_the_guess=bool(sum(hmac.compare_digest(row.code_digest, digest) for digest in digests)),
        code_type=CodeType(row.code_type) if row.code_type else None,
        code_length=row.code_length,
        wrong_attempts=row.code_wrong_attempts,
        expires_at=row.code_expires_at,
        ended_at=row.code_ended_at,
        end_reason=EndReason(row.code_end_reason) if row.code_end_reason else None,
    )


def _digests(submission: Submission) -> list[bytes]:
    return codes.digests(
        peppers=settings.CODE_PEPPERS,
        portal_id=submission.portal_id,
        contact_id=submission.contact_id,
        address=submission.address,
        code=submission.guess,
    )


def _address_digests(submission: Submission) -> list[bytes]:
    return codes.address_digests(
        peppers=settings.CODE_PEPPERS, portal_id=submission.portal_id, address=submission.address
    )


# ------------------------------------------------------------------ shared


def _guard(portal_id: int, contact_id: int, row: OrderRow | CheckRow) -> Guard:
    return Guard(
        portal_id=portal_id,
        contact_id=contact_id,
        id=row.guard_id,
        version=row.guard_version,
        wrong_attempts=row.wrong_attempts or 0,
        lock_count=row.lock_count or 0,
        locked_until=row.locked_until,
    )


def _make_settings(portal_id: int) -> None:
    """Make the settings of a portal that was connected without. Raises NotInstalled."""
    if not Portal.objects.connected().filter(id=portal_id).exists():
        raise NotInstalled
    OTPSettings.objects.get_or_create(portal_id=portal_id)


def _written(statement: Statement[Feed, T], feed: Feed) -> list[T]:
    """Run a writing document; return its rows, none if its condition failed. Raises RequestKeyTaken.

    One contact's requests stand in line, so a key that is in use is in use for another contact.
    """
    try:
        return statement.rows(feed)
    except IntegrityError as error:
        if "one_code_per_request" in str(error) or "one_verification_per_request" in str(error):
            raise RequestKeyTaken from None
        raise
