"""Codes, and when they are accepted."""

import datetime as dt
from typing import Protocol

import uuid_utils.compat as uuids
from django.db import models
from django.db.models import F, Q

from hubspot_integration.models import Portal
from opsagent import addresses
from opsagent.encryption import EncryptedTextField

# UUIDv7: opaque to people, ordered by time for the index
new_reference = uuids.uuid7


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

    def end(self, reason: EndReason, at: dt.datetime) -> int:
        """End codes; return how many. The database wipes the encrypted values of whatever ends (migration 0004).

        The digests stay, to tell late answers apart.
        """
        return self.filter(ended_at__isnull=True).update(ended_at=at, end_reason=reason)


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
