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
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Greatest

from hubspot_integration.models import Portal
from otp.channels import CHANNELS, Outcome
from otp.models import ChannelName, Delivery, DeliveryStatus

log = structlog.get_logger(__name__)

LEASE: Final = dt.timedelta(seconds=30)
LONGEST_BACK_OFF: Final = 30.0
TURN_SECONDS: Final = 2.0


@dataclass
class Progress:
    """What a drain leaves behind: whether more is due at once, and what it has made due later, by channel."""

    more_is_due: bool = False
    due_later: dict[str, dt.datetime] = field(default_factory=dict)

    def expect(self, channel: str, at: dt.datetime) -> None:
        """Note that a channel has something due at `at`."""
        self.due_later[channel] = min(at, self.due_later.get(channel, at))


def drain(*, portal_id: int, channel: str, clock: Callable[[], dt.datetime]) -> Progress:
    """Make due deliveries of one portal and channel until none is left or the turn of two seconds is over.

    Returns at once when another worker is at it; that one looks again before it ends.
    """
    progress = Progress()
    turn_ends = time.monotonic() + TURN_SECONDS
    with _only_one(portal_id, channel) as alone:
        if not alone:
            return progress
        portal = Portal.objects.get(id=portal_id)
        while time.monotonic() < turn_ends:
            batch = _claim(portal_id, channel, clock())
            if not batch:
                break
            _deliver(portal, channel, batch, clock, progress)
    # Asked after the lock is free: whoever came while it was held has been sent away and counts on this look.
    progress.more_is_due = Delivery.objects.due(clock()).filter(portal_id=portal_id, channel=channel).exists()
    return progress


def _deliver(
    portal: Portal, channel: str, batch: list[Delivery], clock: Callable[[], dt.datetime], progress: Progress
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
    if batch:
        for outcomes in worker.deliver(portal, batch, now):
            _record(outcomes, clock(), progress)


def _claim(portal_id: int, channel: str, now: dt.datetime) -> list[Delivery]:
    """Lease the oldest due deliveries, at most one batch, and return them with their codes."""
    with transaction.atomic():
        due = Delivery.objects.due(now).filter(portal_id=portal_id, channel=channel)
        chosen = list(
            due.order_by("next_attempt_at", "id")
            .select_for_update(skip_locked=True)
            .values_list("id", flat=True)[: CHANNELS[ChannelName(channel)].batch_size]
        )
        Delivery.objects.filter(id__in=chosen).update(next_attempt_at=now + LEASE, attempts=F("attempts") + 1)
    return list(Delivery.objects.filter(id__in=chosen).select_related("code").order_by("id"))


def _record(outcomes: list[Outcome], now: dt.datetime, progress: Progress) -> None:
    """Write down what became of deliveries, and make completions due whose codes have nothing pending any more."""
    groups: dict[tuple[DeliveryStatus, str, dt.datetime | None], list[int]] = defaultdict(list)
    for outcome in outcomes:
        retry_at = _retry_at(outcome, now)
        groups[outcome.status, outcome.error, retry_at].append(outcome.delivery.id)
        if retry_at is not None:
            progress.expect(outcome.delivery.channel, retry_at)
    settled = {outcome.delivery.code_id for outcome in outcomes if outcome.status is not DeliveryStatus.PENDING}
    with transaction.atomic():
        # Locked first, so that of two siblings that settle at the same moment the second one sees the first.
        completions = list(
            Delivery.objects.select_for_update()
            .filter(code_id__in=settled, channel=ChannelName.WORKFLOW_COMPLETION, status=DeliveryStatus.PENDING)
            .order_by("id")
            .values_list("code_id", flat=True)
        )
        for (status, error, retry_at), ids in groups.items():
            pending = status is DeliveryStatus.PENDING
            Delivery.objects.filter(id__in=ids, status=DeliveryStatus.PENDING).update(
                status=status, error=error, next_attempt_at=retry_at, settled_at=None if pending else now
            )
        if completions:
            _make_completions_due(completions, now, progress)
    for outcome in outcomes:
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


def _make_completions_due(code_ids: list[UUID], now: dt.datetime, progress: Progress) -> None:
    waiting = set(
        Delivery.objects.filter(code_id__in=code_ids, status=DeliveryStatus.PENDING)
        .exclude(channel=ChannelName.WORKFLOW_COMPLETION)
        .values_list("code_id", flat=True)
    )
    ready = Delivery.objects.filter(
        code_id__in=[code_id for code_id in code_ids if code_id not in waiting],
        channel=ChannelName.WORKFLOW_COMPLETION,
        status=DeliveryStatus.PENDING,
    )
    ready.update(next_attempt_at=Greatest(Coalesce("not_before", Value(now)), Value(now)))
    for due_at in ready.values_list("next_attempt_at", flat=True):
        if due_at is not None:
            progress.expect(ChannelName.WORKFLOW_COMPLETION, due_at)


def _retry_at(outcome: Outcome, now: dt.datetime) -> dt.datetime | None:
    if outcome.status is not DeliveryStatus.PENDING:
        return None
    if outcome.retry_after is not None:
        return now + dt.timedelta(seconds=outcome.retry_after)
    # Exponential with jitter: a burst that failed together does not come back together.
    seconds = min(LONGEST_BACK_OFF, 2.0 ** min(outcome.delivery.attempts, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)
    return now + dt.timedelta(seconds=seconds)


@contextlib.contextmanager
def _only_one(portal_id: int, channel: str) -> Iterator[bool]:
    """Try to be the only drain of a portal and channel; yield whether it worked."""
    key = portal_id * len(ChannelName) + list(ChannelName).index(ChannelName(channel))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        (alone,) = cursor.fetchone()
    try:
        yield alone
    finally:
        if alone:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
