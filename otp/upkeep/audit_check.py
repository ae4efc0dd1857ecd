"""Whether the audit log is what was written: its chains followed in the database, or in an export without one (ADR 13)."""

import csv
import datetime as dt
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from django.db import connection, transaction
from django.db.models import Min

from hubspot_integration.models import Portal
from opsagent.spreadsheets import neutralised
from otp.models import AuditChain, AuditEvent, AuditLink, AuditMark
from otp.upkeep.audit_chain import BEGINNING, canonical, digest_of, hash_of, moment

STEP: Final = 2000
LONGEST_TRANSACTION: Final = dt.timedelta(hours=1)
"""Lines are chained in the order in which their transactions began to write. So a line can be older than the one before
it by what a transaction lasts, and no more."""

_APOSTROPHE: Final = re.compile("([;\u2028\u2029\x85])'")
EXPORT_COLUMNS: Final = ("Portal", "Sequence", "Keep until", "Digest", "Previous hash", "Hash", "Line")
"""What an export needs to be checked; its other columns are what people read."""


@dataclass(frozen=True, slots=True)
class Head:
    """The hash of one line of a portal, to be kept elsewhere. Written `portal:sequence:hash`."""

    portal_id: int
    sequence: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.portal_id}:{self.sequence}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Return the head that `str` wrote. Raises ValueError."""
        portal, sequence, value = text.strip().split(":")
        head = cls(int(portal), int(sequence), bytes.fromhex(value))
        if len(head.hash) != len(BEGINNING) or head.sequence < 0:
            raise ValueError(text)
        return head


@dataclass(slots=True)
class Report:
    """What was found in a portal's log. `broken` says in words what is wrong first; None: nothing is."""

    portal_id: int
    lines: int = 0
    head: Head | None = None
    broken: str | None = None
    unchained: int = 0
    oldest_unchained: dt.datetime | None = None
    remarks: list[str] = field(default_factory=list)


class _Broken(Exception):
    """The chain does not hold; the message is a sentence that names the line."""


def portals(kept: Iterable[Head] = ()) -> list[int]:
    """Return the numbers of all portals that have a log, or had one when a head was kept."""
    numbers = set(Portal.objects.values_list("pk", flat=True)) | set(AuditChain.objects.values_list("pk", flat=True))
    return sorted(numbers | {head.portal_id for head in kept})


def check(*, portal_id: int, kept: Collection[Head], progress: Callable[[str], None]) -> Report:
    """Follow a portal's chain from where it begins to its end, on one snapshot; writes nothing and blocks nobody.

    `kept`: heads that were kept elsewhere, which the chain must still contain. `progress` is told now and
    then how far it is.
    """
    report = Report(portal_id)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SELECT clock_timestamp()")
            (now,) = cursor.fetchone()
        try:
            _follow(report, [head for head in kept if head.portal_id == portal_id], now, progress)
            _look_for_lines_behind_the_chain(report)
        except _Broken as error:
            report.broken = str(error)
    return report


def _follow(report: Report, kept: Collection[Head], now: dt.datetime, progress: Callable[[str], None]) -> None:
    chain = AuditChain.objects.filter(pk=report.portal_id).first()
    start = Head(report.portal_id, chain.sequence, bytes(chain.hash)) if chain else Head(report.portal_id, 0, BEGINNING)
    walk = _Walk(start, now)
    wanted = {head.sequence: head for head in kept}
    _compare(start, wanted)
    for link, event in _links(report.portal_id):
        walk.take(link, event)
        _compare(walk.head, wanted)
        report.lines += 1
        if report.lines % (10 * STEP) == 0:
            progress(f"portal {report.portal_id}: {report.lines} lines …")
    report.head = walk.head
    for head in kept:
        if head.sequence < start.sequence:
            report.remarks.append(
                f"The kept head of line {head.sequence} is older than what is left: the log begins behind line "
                f"{start.sequence}. Keep a newer one."
            )
    _look_for_the_newest(walk.head.sequence, kept)


def _look_for_the_newest(last: int, kept: Collection[Head]) -> None:
    for head in kept:
        if head.sequence > last:
            raise _Broken(
                f"The log ends at line {last}, but the head of line {head.sequence} was kept: its newest lines have been removed."
            )


def _compare(head: Head, wanted: Mapping[int, Head]) -> None:
    expected = wanted.get(head.sequence)
    if expected is not None and expected.hash != head.hash:
        raise _Broken(
            f"Line {head.sequence} is not the one whose head was kept: this line or one before it has been exchanged, and the "
            "chain written anew."
        )


def _links(portal_id: int) -> Iterator[tuple[AuditLink, AuditEvent | None]]:
    after = -1
    while True:
        step = list(AuditLink.objects.filter(portal_id=portal_id, sequence__gt=after).order_by("sequence")[:STEP])
        events = AuditEvent.objects.in_bulk([link.pk for link in step])
        yield from ((link, events.get(link.pk)) for link in step)
        if len(step) < STEP:
            return
        after = step[-1].sequence


