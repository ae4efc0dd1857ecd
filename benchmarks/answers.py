"""Figure 4: how long answers take while 10,000 executions come in over 16 connections and everything is running.

Web, worker, beat, database, broker, the sandbox and whoever sends share this machine. The contacts exist in the sandbox,
so that every code is written and mailed meanwhile. Alone: `python -m benchmarks.answers`.
"""

from collections.abc import Iterator
from typing import Final

from benchmarks import load, runner
from benchmarks.endpoints import PATHS
from benchmarks.figures import Measured
from benchmarks.portals import set_up
from benchmarks.stage import Stage
from sandbox.local.control import Control
from sandbox.local.system import CLIENT_SECRET

ANSWERS: Final = ("answer_p99",)
CONNECTIONS: Final = 16


def measure(stage: Stage) -> Iterator[Measured]:
    """Warm up with a tenth, then send them all."""
    count = stage.scale.pick(1_000, 10_000)
    with (
        stage.whole_system(sandbox_options=("--latency-ms", "80")) as system,
        Control(system.sandbox_url) as hubspot,
    ):
        portal_id = hubspot.portal_ids()[0]
        set_up(system, hubspot, portal_id, mail=True, wait=True)
        first = hubspot.post(f"/portals/{portal_id}/contacts", count=count + count // 10)["firstId"]
        for begins, amount in ((first, count // 10), (first + count // 10, count)):
            bodies = load.executions(portal_id=portal_id, first=begins, count=amount)
            requests = load.signed(bodies, base_url=system.app_url, path=PATHS["generate"], secret=CLIENT_SECRET)
            result = load.volley(requests, port=system.web_port, connections=CONNECTIONS)
            if result.statuses != {200: amount}:
                raise RuntimeError(f"The answers were {result.statuses}.")
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
    detail = {name: round(result.percentile(share), 1) for name, share in shares.items()}
    yield Measured(
        "answer_p99", result.percentile(0.99), {"executions": count, "per_second": round(result.rate), **detail}
    )


if __name__ == "__main__":
    runner.alone("answers")
