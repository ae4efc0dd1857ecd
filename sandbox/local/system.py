"""The product's processes and the sandbox, run on this machine as an operator runs them: from the Procfile."""

import contextlib
import functools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from cryptography.fernet import Fernet

from sandbox.local.ports import free_port
from sandbox.local.waiting import PATIENCE, eventually

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = ROOT / "hubspot_integration" / "project"
APP_ID, CLIENT_ID = 1_234_444, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
CLIENT_SECRET = "a-client-secret-that-only-this-machine-knows"  # noqa: S105 (of an app that exists nowhere else)
STOP_SECONDS = 60
ANSWER_SECONDS = 10


class NotStarted(Exception):
    """A process ended, or did not become ready in time. The message ends with the tail of its log."""


@dataclass
class System:
    """Web, worker, beat and sandbox as child processes; each writes its own log into `logs`.

    Used as a context manager: entering migrates the database and starts everything, leaving stops everything.
    Processes are named as in the Procfile, plus "sandbox"; `kill` and `start` act on one by name. More of a kind have a
    word of their own behind a dot: "worker.second". `web_workers` takes the place of the Procfile's number. `root` is the
    checkout whose processes run, for whoever compares one with another.
    """

    database_url: str
    redis_url: str
    logs: Path
    app_url: str = ""
    web_port: int = 0
    sandbox_port: int = 0
    smtp_port: int = 0
    web_workers: int | None = None
    sandbox_options: Iterable[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.web_port = self.web_port or free_port()
        self.app_url = self.app_url or f"http://localhost:{self.web_port}"
        self.sandbox_url = self.smtp_address = ""
        self._log_lengths: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self.start("sandbox")
            self.manage("migrate", "--verbosity", "0")
            for name in ("web", "worker", "beat"):
                self.start(name)
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The variables of `.env.example`, for this machine."""
        return {
            **{name: value for name, value in os.environ.items() if name not in _LEFT_OUT},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "SECRET_KEY": "this-key-signs-the-sessions-of-a-demo-on-one-machine-only",
            "ENCRYPTION_KEYS": _KEY,
            "CODE_PEPPERS": "a-pepper-for-a-demo-on-one-machine-only",
            "PUBLIC_BASE_URL": self.app_url,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "HUBSPOT_APP_ID": str(APP_ID),
            "HUBSPOT_CLIENT_ID": CLIENT_ID,
            "HUBSPOT_CLIENT_SECRETS": CLIENT_SECRET,
            "HUBSPOT_API_BASE_URL": self.sandbox_url,
            "HUBSPOT_APP_BASE_URL": self.sandbox_url,
            "EMAIL_URL": f"smtp://{self.smtp_address or 'localhost'}",
            "DEFAULT_FROM_EMAIL": "codes@opsagent.example",
            "HOST": "127.0.0.1",
            "PORT": str(self.web_port),
            **self.settings,
        }

    def start(self, name: str) -> None:
        """Start one process; the sandbox returns when it listens, the others at once."""
        if name == "sandbox":
            self._start_sandbox()
        else:
            command = self._procfile()[name.partition(".")[0]]
            if self.web_workers is not None:
                command = re.sub(r"--workers \d+", f"--workers {self.web_workers}", command)
            self.processes[name] = self._spawn(name, ["sh", "-c", f"exec {command}"], self.environment)

    def manage(self, *arguments: str) -> str:
        """Run a management command to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NotStarted(f"manage.py {arguments[0]} failed.\n{done.stderr[-2000:]}")
        return done.stdout

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process and all its children, and wait for its end."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self) -> None:
        """Ask every process to end, all at once, and wait."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for name in list(self.processes):
            self.kill(name, signal.SIGTERM)

    def wait_until_ready(self) -> None:
        """Wait until the web process answers and every worker takes tasks. Raises NotStarted."""
        self._wait("web", lambda: _answers(f"{self.app_url}/readyz"))
        for worker in [name for name in self.processes if name.partition(".")[0] == "worker"]:
            self._wait(worker, functools.partial(self._takes_tasks, worker))

    def log(self, name: str) -> str:
        """Return everything a process has written so far."""
        path = self.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _takes_tasks(self, worker: str) -> bool:
        return re.search(r" ready\.", self._log_since_start(worker)) is not None

    def _log_since_start(self, name: str) -> str:
        return self.log(name)[self._log_lengths[name] :]

    def _procfile(self) -> dict[str, str]:
        lines = (self.root / "Procfile").read_text().splitlines()
        return dict(line.split(": ", 1) for line in lines if line)

    def _start_sandbox(self) -> None:
        port = self.sandbox_url.rpartition(":")[2] or str(self.sandbox_port)
        smtp_port = self.smtp_address.rpartition(":")[2] or str(self.smtp_port)
        environment = {
            **{name: value for name, value in os.environ.items() if name not in _LEFT_OUT},
            "SANDBOX_APP_ID": str(APP_ID),
            "SANDBOX_CLIENT_ID": CLIENT_ID,
            "SANDBOX_CLIENT_SECRET": CLIENT_SECRET,
        }
        command = [
            sys.executable, "-m", "sandbox", "--project", str(PROJECT), "--set", f"API_BASE={self.app_url}",
            "--port", port, "--smtp-port", smtp_port, *self.sandbox_options,
        ]  # fmt: skip
        self.processes["sandbox"] = self._spawn("sandbox", command, environment)
        self._wait("sandbox", lambda: "\n" in self._log_since_start("sandbox"))
        addresses = json.loads(self._log_since_start("sandbox").partition("\n")[0])
        self.sandbox_url, self.smtp_address = addresses["http"], addresses["smtp"]

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._log_lengths[name] = len(self.log(name))
        with (self.logs / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C reaches us, and we end the children in order.
            return subprocess.Popen(
                command,
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        def has_ended() -> bool:
            return self.processes[name].poll() is not None

        with contextlib.suppress(AssertionError):
            if eventually(lambda: "ready" if ready() else "ended" if has_ended() else "") == "ready":
                return
        why = "ended" if has_ended() else f"was not ready within {PATIENCE:g} s"
        raise NotStarted(f"The process {name} {why}.\n{self.log(name)[-2000:]}")


_LEFT_OUT = frozenset({"EMAIL_BACKEND", "ALLOWED_HOSTS", "DEBUG", "SENTRY_DSN", "LOG_LEVEL", "DJANGO_SETTINGS_MODULE"})
_KEY = Fernet.generate_key().decode()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=ANSWER_SECONDS).is_success
    except httpx.HTTPError:
        return False
