"""For how long a signature of version 2 alone proves that HubSpot calls a workflow action.

HubSpot documents version 2 for actions, and sends version 3 beside it. Version 2 bears no time: whoever catches one request
may leave version 3 away and send it again for as long as the client secret lives. So once HubSpot has shown that it signs
an action's calls with version 3, version 2 alone is refused there: after ENOUGH_CALLS valid ones over at least ENOUGH_TIME,
by their arrival. A few odd ones say nothing.
Source: https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference

Calls are counted in the process and brought to PostgreSQL every SECONDS, where all processes count together; each learns
there, as often, which actions refuse. So a request pays for no round trip, and no process is more than that behind.
"""

import datetime as dt
import threading
import time
from dataclasses import dataclass
from typing import Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F, QuerySet

from hubspot_integration.models import SignatureCount
from opsagent.background import Background
from opsagent.metrics import Counter

log = structlog.get_logger(__name__)

ENOUGH_CALLS: Final = 100
ENOUGH_TIME: Final = dt.timedelta(hours=24)
SECONDS: Final = 10.0
V2_REFUSED: Final = Counter(
    "opsagent_v2_refused_total", "Valid calls refused because they bore a signature of version 2 alone.", ("action",)
)


@dataclass(slots=True)
class _Seen:
    """What came since it was last brought to the database; moments in seconds since 1970."""

    v3_calls: int = 0
    first_v3_at: float | None = None
    last_v3_at: float | None = None
    v2_calls: int = 0
    v2_refused: int = 0
    last_v2_at: float | None = None


_lock = threading.Lock()
_seen: dict[str, _Seen] = {}
_refusing: frozenset[str] = frozenset()


# ------------------------------------------------------------------ what the door asks
def saw_v3(action: str) -> None:
    """Count a valid call of version 3. Touches no network."""
    now = time.time()
    with _lock:
        seen = _seen.setdefault(action, _Seen())
        seen.v3_calls += 1
        seen.first_v3_at = seen.first_v3_at or now
        seen.last_v3_at = now


def may_pass(action: str) -> bool:
    """Whether a valid signature of version 2 alone does at this action; counts the call. Touches no network."""
    passes = settings.HUBSPOT_ALLOW_V2 == "true" or (settings.HUBSPOT_ALLOW_V2 == "auto" and action not in _refusing)
    with _lock:
        seen = _seen.setdefault(action, _Seen())
        seen.v2_calls += 1
        seen.v2_refused += not passes
        seen.last_v2_at = time.time()
    if not passes:
        V2_REFUSED.add(action.rpartition("/")[2])
        log.warning("v2_signature_refused", action=action)
    return passes


# ------------------------------------------------------------------ what all processes know together
def exchange() -> None:
    """Bring what was counted to the database, and learn from it which actions refuse version 2 alone.

    Raises DatabaseError; what could not be brought is kept for the next time.
    """
    global _seen, _refusing  # noqa: PLW0603 (swapped under the lock; replaced as a whole)
    with _lock:
        taken, _seen = _seen, {}
    try:
        while taken:
            action, seen = next(iter(taken.items()))
            _add(action, seen)
            del taken[action]
    except DatabaseError:
        with _lock:
            for action, seen in taken.items():
                _seen[action] = _sum(seen, _seen.get(action, _Seen()))
        raise
    refusing = frozenset(enough().values_list("action", flat=True))
    for action in sorted(refusing - _refusing):
        log.info("v2_signatures_end", action=action, policy=settings.HUBSPOT_ALLOW_V2)
    _refusing = refusing


def enough() -> "QuerySet[SignatureCount]":
    """Return the actions of which HubSpot has shown that it signs them with version 3."""
    return SignatureCount.objects.filter(v3_calls__gte=ENOUGH_CALLS, last_v3_at__gte=F("first_v3_at") + ENOUGH_TIME)


def forget() -> None:
    """Begin as a process that has seen nothing yet, with a database that knows nothing."""
    global _seen, _refusing
    with _lock:
        _seen, _refusing = {}, frozenset()


_ADD: Final = """
INSERT INTO hubspot_integration_signaturecount AS known
       (action, v3_calls, first_v3_at, last_v3_at, v2_calls, v2_refused, last_v2_at)
VALUES (%s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s, to_timestamp(%s))
ON CONFLICT (action) DO UPDATE SET
       v3_calls = known.v3_calls + excluded.v3_calls,
       first_v3_at = least(known.first_v3_at, excluded.first_v3_at),
       last_v3_at = greatest(known.last_v3_at, excluded.last_v3_at),
       v2_calls = known.v2_calls + excluded.v2_calls,
       v2_refused = known.v2_refused + excluded.v2_refused,
       last_v2_at = greatest(known.last_v2_at, excluded.last_v2_at)
"""


def _add(action: str, seen: _Seen) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _ADD,
            [
                action, seen.v3_calls, seen.first_v3_at, seen.last_v3_at,
                seen.v2_calls, seen.v2_refused, seen.last_v2_at,
            ],
        )  # fmt: skip


def _sum(earlier: _Seen, later: _Seen) -> _Seen:
    return _Seen(
        v3_calls=earlier.v3_calls + later.v3_calls,
        first_v3_at=earlier.first_v3_at or later.first_v3_at,
        last_v3_at=later.last_v3_at or earlier.last_v3_at,
        v2_calls=earlier.v2_calls + later.v2_calls,
        v2_refused=earlier.v2_refused + later.v2_refused,
        last_v2_at=later.last_v2_at or earlier.last_v2_at,
    )


# ------------------------------------------------------------------ in the background of a process that serves
def begin() -> None:
    """Exchange at once and then every SECONDS, in a thread of this process, until `end`."""
    _exchanger.start()


def end() -> None:
    """Exchange a last time."""
    _exchanger.stop()


def _exchange_again() -> float:
    try:
        exchange()
    except DatabaseError as error:
        log.warning("signature_counts_kept_back", reason=type(error).__name__)
    finally:
        connection.close()  # seconds pass until it is wanted again: not one more that PostgreSQL keeps for us
    return SECONDS


def _begin_anew() -> None:
    """Let a forked child count for itself."""
    global _lock, _seen
    _lock, _seen = threading.Lock(), {}


_exchanger: Final = Background("signature versions", _exchange_again, begin_anew=_begin_anew)
