"""What is asked for, what is known, what was decided: plain values that do nothing, and what the use cases raise."""

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from otp.audit import Action, Actor
from otp.codes import EXPIRY_MINUTES, REMEMBERED_FOR, CodeType
from otp.models import (
    ChannelName,
    DeliveryStatus,
    EndReason,
    GuessBudget,
    Life,
    ResendPolicy,
    Source,
    VerificationReason,
    VerificationResult,
)

DAY: Final = dt.timedelta(hours=24)
# A completion that overtakes our own answer is lost (https://community.hubspot.com/t5/APIs-Integrations/
# Error-validating-callback-ID/m-p/1025725): HubSpot must have stored the BLOCK first.
COMPLETION_DELAY: Final = dt.timedelta(seconds=2)
# The scope of HubSpot's that lets an app complete a step that waits.
COMPLETION_SCOPE: Final = "automation"
# No code that is remembered was made longer ago than this.
REMEMBERED_SINCE: Final = REMEMBERED_FOR + dt.timedelta(minutes=max(EXPIRY_MINUTES))


# ------------------------------------------------------------------ what the use cases raise


class NotInstalled(Exception):
    """The app is not installed in the portal."""


class Overtaken(Exception):
    """Somebody changed what concerns the contact's codes after it was read: nothing has been written. Begin again."""


class MissingAddress(Exception):
    """The contact has no e-mail address."""


class InvalidAddress(Exception):
    """What the contact has is no e-mail address."""


class RequestKeyTaken(Exception):
    """The same request key was used for another contact."""


class RateLimited(Exception):
    """A limit on codes has been reached. `limit` says which, `retry_at` when the next code can be made."""

    def __init__(self, limit: "Limit", retry_at: dt.datetime) -> None:
        super().__init__(limit)
        self.limit = limit
        self.retry_at = retry_at


# ------------------------------------------------------------------ issuing: asked


class Limit(enum.StrEnum):
    """A limit on how many codes are made."""

    RESEND_COOLDOWN = "resend_cooldown"
    CONTACT_10_MINUTES = "contact_10_minutes"
    CONTACT_DAY = "contact_day"
    PORTAL_MINUTE = "portal_minute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one request wants different from the portal's settings; None means as set."""

    code_type: CodeType | None = None
    code_length: int | None = None
    expiry_minutes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request for a code. `address` is normalised; `actor` is who asks; `action` is what the audit log calls it."""

    portal_id: int
    contact_id: int
    address: str
    first_name: str
    language: str
    request_key: str
    source: Source
    workflow_id: str
    callback_id: str | None
    overrides: Overrides
    actor: Actor
    action: Action
    now: dt.datetime

    @property
    def day_ago(self) -> dt.datetime:
        """Codes of the contact that were made after this moment count against its limits."""
        return self.now - DAY


# ------------------------------------------------------------------ issuing: known


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a portal wants its codes: its settings of one version, and whether HubSpot lets us complete its steps."""

    settings_version: int
    may_complete: bool
    code_type: CodeType
    code_length: int
    expiry_minutes: int
    output_code: bool
    store_in_property: bool
    property_name: str
    send_email: bool
    wait_until_delivered: bool
    resend_policy: ResendPolicy
    contact_limit_10_minutes: int
    contact_limit_day: int
    resend_cooldown_seconds: int
    portal_limit_minute: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(GuessBudget):
    """The row that puts whatever concerns one contact's codes in one line; `id` and `version` are None before its first."""

    portal_id: int
    contact_id: int
    id: int | None = None
    version: int | None = None
    wrong_attempts: int = 0
    lock_count: int = 0
    locked_until: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an order depends on.

    `made_at`: when the contact's codes of the last 24 hours were made, the newest first. `ceiling_reached_at`: when the
    portal's codes of the last minute reached its ceiling, if they did. `earlier`: the code that was the first answer to
    this request.
    """

    rules: Rules
    guard: Guard
    made_at: Sequence[dt.datetime]
    earlier: UUID | None
    ceiling_reached_at: dt.datetime | None = None


# ------------------------------------------------------------------ issuing: decided


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCode(Life):
    """As much of a code as an answer tells. `code` is None once it has been wiped."""

    id: UUID
    code: str | None
    outputs_code: bool
    expires_at: dt.datetime
    ended_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCode(IssuedCode):
    """A code that is to be written down. `first_name` is None unless a mail greets with it."""

    code: str
    code_type: CodeType
    code_length: int
    expiry_minutes: int
    first_name: str | None


@dataclass(frozen=True, slots=True)
class IssuedDelivery:
    """As much of a delivery as an answer tells: where to, and how far it has come."""

    channel: ChannelName
    status: DeliveryStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """What must be delivered of a new code: the target for each channel, None where there is nothing to deliver.

    The step is completed when the others have settled, no sooner than `complete_not_before` and at the latest when the
    code expires.
    """

    contact_property: str | None
    email: str | None
    workflow_completion: str | None
    complete_not_before: dt.datetime

    @property
    def pending(self) -> tuple[IssuedDelivery, ...]:
        """The deliveries as they stand in an answer."""
        targets = (
            (ChannelName.CONTACT_PROPERTY, self.contact_property),
            (ChannelName.EMAIL, self.email),
            (ChannelName.WORKFLOW_COMPLETION, self.workflow_completion),
        )
        return tuple(
            IssuedDelivery(channel, DeliveryStatus.PENDING) for channel, target in targets if target is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new code. `replaces_older`: the contact's older live codes end."""

    code: NewCode
    deliveries: Deliveries
    replaces_older: bool


