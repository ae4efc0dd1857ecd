"""The numbers by which HubSpot knows portals, contacts and everything else."""

from typing import Final

MAXIMUM: Final = 2**63 - 1
"""HubSpot's ids are 64 bits wide, and so are our columns."""


def read(value: object) -> int | None:
    """Return an id as HubSpot may write it, number or text; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MAXIMUM)):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAXIMUM else None
