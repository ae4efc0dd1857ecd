"""Types of the operator's values that say where something is: our own address, the database, mail, HubSpot.

Each takes the text of a variable and returns what the settings hold, or raises ValueError with a reason that never
repeats the value: passwords stand in it.
"""

import ipaddress
import re
from collections.abc import Callable
from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string
from psycopg import pq

from opsagent import addresses

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
OWN_PORTS: Final = {"https": 443, "http": 80}

_HIGHEST_PORT: Final = 65_535
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_NAME_INSIDE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_UNSEEN: Final = re.compile(r"[\s\0-\x1f\x7f-\x9f]")

_POSTGRESQL: Final = frozenset({"postgres", "postgresql", "psql", "pgsql"})
_SSL_MODES: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
# Django's own, beside those of libpq.
_DATABASE_OPTIONS: Final = frozenset({"assume_role", "isolation_level", "server_side_binding", "service", "passfile"})

_NUMBERS: Final = frozenset(
    {"port", "connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count",
     "tcp_user_timeout"}
)  # fmt: skip

# scheme → TLS by STARTTLS, TLS from the first byte (RFC 8314), port when none is named
_SMTP: Final = {
    "smtp": (False, False, 25),
    "smtp+tls": (True, False, 587),
    "smtps": (False, True, 465),
    "smtp+ssl": (False, True, 465),
}
_ALWAYS_TLS: Final = 465
_SUBMISSION: Final = 587
_SENDS_NOTHING: Final = frozenset({"console", "dummy", "filebased", "locmem", "test"})
_IN_ITS_OWN_WAY: Final = "django.core.mail.backends.smtp"
_SPECIALS: Final = re.compile(r'[()<>@,;:\\"\[\]]')
_MAILBOX: Final = re.compile(r"(?P<name>.*?)\s*<(?P<address>[^<>]*)>", re.DOTALL)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')

NEEDED: Final = {
    "anymail.backends.brevo": ("BREVO_API_KEY",),
    "anymail.backends.mailersend": ("MAILERSEND_API_TOKEN",),
    "anymail.backends.mailgun": ("MAILGUN_API_KEY",),
    "anymail.backends.mailjet": ("MAILJET_API_KEY", "MAILJET_SECRET_KEY"),
    "anymail.backends.mailtrap": ("MAILTRAP_API_TOKEN",),
    "anymail.backends.mandrill": ("MANDRILL_API_KEY",),
    "anymail.backends.postal": ("POSTAL_API_KEY", "POSTAL_API_URL"),
    "anymail.backends.postmark": ("POSTMARK_SERVER_TOKEN",),
    "anymail.backends.resend": ("RESEND_API_KEY",),
    "anymail.backends.scaleway": ("SCALEWAY_SECRET_KEY", "SCALEWAY_PROJECT_ID"),
    "anymail.backends.sendgrid": ("SENDGRID_API_KEY",),
    "anymail.backends.sparkpost": ("SPARKPOST_API_KEY",),
    "anymail.backends.unisender_go": ("UNISENDER_GO_API_KEY", "UNISENDER_GO_API_URL"),
}
"""What Anymail's backends cannot do without (https://anymail.dev/en/stable/esps/). Amazon's takes AWS's own variables."""


def origin(value: str) -> str:
    """Accept `https://host[:port]`, or http for this machine only: exactly as HubSpot and browsers spell it.

    HubSpot signs the URL that it calls, browsers name their origin, and Caddy takes a slash at the end for a path: so
    a sloppy base URL would refuse every request.
    """
    parts = _split(value, "an absolute https URL")
    if parts.scheme not in OWN_PORTS or not parts.hostname:
        raise ValueError("it is not an absolute https URL")
    if parts.path or "?" in value or "#" in value or parts.username is not None:
        raise ValueError("it must be scheme, host and port only, without a slash at its end")
    host = _bracketed(parts.hostname)
    if not value.isascii():
        raise ValueError("its host has letters beyond ASCII: write it as DNS has it, beginning with xn--")
    port = _port(parts)
    if value != f"{parts.scheme}://{host}{'' if port is None else f':{port}'}":
        raise ValueError("it is not written as browsers write it: in lower case, with a port or none behind the host")
    if not _is_host(parts.hostname):
        raise ValueError("its host is neither a name nor an IP address")
    if port == OWN_PORTS[parts.scheme]:
        raise ValueError(f"{port} is the port of {parts.scheme} itself: leave it out, as browsers and HubSpot do")
    if parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
        raise ValueError("plain http is for localhost, 127.0.0.1 and [::1] only")
    return value


