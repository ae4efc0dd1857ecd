"""The only Celery module: who works when. Arguments are ids; what there is to do stands in the database."""

import datetime as dt
import functools
from typing import Final

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone
from redis import Redis, RedisError

from otp import delivery
from otp.models import Delivery, EndReason, OneTimeCode

log = structlog.get_logger(__name__)

WAKE_KEY_SECONDS: Final = 5
END_STEP: Final = 1000


@functools.cache
def _redis() -> Redis:
    return Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1)


def wake(portal_id: int, channel: str, *, at: dt.datetime | None = None) -> None:
    """See to it that somebody drains a channel of a portal, soon or at `at`.

    Many calls make one task: while one is on its way, further ones are a single SET NX. Never raises and never waits
    long: without Redis the row itself is the reminder, and the sweep finds it within seconds of Redis' return.
    """
    second = 0 if at is None else int(at.timestamp()) + 1
    key = f"wake:{portal_id}:{channel}:{second}"
    try:
        if _redis().set(key, b"", nx=True, ex=WAKE_KEY_SECONDS):
            if at is None:
                drain.delay(portal_id, channel)
            else:
                drain.apply_async((portal_id, channel), eta=dt.datetime.fromtimestamp(second, tz=dt.UTC))
    except Exception as error:  # noqa: BLE001 (kombu's and redis' failures share no base; the sweep covers them all)
        log.warning("wake_failed", portal_id=portal_id, channel=channel, reason=type(error).__name__)


@shared_task
def drain(portal_id: int, channel: str) -> None:
    """Make the due deliveries of one portal and channel, for a while; then let others have their turn."""
    try:
        _redis().delete(f"wake:{portal_id}:{channel}:0")
    except RedisError as error:
        log.warning("wake_key_kept", portal_id=portal_id, channel=channel, reason=type(error).__name__)
    progress = delivery.drain(portal_id=portal_id, channel=channel, clock=timezone.now)
    if progress.more_is_due:
        wake(portal_id, channel)
    for due_channel, due_at in progress.due_later.items():
        wake(portal_id, due_channel, at=due_at)


@shared_task
def requeue_due() -> None:
    """Wake whoever has due deliveries: what Redis forgot, what a dead worker left, what has waited its back-off."""
    for portal_id, channel in Delivery.objects.due(timezone.now()).values_list("portal_id", "channel").distinct():
        wake(portal_id, channel)


@shared_task
def end_expired() -> None:
    """End codes whose time is over and wipe their encrypted values, in steps that block nobody."""
    now = timezone.now()
    while True:
        step = OneTimeCode.objects.filter(ended_at__isnull=True, expires_at__lte=now).order_by("expires_at")
        ended = OneTimeCode.objects.filter(pk__in=list(step.values_list("pk", flat=True)[:END_STEP])).end(
            EndReason.EXPIRED, now
        )
        if ended == 0:
            return
        log.info("codes_expired", count=ended)
