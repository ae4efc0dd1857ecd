"""The chain of the audit log: every line bears the hash of the one before it in its portal (ADR 13).

Nobody who writes a line waits for it: a sweep chains them afterwards, in an order in which none is passed over.

What is hashed, version 1 (docs/audit-log.md): the *line* is a JSON object in UTF-8 without spaces, its keys in the order of
their code points; times are UTC with six digits of a second. Its SHA-256 is the link's *digest*. The link's *hash* is
SHA-256 over `1|portal|sequence|keep until|digest|previous hash`. No secret is part of it, so that whoever holds an export
can check it. What a rewritten chain cannot imitate is a head that was kept elsewhere.
"""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

import orjson
from django.db import connection, transaction

from otp.models import AuditEvent, AuditMark, AuditNote, ContactGuard

VERSION: Final = 1
BEGINNING: Final = bytes(32)
"""What the first link of a portal bears as the hash before it."""
STEP: Final = 1000
_LAST: Final = 2**63 - 1
# What lines of earlier versions hold under such keys was typed by somebody (migrations 0005 and 0006 know the same).
_TYPED: Final = re.compile(
    r"(^| )(why|request|sender_name|reply_to|email_subject|subject|greeting|body_text|footer_text)$"
)


def moment(at: dt.datetime) -> str:
    """Return a time as it is hashed: `2026-11-25T14:10:25.004711Z`."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical(event: AuditEvent) -> str:
    """Return a line as it is hashed, whatever the order in which the database keeps its details."""
    return json.dumps(
        {
            "v": VERSION,
            "id": event.pk,
            "portal": event.portal_id,
            "at": moment(event.at),
            "recorded_at": moment(event.recorded_at),
            "actor": event.actor,
            "actor_kind": event.actor_kind,
            "action": event.action,
            "contact": None if event.contact is None else str(event.contact),
            "reference": None if event.reference is None else str(event.reference),
            "detail": event.detail,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )


def digest_of(line: str) -> bytes:
    """Return the SHA-256 of a line as `canonical` writes it."""
    return hashlib.sha256(line.encode()).digest()


def hash_of(*, portal_id: int, sequence: int, keep_until: dt.datetime, digest: bytes, previous: bytes) -> bytes:
    """Return the hash of a link. The database computes the same when a link is added (migration 0004)."""
    text = f"{VERSION}|{portal_id}|{sequence}|{moment(keep_until)}|{digest.hex()}|{previous.hex()}"
    return hashlib.sha256(text.encode()).digest()


def chain(*, limit: int = STEP) -> int:
    """Chain the next lines of all portals, at most `limit`; return how many. Call it until it returns 0.

    One at a time: while somebody else is at it there is nothing to do. A line's transaction may end long after later
    ones; so only transactions count before which all others have ended (`pg_snapshot_xmin`), in their order. What the
    mark has passed is complete for good. Crashes cost nothing: links and mark are one transaction.
    """
    AuditMark.objects.get_or_create(pk=1, defaults={"written_in": 0, "event_id": 0})
    with transaction.atomic():
        mark = AuditMark.objects.select_for_update(skip_locked=True).filter(pk=1).first()
        if mark is None:
            return 0
        ended, begun = _horizon()
        # A mark ahead of every transaction comes from another server: the database was restored from a dump. Its lines
        # are chained first; then the mark begins again, and what has a link already is passed over.
        restored = mark.written_in >= begun
        lines = _restored_lines(begun, limit) if restored else _lines(mark, ended, limit)
        for line in lines:
            _take_out_what_was_typed(line)
        _add_links(lines)
        if len(lines) == limit:
            if not restored:
                mark.written_in, mark.event_id = lines[-1].written_in, lines[-1].pk
                mark.save()
        elif restored:
            mark.written_in, mark.event_id = 0, 0
            mark.save()
        elif lines or mark.written_in == 0:
            mark.written_in, mark.event_id = ended - 1, _LAST
            mark.save()
    return len(lines)


def chain_everything() -> int:
    """Look at every line again, whatever the mark says, and chain those that have no link; return how many."""
    AuditMark.objects.update(written_in=0, event_id=0)
    number = 0
    while step := chain():
        number += step
    return number


def oldest_unchained(*, portal_id: int | None = None) -> AuditEvent | None:
    """Return the first line that the sweep has not come to yet; None when there is none."""
    mark = AuditMark.objects.filter(pk=1).first() or AuditMark(written_in=0, event_id=0)
    of_portal = "AND portal_id = %(portal_id)s" if portal_id is not None else ""
    found = AuditEvent.objects.raw(
        f"SELECT * FROM otp_auditevent WHERE (written_in, id) > (%(written_in)s, %(event_id)s) {of_portal} "  # noqa: S608 (our own words)
        "ORDER BY written_in, id LIMIT 1",
        {"written_in": mark.written_in, "event_id": mark.event_id, "portal_id": portal_id},
    )
    return next(iter(found), None)


def shorten(*, portal_id: int, limit: int = STEP) -> int:
    """Delete the oldest links of a portal whose lines are gone, at most `limit`; return how many.

    The database moves the beginning of the chain along with them.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            WITH front AS (
                SELECT link.sequence, event.id IS NOT NULL AS is_kept
                FROM otp_auditlink AS link LEFT JOIN otp_auditevent AS event ON event.id = link.event_id
                WHERE link.portal_id = %(portal_id)s ORDER BY link.sequence LIMIT %(limit)s
            )
            DELETE FROM otp_auditlink WHERE portal_id = %(portal_id)s AND sequence < (
                SELECT COALESCE(min(sequence) FILTER (WHERE is_kept), max(sequence) + 1) FROM front
            )
            """,
            {"portal_id": portal_id, "limit": limit},
        )
        return int(cursor.rowcount)


def _horizon() -> tuple[int, int]:
    """Return the transaction before which all have ended, and the one that has not begun yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_snapshot_xmin(snapshot)::text::bigint, pg_snapshot_xmax(snapshot)::text::bigint "
            "FROM pg_current_snapshot() AS snapshot"
        )
        ended, begun = cursor.fetchone()
    return ended, begun


