"""Prepared statements on Django's connection: for the few paths where round trips are the price of a request."""

import operator
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Final, Generic, TypeVar

import structlog
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from psycopg import Cursor
from psycopg.rows import RowFactory, args_row, namedtuple_row

log = structlog.get_logger(__name__)

R = TypeVar("R")
Feed = TypeVar("Feed")
Row = TypeVar("Row")
PLAN_SECONDS: Final = 10.0


class _Kept(threading.local):
    cursor: "Cursor[Any] | None" = None


_kept = _Kept()


class Statement(Generic[Feed, Row]):
    """One SQL document, with the type of the value that feeds it and the type of the rows that it gives.

    A parameter names an attribute of the feed: `%(order.now)s` is `feed.order.now`. A row is made by calling `row` with
    the columns in the document's order. Runs as `execute` does, and raises what that raises.
    """

    def __init__(self, text: str, *, feed: type[Feed], row: Callable[..., Row]) -> None:
        self.text = text
        self.feed = feed
        self.row = row
        self.parameters = tuple(dict.fromkeys(re.findall(r"%\(([\w.]+)\)s", text)))
        self._values = operator.attrgetter(*self.parameters)
        self._make_row = args_row(row)

    def rows(self, feed: Feed) -> list[Row]:
        """Run the document once, with values from `feed`; return all its rows."""
        parameters = dict(zip(self.parameters, self._values(feed), strict=True))
        rows: list[Row] = execute(self.text, parameters, row_factory=self._make_row).fetchall()
        return rows


def execute(
    sql: str, parameters: Mapping[str, Any], *, row_factory: "RowFactory[Any]" = namedtuple_row
) -> "Cursor[Any]":
    """Run one statement, prepared on first use: one round trip, and outside a transaction a transaction of its own.

    Its rows come as named tuples, or as `row_factory` makes them, from a cursor that is this thread's: read them before
    the next call. Inside a transaction a failure undoes this statement only. Raises Django's database exceptions.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.connection is None:
        database.ensure_connection()
    alone = transaction.atomic() if database.in_atomic_block else nullcontext()
    with database.wrap_database_errors, alone:
        # PostgreSQL plans a prepared statement once. A plan made for tables that were nearly empty reads them whole when
        # they are full: every few seconds the statement's text changes, and a new plan is made.
        cursor = _cursor_on(database.connection)
        cursor.row_factory = row_factory
        return cursor.execute(f"{sql} -- {int(time.monotonic() // PLAN_SECONDS)}", parameters, prepare=True)


def _cursor_on(raw: Any) -> "Cursor[Any]":
    # Django's own cursors bind parameters in the client and never prepare; a psycopg cursor on its connection does. It is
    # kept, because a new one has to find out anew how every type is written and read: half the price of a statement.
    cursor = _kept.cursor
    if cursor is None or cursor.connection is not raw:
        cursor = _kept.cursor = Cursor(raw, row_factory=namedtuple_row)
    return cursor


@receiver(connection_created)
def prepare_and_plan_once(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Let psycopg prepare what `execute` sends, and PostgreSQL keep one plan of it for whatever values.

    Django switches prepared statements off altogether, and its own cursors go on without. One plan is right for ours, which
    find every row by an index; making it costs more than the statement
    (https://www.postgresql.org/docs/18/runtime-config-query.html).
    """
    connection.connection.prepare_threshold = 0
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")


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
