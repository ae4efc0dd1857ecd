"""Settings, codes and deliveries. The delivery rows are the queue; Celery only wakes somebody up to look at them."""

import datetime as dt

import uuid_utils.compat as uuids
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models import F, Q

from hubspot_integration.models import Portal
from opsagent.encryption import EncryptedTextField
from otp.codes import EXPIRY_MINUTES, LENGTHS, CodeType

TEXT_LIMIT = 2000


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
    wait_until_delivered = models.BooleanField("Wait until delivered", default=False)
    output_code = models.BooleanField("Give the code to later workflow steps", default=True)

    class Meta:
        verbose_name = verbose_name_plural = "OTP settings"
        constraints = (
            models.CheckConstraint(
                name="storing_needs_a_property", condition=Q(store_in_property=False) | ~Q(property_name="")
            ),
        )

    def __str__(self) -> str:
        return f"settings of portal {self.portal_id}"


class ContactGuard(models.Model):
    """The row that is locked first by whatever concerns one contact's codes: it puts them in one line."""

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False)
    contact_id = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["portal", "contact_id"], name="one_guard_per_contact"),)

    def __str__(self) -> str:
        return f"guard {self.pk}"


class Source(models.TextChoices):
    """What asked for a code."""

    WORKFLOW = "workflow"
    TEST = "test"
    CARD = "card"


class EndReason(models.TextChoices):
    """Why a code is accepted no longer."""

    USED = "used"
    LOCKED = "locked"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


class OneTimeCodeQuerySet(models.QuerySet["OneTimeCode"]):
    """Queries over codes."""

    def live(self, now: dt.datetime) -> "OneTimeCodeQuerySet":
        """Keep codes that would be accepted at `now`."""
        return self.filter(ended_at__isnull=True, expires_at__gt=now)

    def end(self, reason: EndReason, at: dt.datetime) -> int:
        """End codes and wipe their encrypted values; return how many. The digests stay, to tell late answers apart."""
        return self.filter(ended_at__isnull=True).update(ended_at=at, end_reason=reason, code=None)


class OneTimeCode(models.Model):
    """One code for one contact and one address. Its primary key is the reference that people see."""

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False, verbose_name="reference")
    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="codes", db_index=False)
    contact_id = models.BigIntegerField()
    request_key = models.CharField(max_length=300)
    source = models.CharField(max_length=8, choices=Source.choices)
    workflow_id = models.CharField(max_length=32, blank=True)
    address = EncryptedTextField()
    first_name = EncryptedTextField(null=True)
    language = models.CharField(max_length=20, blank=True)
    code = EncryptedTextField(null=True)
    digest = models.BinaryField(max_length=32)
    expiry_minutes = models.PositiveSmallIntegerField()
    outputs_code = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=10, null=True, blank=True, choices=EndReason.choices)

    objects = OneTimeCodeQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=["portal", "request_key"], name="one_code_per_request"),
            models.CheckConstraint(
                name="an_end_has_a_reason",
                condition=Q(ended_at__isnull=True, end_reason__isnull=True)
                | Q(ended_at__isnull=False, end_reason__isnull=False),
            ),
            models.CheckConstraint(
                name="an_ended_code_is_wiped", condition=Q(ended_at__isnull=True) | Q(code__isnull=True)
            ),
            models.CheckConstraint(name="a_code_expires_after_it_is_made", condition=Q(expires_at__gt=F("created_at"))),
        )
        indexes = (
            models.Index(fields=["portal", "contact_id", "-created_at"], name="codes_of_a_contact"),
            models.Index(fields=["expires_at"], name="codes_to_expire", condition=Q(ended_at__isnull=True)),
        )

    def __str__(self) -> str:
        return str(self.pk)

    def is_live(self, now: dt.datetime) -> bool:
        """Whether the code would be accepted at `now`."""
        return self.ended_at is None and self.expires_at > now

    def was_live(self, at: dt.datetime) -> bool:
        """Whether the code was accepted at `at`, as far as is known by now."""
        return (self.ended_at is None or self.ended_at > at) and self.expires_at > at


class ChannelName(models.TextChoices):
    """Where a code, or news of it, is delivered."""

    CONTACT_PROPERTY = "contact_property"
    EMAIL = "email"
    WORKFLOW_COMPLETION = "workflow_completion"
    WORKFLOW_CONFIRMATION = "workflow_confirmation"


class DeliveryStatus(models.TextChoices):
    """How far a delivery has come."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


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
    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False)
    channel = models.CharField(max_length=24, choices=ChannelName.choices)
    # contact property: its name; workflow completion: the callback id; e-mail: empty, the code knows the address
    target = models.CharField(max_length=255, blank=True)
    status = models.CharField(
        max_length=8,
        default=DeliveryStatus.PENDING,
        choices=DeliveryStatus.choices,
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    # a completion is lost when it reaches HubSpot before HubSpot has stored our answer: never send it sooner
    not_before = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=100, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
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
        )

    def __str__(self) -> str:
        return f"{self.channel} of {self.code_id}"
