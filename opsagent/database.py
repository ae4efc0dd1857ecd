"""Prepared statements on Django's connection: for the few paths where round trips are the price of a request.

Django's own cursors bind parameters in the client and never prepare. A cursor of psycopg's would prepare, but learns
anew with every text how each type is written and read, and waits for the answer in Python: two thirds of a statement's
price. So these statements go through libpq's `PQexecPrepared`, with psycopg's adaptation in front of it and behind it
(https://www.psycopg.org/psycopg3/docs/api/pq.html, https://www.psycopg.org/psycopg3/docs/api/adapt.html).
"""

import operator
import re
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import structlog
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from psycopg import Connection, errors, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq.abc import PGresult

log = structlog.get_logger(__name__)

R = TypeVar("R")
Feed = TypeVar("Feed")
Row = TypeVar("Row")
PLAN_SECONDS: Final = 10.0
_PREPARED_AT_MOST: Final = 200


class Statement(Generic[Feed, Row]):
    """One SQL document, with the type of the value that feeds it and the type of the rows that it gives.

    A parameter names an attribute of the feed: `%(order.now)s` is `feed.order.now`. A row is made by calling `row` with
    the columns in the document's order.
    """

    def __init__(self, text: str, *, feed: type[Feed], row: Callable[..., Row]) -> None:
        self.text = text
        self.feed = feed
        self.row = row
        self.parameters, self._sql = _numbered(text)
        self._values = operator.attrgetter(*self.parameters)

    def rows(self, feed: Feed) -> list[Row]:
        """Run the document with values from `feed`; return all its rows.

        It is prepared on first use: one round trip, and outside a transaction a transaction of its own. Inside a
        transaction a failure undoes this statement only. Raises Django's database exceptions.
        """
        session, result = _run(self._sql, self._values(feed))
        return session.rows(result, self.row)


class Rows(list[Any]):
    """What a statement gave, as a cursor would tell it."""

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        super().__init__(rows)
        self.rowcount = rowcount

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        return self

    def fetchone(self) -> Any | None:
        """Return the first row, if there is one."""
        return self[0] if self else None


def execute(sql: str, parameters: Mapping[str, Any]) -> Rows:
    """Run one statement as `Statement.rows` does; its rows come as named tuples."""
    names, numbered = _numbered(sql)
    session, result = _run(numbered, [parameters[name] for name in names])
    columns = tuple((result.fname(column) or b"").decode() for column in range(result.nfields))
    return Rows(session.rows(result, _row_type(columns)), result.command_tuples or 0)


@lru_cache(maxsize=100)
def _row_type(columns: tuple[str, ...]) -> Callable[..., Any]:
    return namedtuple("Row", columns)  # noqa: PYI024 (the columns are known when it runs)


@lru_cache(maxsize=100)
def _numbered(text: str) -> tuple[tuple[str, ...], bytes]:
    """Return the parameters that a text names, and the text with their numbers in place of their names."""
    names = tuple(dict.fromkeys(re.findall(r"%\(([\w.]+)\)s", text)))
    numbers = {name: f"${number}" for number, name in enumerate(names, start=1)}
    return names, re.sub(r"%\(([\w.]+)\)s", lambda found: numbers[found[1]], text).encode()


class _Session:
    """What is known of one connection: which statements it has prepared, and how types are written and read."""

    def __init__(self, raw: "Connection[Any]") -> None:
        self.raw = raw
        self._transformer = Transformer(raw)
        self._prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._plans_until = time.monotonic() + PLAN_SECONDS

    def run(self, sql: bytes, values: Sequence[object]) -> PGresult:
        """Run a statement. Raises psycopg's exceptions."""
        pgconn, transformer = self.raw.pgconn, self._transformer
        # PostgreSQL plans a prepared statement once. A plan made for tables that were nearly empty reads them whole when
        # they are full: every few seconds all plans are made anew
        # (https://www.postgresql.org/docs/current/sql-discard.html).
        if time.monotonic() > self._plans_until:
            _checked(pgconn.exec_(b"DISCARD PLANS"))
            self._plans_until = time.monotonic() + PLAN_SECONDS
        parameters = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
        # A number's type depends on its size, and that of None is unknown: a statement for each combination that occurs.
        types = transformer.types or ()
        name = self._prepared.get((sql, types)) or self._prepare(sql, types)
        # psycopg's stubs do not know that a parameter may be NULL here; its own cursors pass it so.
        return _checked(pgconn.exec_prepared(name, parameters, transformer.formats))  # type: ignore[arg-type]

    def rows(self, result: PGresult, row: Callable[..., R]) -> list[R]:
        """Return a result's rows, made by `row`."""
        self._transformer.set_pgresult(result)
        rows: list[R] = self._transformer.load_rows(0, result.ntuples, lambda columns: row(*columns))
        return rows

    def _prepare(self, sql: bytes, types: tuple[int, ...]) -> bytes:
        if len(self._prepared) >= _PREPARED_AT_MOST:
            _checked(self.raw.pgconn.exec_(b"DEALLOCATE ALL"))
            self._prepared.clear()
        name = b"opsagent_%d" % len(self._prepared)
        _checked(self.raw.pgconn.prepare(name, sql, types))
        self._prepared[sql, types] = name
        return name


def _checked(result: PGresult) -> PGresult:
    """Return a result that is one. Raises the exception of psycopg's for what PostgreSQL, or libpq, said instead."""
    if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return result
    if result.error_field(pq.DiagnosticField.SQLSTATE) is None:
        # PostgreSQL gives every error a code: this one is libpq's own, whose connection is lost.
        raise errors.OperationalError(result.get_error_message())
    raise errors.error_from_result(result)


class _Kept(threading.local):
    session: _Session | None = None


_kept = _Kept()


def _run(sql: bytes, values: Sequence[object]) -> tuple[_Session, PGresult]:
    database = connections[DEFAULT_DB_ALIAS]
    if database.connection is None:
        database.ensure_connection()
    session = _kept.session
    if session is None or session.raw is not database.connection:
        session = _kept.session = _Session(database.connection)
    # A savepoint inside a transaction; it also begins the transaction, which Django leaves to the first statement.
    alone = transaction.atomic() if database.in_atomic_block else nullcontext()
    with database.wrap_database_errors, alone:
        return session, session.run(sql, values)


@receiver(connection_created)
def plan_once(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Let PostgreSQL keep one plan of what is prepared, for whatever values.

    One plan is right for our statements, which find every row by an index; making it costs more than the statement
    (https://www.postgresql.org/docs/current/runtime-config-query.html).
    """
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")


def in_the_end(work: Callable[[], R], *, seconds: float) -> R:
    """Do `work`, again and again on fresh connections for so many seconds if the kept one turns out to be dead.

    For what must be written down because it has happened. It may safely run twice; not for use inside a transaction.
    """
    until, pause = time.monotonic() + seconds, 0.0
    while True:
        try:
            return work()
        except OperationalError:
            if connection.in_atomic_block or connection.is_usable() or time.monotonic() > until:
                raise
            log.info("database_reconnecting")
            connection.close()
            time.sleep(pause)
            pause = min(1.0, pause + 0.1)


def once_more_when_disconnected(work: Callable[[], R]) -> R:
    """Do `work`; do it once more on a fresh connection if the kept one turns out to be dead.

    In place of a health check, which would cost every request a round trip. For work that may safely run twice.
    """
    try:
        return work()
    except OperationalError:
        if connection.in_atomic_block or connection.is_usable():
            raise
        log.info("database_reconnected")
        connection.close()
        return work()
