"""How many calls a portal's HubSpot still takes: we stay below its limit instead of running into it.

HubSpot allows an app 110 calls in any ten seconds per account and wants fewer than 5 % refusals
(https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines). Retrying on 429 wastes four calls of
five under load; counting before calling wastes none.
"""

import math
import time
from typing import Final

import structlog
from limits import RateLimitItemPerSecond
from redis import RedisError

from hubspot_integration.transport import HubSpotError
from opsagent import broker, throttling

log = structlog.get_logger(__name__)

WINDOW_SECONDS: Final = 10
DELIVERIES: Final = RateLimitItemPerSecond(100, WINDOW_SECONDS, namespace="hubspot")
"""For deliveries; ten of HubSpot's 110 stay free for people in front of the card and the settings."""
# Without Redis nobody counts for all processes: each then allows itself a share that five of them can afford.
ALONE: Final = RateLimitItemPerSecond(20, WINDOW_SECONDS, namespace="hubspot")


class BudgetSpent(HubSpotError):
    """The portal's calls for the moment are used up, or HubSpot asked for a pause. Nothing was sent."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "The portal's budget of HubSpot calls is spent",
            permanent=False,
            words=["BUDGET_SPENT"],
            retry_after=retry_after,
        )


def take(portal_id: int) -> None:
    """Count one call of a delivery. Raises BudgetSpent when there is none left or HubSpot asked for a pause."""
    try:
        pause = broker.redis().pttl(_pause_key(portal_id))
        limiter, item = throttling.shared(), DELIVERIES
        allowed = pause <= 0 and limiter.hit(item, str(portal_id))
    except RedisError as error:
        log.warning("budget_not_shared", reason=type(error).__name__)
        pause, limiter, item = 0, throttling.alone(), ALONE
        allowed = limiter.hit(item, str(portal_id))
    if pause > 0:
        raise BudgetSpent(pause / 1000)
    if not allowed:
        reset_at = limiter.get_window_stats(item, str(portal_id)).reset_time
        raise BudgetSpent(max(0.1, reset_at - time.time()))


def pause(portal_id: int, seconds: float) -> None:
    """Let no delivery call the portal's HubSpot for `seconds`: it asked for that with 429, 423 or 477."""
    try:
        broker.redis().set(_pause_key(portal_id), b"", px=math.ceil(seconds * 1000))
    except RedisError as error:
        log.warning("pause_not_shared", reason=type(error).__name__)


def share_left(portal_id: int) -> float:
    """Return which part of the budget is left, from 0 to 1; 1 when nobody knows."""
    try:
        return throttling.shared().get_window_stats(DELIVERIES, str(portal_id)).remaining / DELIVERIES.amount
    except RedisError:
        return 1.0


def _pause_key(portal_id: int) -> str:
    return f"hubspot-pause:{portal_id}"
