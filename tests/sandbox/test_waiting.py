"""Waiting for other processes: patient, and plain about what was there instead."""

import httpx
import pytest

from sandbox.local.waiting import becomes, eventually


def test_it_returns_the_first_thing_that_is_wanted() -> None:
    seen = iter([0, 1, 2, 3])
    assert eventually(lambda: next(seen)) == 1
    assert eventually(lambda: next(seen), lambda number: number > 2) == 3


def test_it_asks_again_who_does_not_answer() -> None:
    replies: list[Exception | str] = [httpx.ConnectError("restarting"), httpx.ReadTimeout("busy"), "here"]
    answers = iter(replies)

    def look() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert eventually(look) == "here"


def test_it_shows_what_was_there_last() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s; there was last: \['pending'\]"):
        eventually(lambda: ["pending"], lambda found: found == ["sent"], seconds=0)


def test_it_looks_at_least_once_however_late_it_is() -> None:
    assert eventually(lambda: "here", seconds=-1) == "here"


def test_another_mistake_ends_it_at_once() -> None:
    nothing: dict[str, str] = {}
    with pytest.raises(KeyError):
        eventually(lambda: nothing["there"])


def test_equality_is_waited_for_and_both_sides_are_shown() -> None:
    seen = iter([1, 2])
    becomes(lambda: next(seen), 2)
    with pytest.raises(AssertionError, match="expected: 3, but not within 0 s; there was last: 1"):
        becomes(lambda: 1, 3, seconds=0)
