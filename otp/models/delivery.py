"""Deliveries of codes. Their rows are the queue; Celery only wakes somebody up to look at them."""

import datetime as dt

from django.db import models
from django.db.models import Q

from hubspot_integration.models import Portal
from otp.models.code import OneTimeCode


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
