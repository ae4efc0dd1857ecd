"""`make bench`: the Generate OTP endpoint against the limit program, interleaved, as a ratio.

QUICK=1 makes it short. Prints a table and appends one JSON line a figure to benchmarks/results.jsonl.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from benchmarks import limit, load
from sandbox.local import servers
from sandbox.local.system import CLIENT_SECRET, ROOT, System, free_port

PATH = "/hubspot/actions/generate-otp"
RESULTS = Path(__file__).parent / "results.jsonl"


def main() -> int:
    """Measure and print."""
    quick = os.environ.get("QUICK") == "1"
    rounds, count = (3, 300) if quick else (9, 1500)
    with contextlib.ExitStack() as stack:
        print("Starting PostgreSQL, Valkey, the product and the limit program …", flush=True)
        postgres, valkey = stack.enter_context(servers.postgres()), stack.enter_context(servers.valkey())
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        system = stack.enter_context(
            System(postgres.url, valkey.connection_url, logs, settings={"LOG_LEVEL": "WARNING"})
        )
        limit_port = _start_limit(stack, system, postgres.url)
        portal_id = _connect(system)
        ratios: dict[int, list[float]] = {1: [], 16: []}
        p99: dict[int, list[float]] = {1: [], 16: []}
        first = 1
        for number in range(rounds + 1):  # the first round warms up
            for connections, measured in ratios.items():
                amount = count if connections > 1 else count // 3
                bodies = load.executions(portal_id=portal_id, first=first, count=amount)
                first += amount
                requests = load.signed(bodies, base_url=system.app_url, path=PATH, secret=CLIENT_SECRET)
                limit_result = load.volley(requests, port=limit_port, connections=connections)
                result = load.volley(requests, port=system.web_port, connections=connections)
                for name, one in (("limit", limit_result), ("product", result)):
                    if one.statuses != {200: amount}:
                        raise SystemExit(f"The {name} answered {one.statuses}.\n{system.log('web')[-2000:]}")
                if number:
                    measured.append(result.rate / limit_result.rate)
                    p99[connections].append(result.percentile(0.99))
                print(
                    f"  round {number}/{rounds}  c={connections:<3} limit {limit_result.rate:6.0f}/s   "
                    f"product {result.rate:6.0f}/s   ratio {result.rate / limit_result.rate:.3f}",
                    flush=True,
                )
        print("\nGenerate OTP against the limit (bare WSGI + HMAC + one INSERT), medians")
        for connections, values in ratios.items():
            median = statistics.median(values)
            print(f"  c={connections:<3} ratio {median:.3f}   p99 {statistics.median(p99[connections]):6.1f} ms")
            line = {
                "figure": "generate_of_limit",
                "connections": connections,
                "ratio": round(median, 4),
                "rounds": rounds,
            }
            with RESULTS.open("a") as results:
                results.write(json.dumps(line) + "\n")
    return 0


def _start_limit(stack: contextlib.ExitStack, system: System, database_url: str) -> int:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(limit.CREATE)
    port = free_port()
    command = [
        "granian", "--interface", "wsgi", "benchmarks.limit:application", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "2", "--blocking-threads", "4", "--no-ws", "--log-level", "warning",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env=system.environment)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(
                f"http://127.0.0.1:{port}/", headers={"X-HubSpot-Signature-v3": "x", "X-HubSpot-Request-Timestamp": "1"}
            )
            return port
        time.sleep(0.1)
    raise SystemExit("The limit program did not start.")


def _connect(system: System) -> int:
    """Connect a portal with default settings straight in the database; these figures need no HubSpot."""
    script = (
        "from tests import factories; grant = factories.OAuthGrantFactory.create();"
        "factories.OTPSettingsFactory.create(portal=grant.portal); print(grant.portal_id)"
    )
    return int(system.manage("shell", "--no-imports", "-c", script).split()[-1])


if __name__ == "__main__":
    sys.exit(main())
