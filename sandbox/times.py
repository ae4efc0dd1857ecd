"""Moments in the forms HubSpot writes them. Inside the sandbox a moment is seconds since 1970, as a float."""

import re
import time
from datetime import UTC, datetime

_DURATION = re.compile(
    r"P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


def now() -> float:
    """Return the current moment."""
    return time.time()


def milliseconds(moment: float) -> int:
    """Return the moment as epoch milliseconds, the form of signatures, webhooks and the control API."""
    return int(moment * 1000)


def iso(moment: float) -> str:
    """Return the moment as the CRM API writes it: ``2026-11-23T08:00:00.000Z``."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> float:
    """Read an ISO-8601 date or time, UTC unless it names a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def duration(text: str) -> float:
    """Read an ISO-8601 duration such as ``PT20M`` or ``P1WT1H`` as seconds.

    Years and months have no fixed length and are refused. Raises ValueError.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an ISO-8601 duration of weeks, days, hours, minutes or seconds")
    return sum(float(amount) * _SECONDS[unit] for unit, amount in match.groupdict().items() if amount)
