"""What operators see of the product's work, at the moment they ask."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from django.db import connection
from django.db.models import Min
from django.utils import timezone
from redis import RedisError

from opsagent import broker
from opsagent.metrics import Gauge, gauges
from otp.delivery.waking import SWEEP_KEY
from otp.models import ChannelName, Delivery, OneTimeCode
from otp.upkeep.audit_chain import oldest_unchained

OVERDUE: Final = dt.timedelta(seconds=30)
"""Twice what a healthy system needs at worst: a lease that ends, then a sweep."""
MANY_ATTEMPTS: Final = 3


def overdue_seconds() -> float:
    """Return for how long the oldest due delivery has been due; 0 when none is."""
    now = timezone.now()
    oldest = Delivery.objects.due(now).aggregate(oldest=Min("next_attempt_at"))["oldest"]
    return 0.0 if oldest is None else float((now - oldest).total_seconds())


@gauges
def deliveries() -> Iterator[Gauge]:
    """Tell what is pending, per channel: one pass over the index of pending rows."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT channel, count(*), count(*) FILTER (WHERE next_attempt_at <= %(now)s),
                   COALESCE(EXTRACT(epoch FROM %(now)s - min(next_attempt_at) FILTER (WHERE next_attempt_at <= %(now)s)), 0),
                   count(DISTINCT portal_id) FILTER (WHERE next_attempt_at <= %(overdue)s),
                   count(*) FILTER (WHERE attempts >= %(many)s)
            FROM otp_delivery WHERE status = 'pending' GROUP BY channel
            """,
            {"now": now, "overdue": now - OVERDUE, "many": MANY_ATTEMPTS},
        )
        found = {channel: numbers for channel, *numbers in cursor.fetchall()}
    told = (
        ("opsagent_deliveries_pending", "Deliveries that have not settled."),
        ("opsagent_deliveries_due", "Deliveries that somebody should work on now."),
        ("opsagent_oldest_due_delivery_seconds", "For how long the oldest due delivery has been due."),
        ("opsagent_portals_overdue", "Portals with a delivery that has been due for more than 30 seconds."),
        ("opsagent_deliveries_retrying", "Pending deliveries that have been tried three times or more."),
    )
    for place, (name, description) in enumerate(told):
        values: dict[tuple[str, ...], float] = {
            (channel.value,): float(found.get(channel, [0] * len(told))[place]) for channel in ChannelName
        }
        yield Gauge(name, description, values, ("channel",))


@gauges
def codes() -> Iterator[Gauge]:
    """Tell whether expired codes are wiped in time; the promise is a minute."""
    now = timezone.now()
    unended = OneTimeCode.objects.filter(ended_at__isnull=True, expires_at__lte=now)
    oldest = unended.order_by("expires_at").values_list("expires_at", flat=True).first()
    seconds = 0.0 if oldest is None else (now - oldest).total_seconds()
    yield Gauge("opsagent_oldest_unwiped_code_seconds", "For how long a code has been expired but kept.", {(): seconds})


def unchained_seconds() -> float:
    """Return for how long the first audit line that has no place in the chain yet has been there; 0 when there is none."""
    line = oldest_unchained()
    return 0.0 if line is None else max(0.0, (timezone.now() - line.recorded_at).total_seconds())


@gauges
def audit_lines() -> Iterator[Gauge]:
    """Tell whether audit lines get their place in the chain; a healthy system needs some ten seconds."""
    yield Gauge(
        "opsagent_oldest_unchained_audit_line_seconds",
        "For how long the first audit line that is not part of its portal's chain yet has been there.",
        {(): unchained_seconds()},
    )


@gauges
def workers() -> Iterator[Gauge]:
    """Tell what waits for workers, and when one last swept up what was forgotten."""
    try:
        waiting, swept_at = broker.redis().llen("celery"), broker.redis().get(SWEEP_KEY)
    except RedisError:
        return
    yield Gauge("opsagent_tasks_waiting", "Tasks that no worker has taken yet.", {(): float(str(waiting))})
    yield Gauge(
        "opsagent_last_sweep_timestamp_seconds",
        "When a worker last did what beat reminds it of every three seconds; 0: never, as far as the broker knows.",
        {(): float(swept_at or 0)},
    )
