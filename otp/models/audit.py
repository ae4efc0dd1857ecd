"""The audit log: its lines, what somebody typed, and the chain that shows that no line was changed or taken out."""

import datetime as dt
from typing import Any
from uuid import uuid4

from django.db import models
from django.db.models import Value
from django.db.models.functions import Now

from hubspot_integration.models import Portal
from opsagent.encryption import EncryptedTextField

FOR_EVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


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