def sentry(value: str) -> str:
    """Accept a Sentry address, `https://key@host/project`."""
    parts = _split(value, "of the form https://key@host/project")
    _port(parts)
    if parts.scheme not in OWN_PORTS or not parts.username or not _is_host(parts.hostname or ""):
        raise ValueError("it is not of the form https://key@host/project")
    if not re.fullmatch(r"[0-9]+", parts.path.rpartition("/")[2]):
        raise ValueError("it does not end in the number of a project")
    return value


def host_of(url: str) -> str:
    """Return the host of an origin as ALLOWED_HOSTS has it: IPv6 in brackets."""
    return _bracketed(urlsplit(url).hostname or "")


def allowed_hosts(value: str) -> list[str]:
    """Accept hosts separated by commas; `.example.com` stands for the domain and everything below it."""
    hosts = [item.strip().lower() for item in value.split(",") if item.strip()]
    for position, host in enumerate(hosts, start=1):
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host.removeprefix(".")
        if not _is_host(bare) or (":" in bare and not host.startswith("[")):
            raise ValueError(f"host number {position} is no host: a name or an IP address, without scheme and port")
    if not hosts:
        raise ValueError("it holds no value")
    return hosts


def postgresql(value: str) -> dict[str, Any]:
    """Accept the address of a PostgreSQL database; return it as Django's DATABASES has it."""
    parts = _split(value, "an address of a PostgreSQL database")
    if parts.scheme not in _POSTGRESQL:
        raise ValueError("it does not name a PostgreSQL database")
    if "#" in value:
        raise ValueError("a # in user name or password is written %23")
    if not re.fullmatch(r"/[^/]+", parts.path):
        raise ValueError("the name of the database is missing behind the host, or holds a slash")
    _port(parts)
    options = _query(parts)
    if not parts.hostname and not options.get("host"):
        raise ValueError("the host is missing: name one, or a socket directory as ?host=")
    if parts.hostname and not _is_host_inside(parts.hostname):
        raise ValueError("its host is neither a name nor an IP address")
    _check_database_options(options)
    if "%00" in value:
        raise ValueError("it holds %00, which PostgreSQL cannot take")
    try:
        found: dict[str, Any] = environ.Env.db_url_config(value)
    except (KeyError, ValueError, ImproperlyConfigured):
        raise ValueError("it cannot be read; characters such as @ and / in a password are percent-encoded") from None
    return found


def _check_database_options(options: dict[str, str]) -> None:
    """Raise ValueError for what libpq or Django would refuse when they connect first."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | _DATABASE_OPTIONS
    if unknown := options.keys() - known:
        raise ValueError(f"option number {list(options).index(min(unknown)) + 1} behind the ? is none of PostgreSQL's")
    if options.get("sslmode", "disable") not in _SSL_MODES:
        raise ValueError(f"sslmode is none of {', '.join(sorted(_SSL_MODES))}")
    for number, (option, text) in enumerate(options.items(), start=1):
        if option in _NUMBERS and not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError(f"option number {number} behind the ? is not a whole number")


def smtp(value: str) -> dict[str, Any]:
    """Accept the address of an SMTP server; return it as Django's EMAIL_ settings."""
    parts = _split(value, "an address of an SMTP server")
    if parts.scheme not in _SMTP:
        raise ValueError(f"it begins with none of {', '.join(f'{scheme}://' for scheme in _SMTP)}")
    starts_tls, is_tls, usual_port = _SMTP[parts.scheme]
    if parts.path not in {"", "/"} or "?" in value or "#" in value:
        raise ValueError(
            "it must be user name, password, host and port only; /, ? and # in a password are percent-encoded"
        )
    host = parts.hostname or ""
    if not _is_host_inside(host):
        raise ValueError("its host is missing, or neither a name nor an IP address")
    port = _port(parts) or usual_port
    if is_tls and port in {25, _SUBMISSION}:
        raise ValueError(
            f"port {port} begins without TLS, and smtps:// with it: use smtp+tls://, or port {_ALWAYS_TLS}"
        )
    if not is_tls and port == _ALWAYS_TLS:
        raise ValueError(f"port {_ALWAYS_TLS} begins with TLS: use smtps://, or another port")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("user name and password belong together")
    if not (user + password).isascii() or not (user + password).isprintable():
        raise ValueError("user name or password holds a character that SMTP cannot carry")
    return {
        "EMAIL_BACKEND": f"{_IN_ITS_OWN_WAY}.EmailBackend",
        "EMAIL_HOST": host,
        "EMAIL_PORT": port,
        "EMAIL_HOST_USER": user,
        "EMAIL_HOST_PASSWORD": password,
        "EMAIL_USE_TLS": starts_tls,
        "EMAIL_USE_SSL": is_tls,
    }


