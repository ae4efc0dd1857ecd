"""The environment that tests, type checks and migration checks run the settings with: fixed, and good for nothing else."""

import os
from urllib.parse import urlsplit, urlunsplit

VALUES = {
    "SECRET_KEY": "a-fixed-key-for-tests-that-protects-nothing-but-is-long-enough",
    "PUBLIC_BASE_URL": "https://otp.example.com",
    "ALLOWED_HOSTS": "otp.example.com,testserver,localhost,127.0.0.1",
    "ENCRYPTION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "CODE_PEPPERS": "a-fixed-pepper-for-tests-of-40-characters",
    "HUBSPOT_APP_ID": "1234444",
    "HUBSPOT_CLIENT_ID": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "HUBSPOT_CLIENT_SECRETS": "opsagent-test-client-secret",
    "HUBSPOT_API_BASE_URL": "http://127.0.0.1:9",
    "HUBSPOT_APP_BASE_URL": "https://app.hubspot.com",
    "EMAIL_URL": "smtp://127.0.0.1:9",
    "DEFAULT_FROM_EMAIL": "codes@otp.example.com",
}


def install() -> None:
    """Set every value, whatever stands in the shell or in `.env`; databases are left as they are or unreachable."""
    os.environ.update(VALUES)
    for name in ("EMAIL_BACKEND", "SENTRY_DSN", "METRICS_TOKEN", "DEBUG", "LOG_LEVEL", "REDIS_TLS_VERIFY"):
        os.environ[name] = ""
    os.environ.setdefault("DATABASE_URL", "postgres://opsagent@127.0.0.1:9/opsagent")
    os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:9/0")


def database_url(name: str) -> str:
    """Return DATABASE_URL with another database's name."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{name}"))


def redis_of_processes(place: int) -> str:
    """Return the Redis that real processes use while a test runs: 1 or 2 behind the one that tests empty."""
    parts = urlsplit(os.environ["REDIS_URL"])
    return urlunsplit(parts._replace(path=f"/{int(parts.path.strip('/') or 0) + place}"))
