"""Time zones by their names, which HubSpot tells. Pure."""

import datetime as dt
import zoneinfo
from typing import Final

# Files of the time zone database that are no place's: this machine's zone, and what programs put in for "unknown".
_NO_PLACE: Final = frozenset({"Factory", "localtime", "posixrules"})


def named(name: str) -> dt.tzinfo | None:
    """Return a time zone by its IANA name, such as `Europe/Berlin`; None for whatever is none. Never raises.

    A name is a path in the time zone database, so anything may come of it: `America` is a folder there.
    """
    if name in _NO_PLACE:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (LookupError, OSError, ValueError):
        return None
