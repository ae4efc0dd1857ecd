"""Settings, codes and deliveries. The delivery rows are the queue; Celery only wakes somebody up to look at them.

Constraints say what must hold between columns and rows, and no more, because every one is paid for with each code: numbers
that only the product itself writes are plain, and rows that come with a code leave the portal's existence to the code.
"""

import datetime as dt
import secrets
from typing import Any, Protocol
from uuid import uuid4

import uuid_utils.compat as uuids
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.indexes import BrinIndex
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Now

from hubspot_integration.models import Portal
from opsagent import addresses
from opsagent.encryption import EncryptedTextField
from otp.codes import EXPIRY_MINUTES, LENGTHS, CodeType

TEXT_LIMIT = 2000
# UUIDv7: opaque to people, ordered by time for the index
new_reference = uuids.uuid7
DAY_IN_MINUTES = 24 * 60
LONGEST_RETENTION_DAYS = 3650
FOR_EVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


class ResendPolicy(models.TextChoices):
    """What a new code does to the contact's older ones."""

    REPLACE = "replace", "A new code replaces older ones"
    KEEP_BOTH = "keep_both", "Older codes stay valid until they expire"


class CodeVisibility(models.TextChoices):
    """Whether agents see codes on the card."""

    ALWAYS = "always", "Always"
    REVEAL = "reveal", "Only after giving a reason, which is recorded"
    NEVER = "never", "Never: they type what the customer reads out"


def first_version() -> int:
    """Return where the version of new settings begins: at random, so that nobody takes them for a portal's earlier ones.

    Never 0, which stands for settings that are not made yet.
    """
    return 1 + secrets.randbelow(500_000_000)


class OTPSettings(models.Model):
    """How one portal wants its codes. One row per portal, made when the portal is first connected."""

    portal = models.OneToOneField(Portal, on_delete=models.CASCADE, primary_key=True, related_name="otp_settings")
    code_type = models.CharField(
        "Code Type",
        max_length=12,
        default=CodeType.NUMERIC.value,
        choices=[
            (CodeType.NUMERIC.value, "Numeric (0-9)"),
            (CodeType.ALPHANUMERIC.value, "Alphanumeric (A-Z and 2-9, without I and O)"),
            (CodeType.ALPHA.value, "Letters only (A-Z, without I and O)"),
        ],
    )
    code_length = models.PositiveSmallIntegerField(
        "Code Length", default=6, choices=[(length, f"{length} characters") for length in LENGTHS]
    )
    expiry_minutes = models.PositiveSmallIntegerField(
        "Default Expiry", default=10, choices=[(minutes, f"{minutes} minutes") for minutes in EXPIRY_MINUTES]
    )
    store_in_property = models.BooleanField("Store OTP in HubSpot Property", default=False)
    property_name = models.CharField("HubSpot Property Name", max_length=100, blank=True)
    send_email = models.BooleanField("Send OTP via Email", default=False)
    email_subject = models.CharField("Email Subject", max_length=150, default="Your Verification Code")
    greeting = models.CharField("Greeting", max_length=200, default="Hello,")
    body_text = models.TextField(
        "Body Text", default="Your one-time verification code is:", validators=[MaxLengthValidator(TEXT_LIMIT)]
    )
    footer_text = models.TextField(
        "Footer Text",
        default=(
            "This code will expire in {expiry_minutes} minutes. "
            "If you didn't request this code, please ignore this email."
        ),
        validators=[MaxLengthValidator(TEXT_LIMIT)],
        blank=True,
    )
    sender_name = models.CharField("Sender Name", max_length=100, blank=True, default="", db_default="")
    reply_to = models.EmailField("Reply-To Address", blank=True, default="", db_default="")
    default_language = models.CharField("Default Language", max_length=20, default="en", db_default="en")
    wait_until_delivered = models.BooleanField("Wait until delivered", default=False)
    output_code = models.BooleanField("Give the code to later workflow steps", default=True)
    email_property = models.CharField("E-mail Property", max_length=100, default="email", db_default="email")
    code_visibility = models.CharField(
        "Agents see codes",
        max_length=6,
        default=CodeVisibility.ALWAYS,
        db_default=CodeVisibility.ALWAYS,
        choices=CodeVisibility.choices,
    )
    resend_policy = models.CharField(
        "When a code is sent again",
        max_length=10,
        default=ResendPolicy.REPLACE,
        db_default=ResendPolicy.REPLACE,
        choices=ResendPolicy.choices,
    )
    contact_limit_10_minutes = models.PositiveSmallIntegerField(
        "Codes per contact in 10 minutes",
        default=5,
        db_default=5,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
    )
    contact_limit_day = models.PositiveSmallIntegerField(
        "Codes per contact in 24 hours",
        default=20,
        db_default=20,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
    )
    portal_limit_minute = models.PositiveIntegerField(
        "Codes per minute in the whole account",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100_000)],
    )
    resend_cooldown_seconds = models.PositiveSmallIntegerField(
        "Seconds before an agent can send another code",
        default=30,
        db_default=30,
        validators=[MaxValueValidator(3600)],
    )
    wrong_attempts_limit = models.PositiveSmallIntegerField(
        "Wrong codes that lock a contact",
        default=10,
        db_default=10,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
    )
    lock_minutes = models.PositiveSmallIntegerField(
        "Minutes of the first lock",
        default=15,
        db_default=15,
        validators=[MinValueValidator(1), MaxValueValidator(DAY_IN_MINUTES)],
    )
    longest_lock_minutes = models.PositiveSmallIntegerField(
        "Minutes of the longest lock",
        default=DAY_IN_MINUTES,
        db_default=DAY_IN_MINUTES,
        validators=[MinValueValidator(1), MaxValueValidator(DAY_IN_MINUTES)],
    )

    clear_property = models.BooleanField("Clear the property when the code ends", default=True, db_default=True)
    retention_days = models.PositiveSmallIntegerField(
        "Days that records are kept",
        default=90,
        db_default=90,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_RETENTION_DAYS)],
    )

    # raised by the database with every change (migration 0002): who read an older version knows it
    version = models.PositiveIntegerField(default=first_version, editable=False)

    class Meta:
        verbose_name = verbose_name_plural = "OTP settings"
        constraints = (
            models.CheckConstraint(
                name="storing_needs_a_property", condition=Q(store_in_property=False) | ~Q(property_name="")
            ),
            models.CheckConstraint(
                name="locks_grow",
                condition=Q(longest_lock_minutes__gte=F("lock_minutes")),
                violation_error_message="The longest lock cannot be shorter than the first one.",
            ),
            # The audit log's terms are computed from it, by the database, whoever wrote it.
            models.CheckConstraint(
                name="records_are_kept_a_day_to_ten_years",
                condition=Q(retention_days__gte=1, retention_days__lte=LONGEST_RETENTION_DAYS),
            ),
        )

    def __str__(self) -> str:
        return f"settings of portal {self.portal_id}"


