"""Lanes: a part of the threads for what slow servers can hold up."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from otp.delivery import lanes
from otp.delivery.lanes import Lanes
from tests.hubspot import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Traffic:
    """Threads that come with jobs, as those of a Celery worker do; each job lasts until it is let go."""

    def __init__(self, number: int) -> None:
        self.stopping = threading.Event()
        self.lanes = Lanes(self.stopping, number)
        self.begun: list[int] = []
        self.ends: dict[int, threading.Event] = {}
        self.threads = ThreadPoolExecutor(16)

    def come(self, number: int) -> "Future[None]":
        end = self.ends.setdefault(number, threading.Event())

        def job() -> None:
            self.begun.append(number)
            end.wait(20)

        return self.threads.submit(self.lanes.enter, (number, "email"), job)

    def end(self, *numbers: int) -> None:
        for number in numbers:
            self.ends[number].set()


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    traffic = Traffic(2)
    yield traffic
    traffic.stopping.set()
    traffic.end(*traffic.ends)
    traffic.threads.shutdown()


def test_whoever_finds_no_lane_is_not_kept_waiting(traffic: Traffic) -> None:
    traffic.come(1)
    traffic.come(2)
    eventually(lambda: len(traffic.begun) == 2)
    for number in (3, 4, 3):
        traffic.come(number).result(20)
    assert sorted(traffic.begun) == [1, 2]


def test_the_line_is_served_in_its_order_and_each_once(traffic: Traffic) -> None:
    traffic.come(1)
    traffic.come(2)
    eventually(lambda: len(traffic.begun) == 2)
    for number in (3, 4, 3, 5):
        traffic.come(number).result(20)
    traffic.end(1)
    eventually(lambda: traffic.begun[2:] == [3])
    traffic.end(3, 4, 5)
    eventually(lambda: traffic.begun[2:] == [3, 4, 5])


def test_one_that_comes_again_while_it_runs_runs_again_afterwards(traffic: Traffic) -> None:
    traffic.come(1)
    eventually(lambda: traffic.begun == [1])
    traffic.come(1).result(20)
    assert traffic.begun == [1]
    traffic.end(1)
    eventually(lambda: traffic.begun == [1, 1])


def test_slow_ones_leave_lanes_to_the_others(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "SLOW_SECONDS", 0.0)
    for number in (1, 2, 3):
        traffic.come(number)
    traffic.end(1, 2, 3)
    eventually(lambda: sorted(traffic.begun) == [1, 2, 3])
    for number in (1, 2, 3):
        traffic.ends[number] = threading.Event()
        traffic.come(number)
    eventually(lambda: len(traffic.begun) == 4)  # one of the two lanes
    traffic.come(4)
    eventually(lambda: traffic.begun[4:] == [4])


def test_nothing_begins_when_the_worker_stops(traffic: Traffic) -> None:
    traffic.come(1)
    traffic.come(2)
    eventually(lambda: len(traffic.begun) == 2)
    traffic.come(3).result(20)
    traffic.stopping.set()
    traffic.end(1, 2)
    traffic.threads.shutdown()
    assert sorted(traffic.begun) == [1, 2]


def test_a_job_that_fails_costs_no_lane(traffic: Traffic) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    for number in range(3):
        with pytest.raises(ZeroDivisionError):
            traffic.threads.submit(traffic.lanes.enter, (number, "email"), fail).result(20)
    traffic.come(7)
    traffic.come(8)
    eventually(lambda: sorted(traffic.begun) == [7, 8])
