"""Servers of their own, because these tests stop and restart them; and the table at the end."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.local import servers
from sandbox.local.control import Control
from sandbox.local.system import System
from tests.faults.world import Verdict, World

VERDICTS: list[Verdict] = []


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with servers.postgres() as postgres, servers.valkey() as valkey:
        system = System(
            postgres.url,
            valkey.connection_url,
            tmp_path_factory.mktemp("faults"),
            sandbox_options=("--retry-base-seconds", "1"),
        )
        with system, Control(system.sandbox_url) as hubspot:
            world = World(postgres, valkey, system, hubspot, hubspot.portal_ids()[0])
            world.install()
            yield world


@pytest.fixture
def world(_world: World) -> World:
    """Everything running, no fault switched on, the app installed."""
    for name in ("web", "worker", "beat"):
        if name not in _world.system.processes:
            _world.system.start(name)
    _world.system.wait_until_ready()
    _world.hubspot.delete("/faults")
    _world.hubspot.delete("/mails")
    if not _world.connected():
        _world.install()
    return _world


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Any:
    """Put a verdict into the table, and hold it to the promise: nothing lost, nothing late, nothing doubled."""

    def enter(verdict: Verdict, *, doubles: int = 0) -> None:
        VERDICTS.append(verdict)
        assert (verdict.lost, verdict.late) == (0, 0), verdict.problems[:3]
        assert verdict.doubled <= doubles

    return enter


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if not VERDICTS:
        return
    terminalreporter.section("faults")
    terminalreporter.line(f"{'fault':58}{'injected':>9}{'codes':>7}{'lost':>6}{'late':>6}{'doubled':>9}")
    for row in VERDICTS:
        terminalreporter.line(
            f"{row.fault:58}{row.injected:9}{row.codes:7}{row.lost:6}{row.late:6}{row.doubled:9}  {row.remark}"
        )