class EmailTexts(models.Model):
    """A portal's own texts for the mail in one language, besides the default ones in its settings.

    An empty text is "not written": the app's own in that language takes its place (`emails.languages.choose`).
    """

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="email_texts", db_index=False)
    # as `emails.languages.normalise` spells it
    language = models.CharField("Language", max_length=20)
    subject = models.CharField("Email Subject", max_length=150, blank=True)
    greeting = models.CharField("Greeting", max_length=200, blank=True)
    body_text = models.TextField("Body Text", validators=[MaxLengthValidator(TEXT_LIMIT)], blank=True)
    footer_text = models.TextField("Footer Text", validators=[MaxLengthValidator(TEXT_LIMIT)], blank=True)

    class Meta:
        verbose_name = verbose_name_plural = "texts of a language"
        ordering = ("language",)
        constraints = (models.UniqueConstraint(fields=["portal", "language"], name="one_set_of_texts_per_language"),)

    def __str__(self) -> str:
        return f"texts of portal {self.portal_id} in {self.language}"


class _HasBudget(Protocol):
    @property
    def wrong_attempts(self) -> int: ...
    @property
    def locked_until(self) -> dt.datetime | None: ...
    def is_locked(self, now: dt.datetime) -> bool: ...


class GuessBudget:
    """How many wrong answers a contact may still give, whatever codes are made: the same for rows and plain values."""

    __slots__ = ()

    def is_locked(self: _HasBudget, now: dt.datetime) -> bool:
        """Whether the contact is locked at `now`: then nothing that is submitted is compared with a code."""
        return self.locked_until is not None and self.locked_until > now

    def attempts_remaining(self: _HasBudget, limit: int, now: dt.datetime) -> int:
        """Return how many wrong answers the contact has left over all codes, where `limit` of them lock it."""
        return 0 if self.is_locked(now) else max(0, limit - self.wrong_attempts)


