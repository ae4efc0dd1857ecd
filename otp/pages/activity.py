"""What became of a portal's codes: the log, one code's story, a contact's trail, the funnel. Never a code.

Everything here reads a bounded number of rows through an index, however many codes a portal has.
"""

import datetime as dt
import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.conf import settings as django_settings
from django.db import connection
from django.db.models import Exists, OuterRef, Q

from hubspot_integration.models import Portal
from otp import audit, codes
from otp.audit import Action
from otp.models import (
    AuditEvent,
    AuditLink,
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    EndReason,
    OneTimeCode,
    OneTimeCodeQuerySet,
    Source,
    Verification,
)

PAGE_SIZE: Final = 50
REACH: Final = 20_000
"""How many codes one page looks through for an outcome or a source that no index knows."""
EXPORT_STEP: Final = 1000
FUNNEL_LIMIT: Final = 20_000
"""How many codes, the latest of its period, a funnel counts."""
ERASED: Final = "(erased)"
"""What stands where a reason stood that is gone: with its contact, or because its time was over."""
_STORY_LIMIT: Final = 200

# Nothing here ever decrypts a code.
_SECRETS: Final = ("code", "digest", "address_digest", "first_name")


class CodeOutcome(enum.StrEnum):
    """What became of a code."""

    LIVE = "live"
    VERIFIED = "verified"
    EXPIRED = "expired"
    LOCKED = "locked"
    SUPERSEDED = "superseded"
    DELIVERY_FAILED = "delivery_failed"


