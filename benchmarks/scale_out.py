"""Figure 13: what a second process of a kind brings, of what a second one of the limit programs brings.

Web: Generate OTP with one and two granian processes against the limit program with as many. Workers: mails of many portals
handed over by one and by two worker processes against smtplib in one and in two. On a machine with two cores the
database, the sender and the mailbox need their share too; the limit programs' own gain says what was left to win. That
nothing is done twice is counted, not timed: every mail arrives once. Alone: `python -m benchmarks.scale_out`.
"""

import statistics
from collections.abc import Iterator
from typing import Final

from benchmarks import runner
from benchmarks.endpoints import Contacts, rates_in_turn, with_limit
from benchmarks.figures import Measured
from benchmarks.mail import Mailing
from benchmarks.stage import Stage, say

ANSWERS: Final = ("web_scale_out", "worker_scale_out")
CONNECTIONS: Final = 16
PORTALS: Final = 8


def measure(stage: Stage) -> Iterator[Measured]:
    """Measure web processes, then workers."""
    yield _web(stage, rounds=stage.scale.pick(3, 9), count=stage.scale.pick(300, 1500))
    yield _workers(stage, rounds=stage.scale.pick(1, 5), count=PORTALS * stage.scale.pick(60, 400))


def _web(stage: Stage, *, rounds: int, count: int) -> Measured:
    database = stage.database()
    with stage.web(database, workers=1) as one, stage.web(database, workers=2) as two:
        environment = with_limit(one)
        with (
            stage.program("limit:application", environment, workers=1) as limit_of_one,
            stage.program("limit:application", environment, workers=2) as limit_of_two,
        ):
            contacts = {1: Contacts(one, verifications=0), 2: Contacts(two, verifications=0)}
            gains: list[tuple[float, float]] = []
            for number in range(rounds + 1):
                backwards = number % 2 == 1
                for_one, for_two = (contacts[workers].requests("generate", count) for workers in (1, 2))
                limits = rates_in_turn(for_one, (limit_of_one, limit_of_two), CONNECTIONS, backwards=backwards)
                ours_of_one = rates_in_turn(for_one, (one.web_port,), CONNECTIONS)[0]
                ours_of_two = rates_in_turn(for_two, (two.web_port,), CONNECTIONS)[0]
                if number:
                    gains.append((ours_of_two / ours_of_one, limits[1] / limits[0]))
                    say(f"  round {number}/{rounds}  web: gain of ours {gains[-1][0]:.2f}, limit {gains[-1][1]:.2f}")
    return _measured("web_scale_out", gains)


def _workers(stage: Stage, *, rounds: int, count: int) -> Measured:
    with (
        stage.whole_system() as system,
        Mailing(system, portals=PORTALS, mails=2 * (rounds + 1) * count) as mailing,
    ):
        gains = []
        for number in range(rounds + 1):
            one, limit_of_one = mailing.by_workers(count), mailing.by_smtplib(count, processes=1)
            system.start("worker.second")
            system.wait_until_ready()
            two, limit_of_two = mailing.by_workers(count), mailing.by_smtplib(count, processes=2)
            system.kill("worker.second")
            if number:
                gains.append((two / one, limit_of_two / limit_of_one))
                say(f"  round {number}/{rounds}  workers: gain of ours {gains[-1][0]:.2f}, smtplib {gains[-1][1]:.2f}")
    return _measured("worker_scale_out", gains)


def _measured(name: str, gains: list[tuple[float, float]]) -> Measured:
    detail = {
        "rounds": len(gains),
        "our_gain": round(statistics.median(ours for ours, _ in gains), 3),
        "gain_of_the_limit": round(statistics.median(limit for _, limit in gains), 3),
    }
    return Measured(name, statistics.median(ours / limit for ours, limit in gains), detail)


if __name__ == "__main__":
    runner.alone("scale_out")
