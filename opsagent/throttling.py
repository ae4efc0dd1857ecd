"""How often a network may do something: counted in Redis, and in this process alone while Redis is away."""

import functools
import math
import time

import structlog
from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis import RedisError

from opsagent import broker

log = structlog.get_logger(__name__)


def seconds_to_wait(item: RateLimitItem, what: str, whose: str) -> int:
    """Count one more time that `whose` network does `what`; return 0, or the seconds until it may try again.

    Whoever is told to wait is not counted, so that trying does not prolong the wait. Without Redis each process allows as
    much as all of them together do otherwise. Never raises.
    """
    try:
        return _wait(shared(), item, what, whose)
    except RedisError as error:
        log.warning("throttle_not_shared", what=what, reason=type(error).__name__)
        return _wait(alone(), item, what, whose)


def _wait(limiter: MovingWindowRateLimiter, item: RateLimitItem, what: str, whose: str) -> int:
    if limiter.hit(item, what, whose):
        return 0
    left = limiter.get_window_stats(item, what, whose).reset_time - time.time()
    return min(max(1, math.ceil(left)), item.get_expiry())


@functools.cache
def shared() -> MovingWindowRateLimiter:
    """Return the limiter that counts for all processes, in Redis. Its calls raise RedisError while that is away."""
    # What counts is the pool; the storage wants an address besides.
    return MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=broker.redis().connection_pool))


@functools.cache
def alone() -> MovingWindowRateLimiter:
    """Return the limiter of this process, for while Redis is away."""
    return MovingWindowRateLimiter(MemoryStorage())