OUTCOME_WORDS: Final = {
    CodeOutcome.LIVE: "Waiting for the contact",
    CodeOutcome.VERIFIED: "Verified",
    CodeOutcome.EXPIRED: "Expired",
    CodeOutcome.LOCKED: "Locked after wrong attempts",
    CodeOutcome.SUPERSEDED: "Replaced by a newer code",
    CodeOutcome.DELIVERY_FAILED: "A delivery failed",
}
SOURCE_WORDS: Final = {
    Source.WORKFLOW.value: "Workflow",
    Source.TEST.value: "Workflow test",
    Source.CARD.value: "Contact record",
}
_WORKFLOWS: Final = (Source.WORKFLOW.value, Source.TEST.value)
CHANNEL_WORDS: Final = {
    ChannelName.CONTACT_PROPERTY.value: "Contact property",
    ChannelName.EMAIL.value: "E-mail",
    ChannelName.WORKFLOW_COMPLETION.value: "Workflow step",
    ChannelName.WORKFLOW_CONFIRMATION.value: "Workflow step, once more",
    ChannelName.PROPERTY_CLEARING.value: "Clearing the contact property",
    ChannelName.PROPERTY_CHECK.value: "Second look at the contact property",
}
_DONE_WORDS: Final = {
    ChannelName.CONTACT_PROPERTY.value: "written",
    ChannelName.WORKFLOW_COMPLETION.value: "completed",
    ChannelName.WORKFLOW_CONFIRMATION.value: "completed",
    ChannelName.PROPERTY_CLEARING.value: "done",
    ChannelName.PROPERTY_CHECK.value: "done",
}
# What a code's story tells from the code and its checks themselves.
_TOLD_OTHERWISE: Final = (Action.CODE_ISSUED, Action.CODE_CHECKED, Action.CODE_LOCKED, Action.DELIVERY_SETTLED)
_FAILURES: Final = (DeliveryStatus.FAILED, DeliveryStatus.BOUNCED)
TONES: Final = {
    DeliveryStatus.SENT.value: "good",
    DeliveryStatus.FAILED.value: "bad",
    DeliveryStatus.BOUNCED.value: "bad",
}
_OUTCOMES_OF_ENDS: Final = {
    EndReason.USED: CodeOutcome.VERIFIED,
    EndReason.EXPIRED: CodeOutcome.EXPIRED,
    EndReason.LOCKED: CodeOutcome.LOCKED,
    EndReason.SUPERSEDED: CodeOutcome.SUPERSEDED,
    EndReason.ERASED: CodeOutcome.EXPIRED,  # for the moments until its rows are gone
}
_CHECK_WORDS: Final = {
    "verified": "Checked: right",
    "wrong_code": "Checked: wrong code",
    "malformed": "Checked: not a code at all",
    "expired": "Checked: too late",
    "locked": "Checked: the code was locked",
    "superseded": "Checked: replaced by a newer code",
    "already_used": "Checked: used before",
    "not_found": "Checked: no such code",
    "rate_limited": "Checked: the contact was locked",
}
ACTION_WORDS: Final = {
    Action.CODE_ISSUED.value: "Generated a code",
    Action.CODE_RESENT.value: "Sent a new code",
    Action.CODE_REFUSED.value: "Refused a code: a limit was reached",
    Action.CODE_VIEWED.value: "Saw the code",
    Action.CODE_REVEALED.value: "Revealed the code",
    Action.CODE_CHECKED.value: "Checked a code",
    Action.CODE_LOCKED.value: "Locked the code after wrong attempts",
    Action.CONTACT_LOCKED.value: "Locked the contact after wrong attempts",
    Action.LOCK_LIFTED.value: "Lifted the lock",
    Action.DELIVERY_SETTLED.value: "Ended a delivery",
    Action.TEST_MAIL_SENT.value: "Sent a test mail",
    Action.ADDRESS_VIEWED.value: "Saw the address",
    Action.DELIVERY_RETRIED.value: "Retried a delivery",
    Action.PORTAL_DISCONNECTED.value: "Disconnected the account",
    Action.SETTINGS_CHANGED.value: "Changed the settings",
    Action.LOG_EXPORTED.value: "Exported the activity log",
    Action.AUDIT_EXPORTED.value: "Exported the audit trail",
    Action.PORTAL_CONNECTED.value: "Connected the account",
    Action.CONTACT_ERASED.value: "Erased a contact that HubSpot deleted",
    Action.RECORDS_DELETED.value: "Deleted records whose time was over",
    Action.SESSIONS_ENDED.value: "Ended somebody's sessions",
    Action.MEMBER_REMOVED.value: "Removed somebody's access to the settings",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log, between two codes: the one that was issued then, and whatever is older."""

    at: dt.datetime
    id: UUID

    def __str__(self) -> str:
        microseconds = (self.at - _EPOCH) // dt.timedelta(microseconds=1)
        return f"{microseconds}.{self.id.hex}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that `str` made the text of. Raises ValueError."""
        microseconds, _, reference = text.partition(".")
        try:
            return cls(_EPOCH + dt.timedelta(microseconds=int(microseconds)), UUID(hex=reference))
        except OverflowError:
            raise ValueError("no such time") from None


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which codes to show; None and empty mean all. `until` is the first moment that is too late."""

    contact_id: int | None = None
    address_digests: tuple[bytes, ...] = ()
    outcome: CodeOutcome | None = None
    source: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One code in the log."""

    code: OneTimeCode
    outcome: CodeOutcome
    recipient: str
    deliveries: list[Delivery]

    @property
    def outcome_words(self) -> str:
        """What became of the code."""
        return OUTCOME_WORDS[self.outcome]

    @property
    def source_words(self) -> str:
        """What asked for the code."""
        return SOURCE_WORDS.get(self.code.source, self.code.source)


@dataclass(frozen=True, slots=True)
class Page:
    """Some codes, the newest first. `older` is where the next page begins, None at the end of the log.

    `looked_back_to` is set when the page gave up looking for more before the log ended.
    """

    entries: list[Entry]
    older: Place | None
    looked_back_to: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a code. `tone` is good, bad or empty."""

    at: dt.datetime
    what: str
    detail: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """One code with everything that happened to it, the oldest first."""

    entry: Entry
    moments: list[Moment]


@dataclass(frozen=True, slots=True)
class Trail:
    """What people did and saw that concerned one contact, the newest first."""

    events: list[AuditEvent]
    older: Place | None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the audit log with its place in the chain, which it gets within seconds. `reason` is what an agent typed.

    `event` is None where the line is gone because its time was over, while older ones are still kept.
    """

    event: AuditEvent | None
    link: AuditLink | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """How far the codes of a period came.

    `counted_since` is set when there were more codes than are counted: then it is when the oldest counted one was
    issued. `median_to_verify` is None when none was verified.
    """

    issued: int
    delivered: int
    verified: int
    expired: int
    locked: int
    median_to_verify: dt.timedelta | None
    counted_since: dt.datetime | None


def digests_of(*, portal: Portal, address: str) -> tuple[bytes, ...]:
    """Return what an address is found by in a portal's log, under every pepper."""
    return tuple(
        codes.address_digests(
            peppers=django_settings.CODE_PEPPERS, portal_id=portal.id, address=codes.normalise_address(address)
        )
    )


def page(*, portal: Portal, filters: Filters, before: Place | None, now: dt.datetime, size: int = PAGE_SIZE) -> Page:
    """Return the next codes of the log that pass the filters.

    The cost does not depend on how far back `before` is. Where no index helps, one call looks at no more than REACH
    codes and says how far it came.
    """
    candidates = _candidates(portal, filters, before)
    horizon: Place | None = None
    if filters.outcome or filters.source:
        last = candidates.values_list("created_at", "id")[REACH - 1 : REACH].first()
        horizon = Place(*last) if last else None
        if horizon:
            candidates = candidates.filter(
                Q(created_at__gt=horizon.at) | Q(created_at=horizon.at, id__gte=horizon.id), created_at__gte=horizon.at
            )
        candidates = _passing(candidates, filters, now)
    found = list(candidates.defer(*_SECRETS).prefetch_related("deliveries")[: size + 1])
    entries = [_entry(code, now) for code in found[:size]]
    if len(found) > size:
        return Page(entries, Place(entries[-1].code.created_at, entries[-1].code.id))
    return Page(entries, horizon, horizon.at if horizon else None)


def export(*, portal: Portal, filters: Filters, now: dt.datetime) -> Iterator[Entry]:
    """Yield every code that passes the filters, the newest first, holding no more than EXPORT_STEP of them.

    It walks from place to place instead of keeping a cursor open: a slow download holds neither a transaction nor a
    snapshot.
    """
    place: Place | None = None
    while True:
        step = page(portal=portal, filters=filters, before=place, now=now, size=EXPORT_STEP)
        yield from step.entries
        if step.older is None:
            return
        place = step.older


def story(*, portal: Portal, reference: UUID, now: dt.datetime) -> Story | None:
    """Return one code with its deliveries, its checks and what people did with it; None when the portal has none."""
    code = OneTimeCode.objects.filter(portal=portal, id=reference).defer(*_SECRETS).first()
    if code is None:
        return None
    entry = _entry(code, now)
    guard = ContactGuard.objects.filter(portal=portal, contact_id=code.contact_id).first()
    checks = Verification.objects.filter(code=code).order_by("-created_at")[:_STORY_LIMIT]
    seen: list[AuditEvent] = []
    if guard is not None:
        theirs = AuditEvent.objects.filter(portal=portal, contact=guard.pseudonym, reference=code.id)
        seen = list(theirs.order_by("-at", "-id")[:_STORY_LIMIT])
    given = reasons(seen)
    moments = [
        Moment(code.created_at, "Generated", _asked_for(code, seen)),
        *(_moment_of_delivery(delivery, now) for delivery in entry.deliveries),
        *(_moment_of_check(check) for check in checks),
        *(
            Moment(event.at, words_of_event(event), _by(event, given.get(event.pk, "")))
            for event in seen
            if event.action not in _TOLD_OTHERWISE
        ),
    ]
    if code.end_reason and code.ended_at:
        moments.append(Moment(code.ended_at, f"Ended: {entry.outcome_words}", tone=_tone(entry.outcome)))
    elif code.expires_at <= now:
        moments.append(Moment(code.expires_at, "Ended: Expired"))
    return Story(entry, sorted(moments, key=lambda moment: moment.at))


def trail(*, portal: Portal, contact_id: int, before: Place | None, size: int = PAGE_SIZE) -> Trail | None:
    """Return what people did and saw that concerned a contact; None when the portal's log knows no such contact."""
    guard = ContactGuard.objects.filter(portal=portal, contact_id=contact_id).first()
    return None if guard is None else trail_of(guard=guard, before=before, size=size)


def trail_of(*, guard: ContactGuard, before: Place | None, size: int = PAGE_SIZE) -> Trail:
    """Return what people did and saw that concerned the contact of a guard."""
    events = AuditEvent.objects.filter(portal_id=guard.portal_id, contact=guard.pseudonym)
    if before is not None:
        events = events.filter(Q(at__lt=before.at) | Q(at=before.at, id__lt=before.id.int), at__lte=before.at)
    found = list(events.order_by("-at", "-id")[: size + 1])
    older = Place(found[size - 1].at, UUID(int=found[size - 1].pk)) if len(found) > size else None
    return Trail(found[:size], older)


def whole_trail(*, guard: ContactGuard) -> Iterator[Line]:
    """Yield everything that concerned the contact of a guard, the newest first, a step at a time."""
    place: Place | None = None
    while True:
        step = trail_of(guard=guard, before=place, size=EXPORT_STEP)
        links, given = AuditLink.objects.in_bulk([event.pk for event in step.events]), reasons(step.events)
        yield from (Line(event, links.get(event.pk), given.get(event.pk, "")) for event in step.events)
        if step.older is None:
            return
        place = step.older


def whole_log(*, portal_id: int) -> Iterator[Line]:
    """Yield a portal's whole audit log in the order of its chain, a step at a time; last what has no place in it yet."""
    after = -1
    while True:
        links = AuditLink.objects.filter(portal_id=portal_id, sequence__gt=after).order_by("sequence")
        step = list(links[:EXPORT_STEP])
        events = AuditEvent.objects.in_bulk([link.pk for link in step])
        given = reasons(events.values())
        yield from (Line(events.get(link.pk), link, given.get(link.pk, "")) for link in step)
        if len(step) < EXPORT_STEP:
            break
        after = step[-1].sequence
    rest = list(AuditEvent.objects.filter(portal_id=portal_id, link__isnull=True).order_by("id")[:EXPORT_STEP])
    given = reasons(rest)
    yield from (Line(event, None, given.get(event.pk, "")) for event in rest)


def reasons(events: Iterable[AuditEvent]) -> dict[int, str]:
    """Return the reasons that agents gave for revealing a code, by the lines' keys."""
    typed = audit.typed_in(event for event in events if event.action == Action.CODE_REVEALED)
    return {key: ERASED if what is None else str(what.get("why", "")) for key, what in typed.items()}


def reveals(*, code: OneTimeCode) -> list[tuple[AuditEvent, str]]:
    """Return who revealed a code, the latest first, with the reasons that they gave."""
    guard = ContactGuard.objects.filter(portal_id=code.portal_id, contact_id=code.contact_id).first()
    if guard is None:
        return []
    events = AuditEvent.objects.filter(
        portal_id=code.portal_id, contact=guard.pseudonym, reference=code.pk, action=Action.CODE_REVEALED
    )
    found = list(events.order_by("-at", "-id")[:_STORY_LIMIT])
    given = reasons(found)
    return [(event, given.get(event.pk, "")) for event in found]


def words_of_event(event: AuditEvent) -> str:
    """Return what was done or seen, in a few words."""
    detail = event.detail
    if event.action == Action.CODE_CHECKED:
        return _CHECK_WORDS.get(detail.get("reason", ""), ACTION_WORDS[event.action])
    if event.action == Action.DELIVERY_SETTLED:
        channel = str(detail.get("channel", "")).replace("_", " ")
        reason = f" ({detail['reason']})" if detail.get("reason") else ""
        return f"{channel.capitalize()}: {detail.get('outcome', '')}{reason}"
    return ACTION_WORDS.get(event.action, event.action)


def words_of_delivery(delivery: Delivery) -> str:
    """Return how far a delivery has come, in two or three words."""
    if delivery.status == DeliveryStatus.SENT:
        return _DONE_WORDS.get(delivery.channel, "sent")
    if delivery.status == DeliveryStatus.PENDING:
        return "trying again" if delivery.error else "on its way"
    return str(delivery.get_status_display()).lower()


def funnel(*, portal: Portal, since: dt.datetime, now: dt.datetime) -> Funnel:
    """Count how far the codes issued since a moment came: the latest FUNNEL_LIMIT of them.

    Delivered means: the property was written or the mail accepted. Verified, expired and locked are ends; codes that
    were replaced or still wait are in none of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH latest AS MATERIALIZED (
                SELECT id, created_at, expires_at, ended_at, end_reason FROM otp_onetimecode
                WHERE portal_id = %(portal)s AND created_at >= %(since)s
                ORDER BY created_at DESC LIMIT %(limit)s
            )
            SELECT count(*),
                   count(*) FILTER (WHERE EXISTS (
                       SELECT FROM otp_delivery AS delivery
                       WHERE delivery.code_id = latest.id AND delivery.channel IN ('email', 'contact_property')
                         AND delivery.status = 'sent')),
                   count(*) FILTER (WHERE end_reason = 'used'),
                   count(*) FILTER (WHERE end_reason = 'expired' OR (ended_at IS NULL AND expires_at <= %(now)s)),
                   count(*) FILTER (WHERE end_reason = 'locked'),
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - created_at))
                       FILTER (WHERE end_reason = 'used'),
                   min(created_at)
            FROM latest
            """,
            {"portal": portal.id, "since": since, "now": now, "limit": FUNNEL_LIMIT},
        )
        issued, delivered, verified, expired, locked, median, oldest = cursor.fetchone()
    return Funnel(
        issued=issued,
        delivered=delivered,
        verified=verified,
        expired=expired,
        locked=locked,
        median_to_verify=None if median is None else dt.timedelta(seconds=float(median)),
        counted_since=oldest if issued == FUNNEL_LIMIT else None,
    )


