"""`manage.py doctor` against real servers: each finding, its remedy and the exit code."""

import contextlib
import datetime as dt
import http.server
import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import time_machine
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from otp import tasks
from sandbox.local.servers import postgres
from sandbox.local.waiting import PATIENCE
from tests.audit_log import TABLES
from tests.generating import execution, outputs
from tests.hubspot import HubSpot

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
Findings = dict[str, dict[str, str]]


@pytest.fixture
def healthy(hubspot: HubSpot, live_server: LiveServer, settings: Any) -> HubSpot:
    """Everything in place: the app on a port, HubSpot's stand-in, a mail server, and a sweep a moment ago."""
    settings.PUBLIC_BASE_URL = live_server.url
    settings.SECURE_SSL_REDIRECT = False
    tasks.requeue_due()
    return hubspot


class Proxy:
    """A proxy that ends TLS with a certificate of its own, and may forget to say so."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend, self.says_https = backend, False
        self.certificate = _self_signed(folder)
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {"X-Forwarded-Proto": "https"} if proxy.says_https else {}
                headers["Host"] = self.headers["Host"]
                answer = httpx.get(proxy.backend + self.path, headers=headers, timeout=PATIENCE)
                self.send_response(answer.status_code)
                for name in ("Location", "Content-Type"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Serve."""
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = timezone.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


def doctor() -> tuple[int, Findings]:
    """Run the command; return its exit code and the findings by examination."""
    out = io.StringIO()
    try:
        call_command("doctor", "--json", stdout=out, stderr=io.StringIO())
        code = 0
    except SystemExit as end:
        code = int(str(end.code))
    report = json.loads(out.getvalue())
    assert report["ok"] is (code == 0)
    return code, {found.pop("examination"): found for found in report["findings"]}


def one(name: str, verdict: str = "failed") -> str:
    """Run the command; return what one examination saw and advised, after checking its verdict and the exit code."""
    code, findings = doctor()
    assert findings[name]["verdict"] == verdict, findings
    assert findings[name]["remedy"]
    assert code == (1 if verdict == "failed" else code)
    return f"{findings[name]['seen']} → {findings[name]['remedy']}"


def test_it_finds_all_well(healthy: HubSpot) -> None:
    with time_machine.travel(timezone.now(), tick=False):  # or the last sweep grows old while the others are asked
        healthy.connect()
        tasks.requeue_due()
        _, findings = doctor()
    # a laptop's address is http and its settings are a test's: warnings, not failures
    assert {name for name, found in findings.items() if found["verdict"] == "failed"} <= {"settings"}
    for name in (
        "database",
        "migrations",
        "sessions",
        "broker",
        "mail",
        "credentials",
        "tokens",
        "uploaded app",
        "clock",
    ):
        assert findings[name]["verdict"] == "ok", findings[name]
    assert findings["worker and beat"]["verdict"] == findings["deliveries"]["verdict"] == "ok"
    assert findings["audit log"]["verdict"] == "ok"
    assert findings["public address"]["verdict"] == "warning"
    assert "an ordinary role" in findings["database"]["seen"]
    assert next(iter(findings)) == "settings"


def test_it_shows_progress_and_remedies_to_people(healthy: HubSpot, settings: Any) -> None:
    settings.HUBSPOT_CLIENT_SECRETS = ["not-the-secret"]
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("doctor", stdout=out, no_color=True)
    assert end.value.code == 1
    assert "database        … ok: PostgreSQL " in out.getvalue()
    assert "credentials     … failed: HubSpot does not accept" in out.getvalue()
    assert "   → Copy both from the app's Auth tab" in out.getvalue()
    assert "not-the-secret" not in out.getvalue()


def test_it_tells_wrong_credentials_from_hubspot_being_away(healthy: HubSpot, settings: Any) -> None:
    fault = healthy.fault("oauth.token", kind="status", status=503)
    assert "did not answer" in one("credentials")
    healthy.release(fault)
    settings.HUBSPOT_CLIENT_ID = "another-app"
    assert "does not accept HUBSPOT_CLIENT_ID" in one("credentials")
    settings.HUBSPOT_API_BASE_URL = "http://127.0.0.1:9"
    assert "did not answer at http://127.0.0.1:9" in one("credentials")


def test_it_notices_another_app(healthy: HubSpot, settings: Any) -> None:
    healthy.connect()
    settings.HUBSPOT_APP_ID = 77
    assert "HUBSPOT_APP_ID says 77" in one("uploaded app")


