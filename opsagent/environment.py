"""Settings from the environment: every value is checked at the start, every complaint names it and the remedy."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MINIMUM_PEPPER_LENGTH: Final = 32
MINIMUM_TOKEN_LENGTH: Final = 32
MINIMUM_SECRET_KEY_LENGTH: Final = 50
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

FILE_SUFFIX: Final = "_FILE"

T = TypeVar("T")


def read(name: str, parse: Callable[[str], T], *, remedy: str, default: str | None = None) -> T:
    """Return the variable `name`, parsed; or what stands in the file that `name` followed by _FILE names.

    Raises ImproperlyConfigured, naming the variable and the remedy, when it is missing without a default, when it is
    given both ways, when its file holds nothing to read, or when `parse` raises ValueError. The value itself is never
    part of the message: it may be a secret.
    """
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


def prefixed(prefix: str) -> dict[str, str]:
    """Return every variable whose name begins with `prefix`, without it; files count as in `read`."""
    names = {
        name.removesuffix(FILE_SUFFIX)
        for name, value in os.environ.items()
        if name.startswith(prefix) and value.strip()
    }
    return {name.removeprefix(prefix): read(name, text, remedy="") for name in sorted(names)}


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
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise ValueError("it is not a whole number above zero")
    return int(value)


def whole_number(value: str) -> int:
    """Accept a whole number, zero included. Raises ValueError."""
    if not (value.isascii() and value.isdigit()):
        raise ValueError("it is not a whole number")
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
    """Accept a shared secret of at least 32 characters. Raises ValueError."""
    if len(value) < MINIMUM_TOKEN_LENGTH:
        raise ValueError(f"it is shorter than {MINIMUM_TOKEN_LENGTH} characters")
    return value


def dsn(value: str) -> str:
    """Accept a Sentry address, `https://key@host/project`. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not parts.username:
        raise ValueError("it is not of the form https://key@host/project")
    if not parts.path.rpartition("/")[2].isdigit():
        raise ValueError("it does not end in the number of a project")
    return value


def origin(value: str) -> str:
    """Accept `https://host[:port]`, or http for this machine only; returned without a trailing slash.

    Raises ValueError for a path, a query, user information, another scheme or plain http to another machine:
    HubSpot signs the exact URL that it calls, so a sloppy base URL would refuse every request.
    """
    value = value.rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it is not an absolute https URL")
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("it must be scheme, host and port only")
    if parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
        raise ValueError("plain http is for localhost, 127.0.0.1 and [::1] only")
    _ = parts.port  # raises ValueError when it is not a port number
    return value
