"""The start: every missing or malformed value is named, with the remedy, and never shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import environment

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **environment.VALUES,
    "DATABASE_URL": "postgres://opsagent:s3cret@db.example:5432/opsagent",
    "REDIS_URL": "redis://localhost/0",
    "PATH": os.environ["PATH"],
}
SHOW = """
from django.conf import settings
import json
print(json.dumps({name: getattr(settings, name) for name in (
    "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS", "DEBUG", "ALLOWED_HOSTS",
    "DATABASES", "EMAIL_BACKEND", "ANYMAIL", "EMAIL_PORT", "EMAIL_USE_SSL", "EMAIL_USE_TLS", "DEFAULT_FROM_EMAIL")
    if hasattr(settings, name)}, default=str))
"""


def start(**changes: str | None) -> subprocess.CompletedProcess[str]:
    """Read the settings in a process of its own; None leaves a variable out."""
    values = {name: value for name, value in {**ENVIRONMENT, **changes}.items() if value is not None}
    values["DJANGO_SETTINGS_MODULE"] = "opsagent.settings"
    return subprocess.run(
        [sys.executable, "-c", SHOW], cwd=ROOT, env=values, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "name",
    [
        "SECRET_KEY", "PUBLIC_BASE_URL", "DATABASE_URL", "REDIS_URL", "ENCRYPTION_KEYS", "CODE_PEPPERS", "HUBSPOT_APP_ID",
        "HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_SECRETS", "EMAIL_URL", "DEFAULT_FROM_EMAIL",
    ],
)  # fmt: skip
def test_it_names_what_is_missing_and_the_remedy(name: str) -> None:
    done = start(**{name: None})
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"ImproperlyConfigured: {name} is not set. " in last
    assert len(last.split(" is not set. ")[1]) > 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "short-but-unguessable"),
        ("PUBLIC_BASE_URL", "http://otp.example.com"),
        ("PUBLIC_BASE_URL", "otp.example.com"),
        ("PUBLIC_BASE_URL", "https://otp.example.com/path"),
        ("PUBLIC_BASE_URL", "https://user@otp.example.com"),
        ("PUBLIC_BASE_URL", "https://otp.example.com:port"),
        ("PUBLIC_BASE_URL", "ftp://otp.example.com"),
        ("ENCRYPTION_KEYS", "not-a-fernet-key-SECRET"),
        ("ENCRYPTION_KEYS", " , "),
        ("CODE_PEPPERS", "too-short-SECRET"),
        ("HUBSPOT_APP_ID", "SECRET"),
        ("HUBSPOT_CLIENT_SECRETS", ","),
        ("DEBUG", "SECRET"),
        ("DATABASE_URL", "sqlite:///SECRET.db"),
        ("DATABASE_URL", "SECRET"),
        ("EMAIL_URL", "SECRET"),
        ("EMAIL_URL", "dummymail://"),
        ("EMAIL_URL", "consolemail://"),
        ("EMAIL_URL", "smtp://"),
        ("EMAIL_URL", "smtps://u:SECRET@mail.example:587"),
        ("EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend"),
        ("EMAIL_BACKEND", "SECRET.EmailBackend"),
        ("DEFAULT_FROM_EMAIL", "SECRET, Inc. <otp@example.com>"),
        ("DEFAULT_FROM_EMAIL", "otp@"),
        ("DEFAULT_FROM_EMAIL", "<>"),
        ("DEFAULT_FROM_EMAIL", "SECRET"),
        ("DEFAULT_FROM_EMAIL", "otp@example.com, SECRET@example.com"),
        ("PUBLIC_BASE_URL", "https://otp.example.com/"),
        ("ALLOWED_HOSTS", "https://SECRET.example.com"),
        ("ALLOWED_HOSTS", "*"),
        ("PROXY_COUNT", "SECRET"),
        ("PROXY_COUNT", "-1"),
        ("HUBSPOT_API_VERSION", "SECRET"),
        ("HUBSPOT_CLIENT_ID", "two SECRETS"),
        ("HUBSPOT_CLIENT_SECRETS", "two SECRETS"),
        ("DATABASE_URL", "postgres://u:SECRET@db.example"),
        ("DATABASE_URL", "postgres://u:SECRET@db.example/name?sslmode=SECRET"),
        ("ANYMAIL_WEBHOOK_SECRET", "SECRET"),
        ("ANYMAIL_DEBUG_API_REQUESTS", "true"),
        ("HUBSPOT_API_BASE_URL", "http://SECRET.example"),
        ("METRICS_TOKEN", "SECRET"),
        ("LOG_LEVEL", "SECRET"),
        ("LOG_LEVEL", "NOTSET"),
        ("SENTRY_DSN", "https://SECRET.example/1"),
        ("SENTRY_DSN", "https://key@SECRET.example/project"),
        ("SENTRY_DSN", "SECRET"),
    ],
)
def test_it_names_what_is_malformed_without_showing_it(name: str, value: str) -> None:
    done = start(**{name: value})
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"ImproperlyConfigured: {name} is malformed: " in last
    assert "SECRET" not in last.replace("SECRET_KEY", "").replace("CLIENT_SECRETS", "").replace("WEBHOOK_SECRET", "")


def test_it_lists_all_that_is_wrong_at_once() -> None:
    done = start(
        SECRET_KEY=None, PUBLIC_BASE_URL="otp.example.com", EMAIL_URL="smtp://", HUBSPOT_APP_ID="0", DEBUG="maybe"
    )
    assert done.returncode != 0
    said = done.stderr.rpartition("ImproperlyConfigured: ")[2].strip().splitlines()
    assert [line.partition(" is ")[0] for line in said] == [
        "SECRET_KEY", "DEBUG", "PUBLIC_BASE_URL", "HUBSPOT_APP_ID", "EMAIL_URL"
    ]  # fmt: skip
    assert all(line.endswith(".") for line in said)


def test_commands_say_the_same_without_a_traceback() -> None:
    values = {name: value for name, value in ENVIRONMENT.items() if name != "SECRET_KEY"} | {
        "DEFAULT_FROM_EMAIL": "otp@"
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor"], cwd=ROOT, env=values, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("ImproperlyConfigured: SECRET_KEY is not set. ")
    assert lines[1].startswith("DEFAULT_FROM_EMAIL is malformed: it does not hold exactly one e-mail address. ")


@pytest.mark.parametrize(
    ("backend", "missing"),
    [
        ("anymail.backends.postmark.EmailBackend", ["ANYMAIL_POSTMARK_SERVER_TOKEN"]),
        ("anymail.backends.mailjet.EmailBackend", ["ANYMAIL_MAILJET_API_KEY", "ANYMAIL_MAILJET_SECRET_KEY"]),
    ],
)
def test_it_asks_for_what_a_provider_needs(backend: str, missing: list[str]) -> None:
    done = start(EMAIL_URL=None, EMAIL_BACKEND=backend)
    said = done.stderr.rpartition("ImproperlyConfigured: ")[2].strip().splitlines()
    assert [line.partition(" is not set. ")[0] for line in said] == missing


def test_a_variable_from_a_file_has_the_same_type(tmp_path: Path) -> None:
    (tmp_path / "backend").write_text("django.core.mail.backends.dummy.EmailBackend\n")
    done = start(EMAIL_BACKEND_FILE=str(tmp_path / "backend"))
    assert "EMAIL_BACKEND is malformed: it sends nothing. " in done.stderr


def test_smtps_is_tls_from_the_first_byte() -> None:
    done = start(EMAIL_URL="smtps://u:p@mail.example")
    assert done.returncode == 0, done.stderr
    assert '"EMAIL_PORT": 465, "EMAIL_USE_SSL": true, "EMAIL_USE_TLS": false' in done.stdout


def test_a_sender_with_a_comma_is_quoted() -> None:
    done = start(DEFAULT_FROM_EMAIL='"Acme, Inc." <otp@straße.example>')
    assert done.returncode == 0, done.stderr
    assert r'"DEFAULT_FROM_EMAIL": "\"Acme, Inc.\" <otp@xn--strae-oqa.example>"' in done.stdout


def test_it_reads_values_from_files(tmp_path: Path) -> None:
    files: dict[str, str | None] = {}
    for name in ("SECRET_KEY", "DATABASE_URL", "EMAIL_URL", "METRICS_TOKEN"):
        (tmp_path / name).write_text(f"{ENVIRONMENT.get(name, 'a-token-of-more-than-32-characters')}\n")
        files |= {name: None, f"{name}_FILE": str(tmp_path / name)}
    done = start(**files)
    assert done.returncode == 0, done.stderr
    assert '"PASSWORD": "s3cret"' in done.stdout


def test_it_reads_a_providers_values_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-postmark-token\n")
    done = start(
        EMAIL_URL=None,
        EMAIL_BACKEND="anymail.backends.postmark.EmailBackend",
        ANYMAIL_POSTMARK_SERVER_TOKEN_FILE=str(tmp_path / "token"),
        ANYMAIL_DEBUG_API_REQUESTS="",
    )
    assert done.returncode == 0, done.stderr
    assert '"POSTMARK_SERVER_TOKEN": "a-postmark-token"' in done.stdout
    assert "DEBUG_API" not in done.stdout


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "SECRET_KEY_FILE names a file that cannot be read (No such file or directory)."),
        (b"", "SECRET_KEY_FILE names an empty file."),
        (b" \n", "SECRET_KEY_FILE names an empty file."),
        (b"\xff\xfe", "SECRET_KEY_FILE names a file that cannot be read (it is not text)."),
        (b"SECRET-but-short", "SECRET_KEY is malformed: it is shorter than 50 characters."),
    ],
)
def test_it_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    file = tmp_path / "secret_key"
    if content is not None:
        file.write_bytes(content)
    done = start(SECRET_KEY=None, SECRET_KEY_FILE=str(file))
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"ImproperlyConfigured: {complaint} " in last
    assert "SECRET-but" not in last


def test_it_takes_a_value_from_one_place_only(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text(ENVIRONMENT["SECRET_KEY"])
    done = start(SECRET_KEY_FILE=str(tmp_path / "secret_key"))
    assert "SECRET_KEY and SECRET_KEY_FILE are both set. Keep one of them." in done.stderr


@pytest.mark.parametrize("debug", ["true", "false"])
def test_it_is_strict_at_an_https_address_whatever_debug_says(debug: str) -> None:
    done = start(DEBUG=debug)
    assert done.returncode == 0, done.stderr
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT"):
        assert f'"{name}": true' in done.stdout
    assert '"SECURE_HSTS_SECONDS": 31536000' in done.stdout


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_it_speaks_plain_http_on_this_machine_only(host: str) -> None:
    done = start(PUBLIC_BASE_URL=f"http://{host}")
    assert done.returncode == 0, done.stderr
    assert '"SESSION_COOKIE_SECURE": false' in done.stdout
    assert '"SECURE_HSTS_SECONDS": 0' in done.stdout


def test_it_answers_to_the_public_host_when_no_hosts_are_listed() -> None:
    assert '"ALLOWED_HOSTS": ["otp.example.com"]' in start(ALLOWED_HOSTS=None).stdout
    ipv6 = start(ALLOWED_HOSTS=None, PUBLIC_BASE_URL="http://[::1]:8000")
    assert '"ALLOWED_HOSTS": ["[::1]"]' in ipv6.stdout


def test_it_reaches_a_database_through_a_socket_directory() -> None:
    done = start(DATABASE_URL="postgres://opsagent:x@/opsagent?host=/run/postgresql&sslmode=disable")
    assert done.returncode == 0, done.stderr
    assert '"host": "/run/postgresql"' in done.stdout
    assert '"sslmode": "disable"' in done.stdout
    assert '"connect_timeout": 5' in done.stdout


def test_it_prints_keys_before_there_are_any() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "generate_keys"], cwd=ROOT, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    keys = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(keys) == {"SECRET_KEY", "ENCRYPTION_KEYS", "CODE_PEPPERS"}
    assert start(**keys).returncode == 0


def test_the_example_file_lists_every_variable_that_the_settings_read() -> None:
    settings = (ROOT / "opsagent" / "settings.py").read_text()
    read = set(re.findall(r'environment\.read(?:_optional)?\(\s*"([A-Z_]+)"', settings)) | {"EMAIL_BACKEND"}
    example = (ROOT / ".env.example").read_text()
    assert {name for name in read if not re.search(rf"^#?{name}=", example, re.MULTILINE)} == set()