class ContactGuard(GuessBudget, models.Model):
    """The row that is locked first by whatever changes one contact's codes: it puts them in one line.

    It also holds the contact's guess budget, which a new code does not refill: `wrong_attempts` since the last
    success, lift or lock, and the locks since the last success or lift.
    """

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    contact_id = models.BigIntegerField()
    wrong_attempts = models.SmallIntegerField(default=0, db_default=0)
    lock_count = models.SmallIntegerField(default=0, db_default=0)
    locked_until = models.DateTimeField(null=True, blank=True)
    # raised by whoever changes anything that concerns the contact's codes: who read an older version begins again
    version = models.BigIntegerField(default=0, db_default=0, editable=False)
    # What the audit log calls the contact. This row alone says who it is: with the row that knowledge is gone.
    pseudonym = models.UUIDField(default=uuid4, db_default=RandomUUID(), editable=False)

    class Meta:
        verbose_name = "contact"
        permissions = (("lift_lock", "Can lift the lock of a contact"),)
        constraints = (
            models.UniqueConstraint(fields=["portal", "contact_id"], name="one_guard_per_contact"),
            models.UniqueConstraint(fields=["pseudonym"], name="one_contact_per_pseudonym"),
        )

    def __str__(self) -> str:
        return f"contact {self.contact_id} of portal {self.portal_id}"


class Source(models.TextChoices):
    """What asked for a code, or for a check of one."""

    WORKFLOW = "workflow"
    TEST = "test"
    CARD = "card"


class EndReason(models.TextChoices):
    """Why a code is accepted no longer."""

    USED = "used"
    LOCKED = "locked"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    ERASED = "erased"


class _HasLife(Protocol):
    @property
    def expires_at(self) -> dt.datetime: ...
    @property
    def ended_at(self) -> dt.datetime | None: ...


class _HasEnd(Protocol):
    @property
    def expires_at(self) -> dt.datetime: ...
    @property
    def end_reason(self) -> str | None: ...


class Life:
    """When a code is accepted: the same for rows and plain values."""

    __slots__ = ()

    def is_live(self: _HasLife, now: dt.datetime) -> bool:
        """Whether the code would be accepted at `now`."""
        return self.ended_at is None and self.expires_at > now

    def was_live(self: _HasLife, at: dt.datetime) -> bool:
        """Whether the code was accepted at `at`, as far as is known by now."""
        return (self.ended_at is None or self.ended_at > at) and self.expires_at > at

    def end_reason_at(self: _HasEnd, now: dt.datetime) -> EndReason | None:
        """Return why the code is not accepted at `now`, or None; its time may be over before anybody wrote that down."""
        if self.end_reason is not None:
            return EndReason(self.end_reason)
        return None if self.expires_at > now else EndReason.EXPIRED


class OneTimeCodeQuerySet(models.QuerySet["OneTimeCode"]):
    """Queries over codes."""

    def live(self, now: dt.datetime) -> "OneTimeCodeQuerySet":
        """Keep codes that would be accepted at `now`."""
        return self.filter(ended_at__isnull=True, expires_at__gt=now)

    def end(self, reason: EndReason, at: dt.datetime, *, clear_property: bool = False) -> int:
        """End codes; return how many. The database wipes the encrypted values of whatever ends (migration 0004).

        The digests stay, to tell late answers apart.

        `clear_property` (of used codes only) records that the contact property is to hold them no longer.
        """
        return self.filter(ended_at__isnull=True).update(
            ended_at=at, end_reason=reason, clears_property_on_success=clear_property
        )


