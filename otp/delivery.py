"""The delivery engine: claim a batch of due rows, let the channel work, write down what became of each.

One drain per portal and channel at a time, guarded by an advisory lock that PostgreSQL releases by itself when the
worker dies. The rows it works on are leased: they fall due again should it never come back.
"""

import contextlib
import datetime as dt
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import F

from hubspot_integration.models import Portal
from opsagent import database
from otp import audit
from otp.channels import CHANNELS, TURNS, Clock, Outcome
from otp.counts import DELIVERIES, DELIVERY_SECONDS
from otp.models import ChannelName, Delivery, DeliveryStatus

log = structlog.get_logger(__name__)

LEASE: Final = dt.timedelta(seconds=30)
LONGEST_BACK_OFF: Final = 30.0
TURN_SECONDS: Final = 2.0
GIVE_UP_STEP: Final = 1000
SETTLING_SECONDS: Final = 0.25
"""So long a step may wait for its sibling's batch: a completion comes two seconds after the answer anyway."""


@dataclass
class Progress:
    """What a drain leaves behind: how much it worked on, whether more is due at once, what falls due later by channel.

    `settled`: codes of which a delivery has settled and nobody has looked yet whether their steps can go on.
    """

    worked_on: int = 0
    more_is_due: bool = False
    due_later: dict[str, dt.datetime] = field(default_factory=dict)
    settled: set[UUID] = field(default_factory=set)

    def expect(self, channel: str, at: dt.datetime) -> None:
        """Note that a channel has something due at `at`."""
        self.due_later[channel] = min(at, self.due_later.get(channel, at))


def drain(*, portal_id: int, channel: str, clock: Clock, stopping: Callable[[], bool] = lambda: False) -> Progress:
    """Make due deliveries of one portal and channel until none is left or the turn of two seconds is over.

    A channel that lingers stops after a batch that was not full, so that more can gather. Returns at once when another
    worker is at it; that one looks again before it ends. When `stopping` says so, what was claimed but not begun is
    given back.
    """
    progress = Progress()
    lingers = CHANNELS[ChannelName(channel)].linger_seconds > 0
    turn_ends = time.monotonic() + TURN_SECONDS
    with _only_one(portal_id, channel) as alone:
        if not alone:
            return progress
        portal = Portal.objects.get(id=portal_id)
        while time.monotonic() < turn_ends and not stopping():
            batch = _claim(portal_id, channel, clock())
            if not batch:
                break
            progress.worked_on += len(batch)
            try:
                _deliver(portal, channel, batch, clock, progress, stopping)
            finally:
                _make_completions_due(clock(), progress)
            if lingers and len(batch) < CHANNELS[ChannelName(channel)].batch_size:
                break
    # Asked after the lock is free: whoever came while it was held has been sent away and counts on this look.
    now = clock()
    progress.more_is_due = Delivery.objects.due(now).filter(portal_id=portal_id, channel=channel).exists()
    others = TURNS.get(ChannelName(channel))
    if others and Delivery.objects.due(now).filter(portal_id=portal_id, channel=others).exists():
        progress.expect(others, now)
    return progress


def full_batch_is_due(*, portal_id: int, channel: str, now: dt.datetime) -> bool:
    """Whether waiting could not make the next call any fuller."""
    size = CHANNELS[ChannelName(channel)].batch_size
    return Delivery.objects.due(now).filter(portal_id=portal_id, channel=channel)[:size].count() == size


def _deliver(
    portal: Portal,
    channel: str,
    batch: list[Delivery],
    clock: Clock,
    progress: Progress,
    stopping: Callable[[], bool],
) -> None:
    now = clock()
    worker = CHANNELS[ChannelName(channel)]
    if worker.needs_live_code:
        dead = [delivery for delivery in batch if not delivery.code.is_live(now)]
        if dead:
            ended = [Outcome.failed(delivery, delivery.code.end_reason or "expired") for delivery in dead]
            _record(ended, clock(), progress)
        batch = [delivery for delivery in batch if delivery.code.is_live(now)]
    if not portal.is_connected and worker.needs_hubspot:
        _record([Outcome.failed(delivery, "not_connected") for delivery in batch], clock(), progress)
        return
    if not batch:
        return
    look_at = time.monotonic() + SETTLING_SECONDS
    with contextlib.closing(worker.deliver(portal, batch, clock)) as results:
        for outcomes in results:
            _record(outcomes, clock(), progress)
            if time.monotonic() > look_at:
                _make_completions_due(clock(), progress)
                look_at = time.monotonic() + SETTLING_SECONDS
            if stopping():
                break
    if stopping():
        _give_back(batch, clock())


