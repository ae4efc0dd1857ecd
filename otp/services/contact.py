"""What issuing and verifying share: one contact at a time, and whose code it is.

What usually happens, a contact's first code of the day and the right answer, each has a statement of its own that writes
on condition. Everything else is read in one statement, decided in Python, and written in one statement; the guard's
version makes sure that nothing came between. Each is a transaction of its own: no lock is held while Python thinks.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.db import transaction

from hubspot_integration.models import Portal
from opsagent import addresses
from opsagent.database import once_more_when_disconnected
from otp import audit, codes
from otp.audit import Action, ActorKind
from otp.models import ContactGuard

R = TypeVar("R")


class Overtaken(Exception):
    """Somebody changed what concerns the contact's codes after it was read: nothing has been written."""


class NotConnected(Exception):
    """The app is not installed in the portal."""


class MissingAddress(Exception):
    """The contact has no e-mail address."""


class InvalidAddress(Exception):
    """What the contact has is no e-mail address."""


class RequestKeyTaken(Exception):
    """The same request key was used for another contact."""


# The first part of every statement that writes something about a contact's codes: it locks the contact's guard and raises
# its version, but only if it still is the guard, and the version, that the caller read (NULL: there was none). Otherwise it
# returns no row, and the rest of the statement, which draws on it, writes nothing.
CLAIM: Final = """
    guard AS (
        INSERT INTO otp_contactguard AS guard (portal_id, contact_id, wrong_attempts, lock_count, locked_until)
        VALUES (%(portal_id)s, %(contact_id)s, %(wrong_attempts)s, %(lock_count)s, %(locked_until)s)
        ON CONFLICT (portal_id, contact_id) DO UPDATE
        SET version = guard.version + 1, wrong_attempts = EXCLUDED.wrong_attempts, lock_count = EXCLUDED.lock_count,
            locked_until = EXCLUDED.locked_until
        WHERE guard.id = %(guard_id)s::bigint AND guard.version = %(version)s::bigint
        RETURNING guard.pseudonym
    )
"""
_LOCK: Final = """
    INSERT INTO otp_contactguard AS guard (portal_id, contact_id) VALUES (%s, %s)
    ON CONFLICT (portal_id, contact_id) DO UPDATE SET version = guard.version + 1
    RETURNING *
"""
_OPTIMISTIC_ATTEMPTS: Final = 5


def guard_as_read(portal_id: int, contact_id: int, row: Any) -> ContactGuard:
    """Return the guard whose columns stand in a row that was read; a new one if there was none."""
    if row.version is None:
        return ContactGuard(portal_id=portal_id, contact_id=contact_id)
    return ContactGuard(
        id=row.guard_id,
        portal_id=portal_id,
        contact_id=contact_id,
        version=row.version,
        wrong_attempts=row.wrong_attempts,
        lock_count=row.lock_count,
        locked_until=row.locked_until,
    )


def claim_as_read(portal_id: int, contact_id: int, row: Any) -> dict[str, Any]:
    """Return the values of `CLAIM` that leave the guard's budget as it was read."""
    return {
        "portal_id": portal_id,
        "contact_id": contact_id,
        "guard_id": row.guard_id,
        "version": row.version,
        "wrong_attempts": row.wrong_attempts or 0,
        "lock_count": row.lock_count or 0,
        "locked_until": row.locked_until,
    }


def claim(guard: ContactGuard) -> dict[str, Any]:
    """Return the values of `CLAIM`: the guard as it is to be, if it still is as it was read."""
    return {
        "portal_id": guard.portal_id,
        "contact_id": guard.contact_id,
        "guard_id": guard.pk,
        "version": guard.version,
        "wrong_attempts": guard.wrong_attempts,
        "lock_count": guard.lock_count,
        "locked_until": guard.locked_until,
    }


def read_decide_write(attempt: Callable[[], R], *, portal_id: int, contact_id: int) -> R:
    """Repeat `attempt`, which reads, decides and writes, until nobody has overtaken it in between.

    Of several at once one always succeeds. Whoever fails again and again takes the lock before it reads. Safe on a dead
    connection too: a request that has been answered is answered the same.
    """
    for _ in range(_OPTIMISTIC_ATTEMPTS):
        try:
            return once_more_when_disconnected(attempt)
        except Overtaken:
            continue
    with transaction.atomic():
        lock_contact(portal_id=portal_id, contact_id=contact_id)
        return attempt()


def lock_contact(*, portal_id: int, contact_id: int) -> ContactGuard:
    """Wait until this transaction is the only one that concerns the contact's codes, and keep it so."""
    # One statement, for new and known contacts alike: whoever meets the conflict waits until the other transaction ends,
    # and gets the row as that one left it.
    return ContactGuard.objects.raw(_LOCK, [portal_id, contact_id])[0]


def checked_address(address: str) -> str:
    """Return an address as codes are bound to it. Raises MissingAddress, InvalidAddress."""
    address = codes.normalise_address(address)
    if not address:
        raise MissingAddress
    try:
        return addresses.checked(address)
    except ValueError:
        raise InvalidAddress from None


def lift_lock(*, portal: Portal, contact_id: int, lifted_by: str, now: dt.datetime) -> bool:
    """Let a contact that is locked verify again at once, with a full budget; record who allowed it, and when.

    `lifted_by` names a person in staff. Codes that are locked themselves stay so. Returns whether there was a lock.
    """
    with transaction.atomic():
        guard = lock_contact(portal_id=portal.id, contact_id=contact_id)
        if not guard.is_locked(now):
            return False
        guard.refill()
        guard.save(update_fields=["wrong_attempts", "lock_count", "locked_until"])
        audit.record(
            portal=portal,
            at=now,
            actor=lifted_by,
            actor_kind=ActorKind.STAFF,
            action=Action.LOCK_LIFTED,
            contact_id=contact_id,
        )
    return True