class OneTimeCode(Life, models.Model):
    """One code for one contact and one address. Its primary key is the reference that people see."""

    id = models.UUIDField(primary_key=True, default=new_reference, editable=False, verbose_name="reference")
    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="codes", db_index=False)
    contact_id = models.BigIntegerField()
    request_key = models.CharField(max_length=300)
    source = models.CharField(max_length=8, choices=Source.choices)
    workflow_id = models.CharField(max_length=32, blank=True)
    address = EncryptedTextField()
    # by which staff and admins find an address that only the key holder can read
    address_digest = models.BinaryField(max_length=32, db_default=b"")
    first_name = EncryptedTextField(null=True)
    language = models.CharField(max_length=20, blank=True)
    code = EncryptedTextField(null=True)
    digest = models.BinaryField(max_length=32)
    # the shape by which a submitted text is recognised as a guess; NULL: unknown, any shape counts
    code_type = models.CharField(max_length=12, null=True)
    code_length = models.SmallIntegerField(null=True)
    wrong_attempts = models.SmallIntegerField(default=0, db_default=0)
    expiry_minutes = models.SmallIntegerField()
    outputs_code = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=10, null=True, blank=True, choices=EndReason.choices)
    # whoever verified it asked that the contact property no longer holds it
    clears_property_on_success = models.BooleanField(default=False, db_default=False)

    objects = OneTimeCodeQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=["request_key", "portal"], name="one_code_per_request"),
            models.CheckConstraint(
                name="an_end_has_a_reason",
                condition=Q(ended_at__isnull=True, end_reason__isnull=True)
                | Q(ended_at__isnull=False, end_reason__isnull=False),
            ),
            models.CheckConstraint(
                name="an_ended_code_is_wiped", condition=Q(ended_at__isnull=True) | Q(code__isnull=True)
            ),
            models.CheckConstraint(name="a_code_expires_after_it_is_made", condition=Q(expires_at__gt=F("created_at"))),
            models.CheckConstraint(
                name="only_a_used_code_clears_its_property",
                condition=Q(clears_property_on_success=False) | Q(end_reason=EndReason.USED, ended_at__isnull=False),
            ),
        )
        # The column that tells rows apart comes first. Of indexes that look equally good to it PostgreSQL takes any, and in a
        # table that grows fast they all do at first: none but the one for a portal's codes may serve by the portal alone.
        indexes = (
            models.Index(fields=["portal", "-created_at"], name="codes_of_a_portal"),
            models.Index(fields=["contact_id", "portal", "-created_at"], name="codes_of_a_contact"),
            models.Index(fields=["address_digest", "portal", "-created_at"], name="codes_of_an_address"),
            models.Index(fields=["expires_at"], name="codes_to_expire", condition=Q(ended_at__isnull=True)),
            # entered when a code ends, so that making one pays nothing for it
            models.Index(
                fields=["expires_at"],
                name="codes_to_forget",
                condition=Q(ended_at__isnull=False) & ~Q(digest=b""),
            ),
        )

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def recipient(self) -> str:
        """The address as people write it: the domain in letters, not in the ASCII that mail systems speak."""
        return addresses.for_people(self.address)


class ChannelName(models.TextChoices):
    """Where a code, or news of it, is delivered."""

    CONTACT_PROPERTY = "contact_property"
    EMAIL = "email"
    WORKFLOW_COMPLETION = "workflow_completion"
    WORKFLOW_CONFIRMATION = "workflow_confirmation"
    PROPERTY_CLEARING = "property_clearing"
    PROPERTY_CHECK = "property_check"


class DeliveryStatus(models.TextChoices):
    """How far a delivery has come."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    # e-mail only: taken by the provider, or not even offered to it, and refused by the recipient's server
    BOUNCED = "bounced"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Queries over deliveries."""

    def due(self, now: dt.datetime) -> "DeliveryQuerySet":
        """Keep deliveries that somebody should work on at `now`."""
        return self.filter(status=DeliveryStatus.PENDING, next_attempt_at__lte=now)