def _give_back(batch: list[Delivery], now: dt.datetime) -> None:
    """Make what was claimed and has no outcome due again at once, for another worker."""
    untouched = Delivery.objects.filter(
        id__in=[delivery.id for delivery in batch],
        status=DeliveryStatus.PENDING,
        next_attempt_at__in={delivery.next_attempt_at for delivery in batch},
    )
    untouched.update(next_attempt_at=now, attempts=F("attempts") - 1)


def _claim(portal_id: int, channel: str, now: dt.datetime) -> list[Delivery]:
    """Lease the oldest due deliveries, at most one batch, and return them with their codes."""
    worker = CHANNELS[ChannelName(channel)]
    with transaction.atomic():
        due = Delivery.objects.due(now).filter(portal_id=portal_id, channel=channel)
        chosen = list(
            due.order_by("next_attempt_at", "id")
            .select_for_update(skip_locked=True)
            .values_list("id", flat=True)[: worker.batch_size]
        )
        Delivery.objects.filter(id__in=chosen).update(next_attempt_at=now + LEASE, attempts=F("attempts") + 1)
    claimed = Delivery.objects.filter(id__in=chosen).select_related("code").order_by("id")
    return list(claimed if worker.needs_recipient else claimed.defer("code__address", "code__first_name"))


_RECORD: Final = f"""
    WITH settled AS (
        UPDATE otp_delivery SET status = %(status)s, error = %(error)s, next_attempt_at = %(retry_at)s,
            settled_at = %(settled_at)s, provider_message_id = %(provider_message_id)s
        WHERE id = ANY (%(ids)s) AND status = 'pending'
        RETURNING code_id, portal_id, channel, status, error, settled_at
    )
    {audit.INSERT_SETTLED}
"""  # noqa: S608 (another statement of ours)


def _record(outcomes: list[Outcome], now: dt.datetime, progress: Progress) -> None:
    """Write down what became of deliveries: one statement for all with the same outcome, committed when this returns."""
    groups: dict[tuple[DeliveryStatus, str, dt.datetime | None, str], list[int]] = defaultdict(list)
    for outcome in outcomes:
        retry_at = _retry_at(outcome, now)
        groups[outcome.status, outcome.error, retry_at, outcome.provider_message_id].append(outcome.delivery.id)
        if retry_at is not None:
            progress.expect(outcome.delivery.channel, retry_at)
        else:
            progress.settled.add(outcome.delivery.code_id)
    for (status, error, retry_at, provider_message_id), ids in groups.items():
        # Prepared: for mails it runs once a message, and its price is the worker's pace.
        database.execute(
            _RECORD,
            {
                "ids": ids,
                "status": status.value,
                "error": error,
                "retry_at": retry_at,
                "settled_at": None if status is DeliveryStatus.PENDING else now,
                "provider_message_id": provider_message_id[:255],
            },
        )
    if any(outcome.follow_up is not None for outcome in outcomes):
        _follow_up(outcomes, now)
    for outcome in outcomes:
        DELIVERIES.add(outcome.delivery.channel, outcome.status)
        if outcome.status is DeliveryStatus.SENT:
            DELIVERY_SECONDS.observe((now - outcome.delivery.code.created_at).total_seconds(), outcome.delivery.channel)
        if outcome.error:
            log.warning(
                "delivery_not_made",
                portal_id=outcome.delivery.portal_id,
                reference=str(outcome.delivery.code_id),
                channel=outcome.delivery.channel,
                status=outcome.status.value,
                reason=outcome.error,
                attempts=outcome.delivery.attempts,
            )


def _follow_up(outcomes: list[Outcome], now: dt.datetime) -> None:
    Delivery.objects.bulk_create(
        [
            Delivery(
                code_id=outcome.delivery.code_id,
                portal_id=outcome.delivery.portal_id,
                channel=outcome.follow_up.channel,
                target=outcome.delivery.target,
                next_attempt_at=now + outcome.follow_up.delay,
            )
            for outcome in outcomes
            if outcome.follow_up is not None
        ],
        ignore_conflicts=True,
    )


def give_up(*, portal_id: int, now: dt.datetime) -> int:
    """Fail whatever is pending of a portal that is not connected any more, in small steps; return how much that was."""
    given_up = 0
    while True:
        with transaction.atomic():
            pending = Delivery.objects.filter(portal_id=portal_id, status=DeliveryStatus.PENDING)
            # What a worker holds at this moment is skipped: it finds out by itself.
            step = list(pending.select_for_update(skip_locked=True).values_list("id", flat=True)[:GIVE_UP_STEP])
            Delivery.objects.filter(id__in=step).update(
                status=DeliveryStatus.FAILED, error="not_connected", next_attempt_at=None, settled_at=now
            )
        given_up += len(step)
        if not step:
            return given_up


