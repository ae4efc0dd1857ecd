"""Several at the same moment, each with a database connection of its own."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import connection

from sandbox.local.waiting import PATIENCE, eventually

T = TypeVar("T")


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls at the same moment, each in a thread of its own; return what they gave, in order."""
    start = threading.Barrier(len(calls))
    given: dict[int, T] = {}

    def run(number: int) -> None:
        try:
            with connection.cursor():  # connected before the start
                start.wait(PATIENCE)
            given[number] = calls[number]()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == len(calls), "a call failed"
    return [given[number] for number in range(len(calls))]


def until_somebody_waits_for_a_lock() -> None:
    """Return when another connection waits for a row or lock that this one holds."""

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid() = ANY (pg_blocking_pids(pid)) FROM pg_locks WHERE NOT granted")
            return any(ours for (ours,) in cursor.fetchall())

    eventually(waits)
