"""The only Celery module: who works when. Arguments are ids; what there is to do stands in the database."""

import datetime as dt
import itertools
import math
import operator
import os
import threading
import time
from typing import Any, Final

import structlog
from celery import shared_task
from celery.signals import celeryd_after_setup, worker_shutting_down
from django.utils import timezone
from redis import RedisError

from hubspot_integration import attempts, budget, disconnecting
from opsagent import broker, sessions
from otp.delivery import engine, queue
from otp.delivery.channels import CHANNELS
from otp.delivery.lanes import Lanes
from otp.mails import to_admins
from otp.models import ChannelName, Delivery, EndReason, OneTimeCode
from otp.upkeep import audit_chain, erasure, retention

log = structlog.get_logger(__name__)

WAKE_KEY_SECONDS: Final = 5
WAKE_STEP: Final = 0.25
END_STEP: Final = 1000
LONGEST_STRETCH: Final = 2.0
QUIET_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.05
SWEEP_KEY: Final = "swept-at"
"""Where the broker keeps when a worker last swept, in seconds: what operators go by to see worker and beat alive."""

_stopping = threading.Event()
_mail_lanes = Lanes(_stopping)
_quiet_until = 0.0
_asked = threading.Condition()
_to_wake: Final[set[tuple[int, str]]] = set()
_waker: threading.Thread | None = None


def wake(portal_id: int, *channels: str, at: dt.datetime | None = None) -> None:
    """See to it that somebody drains some channels of a portal, soon or at `at`.

    Many calls make one task: while one is on its way, further ones are a single SET NX. Never raises and never waits
    long: without Redis the row itself is the reminder, and the sweep finds it within seconds of Redis' return. After a
    failure Redis is left alone for a second, so that a broker that hangs does not slow down every request.
    """
    global _quiet_until  # noqa: PLW0603 (one flag per process; a lost update costs one more attempt)
    if time.monotonic() < _quiet_until:
        return
    step = 0 if at is None else math.ceil(at.timestamp() / WAKE_STEP)
    eta = None if at is None else dt.datetime.fromtimestamp(step * WAKE_STEP, tz=dt.UTC)
    try:
        with broker.redis().pipeline(transaction=False) as pipeline:
            for channel in channels:
                pipeline.set(f"wake:{portal_id}:{channel}:{step}", b"", nx=True, ex=WAKE_KEY_SECONDS)
            is_first = pipeline.execute()
        for channel in itertools.compress(channels, is_first):
            drain.apply_async((portal_id, channel), eta=eta)  # type: ignore[arg-type]  # the stubs do not know None
    except Exception as error:  # noqa: BLE001 (kombu's and redis' failures share no base; the sweep covers them all)
        _quiet_until = time.monotonic() + QUIET_SECONDS
        log.warning("wake_failed", portal_id=portal_id, channels=",".join(channels), reason=type(error).__name__)


def wake_in_background(portal_id: int, *channels: str) -> None:
    """Do the same from a thread of this process, so that a request neither waits for the broker nor pays for it.

    The first wake leaves at once; what is asked for again within `GATHER_SECONDS` leaves together. A process that ends
    loses at most that much, and the sweep finds it.
    """
    global _waker  # noqa: PLW0603 (one thread per process)
    wanted = {(portal_id, channel) for channel in channels}
    if wanted <= _to_wake:
        return
    with _asked:
        _to_wake.update(wanted)
        if _waker is None:
            _waker = threading.Thread(target=_wake_for_ever, name="waker", daemon=True)
            _waker.start()
        _asked.notify()


def _wake_for_ever() -> None:
    woken: dict[tuple[int, str], float] = {}
    while True:
        with _asked:
            now = time.monotonic()
            woken = {pair: at for pair, at in woken.items() if at > now - GATHER_SECONDS}
            ready = sorted(_to_wake - woken.keys())
            if not ready:
                _asked.wait(GATHER_SECONDS if _to_wake else None)
                continue
            _to_wake.difference_update(ready)
            woken |= dict.fromkeys(ready, now)
        for portal_id, pairs in itertools.groupby(ready, key=operator.itemgetter(0)):
            wake(portal_id, *(channel for _, channel in pairs))


def _begin_anew() -> None:
    """Give a forked child a thread of its own."""
    global _waker, _asked
    _waker, _asked = None, threading.Condition()
    _to_wake.clear()


os.register_at_fork(after_in_child=_begin_anew)


@shared_task
def drain(portal_id: int, channel: str) -> None:
    """Make the due deliveries of one portal and channel, for a while; then let others have their turn."""
    _forget_wake(portal_id, channel)
    if CHANNELS[ChannelName(channel)].takes_a_lane:
        _mail_lanes.enter((portal_id, channel), lambda: _drain(portal_id, channel))
    else:
        _drain(portal_id, channel)


def _drain(portal_id: int, channel: str) -> None:
    wait = _linger(portal_id, channel)
    if wait > 0:
        wake(portal_id, channel, at=timezone.now() + dt.timedelta(seconds=wait))
        return
    progress = engine.drain(portal_id=portal_id, channel=channel, clock=timezone.now, stopping=_stopping.is_set)
    if progress.worked_on:
        _remember_call(portal_id, channel)
    if progress.more_is_due:
        wake(portal_id, channel)
    for due_channel, due_at in progress.due_later.items():
        wake(portal_id, due_channel, at=due_at)


