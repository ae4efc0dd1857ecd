"""Redis or Valkey, for wake keys, budgets, counters and Celery. Whatever it holds may be lost at any time.

REDIS_URL is read here and nowhere else, so that every client speaks to the same server in the same way: redis-py, Celery
and the libraries below them each read such addresses with rules, and with defaults for TLS, of their own.
"""

import functools
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from django.conf import settings
from redis import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection

CONNECT_TIMEOUT = 1.0
TIMEOUT = 1.0

_DEFAULT_PORT: Final = 6379
_FILES: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
# What other programs want to see in an address to check the certificate, which is what happens here without it.
_CHECKED: Final = {"ssl_cert_reqs": ("required", "cert_required"), "ssl_check_hostname": ("true", "1", "yes", "on")}


@dataclass(frozen=True, slots=True)
class Address:
    """What REDIS_URL says. `files` are those of TLS, under redis-py's names; `is_tls` whether TLS is spoken at all."""

    host: str = ""
    port: int = _DEFAULT_PORT
    path: str = ""
    database: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    is_tls: bool = False
    files: dict[str, str] = field(default_factory=dict)

    def pool(self, *, verify: bool) -> ConnectionPool:
        """Return a pool of connections for redis-py. They raise redis.RedisError after a second without an answer."""
        common: dict[str, Any] = {
            "db": self.database,
            "username": self.username,
            "password": self.password,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
        }
        if self.path:
            return ConnectionPool(connection_class=UnixDomainSocketConnection, path=self.path, **common)
        common |= {"host": self.host, "port": self.port}
        if not self.is_tls:
            return ConnectionPool(connection_class=Connection, **common)
        return ConnectionPool(connection_class=SSLConnection, **common, **self.tls(verify=verify))

    def celery_url(self) -> str:
        """Return the address as kombu reads it, without what concerns TLS: its own reading of that wins over `tls`."""
        who = ":".join(quote(part, safe="") for part in (self.username or "", self.password) if part is not None)
        who = f"{who}@" if who else ""
        if self.path:
            return f"redis+socket://{who}{quote(self.path)}?virtual_host={self.database}"
        host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
        return f"{'rediss' if self.is_tls else 'redis'}://{who}{host}:{self.port}/{self.database}"

    def tls(self, *, verify: bool) -> dict[str, Any]:
        """Return what redis-py and kombu call the same: how the server's certificate is checked; nothing without TLS.

        With `verify` it must come from an authority that this machine, or `ssl_ca_certs`, trusts, and bear the host's name.
        """
        if not self.is_tls:
            return {}
        mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        return {"ssl_cert_reqs": mode, "ssl_check_hostname": verify, **self.files}


def parse(url: str) -> Address:
    """Read `redis://` or `rediss://` with user, password, host, port and number of the database, or `unix://` with a path.

    Raises ValueError, which never quotes the address: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, unquote(parts.hostname or "")
    except ValueError:
        raise ValueError(
            "host or port cannot be read; a / ? # @ or : in the password is written percent-encoded"
        ) from None
    if not url.isprintable() or " " in url:
        raise ValueError("it holds a space or another character that must be percent-encoded")
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("it begins neither with redis:// nor with rediss:// nor with unix://")
    if parts.fragment:
        raise ValueError("it holds a #; in a password it is written %23")
    is_socket, is_tls = parts.scheme == "unix", parts.scheme == "rediss"
    query = _query(parts.query, is_tls=is_tls)
    if is_socket and not parts.path.startswith("/"):
        raise ValueError("unix:// is followed by the path of a socket, which begins with /")
    if not is_socket and (not host or port == 0):
        raise ValueError("it names no host, or the port 0")
    return Address(
        host=host,
        port=port or _DEFAULT_PORT,
        path=unquote(parts.path) if is_socket else "",
        database=_database(parts, query.pop("db", None)),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        is_tls=is_tls,
        files=query,
    )


def checked(url: str) -> str:
    """Accept an address that `parse` can read. Raises ValueError."""
    parse(url)
    return url


@functools.cache
def redis() -> Redis:
    """Return the kept client. Its calls raise redis.RedisError within about a second when the server is away."""
    return Redis(connection_pool=parse(settings.REDIS_URL).pool(verify=settings.REDIS_TLS_VERIFY))


def certificate_problem(error: BaseException) -> str:
    """Return what is wrong with the server's certificate if that is why a call failed; else an empty text."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return "" if cause is None else cause.verify_message


def is_unverified() -> bool:
    """Whether TLS is spoken with whoever answers, because the operator said so."""
    return parse(settings.REDIS_URL).is_tls and not settings.REDIS_TLS_VERIFY


def _query(query: str, *, is_tls: bool) -> dict[str, str]:
    """Return `db` and the files of TLS; what says that the certificate is checked is left out. Raises ValueError."""
    try:
        found = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError("what stands behind the ? is not of the form name=value") from None
    if set(found) - {"db", *_FILES, *_CHECKED}:
        raise ValueError(f"behind the ? only {', '.join(('db', *_FILES))} are understood")
    if set(found) - {"db"} and not is_tls:
        raise ValueError("what begins with ssl_ needs rediss://")
    for name, accepted in _CHECKED.items():
        if found.pop(name, accepted[0]).lower() not in accepted:
            raise ValueError(
                f"{name} would switch the check of the server's certificate off; leave it out, and set "
                "REDIS_TLS_VERIFY=false if nobody can come between this app and Redis"
            )
    _load({name: value for name, value in found.items() if name in _FILES})
    return found


def _load(files: dict[str, str]) -> None:
    """See whether the files of TLS can be used. Raises ValueError."""
    context = ssl.create_default_context()
    authorities, folder = files.get("ssl_ca_certs"), files.get("ssl_ca_path")
    certificate, key = files.get("ssl_certfile"), files.get("ssl_keyfile")
    if folder is not None and not Path(folder).is_dir():
        raise ValueError("ssl_ca_path names no directory")
    if key is not None and certificate is None:
        raise ValueError("ssl_keyfile needs ssl_certfile beside it")
    try:
        if authorities is not None:
            context.load_verify_locations(cafile=authorities)
    except OSError:  # ssl.SSLError is one
        raise ValueError("ssl_ca_certs names no readable file of certificates (PEM)") from None
    try:
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError:
        raise ValueError("ssl_certfile and ssl_keyfile name no readable certificate with its key (PEM)") from None


def _database(parts: SplitResult, in_query: str | None) -> int:
    number = "" if parts.scheme == "unix" else parts.path.strip("/")
    if in_query is not None:
        if number:
            raise ValueError("it names the database twice")
        number = in_query or "-"
    if number and not (number.isascii() and number.isdigit() and len(number) <= 5):  # noqa: PLR2004 (more have no server)
        raise ValueError("the database is a number, such as 0")
    return int(number or 0)
