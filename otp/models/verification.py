"""Checks of codes, and how they ended."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from hubspot_integration.models import Portal
from otp.models.code import OneTimeCode, Source


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
