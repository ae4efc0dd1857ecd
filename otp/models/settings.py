"""How one portal wants its codes."""

import secrets

from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from hubspot_integration.models import Portal
from otp.codes import EXPIRY_MINUTES, LENGTHS, CodeType
from otp.models.texts import TEXT_LIMIT

DAY_IN_MINUTES = 24 * 60
LONGEST_RETENTION_DAYS = 3650


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

    @classmethod
    def of(cls, portal: Portal) -> "OTPSettings":
        """Return a portal's settings; the defaults, unsaved and of version 0, where there are none yet."""
        return cls.objects.filter(portal=portal).first() or cls(portal=portal, version=0)
