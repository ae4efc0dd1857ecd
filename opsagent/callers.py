"""Who is calling: the address that a request comes from, and the network that limits count by."""

import ipaddress
from typing import Final

from django.conf import settings
from django.http import HttpRequest

UNKNOWN: Final = "unknown"
# What one party has at least: a household or a rented server gets a /64, and no shorter IPv4 block than a /24 is routed.
_PREFIXES: Final = {4: 24, 6: 64}


def address(request: HttpRequest) -> str | None:
    """Return the caller's IP address, as the outermost of our own PROXY_COUNT proxies saw it; None where it is unreadable.

    Each proxy appends whom it heard from to X-Forwarded-For. What stands further left than our proxies wrote comes from
    the caller and is worth nothing. Some proxies write a port too (`203.0.113.7:4711`, `[2001:db8::7]:4711`); it is left
    out, as is an IPv6 zone. An IPv4 address that is written as IPv6 (`::ffff:203.0.113.7`) counts as IPv4. Never raises.
    """
    found = _parse(_written(request))
    return None if found is None else str(found)


def network(request: HttpRequest) -> str:
    """Return the network of the caller's address: a /64 of IPv6, a /24 of IPv4, or "unknown". Never raises."""
    found = _parse(_written(request))
    if found is None:
        return UNKNOWN
    return str(ipaddress.ip_network((found, _PREFIXES[found.version]), strict=False))


def _written(request: HttpRequest) -> str:
    """Return the address as the proxy wrote it, or the connection's own where too few proxies have written any."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    if 0 < settings.PROXY_COUNT <= len(hops):
        return hops[-settings.PROXY_COUNT]
    return str(request.META.get("REMOTE_ADDR") or "")


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
