"""What `manage.py doctor` is made of: examinations, each ending in a finding with its remedy.

Modules named `examinations` register theirs; they are imported when the command runs and cost no process anything.
"""

import enum
import http.client
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from django.apps import apps

TIMEOUT: Final = 5.0
_MAXIMUM_BODY: Final = 100_000


class Verdict(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen and, unless all is well, what to do about it."""

    verdict: Verdict
    seen: str
    remedy: str = ""


def ok(seen: str) -> Finding:
    """All is well."""
    return Finding(Verdict.OK, seen)


def warning(seen: str, remedy: str) -> Finding:
    """It works, but should not stay so."""
    return Finding(Verdict.WARNING, seen, remedy)


def failed(seen: str, remedy: str) -> Finding:
    """The app cannot do its work like this."""
    return Finding(Verdict.FAILED, seen, remedy)


Examination = Callable[[], Finding]
_examinations: Final[dict[str, Examination]] = {}


def examination(name: str) -> Callable[[Examination], Examination]:
    """Register an examination under the name that operators see. It changes nothing and ends within seconds."""

    def register(examine: Examination) -> Examination:
        _examinations[name] = examine
        return examine

    return register


def examinations() -> dict[str, Examination]:
    """Return every examination: those of the ground first, then app by app, each in the order of its module."""
    order = [config.name for config in apps.get_app_configs()]
    return dict(sorted(_examinations.items(), key=lambda item: order.index(item[1].__module__.partition(".")[0])))


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered; header names in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def ask(url: str) -> Answer:
    """GET an address, following no redirect. Raises OSError (TLS included) and http.client.HTTPException."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "OpsAgent-OTP doctor"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read(_MAXIMUM_BODY))
    finally:
        connection.close()