class Delivery(models.Model):
    """One thing to be delivered for one code.

    `next_attempt_at` is back-off, lease and queue position at once: whoever works on the row moves it beyond the
    lease first, so a worker that dies leaves a row that falls due again. It is NULL exactly when the row is settled.
    """

    code = models.ForeignKey(OneTimeCode, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    channel = models.CharField(max_length=24, choices=ChannelName.choices)
    # contact property: its name; workflow completion: the callback id; e-mail: empty, the code knows the address
    target = models.CharField(max_length=255, blank=True)
    status = models.CharField(
        max_length=8,
        default=DeliveryStatus.PENDING,
        choices=DeliveryStatus.choices,
    )
    attempts = models.SmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    # a completion is lost when it reaches HubSpot before HubSpot has stored our answer: never send it sooner; a check of
    # the contact property: when it is looked at for the last time
    not_before = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=100, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    # e-mail: what the provider calls the mail, and the weightiest it has reported since (emails.tracking.MailStatus)
    provider_message_id = models.CharField(max_length=255, blank=True, default="", db_default="")
    provider_status = models.CharField(max_length=10, blank=True, default="", db_default="")
    provider_status_at = models.DateTimeField(null=True, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        permissions = (("retry_delivery", "Can retry a failed delivery"),)
        constraints = (
            models.UniqueConstraint(fields=["code", "channel"], name="one_delivery_per_code_and_channel"),
            models.CheckConstraint(
                name="a_pending_delivery_is_due_some_time",
                condition=Q(status=DeliveryStatus.PENDING, next_attempt_at__isnull=False, settled_at__isnull=True)
                | Q(~Q(status=DeliveryStatus.PENDING), next_attempt_at__isnull=True, settled_at__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                fields=["portal", "channel", "next_attempt_at"],
                name="deliveries_to_make",
                condition=Q(status=DeliveryStatus.PENDING),
            ),
            models.Index(
                fields=["provider_message_id"], name="deliveries_by_provider", condition=~Q(provider_message_id="")
            ),
            models.Index(
                fields=["id"],
                name="failed_deliveries",
                condition=Q(status__in=[DeliveryStatus.FAILED, DeliveryStatus.BOUNCED]),
            ),
        )

    def __str__(self) -> str:
        return f"{self.channel} of {self.code_id}"


class VerificationResult(models.TextChoices):
    """How a check ended, for workflows to branch on."""

    VALID = "valid"
    EXPIRED = "expired"
    INVALID = "invalid"


class VerificationReason(models.TextChoices):
    """Why a check ended as it did."""

    VERIFIED = "verified"
    WRONG_CODE = "wrong_code"
    MALFORMED = "malformed"
    EXPIRED = "expired"
    LOCKED = "locked"
    SUPERSEDED = "superseded"
    ALREADY_USED = "already_used"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"

    @property
    def result(self) -> VerificationResult:
        """The branch that the reason belongs to."""
        if self is VerificationReason.VERIFIED:
            return VerificationResult.VALID
        return VerificationResult.EXPIRED if self is VerificationReason.EXPIRED else VerificationResult.INVALID


class Verification(models.Model):
    """One check that came to a decision: what was answered, to be answered again and to be shown later.

    `code` is the code that the decision was about, if there was one.
    """

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    contact_id = models.BigIntegerField()
    request_key = models.CharField(max_length=300)
    source = models.CharField(max_length=8, choices=Source.choices)
    code = models.ForeignKey(
        OneTimeCode, on_delete=models.CASCADE, related_name="verifications", null=True, db_index=False
    )
    result = models.CharField(max_length=8, choices=VerificationResult.choices)
    reason = models.CharField(max_length=12, choices=VerificationReason.choices)
    attempts_remaining = models.SmallIntegerField()
    verified_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=["portal", "request_key"], name="one_verification_per_request"),
            models.CheckConstraint(
                name="a_result_follows_from_its_reason",
                condition=Q(reason="verified", result="valid", code__isnull=False, verified_at__isnull=False)
                | Q(reason="expired", result="expired", verified_at__isnull=True)
                | Q(~Q(reason__in=["verified", "expired"]), result="invalid", verified_at__isnull=True),
            ),
        )
        indexes = (
            models.Index(fields=["portal", "contact_id", "-created_at"], name="verifications_of_a_contact"),
            models.Index(fields=["code"], name="verifications_of_a_code", condition=Q(code__isnull=False)),
            # rows come in the order of time: next to no upkeep, and enough to find the old ones
            BrinIndex(fields=["created_at"], name="verifications_by_age", autosummarize=True),
        )

    def __str__(self) -> str:
        return f"verification {self.pk}: {self.reason}"


class ErasureRequest(models.Model):
    """A contact whose rows are to go because HubSpot deleted it. The row itself goes with them, last."""

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False)
    contact_id = models.BigIntegerField()
    # what is made later belongs to a contact that was restored, and stays
    requested_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["portal", "contact_id"], name="one_erasure_request_per_contact"),
        )

    def __str__(self) -> str:
        return f"erasure request {self.pk}"


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    """Reading only: what happened does not change."""

    def update(self, **_: Any) -> int:
        """Refuse. Raises TypeError."""
        raise TypeError("Audit events are only ever added.")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Refuse. Raises TypeError."""
        raise TypeError("Audit events are only ever added.")


class AuditEvent(models.Model):
    """Something that was done or seen; never changed, never a code. Written by `otp.audit` and documents of `otp.contact`.

    `contact` is the pseudonym that the contact's guard maps to a HubSpot contact, for as long as the guard exists.
    """

    class ActorKind(models.TextChoices):
        """What kind of person, or what else."""

        WORKFLOW = "workflow"
        AGENT = "agent"
        ADMIN = "admin"
        STAFF = "staff"
        SYSTEM = "system"

    # Deleting a portal deletes no line of its log: the lines go one by one, each when its own time has come.
    portal = models.ForeignKey(
        Portal, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    at = models.DateTimeField()
    actor = models.CharField(max_length=254)
    actor_kind = models.CharField(max_length=8, choices=ActorKind.choices)
    action = models.CharField(max_length=40)
    contact = models.UUIDField(null=True, blank=True)
    # the code it concerned, by what people see of it; not a key, so that the line outlives the row
    reference = models.UUIDField(null=True, blank=True)
    # never what somebody typed: that stands in an AuditNote, whose key is `note` here
    detail = models.JSONField(default=dict, blank=True)
    # The three that follow are the database's: whatever an INSERT says of them, a trigger sets them (migration 0004).
    # `keep_until` is counted from `recorded_at` with the retention period of that moment; `written_in` is the transaction.
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    keep_until = models.DateTimeField(db_default=Value(FOR_EVER), editable=False)
    written_in = models.BigIntegerField(db_default=0, editable=False)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ("-at", "-id")
        indexes = (
            models.Index(fields=["portal", "-at"], name="events_of_a_portal"),
            models.Index(fields=["portal", "contact", "-at"], name="events_of_a_contact"),
            models.Index(fields=["portal", "keep_until"], name="events_to_delete"),
            models.Index(fields=["written_in", "id"], name="events_to_chain"),
        )

    def __str__(self) -> str:
        return f"{self.action} at {self.at:%Y-%m-%d %H:%M:%S}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the event. Raises TypeError when it has been added already."""
        if not self._state.adding:
            raise TypeError("Audit events are only ever added.")
        super().save(*args, **kwargs)

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        """Refuse. Raises TypeError."""
        raise TypeError("Audit events are only ever added.")


