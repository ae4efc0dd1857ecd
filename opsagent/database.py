"""Prepared statements on Django's connection: for the few paths where round trips are the price of a request."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Final, TypeVar

import structlog
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from psycopg import Cursor
from psycopg.rows import namedtuple_row

log = structlog.get_logger(__name__)

R = TypeVar("R")
PLAN_SECONDS: Final = 10.0


def execute(sql: str, parameters: Mapping[str, Any]) -> "Cursor[Any]":
    """Run one statement, prepared on first use: one round trip, and outside a transaction a transaction of its own.

    Its rows come as named tuples. Inside a transaction a failure undoes this statement only. Raises Django's database
    exceptions.
    """
    # Django's own cursors bind parameters in the client and never prepare; a psycopg cursor on its connection does.
    connection.ensure_connection()
    alone = transaction.atomic() if connection.in_atomic_block else nullcontext()
    with connection.wrap_database_errors, alone:
        cursor = Cursor(connection.connection, row_factory=namedtuple_row)
        # PostgreSQL plans a prepared statement once. A plan made for tables that were nearly empty reads them whole when
        # they are full: every few seconds the statement's text changes, and a new plan is made.
        return cursor.execute(f"{sql} -- {int(time.monotonic() // PLAN_SECONDS)}", parameters, prepare=True)


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
