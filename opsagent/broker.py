"""One Redis client per process, for wake keys and budgets. Whatever it holds may be lost at any time."""

import functools

from django.conf import settings
from redis import Redis

CONNECT_TIMEOUT = 1.0
TIMEOUT = 1.0


@functools.cache
def redis() -> Redis:
    """Return the kept client. Its calls raise redis.RedisError within about a second when the server is away."""
    return Redis.from_url(settings.REDIS_URL, socket_connect_timeout=CONNECT_TIMEOUT, socket_timeout=TIMEOUT)
