"""Figure 12: a web worker's resident memory, and the time from its start to ready.

Run it with `python -m benchmarks.memory_and_start [BIN]`. BIN is the `bin` folder of an environment with
requirements.txt alone, for the figure that counts: structlog loads rich where a developer's tools have brought it,
which is 10 MB that no production process has.
The web process of the Procfile, as it stands, with a real database and broker: started several times, each time called
until /readyz answers 200, then warmed up with requests to every kind of page, then measured. `USS` is what a worker has
for itself; `RSS` also counts pages that the two workers and the supervisor share. Wall time depends on what else the machine
does; the CPU time of the supervisor and one worker does not, and is what a quiet machine takes.
"""

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from sandbox.local import servers
from sandbox.local.system import System

ROUNDS = 5
WARM = (
    "/",
    "/healthz",
    "/readyz",
    "/settings/",
    "/hubspot/actions/generate-otp",
    "/admin/login/",
    "/api/schema",
    "/metrics",
)
GOAL_MEGABYTES, GOAL_SECONDS = 110, 2.0


def main() -> int:
    """Measure and print."""
    with contextlib.ExitStack() as stack:
        postgres, valkey = stack.enter_context(servers.postgres()), stack.enter_context(servers.valkey())
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = os.pathsep.join([*sys.argv[1:], str(Path(sys.executable).parent), os.environ["PATH"]])
        system = System(postgres.url, valkey.connection_url, logs, settings={"PATH": path})
        stack.callback(system.stop)
        system.start("sandbox")
        system.manage("migrate", "--verbosity", "0")
        rounds = [_round(system) for _ in range(ROUNDS)]
    seconds = statistics.median(one["seconds"] for one in rounds)
    print(f"cold start to ready  {seconds:.2f} s  (goal {GOAL_SECONDS})")
    cpu = statistics.median(one["cpu"] for one in rounds)
    print(f"CPU until ready      {cpu:.2f} s, supervisor and one worker")
    for when in ("ready", "warm"):
        rss, uss = (statistics.median(one[f"{when}_{kind}"] for one in rounds) for kind in ("rss", "uss"))
        print(f"web worker, {when:5}    RSS {rss:.0f} MB, USS {uss:.0f} MB  (goal {GOAL_MEGABYTES} RSS)")
    print(json.dumps({"figure": "memory_and_start", "seconds": round(seconds, 2), "rounds": rounds}))
    return 0


def _round(system: System) -> dict[str, float]:
    began = time.perf_counter()
    system.start("web")
    with httpx.Client(base_url=system.app_url, timeout=5) as client:
        while not _is_ready(client):
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        cpu = _cpu_seconds(system.processes["web"].pid)
        time.sleep(1)  # until the second worker is up as well
        ready = _memory(system.processes["web"].pid)
        for _ in range(5):
            for path in WARM:
                client.get(path)
        warm = _memory(system.processes["web"].pid)
    system.kill("web")
    return {
        "seconds": round(seconds, 3), "cpu": cpu,
        "ready_rss": ready[0], "ready_uss": ready[1], "warm_rss": warm[0], "warm_uss": warm[1],
    }  # fmt: skip


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.HTTPError:
        return False


def _cpu_seconds(supervisor: int) -> float:
    """Return the CPU time of a supervisor and of the busiest of its workers."""
    return round(_ticks(supervisor) + max(_ticks(child) for child in _children(supervisor)), 2)


def _ticks(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(supervisor: int) -> tuple[float, float]:
    """Return RSS and USS in megabytes of the largest worker under a supervisor."""
    return max(_of_process(child) for child in _children(supervisor))


def _of_process(pid: int) -> tuple[float, float]:
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split(":")
        sizes[name] = int(size.split()[0])
    return round(sizes["Rss"] / 1024, 1), round((sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024, 1)


if __name__ == "__main__":
    sys.exit(main())