@shared_task
def requeue_due() -> None:
    """Wake whoever has due deliveries: what Redis forgot, what a dead worker left, what has waited its back-off."""
    now = timezone.now()
    queue.make_forgotten_completions_due(now)
    _remember_sweep(now)
    for portal_id, channel in Delivery.objects.due(now).values_list("portal_id", "channel").distinct():
        wake(portal_id, channel)


@shared_task
def end_expired() -> None:
    """End codes whose time is over and wipe their encrypted values, in steps that block nobody."""
    now = timezone.now()
    queue.make_clearings_due(now)
    while True:
        step = OneTimeCode.objects.filter(ended_at__isnull=True, expires_at__lte=now).order_by("expires_at")
        ended = OneTimeCode.objects.filter(pk__in=list(step.values_list("pk", flat=True)[:END_STEP])).end(
            EndReason.EXPIRED, now
        )
        if ended == 0:
            return
        log.info("codes_expired", count=ended)


@shared_task
def erase_contacts() -> None:
    """Erase contacts that HubSpot deleted, in steps that block nobody."""
    while erased := erasure.erase_due(now=timezone.now()):
        log.info("contacts_erased", count=erased)


@shared_task
def notice_uninstalls() -> None:
    """Find out in which portals the app was uninstalled."""
    disconnecting.notice_uninstalls(now=timezone.now())


@shared_task
def forget_codes() -> None:
    """Wipe what recognises codes that expired a day ago, in steps that block nobody."""
    while forgotten := retention.forget_codes(now=timezone.now()):
        log.info("codes_forgotten", count=forgotten)


@shared_task
def delete_ended_sessions() -> None:
    """Delete browser sessions that have ended, and attempts to sign in that nobody can finish, in steps that block nobody."""
    now = timezone.now()
    for delete, what in ((sessions.delete_ended, "sessions"), (attempts.delete_expired, "attempts")):
        while not _stopping.is_set() and (deleted := delete(now=now, limit=END_STEP)):
            log.info("ended_deleted", what=what, count=deleted)


@shared_task
def delete_old_records() -> None:
    """Delete what is older than its portal's retention period, in steps that block nobody."""
    for term in retention.terms(now=timezone.now()):
        deleted = 0
        while not _stopping.is_set() and (step := retention.delete_records(term=term)):
            deleted += step
        if _stopping.is_set():
            return
        _shorten_chain(term.portal.id)
        retention.finish(term=term, deleted=deleted, now=timezone.now())
        if deleted or term.ends:
            log.info("records_deleted", portal_id=term.portal.id, count=deleted, ends=term.ends)
    for portal_id in retention.portals_that_are_gone():
        while not _stopping.is_set() and retention.delete_lines_of_a_portal_that_is_gone(portal_id=portal_id):
            pass
        _shorten_chain(portal_id)


@shared_task
def chain_audit_lines() -> None:
    """Chain the audit lines whose turn has come, in steps that block nobody."""
    while not _stopping.is_set() and audit_chain.chain():
        pass


@shared_task
def tell_admins(portal_id: int, subject: str) -> None:
    """Mail a portal's admins about something that only they can mend."""
    _mail_lanes.enter((portal_id, subject), lambda: _tell_admins(portal_id, subject))


def _tell_admins(portal_id: int, subject: str) -> None:
    to_admins.tell_admins(portal_id, subject)


@celeryd_after_setup.connect
def share_threads(*, instance: Any, **_: Any) -> None:
    """Keep half of this worker's threads free of mail: servers of mail are slow at times, and everything else is not."""
    _mail_lanes.widen(max(1, instance.concurrency // 2))


@worker_shutting_down.connect
def stop(**_: Any) -> None:
    """Let drains end after the delivery they are at, and give the rest of their claim back."""
    _stopping.set()


def _shorten_chain(portal_id: int) -> None:
    while not _stopping.is_set() and audit_chain.shorten(portal_id=portal_id):
        pass


def _linger(portal_id: int, channel: str) -> float:
    """Return how many seconds to wait for a fuller batch: none for a single code, about one under load.

    Under load means: the channel's last call was less than that ago and no full batch has gathered. The smaller the
    portal's remaining budget of calls, the longer it pays to wait.
    """
    if not CHANNELS[ChannelName(channel)].linger_seconds:
        return 0.0
    try:
        remaining = broker.redis().pttl(_linger_key(portal_id, channel))
    except RedisError:
        return 0.0
    if remaining <= 0 or queue.full_batch_is_due(portal_id=portal_id, channel=channel, now=timezone.now()):
        return 0.0
    return remaining / 1000


def _remember_call(portal_id: int, channel: str) -> None:
    linger = CHANNELS[ChannelName(channel)].linger_seconds
    if not linger:
        return
    linger *= min(LONGEST_STRETCH, 1 / max(0.01, budget.share_left(portal_id)))
    try:
        broker.redis().set(_linger_key(portal_id, channel), b"", px=int(linger * 1000))
    except RedisError as error:
        log.warning("linger_not_kept", reason=type(error).__name__)


def _remember_sweep(now: dt.datetime) -> None:
    try:
        broker.redis().set(SWEEP_KEY, str(now.timestamp()))
    except RedisError as error:
        log.warning("sweep_not_noted", reason=type(error).__name__)


def _linger_key(portal_id: int, channel: str) -> str:
    return f"linger:{portal_id}:{channel}"


def _forget_wake(portal_id: int, channel: str) -> None:
    try:
        broker.redis().delete(f"wake:{portal_id}:{channel}:0")
    except RedisError as error:
        log.warning("wake_key_kept", portal_id=portal_id, channel=channel, reason=type(error).__name__)
