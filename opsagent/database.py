"""Prepared statements on Django's connection: for the few paths where round trips are the price of a request."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Final, TypeVar

import structlog
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from psycopg import Cursor
from psycopg.rows import namedtuple_row

log = structlog.get_logger(__name__)

R = TypeVar("R")
PLAN_SECONDS: Final = 10.0


class _Kept(threading.local):
    cursor: "Cursor[Any] | None" = None


_kept = _Kept()


def execute(sql: str, parameters: Mapping[str, Any]) -> "Cursor[Any]":
    """Run one statement, prepared on first use: one round trip, and outside a transaction a transaction of its own.

    Its rows come as named tuples, from a cursor that is this thread's: read them before the next call. Inside a
    transaction a failure undoes this statement only. Raises Django's database exceptions.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.connection is None:
        database.ensure_connection()
    alone = transaction.atomic() if database.in_atomic_block else nullcontext()
    with database.wrap_database_errors, alone:
        # PostgreSQL plans a prepared statement once. A plan made for tables that were nearly empty reads them whole when
        # they are full: every few seconds the statement's text changes, and a new plan is made.
        return _cursor_on(database.connection).execute(
            f"{sql} -- {int(time.monotonic() // PLAN_SECONDS)}", parameters, prepare=True
        )


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
