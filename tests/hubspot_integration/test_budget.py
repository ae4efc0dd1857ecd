"""The budget of HubSpot calls: exact over all processes, safe without Redis."""

import threading
from collections.abc import Iterator

import pytest
import time_machine
from django.utils import timezone

from hubspot_integration import budget
from hubspot_integration.budget import BudgetSpent


@pytest.fixture(autouse=True)
def _no_time_passes() -> Iterator[None]:
    """Hold the clock: the window is one of ten seconds, which a busy machine may need for a hundred calls."""
    with time_machine.travel(timezone.now(), tick=False):
        yield


def taken(portal_id: int, attempts: int) -> int:
    """Try to take so many calls; return how many were allowed."""
    allowed = 0
    for _ in range(attempts):
        try:
            budget.take(portal_id)
        except BudgetSpent:
            continue
        allowed += 1
    return allowed


def test_it_allows_a_hundred_calls_in_ten_seconds() -> None:
    assert taken(1, 130) == 100
    assert taken(2, 10) == 10


def test_it_says_when_there_will_be_room() -> None:
    taken(1, 100)
    with pytest.raises(BudgetSpent) as caught:
        budget.take(1)
    assert not caught.value.permanent
    assert caught.value.retry_after is not None
    assert caught.value.retry_after == pytest.approx(10, abs=1)


def test_it_is_exact_when_many_ask_at_once() -> None:
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(taken(1, 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 100


def test_it_makes_the_pause_that_hubspot_asked_for() -> None:
    budget.pause(1, 3000)  # Redis keeps the time itself, whatever the clock here says
    with pytest.raises(BudgetSpent) as caught:
        budget.take(1)
    assert caught.value.retry_after is not None
    assert 2800 < caught.value.retry_after <= 3000
    budget.take(2)


def test_it_knows_which_part_is_left() -> None:
    assert budget.share_left(1) == 1.0
    taken(1, 75)
    assert budget.share_left(1) == 0.25


def test_it_allows_itself_a_small_share_when_redis_is_away(no_redis: None) -> None:
    assert taken(1, 50) == 20
    budget.pause(1, 30)
    assert budget.share_left(1) == 1.0
