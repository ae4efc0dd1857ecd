"""What `manage.py doctor` examines of the ground: settings, database, broker, mail, the public address."""

import contextlib
import http.client
import smtplib
import socket
import ssl
from typing import Any, Final

import orjson
from django.conf import settings
from django.core import checks, mail
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis import RedisError

from opsagent import broker
from opsagent.doctor import Finding, ask, examination, failed, ok, warning

OLDEST_POSTGRESQL: Final = 15
_MOVED: Final = frozenset({301, 302, 307, 308})


@examination("settings")
def examine_settings() -> Finding:
    """Run Django's own checks and ours, those for deployment included."""
    found = [check for check in checks.run_checks(include_deployment_checks=True) if not check.is_silenced()]
    if found:
        worst = max(found, key=lambda check: check.level)
        verdict = failed if worst.level >= checks.ERROR else warning
        return verdict(f"{worst.id}: {worst.msg}", worst.hint or "See Django's documentation of system checks.")
    keys, peppers = len(settings.ENCRYPTION_KEYS), len(settings.CODE_PEPPERS)
    return ok(f"complete; {keys} encryption {_noun('key', keys)}, {peppers} {_noun('pepper', peppers)}")


@examination("database")
def examine_database() -> Finding:
    """Connect, and look at the server's version and the role."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('server_version_num')::int / 10000, rolsuper, rolbypassrls "
                "FROM pg_roles WHERE rolname = current_user"
            )
            version, is_superuser, bypasses = cursor.fetchone()
    except DatabaseError as error:
        return failed(
            f"PostgreSQL cannot be used: {type(error).__name__}", "Check DATABASE_URL, and that the server runs."
        )
    if version < OLDEST_POSTGRESQL:
        return failed(f"PostgreSQL {version}", f"Use PostgreSQL {OLDEST_POSTGRESQL} or newer.")
    if is_superuser or bypasses:
        return warning(
            f"PostgreSQL {version}, but the role is a superuser: what protects the audit log does not hold for it",
            "Make an ordinary role, let it own the database, and name it in DATABASE_URL.",
        )
    return ok(f"PostgreSQL {version}, an ordinary role")


@examination("migrations")
def examine_migrations() -> Finding:
    """Compare the schema with the code."""
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return failed(f"the schema cannot be read: {type(error).__name__}", "Mend the database first.")
    if missing:
        number = len(missing)
        return failed(f"{number} {_noun('migration', number)} not applied", "Run `python manage.py migrate`.")
    return ok("all applied")


@examination("sessions")
def examine_sessions() -> Finding:
    """See whether a connection stays with one PostgreSQL session: advisory locks belong to sessions."""
    other = connection.copy()
    try:
        before = _session(connection)
        # Whoever pools transactions lends the session that has just become free to the next one in need.
        other.set_autocommit(False)
        _session(other)
        after = _session(connection)
        other.rollback()
    except DatabaseError as error:
        return failed(f"cannot be told: {type(error).__name__}", "Mend the database first.")
    finally:
        other.close()
    if before != after:
        return failed(
            "a pooler between app and database hands out sessions per transaction",
            "Let it pool by session (PgBouncer: pool_mode = session), or connect directly. See docs/scaling.md.",
        )
    return ok("each connection keeps its PostgreSQL session")


@examination("broker")
def examine_broker() -> Finding:
    """Speak to Redis or Valkey."""
    try:
        facts: dict[str, Any] = broker.redis().info()
    except RedisError as error:
        problem = broker.certificate_problem(error)
        if problem:
            return failed(
                f"Redis' certificate is not valid ({problem})",
                "Name the file of its authority in REDIS_URL (?ssl_ca_certs=/path/ca.pem) or in SSL_CERT_FILE, and call the "
                "server by the name that the certificate bears.",
            )
        return failed(f"Redis cannot be used: {type(error).__name__}", "Check REDIS_URL, and that the server runs.")
    version = facts.get("valkey_version") or facts.get("redis_version")
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory") and not str(policy).startswith(("noeviction", "volatile")):
        return warning(
            f"version {version} throws tasks away when its memory is full ({policy})",
            "Set maxmemory-policy to noeviction. What is lost is found again by the sweep, seconds later.",
        )
    if broker.is_unverified():
        return warning(
            f"version {version}, and whoever stands between could answer in its place: its certificate is not checked",
            "Leave REDIS_TLS_VERIFY out, and name its authority in REDIS_URL (?ssl_ca_certs=/path/ca.pem).",
        )
    return ok(f"version {version}")


@examination("mail")
def examine_mail() -> Finding:
    """Connect to the mail server and log in; no mail is sent."""
    name = settings.EMAIL_BACKEND.rpartition(".")[0]
    if not settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        return ok(
            f"{name}; whether the provider accepts its credentials shows with Send me a test on the settings page"
        )
    server = mail.get_connection(timeout=5)
    where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        server.open()
    except smtplib.SMTPAuthenticationError:
        return failed(f"{where} refuses user name and password", "Correct them in EMAIL_URL.")
    except ssl.SSLError:
        return failed(f"{where} does not speak TLS as asked", "Use smtp+tls:// for port 587, smtp+ssl:// for port 465.")
    except (OSError, smtplib.SMTPException) as error:
        return failed(
            f"{where} cannot be reached: {type(error).__name__}", "Check EMAIL_URL, and that this machine may connect."
        )
    finally:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            server.close()
    return ok(f"{where} answers")


@examination("public address")
def examine_public_address() -> Finding:
    """Call ourselves as HubSpot and browsers do."""
    base = settings.PUBLIC_BASE_URL
    try:
        answer = ask(f"{base}/healthz")
        front = ask(f"{base}/")
    except (OSError, http.client.HTTPException) as error:
        return _unreachable(base, error)
    if not _is_ours(answer.status, answer.body):
        return failed(
            f"{base}/healthz answers {answer.status}, and not as this app does", "Let the proxy forward it unchanged."
        )
    if front.status in _MOVED and front.headers.get("location", "").startswith(base):
        return failed(
            f"{base} redirects to itself: the app takes its requests for plain http",
            "Let the proxy send X-Forwarded-Proto: https.",
        )
    if base.startswith("http://"):
        return warning(f"{base} answers, on this machine only", "Use an https address that HubSpot can reach.")
    return ok(f"{base} answers")


def _unreachable(base: str, error: Exception) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        return failed(
            f"{base}: the certificate is not valid ({error.verify_message})", "Renew it, or install the whole chain."
        )
    if isinstance(error, socket.gaierror):
        return failed(f"{base}: the name is unknown", "Create the DNS record, or correct PUBLIC_BASE_URL.")
    return failed(
        f"{base} cannot be reached: {type(error).__name__}", "Check the proxy, the firewall and the web process."
    )


def _is_ours(status: int, body: bytes) -> bool:
    try:
        return status == http.client.OK and orjson.loads(body) == {"status": "ok"}
    except orjson.JSONDecodeError:
        return False


def _session(database: Any) -> int:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _noun(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"