def _candidates(portal: Portal, filters: Filters, before: Place | None) -> OneTimeCodeQuerySet:
    """Return the codes that indexes can find, in the order of the log."""
    found = OneTimeCode.objects.filter(portal=portal).order_by("-created_at", "-id")
    if filters.contact_id is not None:
        found = found.filter(contact_id=filters.contact_id)
    if filters.address_digests:
        found = found.filter(address_digest__in=filters.address_digests)
    if filters.since is not None:
        found = found.filter(created_at__gte=filters.since)
    if filters.until is not None:
        found = found.filter(created_at__lt=filters.until)
    if before is not None:
        # The second condition says nothing new; it is the one that the index understands.
        found = found.filter(Q(created_at__lt=before.at) | Q(created_at=before.at, id__lt=before.id))
        found = found.filter(created_at__lte=before.at)
    return found


def _passing(found: OneTimeCodeQuerySet, filters: Filters, now: dt.datetime) -> OneTimeCodeQuerySet:
    if filters.source:
        found = found.filter(source=filters.source)
    match filters.outcome:
        case None:
            return found
        case CodeOutcome.LIVE:
            return found.live(now)
        case CodeOutcome.EXPIRED:
            return found.filter(Q(end_reason=EndReason.EXPIRED) | Q(ended_at__isnull=True, expires_at__lte=now))
        case CodeOutcome.DELIVERY_FAILED:
            failed = Delivery.objects.filter(code=OuterRef("pk"), status__in=_FAILURES).exclude(
                channel__in=(ChannelName.PROPERTY_CLEARING, ChannelName.PROPERTY_CHECK)
            )
            return found.filter(Exists(failed))
        case ended:
            reason = next(reason for reason, outcome in _OUTCOMES_OF_ENDS.items() if outcome is ended)
            return found.filter(end_reason=reason)


