"""Waiting for what other processes do: look until it is so."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

import httpx
import psycopg

PATIENCE: Final = 180.0
"""Seconds. So long a state may take on a busy machine; one that comes is seen at once, so patience costs nothing."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_AWAY: Final = (httpx.TransportError, psycopg.OperationalError)

T = TypeVar("T")


def pace(seconds: float) -> None:
    """Let time pass for somebody who is slow on purpose. Never a way to wait for something: that is `eventually`."""
    time.sleep(seconds)


def eventually(look: Callable[[], T], wanted: Callable[[T], object] = bool, *, seconds: float = PATIENCE) -> T:
    """Return the first thing that `look` gives and that is `wanted`: by default anything that is true.

    It is looked less and less often, so that whoever is watched is not kept busy by it. Somebody who is asked and does
    not answer (he may be restarting) is asked again. Raises AssertionError after `seconds`: the message shows what was
    there last.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            found = look()
        except _AWAY as problem:
            last = repr(problem)
        else:
            if wanted(found):
                return found
            last = repr(found)
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s; there was last: {last[:2000]}")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def becomes(look: Callable[[], object], expected: object, *, seconds: float = PATIENCE) -> None:
    """Wait until `look` gives what is expected; fail as an assertion of equality would, showing both."""
    try:
        eventually(look, lambda found: found == expected, seconds=seconds)
    except AssertionError as problem:
        raise AssertionError(f"expected: {expected!r}, but {problem}") from None