def email_backend(value: str) -> str:
    """Accept the dotted name of a class that sends mail."""
    module, _, __ = value.rpartition(".")
    if module == _IN_ITS_OWN_WAY:
        raise ValueError("it is for SMTP, which EMAIL_URL sets up: leave it out")
    if module.rpartition(".")[2] in _SENDS_NOTHING:
        raise ValueError("it sends nothing")
    try:
        found = import_string(value)
    except Exception as error:  # noqa: BLE001 (a module may raise anything while it is imported)
        raise ValueError(f"it cannot be imported ({type(error).__name__})") from None
    if not (isinstance(found, type) and issubclass(found, BaseEmailBackend)):
        raise ValueError("it is no class of a mail backend")  # noqa: TRY004 (as with every other malformed value)
    return value


def anymail(name: str) -> Callable[[str], Any]:
    """Return the type of one of Anymail's settings, `name` without its prefix."""
    if name.endswith("API_URL"):
        return _api_url
    return {"WEBHOOK_SECRET": _webhook_secrets, "DEBUG_API_REQUESTS": _off}.get(name, _line_or_boolean)


def _api_url(value: str) -> str:
    parts = _split(value, "an https URL")
    _port(parts)
    is_local = parts.scheme == "http" and parts.hostname in LOCAL_HOSTS
    if not (parts.scheme == "https" or is_local) or not _is_host(parts.hostname or "") or parts.username is not None:
        raise ValueError("it is not an https URL without user name")
    return value


def _webhook_secrets(value: str) -> list[str]:
    """Several, separated by commas, while one is being replaced."""
    secrets = [item.strip() for item in value.split(",") if item.strip()]
    if not secrets or any(not re.fullmatch(r"[^:\s]+:\S+", secret) for secret in secrets):
        raise ValueError("it is not user:password")
    return secrets


def _off(value: str) -> bool:
    if value.lower() not in {"false", "no", "off", "0"}:
        raise ValueError("it would print codes and addresses")
    return False


def _line_or_boolean(value: str) -> str | bool:
    """Anymail takes any text for true: "false" must not be one."""
    if not value.isprintable():
        raise ValueError("it holds a line break or another character that nobody can see")
    return {"true": True, "false": False}.get(value.lower(), value)


def mailbox(value: str) -> str:
    """Accept one address with or without a name before it, `codes@example.com` or `Acme <codes@example.com>`.

    Returned with the domain in ASCII, and with quotation marks around a name that needs them.
    """
    if not value.isprintable():
        raise ValueError("it holds a line break or another character that nobody can see")
    found = _MAILBOX.fullmatch(value)
    name, address = (found["name"], found["address"]) if found else ("", value)
    quoted = _QUOTED.fullmatch(name)
    if quoted:
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _SPECIALS.search(name):
        raise ValueError(
            "its name holds a comma or another special character, or it is more than one address. Put the name into "
            'quotation marks, as in "Acme, Inc." <codes@example.com>'
        )
    try:
        checked = addresses.checked(address)
    except ValueError:
        raise ValueError("it does not hold exactly one e-mail address") from None
    try:
        return str(Address(display_name=name, addr_spec=checked)) if name else checked
    except (HeaderParseError, ValueError, IndexError):
        raise ValueError("it does not hold exactly one e-mail address") from None


def _split(value: str, what: str) -> SplitResult:
    if _UNSEEN.search(value):  # urlsplit would silently drop some of them
        raise ValueError(f"it is not {what}: it holds a space or a line break")
    try:
        return urlsplit(value)
    except ValueError:
        raise ValueError(f"it is not {what}") from None


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        raise ValueError(f"its port is not a number from 1 to {_HIGHEST_PORT}")
    return port


def _query(parts: SplitResult) -> dict[str, str]:
    found = parse_qs(parts.query, keep_blank_values=True)
    if any(len(values) > 1 for values in found.values()):
        raise ValueError("an option behind the ? is there twice")
    return {name: values[0] for name, values in found.items()}


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # What looks like numbers with dots between is no name: 300.1.1.1
        return bool(_NAME.fullmatch(text)) and not re.fullmatch(r"[\d.]+", text)
    return "%" not in text


def _is_host_inside(text: str) -> bool:
    """Whether a text is a host, or a name as private networks have them, with an underscore for example."""
    return _is_host(text) or bool(_NAME_INSIDE.fullmatch(text) and not re.fullmatch(r"[\d.]+", text))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
