"""Figures 1 and 2 against another commit of this repository: `EARLIER=COMMIT python -m benchmarks.earlier`.

The ratio to the limit program differs between machines. Two versions of the product, served in turn in one run by the same
Python from their own Procfiles, each on a database that its own migrations have made, say what a change has brought.
"""

import os
import statistics
from collections.abc import Iterator
from typing import Final

from benchmarks import runner
from benchmarks.endpoints import PATHS, Contacts, rates_in_turn
from benchmarks.figures import Measured
from benchmarks.stage import Stage, python_build, say

ANSWERS: Final = ("generate_against_earlier", "verify_against_earlier")
CONNECTIONS: Final = 16


def commit() -> str:
    """Return the commit that the environment names; empty when none is."""
    return os.environ.get("EARLIER", "")


def measure(stage: Stage) -> Iterator[Measured]:
    """Send rounds of the same requests to both, in turn; the first round warms up and does not count."""
    if not commit():
        raise RuntimeError("Say which commit to compare with: EARLIER=COMMIT.")
    rounds, count = stage.scale.pick(3, 9), stage.scale.pick(300, 1500)
    with stage.web(stage.database()) as now, stage.earlier_web(commit(), beside=now) as before:
        ours, theirs = (Contacts(system, verifications=(rounds + 1) * count) for system in (now, before))
        if ours.portal_id != theirs.portal_id:
            raise RuntimeError("The portals of both commits have different ids.")
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in PATHS}
        for number in range(rounds + 1):
            for name, found in rates.items():
                requests = ours.requests(name, count)
                theirs.requests(name, count)  # the same: they count what both are sent
                earlier, today = rates_in_turn(
                    requests, (before.web_port, now.web_port), CONNECTIONS, backwards=number % 2 == 1
                )
                if number:
                    found.append((today, earlier))
                    say(
                        f"  round {number}/{rounds}  {name:8} now {today:5.0f}/s, before {earlier:5.0f}/s: {today / earlier:.2f}"
                    )
        ours.check()
        theirs.check()
    for name, found in rates.items():
        detail = {
            "rounds": rounds,
            "commit": commit(),
            "python": python_build(),
            "per_second": round(statistics.median(today for today, _ in found)),
            "earlier_per_second": round(statistics.median(earlier for _, earlier in found)),
        }
        yield Measured(
            f"{name}_against_earlier", statistics.median(today / earlier for today, earlier in found), detail
        )


if __name__ == "__main__":
    runner.alone("earlier")
