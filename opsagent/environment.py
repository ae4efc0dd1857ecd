"""Settings from the environment: every value is checked at the start, every complaint names it and the remedy."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

MINIMUM_PEPPER_LENGTH: Final = 32
MINIMUM_TOKEN_LENGTH: Final = 32
MINIMUM_SECRET_KEY_LENGTH: Final = 50
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

FILE_SUFFIX: Final = "_FILE"

_MOST_PROXIES: Final = 20
_LONGEST_NUMBER: Final = 18
# https://developers.hubspot.com/docs/developer-tooling/platform/versioning
_VERSION: Final = re.compile(r"20\d\d-(0[1-9]|1[0-2])(-beta)?")

T = TypeVar("T")

_collected: list[str] | None = None
"""What `read` found wrong, from `collect_complaints` to `raise_complaints`."""


def collect_complaints() -> None:
    """Let every `read` from now on speak before the start is refused: one attempt shows all that is wrong.

    Until `raise_complaints` a variable that is wrong reads as None, so nothing may be made of the values before it.
    """
    global _collected  # noqa: PLW0603 (the settings are read once, by one thread)
    _collected = []


def raise_complaints() -> None:
    """Raise ImproperlyConfigured with a line for each variable that is wrong, if there are any."""
    global _collected
    found, _collected = _collected, None
    if found:
        raise ImproperlyConfigured("\n".join(found))


def read(name: str, parse: Callable[[str], T], *, remedy: str, default: str | None = None) -> T:
    """Return the variable `name`, parsed; or what stands in the file that `name` followed by _FILE names.

    Raises ImproperlyConfigured, naming the variable and the remedy, when it is missing without a default, when it is
    given both ways, when its file holds nothing to read, or when `parse` raises ValueError; while
    complaints are collected that is put down, and None returned. The value itself is never part of the message: it may be a secret.
    """
    try:
        return _read(name, parse, remedy=remedy, default=default)
    except ImproperlyConfigured as error:
        if _collected is None:
            raise
        _collected.append(str(error))
        return cast(T, None)


def _read(name: str, parse: Callable[[str], T], *, remedy: str, default: str | None) -> T:
    value: str | None = os.environ.get(name, "").strip()
    file = os.environ.get(f"{name}{FILE_SUFFIX}", "").strip()
    if file:
        if value:
            raise ImproperlyConfigured(f"{name} and {name}{FILE_SUFFIX} are both set. Keep one of them.")
        value = _content(f"{name}{FILE_SUFFIX}", file)
    value = value or default
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set. {remedy}")
    try:
        return parse(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is malformed: {error}. {remedy}") from None


def read_optional(name: str, parse: Callable[[str], str], *, remedy: str) -> str:
    """Return the variable `name` as `read` does; an empty text where it is not set."""
    return read(name, lambda value: parse(value) if value else "", remedy=remedy, default="")


def prefixed(prefix: str, type_of: Callable[[str], Callable[[str], Any]], *, remedy: str) -> dict[str, Any]:
    """Return every variable whose name begins with `prefix`, without it; files count as in `read`.

    `type_of` returns what parses the value of a name.
    """
    names = {
        name.removesuffix(FILE_SUFFIX)
        for name, value in os.environ.items()
        if name.startswith(prefix) and value.strip()
    }
    bare = sorted(name.removeprefix(prefix) for name in names)
    return {name: read(f"{prefix}{name}", type_of(name), remedy=remedy) for name in bare}


def _content(name: str, file: str) -> str:
    """Return what stands in a file, without space around it. Raises ImproperlyConfigured."""
    try:
        value = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ImproperlyConfigured(
            f"{name} names a file that cannot be read ({reason}). Put the value into the file and let this process read it."
        ) from None
    if not value:
        raise ImproperlyConfigured(f"{name} names an empty file. Put the value into it.")
    return value


def text(value: str) -> str:
    """Accept any text."""
    return value


def items(value: str) -> list[str]:
    """Split a comma-separated list; at least one item.

    Raises ValueError when there is none.
    """
    found = [item.strip() for item in value.split(",") if item.strip()]
    if not found:
        raise ValueError("it holds no value")
    return found


def boolean(value: str) -> bool:
    """Accept true/false, yes/no, on/off, 1/0.

    Raises ValueError for anything else: a typing error must not silently mean "off".
    """
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if value.lower() not in words:
        raise ValueError("it is neither true nor false")
    return words[value.lower()]


def one_of(*words: str) -> Callable[[str], str]:
    """Return what accepts one of some words in whatever case, and returns it as it stands here. Raises ValueError."""

    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(f"it is none of {', '.join(words)}")
        return value.lower()

    return parse


def positive_integer(value: str) -> int:
    """Accept a whole number above zero. Raises ValueError."""
    if not (value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER and int(value) > 0):
        raise ValueError("it is not a whole number above zero")
    return int(value)


def log_level(value: str) -> str:
    """Accept one of LOG_LEVELS in whatever case; return it in capitals. Raises ValueError."""
    if value.upper() not in LOG_LEVELS:
        raise ValueError("it is no level")
    return value.upper()


def secret_key(value: str) -> str:
    """Accept a key of at least 50 characters, Django's own measure. Raises ValueError."""
    if len(value) < MINIMUM_SECRET_KEY_LENGTH:
        raise ValueError(f"it is shorter than {MINIMUM_SECRET_KEY_LENGTH} characters")
    return value


def fernet_keys(value: str) -> list[str]:
    """Accept comma-separated Fernet keys (44 characters of URL-safe base64 each). Raises ValueError."""
    keys = items(value)
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(f"key number {position} is not a Fernet key") from None
    return keys


def peppers(value: str) -> list[str]:
    """Accept comma-separated strings of at least 32 characters each. Raises ValueError."""
    found = items(value)
    for position, pepper in enumerate(found, start=1):
        if len(pepper) < MINIMUM_PEPPER_LENGTH:
            raise ValueError(f"pepper number {position} is shorter than {MINIMUM_PEPPER_LENGTH} characters")
    return found


def token(value: str) -> str:
    """Accept a shared secret of at least 32 characters that a header can carry. Raises ValueError."""
    if len(value) < MINIMUM_TOKEN_LENGTH:
        raise ValueError(f"it is shorter than {MINIMUM_TOKEN_LENGTH} characters")
    return word(value)


def word(value: str) -> str:
    """Accept ASCII characters without a space between. Raises ValueError."""
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("it holds a space or a character beyond ASCII")
    return value


def words(value: str) -> list[str]:
    """Accept comma-separated words, see `word`. Raises ValueError."""
    return [word(item) for item in items(value)]


def number_of_proxies(value: str) -> int:
    """Accept a whole number from 0 to 20. Raises ValueError."""
    if not (value.isascii() and value.isdigit() and len(value) < _LONGEST_NUMBER and int(value) <= _MOST_PROXIES):
        raise ValueError(f"it is not a whole number from 0 to {_MOST_PROXIES}")
    return int(value)


def hubspot_version(value: str) -> str:
    """Accept a dated version of HubSpot's API, such as 2026-09. Raises ValueError."""
    if not _VERSION.fullmatch(value):
        raise ValueError("it is not a year and a month with a hyphen between")
    return value