def test_it_notices_missing_scopes(healthy: HubSpot) -> None:
    healthy.connect(scopes=["oauth", "crm.objects.contacts.read"])
    assert "lacks crm.objects.contacts.write" in one("uploaded app")


def test_it_notices_a_key_that_is_gone(healthy: HubSpot, settings: Any) -> None:
    healthy.connect()
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    assert "not in ENCRYPTION_KEYS" in one("tokens")


def test_it_notices_a_wrong_clock(healthy: HubSpot) -> None:
    with time_machine.travel(timezone.now().timestamp() + 400):
        assert "seconds off: HubSpot's signatures" in one("clock")


def test_it_notices_that_nobody_works(healthy: HubSpot) -> None:
    with time_machine.travel(timezone.now().timestamp() + 60):
        assert "no worker answers → Start the worker process" in one("worker and beat")


def test_it_notices_deliveries_that_wait(healthy: HubSpot) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        outputs(execution(healthy.connect(store_in_property=True, property_name="otp_code")))
        clock.shift(60)
        assert "waited for 60 seconds" in one("deliveries", "warning")


def test_it_notices_audit_lines_that_nobody_chains(healthy: HubSpot) -> None:
    outputs(execution(healthy.connect()))
    with time_machine.travel(timezone.now().timestamp() + 660):
        assert "the first line that is not chained was written 66" in one("audit log", "warning")


@pytest.mark.parametrize("table", TABLES)
def test_it_notices_that_the_audit_logs_guards_are_off(healthy: HubSpot, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        try:
            assert "is missing or switched off: what is on record is not protected" in one("audit log")
        finally:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_it_notices_a_broker_that_is_away(healthy: HubSpot, no_redis: None) -> None:
    _, findings = doctor()
    assert findings["broker"]["verdict"] == findings["worker and beat"]["verdict"] == "failed"
    assert "REDIS_URL" in findings["broker"]["remedy"]


def test_it_notices_a_mail_server_that_is_away(healthy: HubSpot, settings: Any) -> None:
    settings.EMAIL_PORT = 9
    assert "cannot be reached: ConnectionRefusedError → Check EMAIL_URL" in one("mail")


def test_it_notices_a_mail_server_that_wants_no_tls(healthy: HubSpot, settings: Any) -> None:
    settings.EMAIL_USE_TLS = True
    assert "→ Check EMAIL_URL" in one("mail")


def test_it_sends_no_mail(healthy: HubSpot) -> None:
    doctor()
    assert healthy.mails() == []


@pytest.fixture
def stranger() -> Iterator[str]:
    """Another web server at the public address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_notices_somebody_else_at_the_public_address(healthy: HubSpot, settings: Any, stranger: str) -> None:
    settings.PUBLIC_BASE_URL = stranger
    assert "not as this app does → Let the proxy forward it unchanged" in one("public address")


def test_it_notices_a_public_address_that_nobody_answers(healthy: HubSpot, settings: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings.PUBLIC_BASE_URL = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert "cannot be reached: ConnectionRefusedError" in one("public address")


@pytest.fixture
def proxy(healthy: HubSpot, settings: Any, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy with TLS at the public address, in front of the app."""
    backend = settings.PUBLIC_BASE_URL
    proxy = Proxy(backend, tmp_path)
    settings.PUBLIC_BASE_URL, settings.SECURE_SSL_REDIRECT = proxy.url, True
    with proxy.running():
        yield proxy


def test_it_is_content_with_a_proxy_that_says_https(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    proxy.says_https = True
    assert doctor()[1]["public address"]["verdict"] == "ok"


def test_it_notices_a_proxy_that_hides_https(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    assert "redirects to itself" in (found := one("public address"))
    assert "X-Forwarded-Proto: https" in found


def test_it_notices_a_certificate_that_nobody_trusts(proxy: Proxy) -> None:
    assert "the certificate is not valid (self-signed certificate)" in one("public address")


def test_it_warns_of_a_superuser() -> None:
    with postgres() as server:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "opsagent.settings",
            "DATABASE_URL": server._server.get_uri().replace("postgresql://", "postgres://"),
        }
        done = subprocess.run(
            [sys.executable, "manage.py", "doctor"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "but the role is a superuser" in done.stdout
    assert "→ Make an ordinary role" in done.stdout
    assert "not applied" in done.stdout


def test_it_notices_missing_migrations(healthy: HubSpot) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET name = name || '_' WHERE app = 'sessions'")
    try:
        assert "not applied → Run `python manage.py migrate`" in one("migrations")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE django_migrations SET name = rtrim(name, '_') WHERE app = 'sessions'")
