"""What every theme stands on: one PostgreSQL and one Valkey a run, databases that are migrated already, servers."""

import contextlib
import enum
import itertools
import os
import platform
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self, TypeVar

import psycopg
from psycopg import sql
from redis import Redis

from sandbox.local import servers
from sandbox.local.ports import free_port
from sandbox.local.system import ROOT, System

T = TypeVar("T")
START_SECONDS: Final = 60
GRANIAN: Final = ("--blocking-threads", "4", "--backpressure", "64", "--no-ws", "--log-level", "warning")
"""How the limit and peer programs are served: WSGI with as many processes and threads as the web process has."""
_TEMPLATE: Final = "opsagent"


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def python_build() -> str:
    """Name the Python that serves both sides: one that was built without optimisation is a third slower."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS"))
    kind = "optimised" if "--enable-optimizations" in arguments else "not optimised"
    return f"{platform.python_implementation()} {platform.python_version()}, {kind}"


class Scale(enum.Enum):
    """How long a run may take: minutes, most of an hour, or hours."""

    QUICK = "quick"
    DEFAULT = "default"
    FULL = "full"

    @classmethod
    def chosen(cls) -> "Scale":
        """Return what QUICK=1 or FULL=1 in the environment say."""
        if os.environ.get("QUICK") == "1":
            return cls.QUICK
        return cls.FULL if os.environ.get("FULL") == "1" else cls.DEFAULT

    def pick(self, quick: T, default: T, full: T | None = None) -> T:
        """Return the value of this scale; a full run's is the default one unless it has its own."""
        if self is Scale.QUICK:
            return quick
        return full if self is Scale.FULL and full is not None else default


class Stage:
    """The servers, while a run lasts. Used as a context manager."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._postgres = stack.enter_context(servers.postgres(_TEMPLATE))
            self._valkey = stack.enter_context(servers.valkey())
            self._logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._system(self._postgres.url).manage("migrate", "--verbosity", "0")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def database(self, *, empty: bool = False) -> str:
        """Return the address of a new database, with the product's tables unless it is to be `empty`."""
        name = f"bench_{next(self._numbers)}"
        template = sql.Identifier("template1" if empty else _TEMPLATE)
        with psycopg.connect(self._postgres.url.replace(f"/{_TEMPLATE}?", "/postgres?"), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        return self._postgres.url.replace(f"/{_TEMPLATE}?", f"/{name}?")

    def drop(self, database_url: str) -> None:
        """Throw a database away: large ones would stay until the run ends."""
        name = database_url.partition("@/")[2].partition("?")[0]
        with psycopg.connect(self._postgres.url.replace(f"/{_TEMPLATE}?", "/postgres?"), autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def whole_system(self, *, sandbox_options: tuple[str, ...] = ()) -> Iterator[System]:
        """Run web, worker, beat and the sandbox on a database of their own and an empty broker."""
        self._forget_messages()
        with self._system(self.database(), ("--no-request-log", *sandbox_options)) as system:
            yield system

    @contextlib.contextmanager
    def web(self, database_url: str, *, workers: int | None = None) -> Iterator[System]:
        """Run the web process of the Procfile alone: what is measured is the answer."""
        with self._serving(self._system(database_url, web_workers=workers)) as system:
            yield system

    @contextlib.contextmanager
    def earlier_web(self, commit: str, *, beside: System) -> Iterator[System]:
        """Run the web process of another commit on a database of its own, with the settings of the system beside it.

        Raises subprocess.CalledProcessError for a commit that git does not know.
        """
        with tempfile.TemporaryDirectory() as folder:
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
            subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
            system = self._system(self.database(empty=True), app_url=beside.app_url, root=Path(folder))
            system.manage("migrate", "--verbosity", "0")
            with self._serving(system):
                yield system

    @contextlib.contextmanager
    def _serving(self, system: System) -> Iterator[System]:
        try:
            system.start("web")
            wait_for(system.web_port, system.processes["web"])
            yield system
        finally:
            system.stop()

    def resting_system(self, *, path: str = "") -> System:
        """Return a system of which nothing runs, on a migrated database; its caller starts and stops."""
        return self._system(self.database(), settings={"PATH": path} if path else {})

    @contextlib.contextmanager
    def program(self, application: str, environment: Mapping[str, str], *, workers: int = 2) -> Iterator[int]:
        """Serve a WSGI program as the product is served; yield its port."""
        port = free_port()
        command = [
            "granian", "--interface", "wsgi", f"benchmarks.{application}", "--host", "127.0.0.1", "--port", str(port),
            "--workers", str(workers), *GRANIAN,
        ]  # fmt: skip
        process = subprocess.Popen(command, cwd=ROOT, env=dict(environment))
        try:
            wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait()

    def _system(
        self,
        database_url: str,
        sandbox_options: tuple[str, ...] = (),
        *,
        web_workers: int | None = None,
        settings: Mapping[str, str] | None = None,
        app_url: str = "",
        root: Path = ROOT,
    ) -> System:
        return System(
            database_url,
            f"{self._valkey.connection_url}/0",
            self._logs / str(next(self._numbers)),
            sandbox_options=sandbox_options,
            app_url=app_url,
            web_workers=web_workers,
            root=root,
            # Logs at their usual level would measure the disk; without a sandbox there is no mail server to name.
            settings={"LOG_LEVEL": "WARNING", **(settings or {})},
        )

    def _forget_messages(self) -> None:
        with Redis.from_url(f"{self._valkey.connection_url}/0") as redis:
            redis.flushall()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens on a port. Raises RuntimeError when that takes too long, or the process ends."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"Nobody listens on port {port}.")


def in_shell(system: System, call: str) -> str:
    """Call a function of `benchmarks.rows` in a process of the product; return the last word it prints."""
    printed = system.manage("shell", "--no-imports", "-c", f"from benchmarks import rows; print(rows.{call})")
    return printed.split()[-1]
