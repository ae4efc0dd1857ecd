"""Transactions whose statements share round trips: for the few paths where a round trip is the price of a request.

Source: https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import structlog
from django.db import OperationalError, connection, transaction
from psycopg import Connection, Cursor
from psycopg.rows import namedtuple_row

log = structlog.get_logger(__name__)

R = TypeVar("R")


def execute(sql: str, parameters: Mapping[str, Any]) -> "Cursor[Any]":
    """Run one statement, prepared on first use: one round trip, and outside a transaction a transaction of its own.

    Its rows come as named tuples. Inside a transaction a failure undoes this statement only. Raises Django's database
    exceptions.
    """
    # Django's own cursors bind parameters in the client and never prepare; a psycopg cursor on its connection does.
    connection.ensure_connection()
    alone = transaction.atomic() if connection.in_atomic_block else contextlib.nullcontext()
    with connection.wrap_database_errors, alone:
        return Cursor(connection.connection, row_factory=namedtuple_row).execute(sql, parameters, prepare=True)


class Statements:
    """Sends prepared statements without waiting for their answers."""

    def __init__(self, raw: Connection[Any]) -> None:
        self._raw = raw

    def send(self, sql: str, parameters: Mapping[str, Any]) -> "Cursor[Any]":
        """Queue a statement; its rows (named tuples) can be fetched from what is returned. Fetching waits."""
        # A psycopg cursor on Django's connection: Django's own binds parameters in the client and never prepares.
        cursor = Cursor(self._raw, row_factory=namedtuple_row)
        return cursor.execute(sql, parameters, prepare=True)


@contextlib.contextmanager
def pipelined_transaction() -> Iterator[Statements]:
    """Open a transaction (a savepoint inside another one) whose statements travel together.

    BEGIN travels with the first statements, COMMIT with the last: reading, deciding and writing costs two round trips.
    An error of a statement shows where an answer is next waited for, at the latest at the end of the block. Raises
    Django's database exceptions. What runs inside must not use the ORM: each of its queries waits.
    """
    connection.ensure_connection()
    nested = connection.in_atomic_block
    raw = connection.connection
    with connection.wrap_database_errors, raw.pipeline() as pipeline, transaction.atomic():
        yield Statements(raw)
        if nested:
            pipeline.sync()  # an error must be met while the savepoint can still be rolled back


def once_more_when_disconnected(work: Callable[[], R]) -> R:
    """Do `work`; do it once more on a fresh connection if the kept one turns out to be dead.

    In place of a health check, which would cost every request a round trip. For work that may safely run twice.
    """
    connection.health_check_done = True  # type: ignore[attr-defined]  # the stubs do not know it
    try:
        return work()
    except OperationalError:
        if connection.in_atomic_block or connection.is_usable():
            raise
        log.info("database_reconnected")
        connection.close()
        return work()
