"""Work that a process does beside its requests: a thread that begins when it is first wanted."""

import atexit
import os
import threading
from collections.abc import Callable
from typing import Final

# How long a process that ends waits for the last step.
LAST_STEP_SECONDS: Final = 20.0


class Background:
    """A thread that takes a step again and again, for as long as the process lives.

    `step` returns how many seconds to wait before the next; None: until `nudge`. A forked child has no such thread, because
    threads do not live on in it: there `begin_anew` forgets what is the parent's to do, and `start` works as at first.
    `at_exit` is what to do when a process ends in which the thread was started.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        begin_anew: Callable[[], None],
        at_exit: Callable[[], None] | None = None,
    ) -> None:
        self._name, self._step, self._at_exit = name, step, at_exit
        self._thread: threading.Thread | None = None
        self._renew()
        os.register_at_fork(after_in_child=self._renew)
        os.register_at_fork(after_in_child=begin_anew)

    def start(self, *, after: float = 0.0) -> None:
        """Take the first step `after` so many seconds. Does nothing while the thread is there; costs no lock then."""
        if self._thread is None:
            with self._lock:
                self._begin(after)

    def nudge(self) -> None:
        """Let the next step be now."""
        self._nudged.set()

    def stop(self) -> None:
        """Take a last step, and wait for its end. Does nothing when the thread was not started."""
        if self._thread is not None:
            self._ending = True
            self._nudged.set()
            self._thread.join(LAST_STEP_SECONDS)
            self._thread, self._ending = None, False

    def _begin(self, after: float) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, args=(after,), name=self._name, daemon=True)
        self._thread.start()
        if self._at_exit is not None:
            atexit.unregister(self._at_exit)  # a child has its parent's already
            atexit.register(self._at_exit)

    def _run(self, pause: float | None) -> None:
        while True:
            self._nudged.wait(pause)
            self._nudged.clear()
            ending = self._ending  # asked before the step, so that the last one sees everything
            pause = self._step()
            if ending:
                return

    def _renew(self) -> None:
        self._thread, self._ending = None, False
        self._lock, self._nudged = threading.Lock(), threading.Event()
