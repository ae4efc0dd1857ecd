"""Fixtures that every test may ask for."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from redis import Redis

from hubspot_integration.models import Portal
from tests import factories


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    """Start each test without wake keys and tasks of an earlier one."""
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.flushdb()
    yield


@pytest.fixture
def portal(db: None) -> Portal:
    """A connected portal with every scope and default settings."""
    grant = factories.OAuthGrantFactory.create()
    factories.OTPSettingsFactory.create(portal=grant.portal)
    return grant.portal
