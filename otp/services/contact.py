"""What issuing and verifying share: one contact at a time, and whose code it is."""

import datetime as dt
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from hubspot_integration.models import Portal
from opsagent.database import Statements
from otp import audit, codes
from otp.audit import Action, ActorKind
from otp.models import ContactGuard

MAXIMUM_ADDRESS_LENGTH: Final = 254


class NotConnected(Exception):
    """The app is not installed in the portal."""


class MissingAddress(Exception):
    """The contact has no e-mail address."""


class InvalidAddress(Exception):
    """What the contact has is no e-mail address."""


class RequestKeyTaken(Exception):
    """The same request key was used for another contact."""


# One statement, for new and known contacts alike: whoever meets the conflict waits until the other transaction ends,
# and gets the row as that one left it. Every later statement of the transaction sees what that one committed.
_LOCK: Final = """
    INSERT INTO otp_contactguard AS guard (portal_id, contact_id) VALUES (%(portal_id)s, %(contact_id)s)
    ON CONFLICT (portal_id, contact_id) DO UPDATE SET wrong_attempts = guard.wrong_attempts
    RETURNING guard.id, guard.portal_id, guard.contact_id, guard.wrong_attempts, guard.lock_count, guard.locked_until,
              guard.pseudonym
"""
_GUARD_FIELDS: Final = (
    "id", "portal_id", "contact_id", "wrong_attempts", "lock_count", "locked_until", "pseudonym",
)  # fmt: skip


def lock_contact(*, portal_id: int, contact_id: int) -> ContactGuard:
    """Wait until this transaction is the only one that concerns the contact's codes, and keep it so."""
    return ContactGuard.objects.raw(_LOCK, {"portal_id": portal_id, "contact_id": contact_id})[0]


def send_lock(statements: Statements, *, portal_id: int, contact_id: int) -> Any:
    """Queue the same among other statements; `guard_of` reads the answer."""
    return statements.send(_LOCK, {"portal_id": portal_id, "contact_id": contact_id})


def guard_of(answer: Any) -> ContactGuard:
    """Return the guard row that `send_lock` locked."""
    return ContactGuard.from_db("default", _GUARD_FIELDS, answer.fetchone())


def checked_address(address: str) -> str:
    """Return an address as codes are bound to it. Raises MissingAddress, InvalidAddress."""
    address = codes.normalise_address(address)
    if not address:
        raise MissingAddress
    try:
        validate_email(address)
    except ValidationError:
        raise InvalidAddress from None
    if len(address) > MAXIMUM_ADDRESS_LENGTH:
        raise InvalidAddress
    return address


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
