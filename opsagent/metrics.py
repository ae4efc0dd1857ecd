"""What operators count: one answer at /metrics for all processes on all machines, in Prometheus' text format.

Counters are added up in each process and brought to one Redis hash every few seconds, so counting costs a request a
microsecond and any process can answer for all. Redis may forget them: Prometheus takes that for a restart.
Gauges are asked of the database and the broker while Prometheus waits: modules named `gauges` say how.
Labels are closed lists of ours. A portal, a contact or an address is never one.
"""

import bisect
import contextlib
import hmac
import ipaddress
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import autodiscover_modules
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from redis import RedisError

from opsagent import broker
from opsagent.background import Background

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 5.0
STATEMENT_TIMEOUT: Final = "2s"
_HASH: Final = "metrics"
_BETWEEN: Final = "|"
_FORWARDED: Final = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_X_FORWARDED_PROTO", "HTTP_VIA")


# ------------------------------------------------------------------ counting
class Counter:
    """A number that only grows, per combination of labels. Declared once, in the module that counts."""

    def __init__(self, name: str, description: str, labels: Sequence[str] = ()) -> None:
        self.name, self.description, self.labels = name, description, tuple(labels)
        _declared[name] = self

    def add(self, *values: str, amount: int = 1) -> None:
        """Count `amount` more under the labels' `values`. Touches no network."""
        _add(_BETWEEN.join((self.name, *values)), amount)


class Histogram:
    """How long something took, per combination of labels: how often no longer than each of `bounds` (seconds)."""

    def __init__(self, name: str, description: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        self.name, self.description, self.labels = name, description, tuple(labels)
        self.bounds = tuple(bounds)
        _declared[name] = self

    def observe(self, seconds: float, *values: str) -> None:
        """Count one that took `seconds`. Touches no network."""
        place = bisect.bisect_left(self.bounds, seconds)
        bound = str(self.bounds[place]) if place < len(self.bounds) else "+Inf"
        _add(_BETWEEN.join((self.name, *values, bound)), 1)
        _add(_BETWEEN.join((self.name, *values, "ms")), round(seconds * 1000))


_declared: Final[dict[str, Counter | Histogram]] = {}
_lock = threading.Lock()
_counted: dict[str, int] = {}


def _add(key: str, amount: int) -> None:
    with _lock:
        _counted[key] = _counted.get(key, 0) + amount
    _flusher.start(after=FLUSH_SECONDS)


def flush() -> None:
    """Bring what this process has counted to Redis; keep it for the next time when Redis is away."""
    try:
        _bring()
    except RedisError as error:
        log.warning("metrics_kept_back", reason=type(error).__name__)


def _bring() -> None:
    global _counted  # swapped under the lock
    with _lock:
        taken, _counted = _counted, {}
    if not taken:
        return
    try:
        with broker.redis().pipeline(transaction=True) as pipeline:
            for key, amount in taken.items():
                pipeline.hincrby(_HASH, key, amount)
            pipeline.execute()
    except RedisError:
        with _lock:
            for key, amount in taken.items():
                _counted[key] = _counted.get(key, 0) + amount
        raise


def _bring_the_last() -> None:
    # There is no next time, and the log may be closed by now.
    with contextlib.suppress(RedisError):
        _bring()


def _flush_again() -> float:
    flush()
    return FLUSH_SECONDS


def _begin_anew() -> None:
    """Let a forked child count for itself: the parent reports its own."""
    global _counted, _lock
    _counted, _lock = {}, threading.Lock()


_flusher: Final = Background("metrics", _flush_again, begin_anew=_begin_anew, at_exit=_bring_the_last)


# ------------------------------------------------------------------ asking
@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that goes up and down; `values` holds it per combination of labels."""

    name: str
    description: str
    values: Mapping[tuple[str, ...], float]
    labels: Sequence[str] = field(default=())


_sources: Final[list[Callable[[], Iterable[Gauge]]]] = []


def gauges(source: Callable[[], Iterable[Gauge]]) -> Callable[[], Iterable[Gauge]]:
    """Register a function of a module named `gauges`; it may ask the database for up to two seconds."""
    _sources.append(source)
    return source


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus: with METRICS_TOKEN as its bearer token; where none is set, at a private address, no proxy between."""
    if not _may_read(request):
        return HttpResponse(
            "Send METRICS_TOKEN as a bearer token. Where none is set, ask from a private address and not through a proxy.\n",
            status=403,
            content_type="text/plain; charset=utf-8",
        )
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415 (3 MB that only whoever is scraped needs)

    autodiscover_modules("gauges")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), settings.METRICS_TOKEN.encode())
    # A proxy has a private address too, and asks for the whole world. What it says of the caller is looked at to refuse
    # only, so whoever invents such headers gains nothing.
    if any(header in request.META for header in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_private
    except ValueError:
        return False


class _Families:
    """Everything there is to tell, collected now."""

    def collect(self) -> Iterator[Any]:
        """Yield metric families; what cannot be asked is left out, and opsagent_part_up says so."""
        up: dict[tuple[str, ...], float] = {}
        flush()
        try:
            yield from _counter_families(broker.redis().hgetall(_HASH))
            up["broker",] = 1
        except RedisError:
            up["broker",] = 0
        up["database",] = 1
        for source in _sources:
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('statement_timeout', %s, true)", [STATEMENT_TIMEOUT])
                    found = list(source())
            except DatabaseError:
                up["database",] = 0
                continue
            yield from map(_gauge_family, found)
        yield _gauge_family(
            Gauge("opsagent_part_up", "Whether the database and the broker answered this scrape.", up, ("part",))
        )


def _gauge_family(gauge: Gauge) -> Any:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 (see metrics)

    family = GaugeMetricFamily(gauge.name, gauge.description, labels=gauge.labels)
    for labels, value in gauge.values.items():
        family.add_metric(labels, value)
    return family


def _counter_families(stored: Mapping[Any, Any]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415 (see metrics)

    counts: dict[str, dict[tuple[str, ...], int]] = {name: {} for name in _declared}
    for key, value in stored.items():
        name, *labels = key.decode().split(_BETWEEN)
        declared = _declared.get(name)
        # What another version counted under other labels is not ours to tell.
        if declared is not None and len(labels) == len(declared.labels) + isinstance(declared, Histogram):
            counts[name][tuple(labels)] = int(value)
    for name, declared in sorted(_declared.items()):
        if isinstance(declared, Counter):
            numbers = CounterMetricFamily(name, declared.description, labels=declared.labels)
            for counted, number in sorted(counts[name].items()):
                numbers.add_metric(counted, number)
            yield numbers
        else:
            family = HistogramMetricFamily(name, declared.description, labels=declared.labels)
            for series in sorted({labels[:-1] for labels in counts[name]}):
                buckets, total = [], 0
                for bound in [*map(str, declared.bounds), "+Inf"]:
                    total += counts[name].get((*series, bound), 0)
                    buckets.append((bound, total))
                family.add_metric(series, buckets, counts[name].get((*series, "ms"), 0) / 1000)
            yield family
