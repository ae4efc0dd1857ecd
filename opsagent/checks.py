"""System checks: what is legal to start with but wrong to run with. Missing values stop the start in settings.py."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.http.request import validate_host


@register
def debug_is_private(**_: Any) -> list[CheckMessage]:
    """opsagent.E002: tracebacks with settings and variables on a public address."""
    if settings.DEBUG and settings.PUBLIC_BASE_URL.startswith("https://"):
        return [Error("DEBUG is on at a public address.", hint="Set DEBUG=false.", id="opsagent.E002")]
    return []


@register
def host_is_answered(**_: Any) -> list[CheckMessage]:
    """opsagent.W003: HubSpot's own calls would be refused as coming for a foreign host."""
    host = urlsplit(settings.PUBLIC_BASE_URL).hostname or ""
    if not validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS):
        return [
            CheckWarning(
                "ALLOWED_HOSTS does not contain the host of PUBLIC_BASE_URL.",
                hint=f"Add {host} to ALLOWED_HOSTS, or leave ALLOWED_HOSTS out.",
                id="opsagent.W003",
            )
        ]
    return []
