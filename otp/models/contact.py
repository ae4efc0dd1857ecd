"""What is kept about one contact, whatever codes are made: its lock, its guess budget, its pseudonym."""

import datetime as dt
from typing import Protocol
from uuid import uuid4

from django.contrib.postgres.functions import RandomUUID
from django.db import models

from hubspot_integration.models import Portal


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