class _Walk:
    """One way through a chain: each link is held against the one before it."""

    def __init__(self, start: Head, now: dt.datetime) -> None:
        self.head = start
        self._now = now
        self._latest = dt.datetime.min.replace(tzinfo=dt.UTC)

    def take(self, link: AuditLink, event: AuditEvent | None) -> None:
        """Go one link further. Raises _Broken."""
        number = link.sequence
        if number <= self.head.sequence:
            raise _Broken(
                f"The log is said to begin behind line {self.head.sequence}, but line {number} is still there."
            )
        if number > self.head.sequence + 1:
            raise _Broken(_missing(self.head.sequence + 1, number - 1))
        if bytes(link.previous) != self.head.hash:
            raise _Broken(_does_not_follow(link))
        self.head = Head(link.portal_id, number, _hash(link))
        if self.head.hash != bytes(link.hash):
            raise _Broken(
                f"Line {number} has been changed: its hash does not fit its number, its term and its content."
            )
        if event is not None:
            self._compare(link, event)
        elif link.keep_until > self._now:
            raise _Broken(
                f"Line {number} is missing: it has been deleted before its time, {link.keep_until:%Y-%m-%d %H:%M} UTC."
            )

    def _compare(self, link: AuditLink, event: AuditEvent) -> None:
        number = link.sequence
        digest = digest_of(canonical(event))
        if event.portal_id != link.portal_id or digest != bytes(link.digest):
            raise _Broken(_is_another(link, digest))
        if event.keep_until != link.keep_until:
            raise _Broken(
                f"The term of line {number} has been changed: it was to be kept until {link.keep_until:%Y-%m-%d %H:%M} UTC."
            )
        if event.recorded_at + LONGEST_TRANSACTION < self._latest:
            raise _Broken(
                f"Line {number} is back-dated: it says that it was recorded at {event.recorded_at:%Y-%m-%d %H:%M:%S} UTC, but "
                f"comes after a line that was recorded at {self._latest:%Y-%m-%d %H:%M:%S} UTC."
            )
        self._latest = max(self._latest, event.recorded_at)


def _hash(link: AuditLink) -> bytes:
    return hash_of(
        portal_id=link.portal_id,
        sequence=link.sequence,
        keep_until=link.keep_until,
        digest=bytes(link.digest),
        previous=bytes(link.previous),
    )


def _missing(first: int, last: int) -> str:
    return f"Line {first} is missing." if first == last else f"Lines {first} to {last} are missing."


def _does_not_follow(link: AuditLink) -> str:
    once = AuditLink.objects.filter(portal_id=link.portal_id, hash=bytes(link.previous)).first()
    if once is not None:
        return f"Line {link.sequence} followed line {once.sequence} when it was written: lines have been reordered."
    return f"Line {link.sequence} does not follow the line before it: one of the two has been inserted or exchanged."


def _is_another(link: AuditLink, digest: bytes) -> str:
    other = AuditLink.objects.filter(portal_id=link.portal_id, digest=digest).exclude(pk=link.pk).first()
    if other is not None:
        return f"At line {link.sequence} stands what was written as line {other.sequence}: lines have been reordered."
    return f"Line {link.sequence} has been changed since it was written."


def _look_for_lines_behind_the_chain(report: Report) -> None:
    """Count the lines without a link. What the sweep has passed has one, unless it was put in behind its back."""
    loose = AuditEvent.objects.filter(portal_id=report.portal_id, link__isnull=True)
    found = loose.aggregate(oldest=Min("recorded_at"))
    report.unchained, report.oldest_unchained = loose.count(), found["oldest"]
    mark = AuditMark.objects.filter(pk=1).first()
    if mark is None or not report.unchained:
        return
    passed = AuditEvent.objects.raw(
        """
        SELECT * FROM otp_auditevent AS event WHERE portal_id = %s AND (written_in, id) <= (%s, %s)
          AND NOT EXISTS (SELECT FROM otp_auditlink AS link WHERE link.event_id = event.id)
        ORDER BY id LIMIT 1
        """,
        [report.portal_id, mark.written_in, mark.event_id],
    )
    for line in passed:
        raise _Broken(
            f"A line (id {line.pk}, recorded at {line.recorded_at:%Y-%m-%d %H:%M:%S} UTC) is not part of the chain although the "
            "chain goes beyond it: it has been inserted, or the sweep's mark has been changed."
        )


def columns(portal_id: int, event: AuditEvent | None, link: AuditLink | None) -> tuple[object, ...]:
    """Return EXPORT_COLUMNS of a line and its link; of the two one may be missing."""
    line = "" if event is None else canonical(event)
    if link is None:
        return (portal_id, "", "", "", "", "", line)
    hashes = (bytes(value).hex() for value in (link.digest, link.previous, link.hash))
    return (portal_id, link.sequence, moment(link.keep_until), *hashes, line)


