"""HubSpot's burst limit: so many calls per app and account in any ten seconds.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
"""

from collections import deque


class RollingWindow:
    """Count calls in a window that ends now. A refused call does not count."""

    def __init__(self) -> None:
        self._taken: deque[float] = deque()

    def take(self, now: float, *, limit: int, seconds: float) -> bool:
        """Count one call if the limit allows it and return whether it did."""
        taken = self._taken
        while taken and now - taken[0] >= seconds:
            taken.popleft()
        if len(taken) >= limit:
            return False
        taken.append(now)
        return True

    def remaining(self, limit: int) -> int:
        """Return how many more calls fit, as of the last ``take``."""
        return max(0, limit - len(self._taken))
