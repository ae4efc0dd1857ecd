"""A sandbox and an app for these tests: real processes and sockets, and nothing of the product."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.app import App, write_project
from tests.sandbox.client import Process, Sandbox


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    """These tests know no Redis: take the place of the fixture that empties it."""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app's developer project."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def _app() -> Iterator[App]:
    app = App()
    yield app
    app.close()


@pytest.fixture
def app(_app: App) -> App:
    """The app, answering every action with success."""
    _app.reset()
    return _app


@pytest.fixture(scope="session")
def _process(project: Path, _app: App) -> Iterator[Process]:
    process = Process(project, "--profile", "test", "--set", f"BASE={_app.url}")
    yield process
    process.stop()


@pytest.fixture
def sandbox(_process: Process) -> Sandbox:
    """The sandbox, as new."""
    return Sandbox(_process)
