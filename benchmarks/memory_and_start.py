"""Figure 12: a web worker's resident memory, and the time from its start to ready.

Alone: `python -m benchmarks.memory_and_start`. It runs in an environment of its own with requirements.txt alone, as in
production: structlog loads rich where a developer's tools have brought it, which is 10 MB. PRODUCTION_BIN may name the
`bin` folder of one that exists already.
The web process of the Procfile, as it stands, with a real database and broker: started several times, each time called
until /readyz answers 200, then warmed up with requests to every kind of page, then measured. `uss` is what a worker has
for itself; `rss` also counts pages that the two workers and the supervisor share. Wall time depends on what else the machine
does; the CPU time of the supervisor and one worker does not, and is what a quiet machine takes.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from benchmarks import runner
from benchmarks.figures import Measured
from benchmarks.stage import Stage, say
from sandbox.local.system import ROOT, System

ANSWERS: Final = ("web_memory", "cold_start")
BIN: Final = "PRODUCTION_BIN"
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


def measure(stage: Stage) -> Iterator[Measured]:
    """Start, warm up and measure the web process several times."""
    with contextlib.ExitStack() as stack:
        folder = os.environ.get(BIN) or _install(stack)
        path = os.pathsep.join([folder, str(Path(sys.executable).parent), os.environ["PATH"]])
        system = stage.resting_system(path=path)
        stack.callback(system.stop)
        rounds = []
        for number in range(1, stage.scale.pick(2, ROUNDS) + 1):
            rounds.append(_round(system))
            one = rounds[-1]
            say(f"  round {number}  ready in {one['seconds']:.2f} s, RSS {one['warm_rss']:.0f} MB warm")
    median = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    yield Measured("web_memory", median["warm_rss"], median)
    yield Measured("cold_start", median["seconds"], {"cpu_seconds": median["cpu"], "rounds": len(rounds)})


def _install(stack: contextlib.ExitStack) -> str:
    """Make an environment with the packages of production; return the folder of its programs."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    say("  installing the packages of production into an environment of their own …")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(ROOT / "requirements.txt")], check=True)
    return str(folder / "bin")


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
    runner.alone("memory_and_start")