def make_forgotten_completions_due(now: dt.datetime) -> int:
    """Make completions due whose codes have had nothing pending for longer than a lease; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE otp_delivery AS completion SET next_attempt_at = %(now)s
            WHERE completion.channel = %(channel)s AND completion.status = 'pending'
              AND completion.next_attempt_at > %(lease_end)s AND completion.not_before < %(long_ago)s
              AND NOT EXISTS (SELECT FROM otp_delivery AS sibling
                              WHERE sibling.code_id = completion.code_id AND sibling.id <> completion.id
                                AND sibling.settled_at IS NULL AND sibling.channel <> 'property_clearing')
            """,
            {
                "now": now,
                "lease_end": now + LEASE,
                "long_ago": now - LEASE,
                "channel": ChannelName.WORKFLOW_COMPLETION,
            },
        )
        return int(cursor.rowcount)


def make_clearings_due(now: dt.datetime) -> int:
    """Make the clearing of properties due whose codes ended before their time; return how many."""
    with connection.cursor() as cursor:
        # Those are few, and an index has them: the condition is that of `codes_to_forget`.
        cursor.execute(
            r"""
            UPDATE otp_delivery AS clearing SET next_attempt_at = %(now)s
            FROM otp_onetimecode AS code
            WHERE code.ended_at IS NOT NULL AND code.digest <> '\x' AND code.expires_at > %(now)s
              AND clearing.code_id = code.id AND clearing.channel = %(channel)s AND clearing.status = 'pending'
              AND clearing.attempts = 0 AND clearing.next_attempt_at > %(now)s
            """,
            {"now": now, "channel": ChannelName.PROPERTY_CLEARING},
        )
        return int(cursor.rowcount)


# "Settled" is asked by `settled_at`, although `status` says the same: for a pending row PostgreSQL would take the index of
# what is to be made, which holds everybody's, and compare all of it with every code.
_MAKE_DUE: Final = """
    UPDATE otp_delivery AS completion SET next_attempt_at = GREATEST(completion.not_before, %(now)s)
    WHERE completion.code_id = ANY (%(code_ids)s) AND completion.channel = %(channel)s
      AND completion.settled_at IS NULL
      AND NOT EXISTS (SELECT FROM otp_delivery AS sibling
                      WHERE sibling.code_id = completion.code_id AND sibling.id <> completion.id
                        AND sibling.settled_at IS NULL AND sibling.channel <> 'property_clearing')
    RETURNING completion.next_attempt_at
"""


def _make_completions_due(now: dt.datetime, progress: Progress) -> None:
    """Make completions due whose codes have nothing pending any more.

    In a statement after the one that wrote the outcomes, each committed on its own: of two siblings that settle at the
    same moment, the one that commits last sees the other here. Should a worker die between the two,
    `make_forgotten_completions_due` and at the latest the code's end see to the step.
    """
    if not progress.settled:
        return
    made_due = database.execute(
        _MAKE_DUE,
        {"now": now, "code_ids": list(progress.settled), "channel": ChannelName.WORKFLOW_COMPLETION.value},
    )
    for row in made_due.fetchall():
        progress.expect(ChannelName.WORKFLOW_COMPLETION, row.next_attempt_at)
    progress.settled.clear()


def _retry_at(outcome: Outcome, now: dt.datetime) -> dt.datetime | None:
    if outcome.status is not DeliveryStatus.PENDING:
        return None
    seconds = outcome.retry_after
    if seconds is None:
        # Exponential with jitter: a burst that failed together does not come back together.
        seconds = min(LONGEST_BACK_OFF, 2.0 ** min(outcome.delivery.attempts, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)
    retry_at = now + dt.timedelta(seconds=seconds)
    if CHANNELS[ChannelName(outcome.delivery.channel)].needs_live_code:
        # Looked at no later than the code's end, so that the step that waits for it is completed in time.
        retry_at = min(retry_at, max(now, outcome.delivery.code.expires_at))
    return retry_at


@contextlib.contextmanager
def _only_one(portal_id: int, channel: str) -> Iterator[bool]:
    """Try to be the only drain of a portal and channel; yield whether it worked."""
    name = ChannelName(channel)
    key = portal_id * len(ChannelName) + list(ChannelName).index(TURNS.get(name, name))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        (alone,) = cursor.fetchone()
    try:
        yield alone
    finally:
        if alone:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
