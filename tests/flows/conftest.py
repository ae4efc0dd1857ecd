"""The real processes on the test database: web, worker, beat, sandbox and mailbox."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from psycopg.errors import DeadlockDetected
from redis import Redis

from sandbox.local.system import System
from sandbox.local.waiting import eventually
from tests import environment
from tests.hubspot import HubSpot

_SHARED = ("ENCRYPTION_KEYS", "CODE_PEPPERS", "SECRET_KEY")


@pytest.fixture(scope="session")
def _patient_flush(django_db_setup: None) -> Iterator[None]:
    """Empty the tables after a test although workers use them: whoever loses a deadlock begins again."""
    flush = connection.ops.execute_sql_flush

    def flush_at_last(statements: Any) -> None:
        def is_done() -> bool:
            try:
                flush(statements)
            except OperationalError as error:
                if isinstance(error.__cause__, DeadlockDetected):
                    return False
                raise
            return True

        eventually(is_done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.ops, "execute_sql_flush", flush_at_last)
        yield


@pytest.fixture(scope="session")
def _processes(_patient_flush: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    database_url = environment.database_url(str(connection.settings_dict["NAME"]))
    system = System(
        database_url=database_url,
        redis_url=environment.redis_of_processes(1),  # not the one that tests empty
        logs=tmp_path_factory.mktemp("processes"),
        settings={name: environment.VALUES[name] for name in _SHARED},
    )
    with system:
        yield system


@pytest.fixture
def system(_processes: System, transactional_db: None) -> System:
    """Every process running, on an empty database."""
    for name in ("web", "worker", "beat"):
        if name not in _processes.processes:
            _processes.start(name)
    _processes.wait_until_ready()
    return _processes


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop whoever works unasked before a test that is not about them: it would find its rows worked on."""
    system = getattr(item, "funcargs", {}).get("system")
    if system is None or "system" in getattr(nextitem, "fixturenames", ()):
        return
    for name in ("beat", "worker"):
        if name in system.processes:
            system.kill(name)


@pytest.fixture
def hubspot(system: System) -> Iterator[HubSpot]:
    """The sandbox that the processes talk to, as new; nobody has begun to sign in yet."""
    with Redis.from_url(environment.redis_of_processes(1)) as redis:
        for key in redis.scan_iter("*hubspot-attempts*"):
            redis.delete(key)
    with HubSpot(system.sandbox_url) as control:
        control.reset()
        yield control