@dataclass(frozen=True, slots=True)
class LimitReached:
    """No code is made now: a limit stands against it until `retry_at`."""

    limit: Limit
    retry_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A code with its deliveries. `repeated`: the request had been answered before; nothing new was made."""

    code: IssuedCode
    deliveries: Sequence[IssuedDelivery]
    repeated: bool

    @property
    def awaits_completion(self) -> bool:
        """Whether a workflow step is to wait until the deliveries have settled."""
        return IssuedDelivery(ChannelName.WORKFLOW_COMPLETION, DeliveryStatus.PENDING) in self.deliveries


# ------------------------------------------------------------------ verifying: asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What somebody submitted as a contact's code. `address` and `guess` are normalised."""

    portal_id: int
    contact_id: int
    address: str
    guess: str
    clear_property: bool
    request_key: str
    source: Source
    actor: Actor
    now: dt.datetime

    @property
    def remembered_since(self) -> dt.datetime:
        """No code that can still be told apart was made before this moment."""
        return self.now - REMEMBERED_SINCE


# ------------------------------------------------------------------ verifying: known


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessLimits:
    """How many wrong answers lock a contact in this portal, and for how long: doubling from the first to the longest."""

    wrong_attempts: int
    first_minutes: int
    longest_minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedCode(Life):
    """A code that is live or can still be told apart. `is_the_guess`: the submitted code equals it.

    Without a type or a length its shape is unknown, and every possible code could be it.
    """

    id: UUID
    is_the_guess: bool
    code_type: CodeType | None
    code_length: int | None
    wrong_attempts: int
    expires_at: dt.datetime
    ended_at: dt.datetime | None
    end_reason: EndReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFacts:
    """What a check depends on. `codes`: those of this contact and address, the newest first.

    `earlier`: the verification that was the first answer to this request.
    """

    limits: GuessLimits
    guard: Guard
    codes: Sequence[RememberedCode]
    earlier: int | None


# ------------------------------------------------------------------ verifying: decided


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said about a submission; `attempts_remaining` as in `Checked`."""

    reason: VerificationReason
    attempts_remaining: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer, the code that it is about, if any, and what it costs. `guard` is the guard as it is to be.

    `counted`: the codes that a wrong answer counts against; `locked`: those of them that it locks. `contact_locked`: it
    locks the contact too, until `guard.locked_until`.
    """

    answer: Answer
    code_id: UUID | None
    guard: Guard
    counted: Sequence[UUID] = ()
    locked: Sequence[UUID] = ()
    contact_locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A check that came to a decision. `repeated`: the request had been answered before; nothing was checked again.

    `attempts_remaining`: the wrong answers that the newest live code and the contact still bear after this one.
    """

    id: int
    code_id: UUID | None
    reason: VerificationReason
    attempts_remaining: int
    verified_at: dt.datetime | None
    repeated: bool

    @property
    def result(self) -> VerificationResult:
        """The branch that the reason belongs to."""
        return self.reason.result
