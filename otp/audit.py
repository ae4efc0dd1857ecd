"""The way into the audit log: what was done and seen, by whom, a row and a log line each.

Issuing, verifying and delivering write their lines in the statement that does the deed (`otp/contact/sql`, INSERT_SETTLED).
"""

import contextlib
import datetime as dt
import enum
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
import structlog
from django.db import connection

from hubspot_integration.models import Portal
from opsagent.encryption import DecryptionError
from otp.models import AuditEvent, AuditNote, ContactGuard

log = structlog.get_logger(__name__)

ActorKind = AuditEvent.ActorKind


class Action(enum.StrEnum):
    """What was done or seen."""

    CODE_ISSUED = "code_issued"
    CODE_RESENT = "code_resent"
    CODE_REFUSED = "code_refused"
    CODE_VIEWED = "code_viewed"
    CODE_REVEALED = "code_revealed"
    CODE_CHECKED = "code_checked"
    CODE_LOCKED = "code_locked"
    CONTACT_LOCKED = "contact_locked"
    LOCK_LIFTED = "lock_lifted"
    DELIVERY_SETTLED = "delivery_settled"
    SETTINGS_CHANGED = "settings_changed"
    TEST_MAIL_SENT = "test_mail_sent"
    ADDRESS_VIEWED = "address_viewed"
    DELIVERY_RETRIED = "delivery_retried"
    PORTAL_DISCONNECTED = "portal_disconnected"
    LOG_EXPORTED = "log_exported"
    AUDIT_EXPORTED = "audit_exported"
    PORTAL_CONNECTED = "portal_connected"
    CONTACT_ERASED = "contact_erased"
    RECORDS_DELETED = "records_deleted"
    SESSIONS_ENDED = "sessions_ended"
    MEMBER_REMOVED = "member_removed"


class Actor(NamedTuple):
    """Who did it: an e-mail address of a person, or which workflow."""

    kind: AuditEvent.ActorKind
    name: str


# Whoever did one of these has the code before their eyes already, where the portal shows codes at all.
_SEEING: Final = (Action.CODE_ISSUED, Action.CODE_RESENT, Action.CODE_VIEWED, Action.CODE_REVEALED)

# For deliveries: it draws on a `settled` in front of it, rows of otp_delivery whose outcome has just been written.
INSERT_SETTLED: Final = f"""
    INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, reference, detail)
    SELECT settled.portal_id, settled.settled_at, 'Delivery', '{ActorKind.SYSTEM}', '{Action.DELIVERY_SETTLED}', guard.pseudonym,
           settled.code_id, jsonb_build_object(
               'channel', settled.channel, 'outcome', settled.status, 'reason', settled.error)
    FROM settled
    JOIN otp_onetimecode AS code ON code.id = settled.code_id
    LEFT JOIN otp_contactguard AS guard ON guard.portal_id = code.portal_id AND guard.contact_id = code.contact_id
    WHERE settled.status <> 'pending'
"""  # noqa: S608 (our own words)


def record(
    *,
    portal: Portal,
    at: dt.datetime,
    actor: str,
    actor_kind: AuditEvent.ActorKind,
    action: Action,
    contact_id: int | None = None,
    reference: UUID | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write down that somebody did something. Runs in the caller's transaction: no deed without its line.

    `actor` is an e-mail address or a name; `detail` holds words from closed lists, numbers and times, never a code and
    nothing that somebody typed: that goes into a `note`. A contact appears by its pseudonym only.
    """
    AuditEvent.objects.create(
        portal=portal,
        at=at,
        actor=actor,
        actor_kind=actor_kind,
        action=action,
        contact=None if contact_id is None else pseudonym_of(portal_id=portal.id, contact_id=contact_id),
        reference=reference,
        detail=dict(detail or {}),
    )
    log.info(
        "audit",
        portal_id=portal.id,
        actor_kind=actor_kind.value,
        action=action.value,
        reference=None if reference is None else str(reference),
    )


def delete_over(*, portal_id: int, limit: int) -> list[UUID | None]:
    """Delete lines of a portal whose own time is over, at most `limit`, with their notes; return the pseudonyms they bore.

    For the retention job: by the database's clock, and by the term that each line got when it was written. A line that
    has not been chained yet waits: its link tells that it was there. Needs a transaction.
    """
    with connection.cursor() as cursor:
        # Says that it is the retention job, to the end of the transaction (see the trigger keep_audit_events).
        cursor.execute("SELECT set_config('opsagent.retention', 'on', true)")
        cursor.execute(
            """
            WITH deleted AS (
                DELETE FROM otp_auditevent WHERE id IN (
                    SELECT event.id FROM otp_auditevent AS event JOIN otp_auditlink AS link ON link.event_id = event.id
                    WHERE event.portal_id = %(portal_id)s AND event.keep_until <= clock_timestamp()
                    ORDER BY event.keep_until LIMIT %(limit)s FOR UPDATE OF event SKIP LOCKED
                ) RETURNING contact, detail ->> 'note' AS note
            ), notes AS (
                DELETE FROM otp_auditnote WHERE portal_id = %(portal_id)s AND id::text IN (SELECT note FROM deleted)
            )
            SELECT contact FROM deleted
            """,
            {"portal_id": portal_id, "limit": limit},
        )
        return [contact for (contact,) in cursor.fetchall()]


def note(*, portal: Portal, at: dt.datetime, typed: Mapping[str, Any], contact_id: int | None = None) -> UUID:
    """Keep what somebody typed where it can be erased; return the key that the audit line names as `note`.

    `typed`: what it was typed into → the text, or whatever JSON tells of it. `contact_id`: whom it may speak of.
    """
    return AuditNote.objects.create(portal=portal, contact_id=contact_id, typed=_text(typed), created_at=at).pk


def note_once(
    *, portal: Portal, at: dt.datetime, typed: Mapping[str, Any], contact_id: int, deed: Iterable[str]
) -> UUID | None:
    """Do the same for a request that may be repeated; return None when this deed has its note already.

    `deed` is what makes two requests the same one. Of any number at the same moment one gets the key: who writes the line
    in the same transaction writes it once. Needs a transaction.
    """
    found, is_new = AuditNote.objects.get_or_create(
        portal=portal,
        deed=hashlib.sha256("\n".join(deed).encode()).digest(),
        defaults={"contact_id": contact_id, "typed": _text(typed), "created_at": at},
    )
    return found.pk if is_new else None


def typed_in(events: Iterable[AuditEvent]) -> dict[int, dict[str, Any] | None]:
    """Return what was typed, by the keys of those lines that name a note; None: it has been erased, or no key reads it."""
    named = {event.pk: event.detail["note"] for event in events if "note" in event.detail}
    found: dict[str, dict[str, Any]] = {}
    for kept in AuditNote.objects.filter(pk__in=set(named.values())).only("typed"):
        with contextlib.suppress(DecryptionError):
            found[str(kept.pk)] = orjson.loads(kept.typed)
    return {key: found.get(name) for key, name in named.items()}


def _text(typed: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(typed)).decode()


def pseudonym_of(*, portal_id: int, contact_id: int) -> UUID:
    """Return what the audit log calls a contact; a contact it has not met gets its name here."""
    guard, _ = ContactGuard.objects.get_or_create(portal_id=portal_id, contact_id=contact_id)
    return guard.pseudonym


def has_seen(*, portal: Portal, actor: str, reference: UUID) -> bool:
    """Whether it is on record that somebody has a code before their eyes."""
    return AuditEvent.objects.filter(portal=portal, reference=reference, actor=actor, action__in=_SEEING).exists()
