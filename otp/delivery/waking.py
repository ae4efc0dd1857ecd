"""Seeing to it that somebody makes the due deliveries: wakes that coalesce in Redis, and turns that wait for a fuller batch.

Redis may forget all of it. The rows themselves are the reminder, and the sweep finds what nobody was woken for.
"""

import datetime as dt
import itertools
import math
import operator
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from celery import current_app
from django.utils import timezone
from redis import RedisError

from hubspot_integration import budget
from opsagent import broker
from opsagent.background import Background
from otp.delivery import engine, queue
from otp.delivery.channels import CHANNELS
from otp.models import ChannelName, Delivery

log = structlog.get_logger(__name__)

DRAIN: Final = "otp.tasks.drain"
WAKE_KEY_SECONDS: Final = 5
WAKE_STEP: Final = 0.25
LONGEST_STRETCH: Final = 2.0
QUIET_SECONDS: Final = 1.0
GATHER_SECONDS: Final = 0.05
SWEEP_KEY: Final = "swept-at"
"""Where the broker keeps when a worker last swept, in seconds: what operators go by to see worker and beat alive."""

_quiet_until = 0.0
_lock = threading.Lock()
_to_wake: Final[set[tuple[int, str]]] = set()
_woken: Final[dict[tuple[int, str], float]] = {}


# ------------------------------------------------------------------ waking
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
                pipeline.set(_wake_key(portal_id, channel, step), b"", nx=True, ex=WAKE_KEY_SECONDS)
            is_first = pipeline.execute()
        for channel in itertools.compress(channels, is_first):
            current_app.send_task(DRAIN, (portal_id, channel), eta=eta)  # by its name: the task imports this module
    except Exception as error:  # noqa: BLE001 (kombu's and redis' failures share no base; the sweep covers them all)
        _quiet_until = time.monotonic() + QUIET_SECONDS
        log.warning("wake_failed", portal_id=portal_id, channels=",".join(channels), reason=type(error).__name__)


def wake_in_background(portal_id: int, *channels: str) -> None:
    """Do the same from a thread of this process, so that a request neither waits for the broker nor pays for it.

    The first wake leaves at once; what is asked for again within `GATHER_SECONDS` leaves together. A process that ends
    loses at most that much, and the sweep finds it.
    """
    wanted = {(portal_id, channel) for channel in channels}
    if wanted <= _to_wake:
        return
    with _lock:
        _to_wake.update(wanted)
    _waker.start()
    _waker.nudge()


def wake_for_due(now: dt.datetime) -> None:
    """Wake whoever has due deliveries: what Redis forgot, what a dead worker left, what has waited its back-off."""
    queue.make_forgotten_completions_due(now)
    _remember_sweep(now)
    for portal_id, channel in Delivery.objects.due(now).values_list("portal_id", "channel").distinct():
        wake(portal_id, channel)


def _wake_the_gathered() -> float | None:
    with _lock:
        now = time.monotonic()
        for pair in [pair for pair, at in _woken.items() if at <= now - GATHER_SECONDS]:
            del _woken[pair]
        ready = sorted(_to_wake - _woken.keys())
        _to_wake.difference_update(ready)
        _woken.update(dict.fromkeys(ready, now))
        pause = GATHER_SECONDS if _to_wake else None
    for portal_id, pairs in itertools.groupby(ready, key=operator.itemgetter(0)):
        wake(portal_id, *(channel for _, channel in pairs))
    return pause


def _begin_anew() -> None:
    """Leave to the parent what it was asked for."""
    global _lock  # noqa: PLW0603 (the parent may have held it)
    _lock = threading.Lock()
    _to_wake.clear()
    _woken.clear()


_waker: Final = Background("waker", _wake_the_gathered, begin_anew=_begin_anew)


# ------------------------------------------------------------------ woken
def forget_wake(portal_id: int, channel: str) -> None:
    """Let the next wake make a task again: this one has begun."""
    try:
        broker.redis().delete(_wake_key(portal_id, channel, 0))
    except RedisError as error:
        log.warning("wake_key_kept", portal_id=portal_id, channel=channel, reason=type(error).__name__)


def take_turn(portal_id: int, channel: str, *, stopping: Callable[[], bool]) -> None:
    """Make the due deliveries of one portal and channel, for a while, and wake whoever is to go on.

    Instead it puts the turn off while a fuller batch can be had.
    """
    wait = _linger(portal_id, channel)
    if wait > 0:
        wake(portal_id, channel, at=timezone.now() + dt.timedelta(seconds=wait))
        return
    progress = engine.drain(portal_id=portal_id, channel=channel, clock=timezone.now, stopping=stopping)
    if progress.worked_on:
        _remember_call(portal_id, channel)
    if progress.more_is_due:
        wake(portal_id, channel)
    for due_channel, due_at in progress.due_later.items():
        wake(portal_id, due_channel, at=due_at)


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


def _wake_key(portal_id: int, channel: str, step: int) -> str:
    return f"wake:{portal_id}:{channel}:{step}"


def _linger_key(portal_id: int, channel: str) -> str:
    return f"linger:{portal_id}:{channel}"