def _entry(code: OneTimeCode, now: dt.datetime) -> Entry:
    reason = code.end_reason_at(now)
    order = list(ChannelName)
    return Entry(
        code,
        CodeOutcome.LIVE if reason is None else _OUTCOMES_OF_ENDS[reason],
        codes.mask_address(code.address),
        sorted(code.deliveries.all(), key=lambda delivery: order.index(ChannelName(delivery.channel))),
    )


def _asked_for(code: OneTimeCode, seen: Iterable[AuditEvent]) -> str:
    where = SOURCE_WORDS.get(code.source, code.source)
    if code.workflow_id:
        where += f" {code.workflow_id}"
    people = (event.actor for event in seen if event.action == Action.CODE_ISSUED)
    who = "" if code.source in _WORKFLOWS else next(people, "")
    return f"{where}{who and f'; {who}'}; accepted for {code.expiry_minutes} minutes"


def _moment_of_delivery(delivery: Delivery, now: dt.datetime) -> Moment:
    parts = []
    if delivery.channel == ChannelName.CONTACT_PROPERTY:
        parts.append(delivery.target)
    if delivery.attempts:
        parts.append("1 attempt" if delivery.attempts == 1 else f"{delivery.attempts} attempts")
    if delivery.error:
        parts.append(delivery.error.replace("_", " "))
    channel = CHANNEL_WORDS.get(delivery.channel, delivery.channel)
    return Moment(
        delivery.settled_at or delivery.next_attempt_at or now,
        f"{channel}: {words_of_delivery(delivery)}",
        "; ".join(parts),
        TONES.get(delivery.status, ""),
    )


def _moment_of_check(check: Verification) -> Moment:
    remaining = check.attempts_remaining
    left = "" if check.reason == "verified" else f"; {remaining} {'attempt' if remaining == 1 else 'attempts'} left"
    return Moment(
        check.created_at,
        _CHECK_WORDS.get(check.reason, check.reason),
        SOURCE_WORDS.get(check.source, check.source) + left,
        "good" if check.reason == "verified" else "bad",
    )


def _by(event: AuditEvent, reason: str) -> str:
    return f"{event.actor}: {reason}" if reason else event.actor


def _tone(outcome: CodeOutcome) -> str:
    return {CodeOutcome.VERIFIED: "good", CodeOutcome.LOCKED: "bad"}.get(outcome, "")


def words_of_outcomes() -> Sequence[tuple[str, str]]:
    """Return what a log can be filtered by, for people to choose from."""
    return [(outcome.value, words) for outcome, words in OUTCOME_WORDS.items()]
