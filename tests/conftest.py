"""Fixtures that every test may ask for."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings as django_settings
from django.db import connection
from redis import Redis

from hubspot_integration import signature_versions
from hubspot_integration.models import Portal
from opsagent import broker, metrics, throttling
from otp.delivery import waking
from sandbox.local import system
from sandbox.local.system import System
from tests import factories
from tests.hubspot import HubSpot

# How long an example takes says what else the machine does.
hypothesis.settings.register_profile(
    "whatever-else-runs", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("whatever-else-runs")


@pytest.fixture(scope="session", autouse=True)
def _counts_leave_when_asked() -> Iterator[None]:
    """Keep what one test has counted from arriving in Redis during another: a thread brings it there by the clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "FLUSH_SECONDS", 3600.0)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let tests empty every table between them; the product's role may not truncate the audit log."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("GRANT TRUNCATE ON otp_auditevent, otp_auditlink, otp_auditchain TO CURRENT_USER")


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    """Start each test without wake keys and tasks of an earlier one."""
    with Redis.from_url(django_settings.REDIS_URL) as redis:
        redis.flushdb()


@pytest.fixture(autouse=True)
def _no_signatures_seen() -> None:
    """Start each test as a process that HubSpot has not called yet."""
    signature_versions.forget()


@pytest.fixture
def no_redis(settings: Any) -> Iterator[None]:
    """Redis is away."""
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    _forget_clients()
    yield
    _forget_clients()


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return a function that gives what was logged since its last call: lines of our own, and records of libraries."""
    caplog.set_level(logging.DEBUG)

    def text() -> str:
        written = capfd.readouterr().err + caplog.text
        caplog.clear()
        return written

    return text


def _forget_clients() -> None:
    broker.redis.cache_clear()
    throttling.shared.cache_clear()
    throttling.alone.cache_clear()
    waking._quiet_until = 0.0


@pytest.fixture
def portal(db: None) -> Portal:
    """A connected portal with every scope and default settings; HubSpot itself is out of reach."""
    grant = factories.OAuthGrantFactory.create()
    factories.OTPSettingsFactory.create(portal=grant.portal)
    return grant.portal


@pytest.fixture(scope="session")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The sandbox alone, as one process for the whole run."""
    logs: Path = tmp_path_factory.mktemp("sandbox")
    alone = System(database_url="", redis_url="", logs=logs, app_url=django_settings.PUBLIC_BASE_URL)
    try:
        alone.start("sandbox")
        yield alone
    finally:
        alone.stop()


@pytest.fixture
def hubspot(_sandbox: System, settings: Any, db: None) -> Iterator[HubSpot]:
    """The sandbox, as new; this process's settings point to its HTTP and SMTP servers."""
    settings.HUBSPOT_API_BASE_URL = settings.HUBSPOT_APP_BASE_URL = _sandbox.sandbox_url
    settings.HUBSPOT_CLIENT_ID, settings.HUBSPOT_CLIENT_SECRETS = system.CLIENT_ID, [system.CLIENT_SECRET]
    settings.HUBSPOT_APP_ID = system.APP_ID
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, _, port = _sandbox.smtp_address.rpartition(":")
    settings.EMAIL_PORT = int(port)
    with HubSpot(_sandbox.sandbox_url) as control:
        control.reset()
        yield control
