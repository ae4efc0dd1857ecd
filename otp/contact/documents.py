"""The documents in `sql/` as typed statements: what each is fed, and the rows that it gives.

A writing document begins with a fragment (`{first}`) that ends in `guard`: one row, or none if somebody was faster or
things are not as they were taken to be. What follows draws on it, and writes nothing without it.
"""

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from opsagent.database import Statement
from otp.contact.order import Answer, Guard, LimitReached, Made, Order, Rules, Submission, Verdict


def document(name: str, *first: str) -> str:
    """Return a document of `sql/` without its comments; `first` are the fragments that stand in its seam."""
    text = (Path(__file__).parent / "sql" / f"{name}.sql").read_text()
    return re.sub(r"\s*--.*", "", text).strip().replace("{first}", ",\n".join(document(one) for one in first))


class Sealed(NamedTuple):
    """What of a new code is stored so that only the holder of the keys can read it, or tell it when it is submitted."""

    address: bytes
    address_digest: bytes
    first_name: bytes | None
    code: bytes
    digest: bytes


class FirstOfTheDay(NamedTuple):
    """A code that was decided on without reading, from what this process remembers of the portal."""

    order: Order
    rules: Rules
    made: Made
    sealed: Sealed
    code_id: UUID


class NewCodeAfterReading(NamedTuple):
    """A code that was decided on by what was read; `guard` is the guard as it was then."""

    order: Order
    guard: Guard
    made: Made
    sealed: Sealed
    code_id: UUID


class Refusal(NamedTuple):
    """A limit that stands against a code; `guard` is the guard as it was read. There is no code to name."""

    order: Order
    guard: Guard
    reached: LimitReached
    retry_at: str
    code_id: None = None


class RightAnswer(NamedTuple):
    """A submission that is accepted if one of its digests is that of the contact's newest code, which must be live."""

    submission: Submission
    digests: Sequence[bytes]
    answer: Answer
    verified_at: dt.datetime


class Judgement(NamedTuple):
    """A verdict about a submission by what was read. `guard`: as it is to be; `until`: the end of its lock, in words."""

    submission: Submission
    guard: Guard
    verdict: Verdict
    answer: Answer
    code_id: UUID | None
    verified_at: dt.datetime | None
    until: str | None


class CheckQuestion(NamedTuple):
    """For which submission to read; codes that expired before `expired_after` are forgotten."""

    submission: Submission
    address_digests: Sequence[bytes]
    expired_after: dt.datetime


class Contact(NamedTuple):
    """One contact of one portal."""

    portal_id: int
    contact_id: int


class GuardRow(NamedTuple):
    """A row of lock.sql."""

    id: int
    version: int
    wrong_attempts: int
    lock_count: int
    locked_until: dt.datetime | None


class OrderRow(NamedTuple):
    """A row of read_for_order.sql. The guard's columns are None together."""

    version: int
    may_complete: bool
    code_type: str
    code_length: int
    expiry_minutes: int
    output_code: bool
    store_in_property: bool
    property_name: str
    send_email: bool
    wait_until_delivered: bool
    resend_policy: str
    contact_limit_10_minutes: int
    contact_limit_day: int
    resend_cooldown_seconds: int
    portal_limit_minute: int | None
    guard_id: int | None
    guard_version: int | None
    wrong_attempts: int | None
    lock_count: int | None
    locked_until: dt.datetime | None
    made_at: Sequence[dt.datetime] | None
    earlier: UUID | None


class CheckRow(NamedTuple):
    """A row of read_for_check.sql. The guard's columns are None together; without `code_id` there is no code in it."""

    wrong_attempts_limit: int
    lock_minutes: int
    longest_lock_minutes: int
    guard_id: int | None
    guard_version: int | None
    wrong_attempts: int | None
    lock_count: int | None
    locked_until: dt.datetime | None
    earlier: int | None
    code_id: UUID | None
    code_digest: bytes
    code_type: str | None
    code_length: int | None
    code_wrong_attempts: int
    code_expires_at: dt.datetime
    code_ended_at: dt.datetime | None
    code_end_reason: str | None


class CheckedRow(NamedTuple):
    """A row of check.sql: the decision that was written, and the code that it is about."""

    id: int
    code_id: UUID | None


LOCK: Final = Statement(document("lock"), feed=Contact, row=GuardRow)
READ_FOR_ORDER: Final = Statement(document("read_for_order"), feed=Order, row=OrderRow)
ISSUE_FIRST_OF_THE_DAY: Final = Statement(document("issue", "first_of_the_day"), feed=FirstOfTheDay, row=int)
ISSUE: Final = Statement(document("issue", "as_read", "superseded"), feed=NewCodeAfterReading, row=int)
REFUSE: Final = Statement(document("refuse", "as_read"), feed=Refusal, row=int)
READ_FOR_CHECK: Final = Statement(document("read_for_check"), feed=CheckQuestion, row=CheckRow)
ACCEPT_RIGHT_ANSWER: Final = Statement(document("check", "right_answer", "used"), feed=RightAnswer, row=CheckedRow)
ACCEPT: Final = Statement(document("check", "as_read", "used"), feed=Judgement, row=CheckedRow)
COUNT: Final = Statement(document("check", "as_read", "counted"), feed=Judgement, row=CheckedRow)
CHECK: Final = Statement(document("check", "as_read"), feed=Judgement, row=CheckedRow)
