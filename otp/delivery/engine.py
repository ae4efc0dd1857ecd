"""The delivery engine: claim a batch of due rows, let the channel work step by step, write down what became of each.

One drain per portal and channel at a time, guarded by an advisory lock that PostgreSQL releases by itself when the
worker dies. The rows it works on are leased: they fall due again should it never come back. Should it lose its
connection, and the lock with it, it writes down what it has done and goes no further.
"""

import contextlib
import datetime as dt
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import DatabaseError, connection

from hubspot_integration.models import Portal
from otp.counters import DELIVERIES, DELIVERY_SECONDS
from otp.delivery import queue
from otp.delivery.channels import BOUNCED_LATELY, CHANNELS, TURNS, Channel, Clock, FollowUp, Outcome, Step
from otp.delivery.queue import NOT_OURS, Claim
from otp.models import ChannelName, Delivery, DeliveryStatus

log = structlog.get_logger(__name__)

LONGEST_BACK_OFF: Final = 30.0
TURN_SECONDS: Final = 2.0
SETTLING_SECONDS: Final = 0.25
"""So long a step may wait for its sibling's batch: a completion comes two seconds after the answer anyway."""
# Part of the lock's key: never to change, since workers of two versions work side by side during an upgrade.
_LOCKS_OF_A_PORTAL: Final = 5
_LOCKS: Final = {
    ChannelName.CONTACT_PROPERTY: 0,
    ChannelName.EMAIL: 1,
    ChannelName.WORKFLOW_COMPLETION: 2,
    ChannelName.WORKFLOW_CONFIRMATION: 3,
}


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

    The turn ends with the call or the message that exceeds it; what was claimed but not begun is given back, as it is when
    `stopping` says so. A channel that lingers stops after a batch that was not full, so that more can gather. Returns at
    once when another worker is at it; that one looks again before it ends.
    """
    name, progress = ChannelName(channel), Progress()
    with _only_one(portal_id, name) as session:
        if session is None:
            return progress
        turn = _Turn(Portal.objects.get(id=portal_id), name, clock, stopping, session, progress)
        lingers = turn.worker.linger_seconds > 0
        while not turn.is_over:
            claimed = turn.take_batch()
            if not claimed.deliveries or (lingers and len(claimed.deliveries) < turn.worker.batch_size):
                break
    # Asked after the lock is free: whoever came while it was held has been sent away and counts on this look.
    now = clock()
    progress.more_is_due = Delivery.objects.due(now).filter(portal_id=portal_id, channel=channel).exists()
    others = TURNS.get(name)
    if others and Delivery.objects.due(now).filter(portal_id=portal_id, channel=others).exists():
        progress.expect(others, now)
    return progress


class _Turn:
    """One drain at work."""

    def __init__(
        self,
        portal: Portal,
        channel: ChannelName,
        clock: Clock,
        stopping: Callable[[], bool],
        session: Any,
        progress: Progress,
    ) -> None:
        self.portal, self.channel, self.clock, self.stopping = portal, channel, clock, stopping
        self.worker: Channel = CHANNELS[channel]
        self.progress = progress
        self._session = session
        self._ends = time.monotonic() + TURN_SECONDS
        self._look_at = time.monotonic() + SETTLING_SECONDS

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends or self._must_stop

    @property
    def _is_lost(self) -> bool:
        """Whether the connection that holds the lock is gone: another worker may have it by now."""
        return connection.connection is not self._session

    @property
    def _must_stop(self) -> bool:
        return self.stopping() or self._is_lost

    def take_batch(self) -> Claim:
        """Claim what is due and let the channel work on it."""
        claimed = queue.claim(self.portal.id, self.channel, self.clock())
        self.progress.worked_on += len(claimed.deliveries)
        if self.worker.when_unheard is not None:
            queue.follow_up(claimed.unheard, self.worker.when_unheard, self.clock())
        try:
            if claimed.deliveries:
                self._deliver(claimed)
        finally:
            self._make_completions_due()
        return claimed

    def _deliver(self, claimed: Claim) -> None:
        with contextlib.closing(self.worker.deliver(self.portal, claimed.deliveries, self.clock)) as steps:
            step = next(steps, None)
            while step is not None:
                allowed = self._take(step, claimed)
                if time.monotonic() > self._look_at:
                    self._make_completions_due()
                # At least one outcome a turn, however slow: else the same deliveries would be claimed for ever.
                if self._must_stop or (step.outcomes and self.is_over):
                    break
                try:
                    step = steps.send(allowed)
                except StopIteration:
                    return
            else:
                return
        queue.give_back(claimed, self.clock())

    def _take(self, step: Step, claimed: Claim) -> list[Delivery]:
        """Write down what a step says; return what of `about_to` may be handed over."""
        now = self.clock()
        objections = self._record(list(step.outcomes), claimed, now, about_to=list(step.about_to))
        ended = [
            Outcome.bounced(delivery, objection) if objection == BOUNCED_LATELY else Outcome.failed(delivery, objection)
            for delivery in step.about_to
            if (objection := objections[delivery.id]) not in {None, NOT_OURS}
        ]
        if ended:
            self._record(ended, claimed, now)
        return [delivery for delivery in step.about_to if objections[delivery.id] is None]

    def _record(
        self, outcomes: list[Outcome], claimed: Claim, now: dt.datetime, *, about_to: list[Delivery] | None = None
    ) -> dict[int, str | None]:
        # Before the outcomes: should this worker die in between, they are unheard of, and both come once more.
        for wanted, deliveries in self._wanted(outcomes).items():
            queue.follow_up(deliveries, wanted, now)
        with_retries = [(outcome, _retry_at(outcome, self.worker, now)) for outcome in outcomes]
        objections = queue.record(self.channel, claimed.lease, with_retries, about_to or [], now)
        if self._is_lost and self.worker.when_unheard is not None:
            # Without the lock another worker may have been at the same contacts during the call.
            queue.follow_up([outcome.delivery for outcome in outcomes], self.worker.when_unheard, now)
        for outcome, retry_at in with_retries:
            if retry_at is not None:
                self.progress.expect(self.channel, retry_at)
            else:
                self.progress.settled.add(outcome.delivery.code_id)
            _tell(outcome, now)
        return objections

    def _wanted(self, outcomes: list[Outcome]) -> dict[FollowUp, list[Delivery]]:
        found: dict[FollowUp, list[Delivery]] = defaultdict(list)
        for outcome in outcomes:
            if outcome.follow_up is not None:
                found[outcome.follow_up].append(outcome.delivery)
            if outcome.unheard and self.worker.when_unheard is not None:
                found[self.worker.when_unheard].append(outcome.delivery)
        return found

    def _make_completions_due(self) -> None:
        self._look_at = time.monotonic() + SETTLING_SECONDS
        if self.progress.settled:
            for at in queue.make_completions_due(self.progress.settled, self.clock()):
                self.progress.expect(ChannelName.WORKFLOW_COMPLETION, at)
            self.progress.settled.clear()


def _tell(outcome: Outcome, now: dt.datetime) -> None:
    delivery = outcome.delivery
    DELIVERIES.add(delivery.channel, outcome.status)
    if outcome.status is DeliveryStatus.SENT:
        DELIVERY_SECONDS.observe((now - delivery.code.created_at).total_seconds(), delivery.channel)
    if outcome.error:
        log.warning(
            "delivery_not_made",
            portal_id=delivery.portal_id,
            reference=str(delivery.code_id),
            channel=delivery.channel,
            status=outcome.status.value,
            reason=outcome.error,
            attempts=delivery.attempts,
        )


def _retry_at(outcome: Outcome, worker: Channel, now: dt.datetime) -> dt.datetime | None:
    if outcome.status is not DeliveryStatus.PENDING:
        return None
    seconds = outcome.retry_after
    if seconds is None:
        # Exponential with jitter: a burst that failed together does not come back together.
        seconds = min(LONGEST_BACK_OFF, 2.0 ** min(outcome.delivery.attempts, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, hides nothing)
    retry_at = now + dt.timedelta(seconds=seconds)
    if worker.needs_live_code:
        # Looked at no later than the code's end, so that the step that waits for it is completed in time.
        retry_at = min(retry_at, max(now, outcome.delivery.code.expires_at))
    return retry_at


@contextlib.contextmanager
def _only_one(portal_id: int, channel: ChannelName) -> Iterator[Any]:
    """Try to be the only drain of a portal and channel; yield the session that holds the lock, or None."""
    key = portal_id * _LOCKS_OF_A_PORTAL + _LOCKS[TURNS.get(channel, channel)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        (alone,) = cursor.fetchone()
    session = connection.connection
    try:
        yield session if alone else None
    finally:
        if alone and connection.connection is session:
            # A session that is gone has let go by itself.
            with contextlib.suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