def check_file(lines: Iterable[str], kept: Collection[Head] = ()) -> list[Report]:
    """Check an export of the audit log, portal by portal; no database is asked. Raises ValueError for another file.

    The chain is followed as far as the file goes: a contact's trail leaves out the lines of others. Columns may stand in
    another order, and what a spreadsheet program does to line ends and quotation marks changes nothing.
    """
    reader = csv.DictReader(lines, strict=True)  # what ends within quotation marks is no table
    try:
        if missing := set(EXPORT_COLUMNS) - set(reader.fieldnames or ()):
            raise ValueError(f"There is no column “{min(missing)}”.")
        rows = sorted((_complete(row) for row in reader), key=_place)
    except csv.Error:
        raise ValueError("It is no CSV file, or ends in the middle.") from None
    if kept and not rows:
        raise ValueError("It holds no line, although a head was given.")
    found = []
    for portal_id, of_portal in itertools.groupby(rows, key=lambda row: _place(row)[0]):
        report = Report(portal_id)
        try:
            _follow_rows(report, list(of_portal), [head for head in kept if head.portal_id == portal_id])
        except _Broken as error:
            report.broken = str(error)
        found.append(report)
    return found


def _complete(row: dict[str, str | None]) -> dict[str, str]:
    """Return a row that has all of EXPORT_COLUMNS. Raises ValueError for one that ends too soon."""
    complete = {name: text for name, text in row.items() if name and text is not None}
    try:
        is_whole = bool(
            complete.keys() >= set(EXPORT_COLUMNS) and (complete["Sequence"] or json.loads(complete["Line"]))
        )
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError("A row of it ends in the middle: the file was not stored as a whole.")
    return complete


def _place(row: Mapping[str, str]) -> tuple[int, int]:
    """Return portal and number of a row; 0 for a line that was not chained yet."""
    try:
        return int(row["Portal"]), int(row["Sequence"] or 0)
    except ValueError:
        raise ValueError("A row of it is damaged: it names neither a portal nor a number.") from None


def _follow_rows(report: Report, rows: list[dict[str, str]], kept: Collection[Head]) -> None:
    wanted = {head.sequence: head for head in kept}
    last: Head | None = None
    if (first := next((number for row in rows if (number := _place(row)[1])), 1)) > 1:
        report.remarks.append(f"This file begins at line {first}.")
    for row in rows:
        _, number = _place(row)
        if number == 0:
            report.unchained += 1
            continue
        head = _head_of(row, report.portal_id, number)
        if last is not None and number == last.sequence:
            raise _Broken(f"Line {number} stands in the file twice.")
        if last is not None and number > last.sequence + 1:
            report.remarks.append(_missing(last.sequence + 1, number - 1).replace("missing", "not in this file"))
        elif last is not None and row["Previous hash"] != last.hash.hex():
            raise _Broken(
                f"Line {number} does not follow the line before it: one of the two has been inserted or exchanged."
            )
        _compare(head, wanted)
        report.lines += 1
        report.head = last = head
    _look_for_the_newest(last.sequence if last else 0, kept)


def _head_of(row: Mapping[str, str], portal_id: int, number: int) -> Head:
    """Return the hash of a row, computed anew. Raises _Broken when it is not the one that stands there."""
    try:
        value = hash_of(
            portal_id=portal_id,
            sequence=number,
            keep_until=_time(row["Keep until"]),
            digest=bytes.fromhex(row["Digest"]),
            previous=bytes.fromhex(row["Previous hash"]),
        )
    except ValueError:
        raise _Broken(f"Line {number} is damaged: its term or a hash of it cannot be read.") from None
    line = _as_hashed(row["Line"], row["Digest"])
    if line is None:
        raise _Broken(f"Line {number} has been changed since it was written.")
    if value.hex() != row["Hash"]:
        raise _Broken(f"Line {number} has been changed: its hash does not fit its number, its term and its content.")
    if line:
        _compare_what_people_read(row, line, number)
    return Head(portal_id, number, value)


def _time(text: str) -> dt.datetime:
    """Return a time with its zone. Raises ValueError."""
    found = dt.datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found


def _as_hashed(text: str, digest: str) -> str | None:
    """Return the line as it was hashed, empty for one that is gone; None: the digest is of none that this cell can be.

    Where a cell would begin a formula behind a separator, the export has put an apostrophe between the two.
    """
    for line in (text, _APOSTROPHE.sub(r"\1", text)):
        if not line or digest_of(line).hex() == digest:
            return line
    return None


def _compare_what_people_read(row: Mapping[str, str], text: str, number: int) -> None:
    try:
        line = json.loads(text)
        at = dt.datetime.fromisoformat(line["at"]).isoformat(timespec="seconds")
        shown = {"Portal": str(line["portal"]), "Who": line["actor"], "Reference": line["reference"] or "", "At": at}
    except (ValueError, TypeError, KeyError):
        raise _Broken(f"Line {number} is none that this product has written.") from None
    for column, value in shown.items():
        if row.get(column, neutralised(value)) != neutralised(value):
            raise _Broken(f"Line {number} is whole, but its column “{column}” does not say what the line says.")
