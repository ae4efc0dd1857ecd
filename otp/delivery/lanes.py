"""Part of a worker's threads, for work that slow servers can hold up: it never takes all of them."""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from django.db import close_old_connections

log = structlog.get_logger(__name__)

Key = tuple[int, str]
Job = Callable[[], object]

SLOW_SECONDS: Final = 4.0
"""Whoever held a lane for longer last time has met a server that does not answer: a turn is two seconds and a message."""


class Lanes:
    """At most so many jobs at once, in the threads of those who come with them; the others wait in line.

    Nobody is kept waiting: a job that finds no free lane is left for the thread that is free next. First come, first
    served, but jobs that were slow last time share half of the lanes, so that servers that hang do not hold up those that
    answer. The line is this process's own and may be lost with it: what is in it stands in the database.
    """

    def __init__(self, stopping: threading.Event, number: int = 1) -> None:
        self._stopping = stopping
        self._number = number
        self._lock = threading.Lock()
        self._waiting: dict[Key, Job] = {}
        self._running: set[Key] = set()
        self._slow: set[Key] = set()

    def widen(self, number: int) -> None:
        """Have so many lanes from now on."""
        self._number = number

    def enter(self, key: Key, job: Job) -> None:
        """Do a job, and after it what waits by then; or leave it to others. While it waits, the same again is once.

        Raises what a job raises; what waits then is done when the next job comes.
        """
        with self._lock:
            self._waiting.setdefault(key, job)
        while (found := self._next()) is not None:
            self._do(*found)

    def _next(self) -> tuple[Key, Job] | None:
        with self._lock:
            if self._stopping.is_set() or len(self._running) >= self._number:
                return None
            slow_ones = len(self._running & self._slow)
            room_for_slow_ones = slow_ones < max(1, self._number // 2)
            for key in self._waiting:
                if key not in self._running and (room_for_slow_ones or key not in self._slow):
                    self._running.add(key)
                    return key, self._waiting.pop(key)
            return None

    def _do(self, key: Key, job: Job) -> None:
        # As Celery does between tasks: a connection that failed is not used again.
        close_old_connections()
        began = time.monotonic()
        try:
            job()
        finally:
            with self._lock:
                self._running.discard(key)
                if time.monotonic() - began > SLOW_SECONDS:
                    self._slow.add(key)
                else:
                    self._slow.discard(key)
