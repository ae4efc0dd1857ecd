"""What goes when its time is over, in steps that block nobody: each a transaction of its own, of a few hundred rows.

A step passes over rows that somebody holds; the next run finds them. Every function does one step and returns how many
rows it dealt with: call it until that is 0.
"""

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from hubspot_integration.models import Portal
from otp import audit
from otp.audit import Action, ActorKind
from otp.codes import REMEMBERED_FOR
from otp.models import (
    AuditChain,
    AuditEvent,
    AuditLink,
    AuditNote,
    ContactGuard,
    EndReason,
    OneTimeCode,
    OTPSettings,
    Verification,
)

STEP: Final = 500
END_STEP: Final = 1000
FORGOTTEN_AFTER: Final = REMEMBERED_FOR - dt.timedelta(minutes=2)
"""So long after its expiry nothing is kept by which a code could be recognised: a little less than the day it may be
remembered, because the job that sees to it comes once a minute."""


def end_expired(*, now: dt.datetime) -> int:
    """End codes whose time is over; their encrypted values are wiped with that."""
    expired = OneTimeCode.objects.filter(ended_at__isnull=True, expires_at__lte=now).order_by("expires_at")
    step = list(expired.values_list("pk", flat=True)[:END_STEP])
    return OneTimeCode.objects.filter(pk__in=step).end(EndReason.EXPIRED, now)


def forget_codes(*, now: dt.datetime) -> int:
    """Wipe what recognises codes that expired a day ago, and what only their mails needed."""
    with connection.cursor() as cursor:
        cursor.execute(
            r"""
            UPDATE otp_onetimecode SET digest = '\x', first_name = NULL WHERE id IN (
                SELECT id FROM otp_onetimecode
                WHERE ended_at IS NOT NULL AND digest <> '\x' AND expires_at <= %s
                ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
            )
            """,
            [now - FORGOTTEN_AFTER, STEP],
        )
        return int(cursor.rowcount)


@dataclass(frozen=True, slots=True)
class Term:
    """Up to when a portal's records have to go. `ends`: the portal itself goes with them."""

    portal: Portal
    before: dt.datetime
    ends: bool


def terms(*, now: dt.datetime) -> Iterator[Term]:
    """Return every portal's term: its retention period ago, or now when it was disconnected longer ago than that."""
    for portal in Portal.objects.select_related("otp_settings").order_by("id"):
        settings = getattr(portal, "otp_settings", None) or OTPSettings()
        before = now - dt.timedelta(days=settings.retention_days)
        ends = portal.disconnected_at is not None and portal.disconnected_at < before
        yield Term(portal, now if ends else before, ends)


def delete_records(*, term: Term) -> int:
    """Delete some of a portal's records from before its term, and contacts of whom nothing is left.

    Records are codes, checks, notes, and audit lines, of which each has a term of its own.
    """
    with transaction.atomic():
        return _delete_codes(term) or _delete_checks(term) or _delete_notes(term) or _delete_lines(term)


def portals_that_are_gone() -> list[int]:
    """Return the numbers of portals that are deleted and have audit lines left: each is kept until its own time is over."""
    gone = AuditChain.objects.filter(~Exists(Portal.objects.filter(pk=OuterRef("pk"))))
    return list(gone.filter(Exists(AuditLink.objects.filter(portal_id=OuterRef("pk")))).values_list("pk", flat=True))


def delete_lines_of_a_portal_that_is_gone(*, portal_id: int) -> int:
    """Delete some of its audit lines whose time is over."""
    with transaction.atomic():
        return len(audit.delete_over(portal_id=portal_id, limit=STEP))


def finish(*, term: Term, deleted: int, now: dt.datetime) -> None:
    """Delete the portal itself when its term ends; otherwise write down how many records were deleted, if any were.

    Audit lines that are to be kept for longer, because the period was longer when they were written, stay without it.
    """
    if term.ends:
        with transaction.atomic():
            # Looked at again: it may have been installed anew while its records were deleted.
            gone = Portal.objects.filter(id=term.portal.id, disconnected_at=term.portal.disconnected_at)
            for portal in gone.select_for_update():
                portal.delete()
    elif deleted:
        audit.record(
            portal=term.portal,
            at=now,
            actor="Retention",
            actor_kind=ActorKind.SYSTEM,
            action=Action.RECORDS_DELETED,
            detail={"records": str(deleted), "before": term.before.isoformat()},
        )


def _delete_codes(term: Term) -> int:
    old = OneTimeCode.objects.filter(portal=term.portal, created_at__lt=term.before).order_by("created_at")
    found = dict(old.select_for_update(skip_locked=True).values_list("id", "contact_id")[:STEP])
    # With their deliveries and checks. Only the keys are loaded: nothing needs to be readable to be deleted.
    OneTimeCode.objects.filter(id__in=found).only("id").delete()
    _forget_contacts(term.portal, Q(contact_id__in=set(found.values())))
    return len(found)


def _delete_checks(term: Term) -> int:
    old = Verification.objects.filter(portal=term.portal, created_at__lt=term.before).order_by()
    found = dict(old.select_for_update(skip_locked=True).values_list("id", "contact_id")[:STEP])
    Verification.objects.filter(id__in=found).delete()
    _forget_contacts(term.portal, Q(contact_id__in=set(found.values())))
    return len(found)


def _delete_notes(term: Term) -> int:
    old = AuditNote.objects.filter(portal=term.portal, created_at__lt=term.before).order_by("created_at")
    found = list(old.select_for_update(skip_locked=True).values_list("id", flat=True)[:STEP])
    # Only the keys are loaded: nothing needs to be readable to be deleted.
    AuditNote.objects.filter(id__in=found).only("id").delete()
    return len(found)


def _delete_lines(term: Term) -> int:
    deleted = audit.delete_over(portal_id=term.portal.id, limit=STEP)
    _forget_contacts(term.portal, Q(pseudonym__in={contact for contact in deleted if contact}))
    return len(deleted)


def _forget_contacts(portal: Portal, whom: Q) -> None:
    """Delete the guards of contacts of whom nothing else is on record.

    Guesses that still count against a contact would be on record; a lock outlives them.
    """
    guards = ContactGuard.objects.filter(whom, portal=portal).order_by("id")
    # Locked first, looked at afterwards: in between nothing about these contacts can be committed.
    locked = {guard.contact_id: guard for guard in guards.select_for_update(skip_locked=True)}
    pseudonyms = {guard.pseudonym: contact_id for contact_id, guard in locked.items()}
    known = _contacts_in(OneTimeCode, portal, locked) | _contacts_in(Verification, portal, locked)
    lines = AuditEvent.objects.filter(portal=portal, contact__in=pseudonyms).order_by()
    known |= {pseudonyms[contact] for contact in lines.values_list("contact", flat=True).distinct() if contact}
    nothing_left = [guard.pk for contact_id, guard in locked.items() if contact_id not in known]
    free = Q(locked_until__isnull=True) | Q(locked_until__lt=Now())
    ContactGuard.objects.filter(free, pk__in=nothing_left).delete()


def _contacts_in(
    model: type[OneTimeCode] | type[Verification], portal: Portal, contact_ids: Collection[int]
) -> set[int]:
    rows = model.objects.filter(portal=portal, contact_id__in=contact_ids).order_by()
    return set(rows.values_list("contact_id", flat=True).distinct())
