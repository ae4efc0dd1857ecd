"""The way into the audit log: what was done and seen, by whom, a row and a log line each.

Issuing, verifying and delivering write their lines in the statement that does the deed (`otp/contact/sql`, INSERT_SETTLED).
"""

import datetime as dt
import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from django.db import connection

from hubspot_integration.models import Portal
from otp.models import AuditEvent, ContactGuard

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

    `actor` is an e-mail address or a name; `detail` never holds a code. A contact appears by its pseudonym only.
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


def delete_before(*, portal_id: int, moment: dt.datetime, limit: int) -> list[UUID | None]:
    """Delete a portal's oldest lines from before a moment, at most `limit`; return the pseudonyms they bore.

    For the retention job: the database refuses to delete a line unless the portal's retention period is over since it
    was written, or since the portal was disconnected. Needs a transaction.
    """
    with connection.cursor() as cursor:
        # Says that it is the retention job, to the end of the transaction (see the trigger keep_audit_events).
        cursor.execute("SELECT set_config('opsagent.retention', 'on', true)")
        cursor.execute(
            """
            DELETE FROM otp_auditevent WHERE id IN (
                SELECT id FROM otp_auditevent WHERE portal_id = %s AND at < %s
                ORDER BY at LIMIT %s FOR UPDATE SKIP LOCKED
            ) RETURNING contact
            """,
            [portal_id, moment, limit],
        )
        return [contact for (contact,) in cursor.fetchall()]


def pseudonym_of(*, portal_id: int, contact_id: int) -> UUID:
    """Return what the audit log calls a contact; a contact it has not met gets its name here."""
    guard, _ = ContactGuard.objects.get_or_create(portal_id=portal_id, contact_id=contact_id)
    return guard.pseudonym


def has_seen(*, portal: Portal, actor: str, reference: UUID) -> bool:
    """Whether it is on record that somebody has a code before their eyes."""
    return AuditEvent.objects.filter(portal=portal, reference=reference, actor=actor, action__in=_SEEING).exists()


def is_recorded(*, portal: Portal, action: Action, reference: UUID, detail: Mapping[str, str]) -> bool:
    """Whether exactly this is on record: a request that HubSpot repeats is one deed."""
    return AuditEvent.objects.filter(portal=portal, reference=reference, action=action, detail=dict(detail)).exists()