def _lines(mark: AuditMark, ended: int, limit: int) -> list[AuditEvent]:
    return list(
        AuditEvent.objects.raw(
            """
            SELECT * FROM otp_auditevent AS event
            WHERE (written_in, id) > (%s, %s) AND written_in < %s
              AND NOT EXISTS (SELECT FROM otp_auditlink AS link WHERE link.event_id = event.id)
            ORDER BY written_in, id LIMIT %s
            """,
            [mark.written_in, mark.event_id, ended, limit],
        )
    )


def _restored_lines(begun: int, limit: int) -> list[AuditEvent]:
    return list(
        AuditEvent.objects.raw(
            """
            SELECT * FROM otp_auditevent AS event
            WHERE written_in >= %s AND NOT EXISTS (SELECT FROM otp_auditlink AS link WHERE link.event_id = event.id)
            ORDER BY written_in, id LIMIT %s
            """,
            [begun, limit],
        )
    )


def _take_out_what_was_typed(line: AuditEvent) -> None:
    """Move what an earlier version wrote into a line's details to a note, before it is chained.

    During an upgrade processes of the version before still write such lines. The database lets a line change in this way
    and in no other, and only until it has its link.
    """
    if not isinstance(line.detail, dict) or not (
        typed := {key: line.detail[key] for key in line.detail if _TYPED.search(key)}
    ):
        return
    guard = (
        ContactGuard.objects.filter(portal_id=line.portal_id, pseudonym=line.contact).first() if line.contact else None
    )
    key = uuid4()
    if guard is not None or line.contact is None:
        # Where nobody knows any more whose pseudonym it is, the contact has been erased, and so is this.
        AuditNote.objects.create(
            pk=key,
            portal_id=line.portal_id,
            contact_id=None if guard is None else guard.contact_id,
            typed=orjson.dumps(typed).decode(),
            created_at=line.at,
        )
    line.detail = without_typed(line.detail) | {"note": str(key)}
    with connection.cursor() as cursor:
        cursor.execute("UPDATE otp_auditevent SET detail = %s::jsonb WHERE id = %s", [json.dumps(line.detail), line.pk])


def without_typed(detail: dict[str, Any]) -> dict[str, Any]:
    """Return the details of a line without what was typed; of settings the names of the texts stay."""
    texts = sorted(key for key in detail if _TYPED.search(key) and key not in {"why", "request"})
    rest = {key: value for key, value in detail.items() if not _TYPED.search(key)}
    return rest | ({"texts": texts} if texts else {})


def _add_links(lines: Sequence[AuditEvent]) -> None:
    """Add links in the order of the lines; number, term, previous hash and hash are the database's to fill in."""
    if not lines:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO otp_auditlink (event_id, portal_id, digest)
            SELECT event_id, portal_id, digest
            FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) WITH ORDINALITY AS line (event_id, portal_id, digest, place)
            ORDER BY place
            """,
            [
                [line.pk for line in lines],
                [line.portal_id for line in lines],
                [digest_of(canonical(line)) for line in lines],
            ],
        )