class AuditNote(models.Model):
    """What somebody typed and the audit log tells of. It can be erased; the line, which names its key, cannot.

    It goes with the contact that it may speak of, with the retention period, with its line and with the portal.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False)
    # NULL: it concerns no contact, such as a text of the settings
    contact_id = models.BigIntegerField(null=True, blank=True)
    # a JSON object: what it was typed into → the text
    typed = EncryptedTextField()
    # what makes two requests the same deed; NULL where nobody repeats it
    deed = models.BinaryField(max_length=32, null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["portal", "deed"], name="one_note_per_deed"),)
        indexes = (
            models.Index(fields=["portal", "contact_id"], name="notes_of_a_contact"),
            models.Index(fields=["portal", "created_at"], name="notes_by_age"),
        )

    def __str__(self) -> str:
        return f"audit note {self.pk}"


class AuditLink(models.Model):
    """The link of one audit line in its portal's chain. `otp.upkeep.audit_chain` adds it; the database fills in the rest.

    It outlives its line as long as an older line of the portal is kept, so that the chain stays whole.
    """

    event = models.OneToOneField(
        AuditEvent, on_delete=models.DO_NOTHING, primary_key=True, related_name="link", db_constraint=False
    )
    portal = models.ForeignKey(
        Portal, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    # from 1, without a gap
    sequence = models.BigIntegerField()
    keep_until = models.DateTimeField()
    # SHA-256 of what the line says
    digest = models.BinaryField(max_length=32)
    # the hash of the link before it, and its own
    previous = models.BinaryField(max_length=32)
    hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["portal", "sequence"], name="one_link_per_place"),)

    def __str__(self) -> str:
        return f"link {self.sequence} of portal {self.portal_id}"


class AuditChain(models.Model):
    """Where a portal's chain begins: the number and the hash of its last link that is gone. 0 and zeros: none is.

    The database moves it when the oldest links are deleted; nobody else can.
    """

    portal = models.OneToOneField(
        Portal, on_delete=models.DO_NOTHING, primary_key=True, related_name="+", db_constraint=False
    )
    sequence = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)

    def __str__(self) -> str:
        return f"chain of portal {self.portal_id}"


class AuditMark(models.Model):
    """How far lines have been chained: in the order of their transactions, and of their ids in one. One row."""

    written_in = models.BigIntegerField()
    event_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"chained up to transaction {self.written_in}"
