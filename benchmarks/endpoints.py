"""`make bench`: the Generate OTP and Verify OTP endpoints against the limit program, interleaved, as ratios.

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

PATHS = {"generate": "/hubspot/actions/generate-otp", "verify": "/hubspot/actions/verify-otp"}
CODE = "482951"
# One live code for each of so many contacts, as Generate OTP makes them.
_CODES = """
from django.utils import timezone
from hubspot_integration.models import Portal
from otp.models import OneTimeCode, Source
from otp import codes, services
from django.conf import settings
import datetime as dt
portal, first, count, code = Portal.objects.get(id={0}), {1}, {2}, "{3}"
now = timezone.now()
OneTimeCode.objects.bulk_create([
    OneTimeCode(
        portal=portal, contact_id=n, request_key=f"bench:{{n}}", source=Source.WORKFLOW, address=f"contact{{n}}@example.com",
        code=code, code_type="numeric", code_length=6, expiry_minutes=10, created_at=now,
        expires_at=now + dt.timedelta(minutes=10),
        address_digest=codes.address_digests(
            peppers=settings.CODE_PEPPERS[:1], portal_id=portal.id, address=f"contact{{n}}@example.com")[0],
        digest=codes.digest(pepper=settings.CODE_PEPPERS[0], portal_id=portal.id, contact_id=n,
                            address=f"contact{{n}}@example.com", code=code),
    )
    for n in range(first, first + count)
])
"""
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
        for background in ("worker", "beat"):  # what is measured is the answer; the rest has figures of its own
            system.kill(background)
        bench = Bench(system, _start_limit(stack, system, postgres.url), _connect(system))
        measured = {
            (name, connections): [bench.round(name, connections, count if connections > 1 else count // 3)]
            for name in PATHS
            for connections in (1, 16)
        }
        for number in range(1, rounds + 1):
            for (name, connections), ratios in measured.items():
                ratio = bench.round(name, connections, count if connections > 1 else count // 3)
                ratios.append(ratio)
                print(f"  round {number}/{rounds}  {name:9} c={connections:<3} ratio {ratio:.3f}", flush=True)
        print("\nOf the limit (bare WSGI + HMAC + one INSERT), medians; the first round warmed up")
        for (name, connections), ratios in measured.items():
            median = statistics.median(ratios[1:])
            print(f"  {name:9} c={connections:<3} {median:.3f}")
            line = {
                "figure": f"{name}_of_limit",
                "connections": connections,
                "ratio": round(median, 4),
                "rounds": rounds,
            }
            with RESULTS.open("a") as results:
                results.write(json.dumps(line) + "\n")
    return 0


class Bench:
    """The product and the limit program, given the same requests in turn."""

    def __init__(self, system: System, limit_port: int, portal_id: int) -> None:
        self._system, self._limit_port, self._portal_id = system, limit_port, portal_id
        self._next_contact = 1

    def round(self, name: str, connections: int, amount: int) -> float:
        """Send `amount` requests to either; return the product's rate as a ratio of the limit's."""
        first, self._next_contact = self._next_contact, self._next_contact + amount
        inputs = {}
        if name == "verify":
            self._system.manage("shell", "--no-imports", "-c", _CODES.format(self._portal_id, first, amount, CODE))
            inputs = {"submitted_code": CODE, "delete_after_success": "false"}
        bodies = load.executions(portal_id=self._portal_id, first=first, count=amount, inputs=inputs)
        requests = load.signed(bodies, base_url=self._system.app_url, path=PATHS[name], secret=CLIENT_SECRET)
        rates = []
        for port in (self._limit_port, self._system.web_port):
            result = load.volley(requests, port=port, connections=connections)
            if result.statuses != {200: amount}:
                raise SystemExit(f"Port {port} answered {result.statuses}.\n{self._system.log('web')[-2000:]}")
            rates.append(result.rate)
        return rates[1] / rates[0]


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
    """Connect a portal that stores, mails and waits, straight in the database; these figures need no HubSpot."""
    script = (
        "from tests import factories; grant = factories.OAuthGrantFactory.create();"
        "factories.OTPSettingsFactory.create(portal=grant.portal, store_in_property=True, property_name='otp_code',"
        "send_email=True, wait_until_delivered=True); print(grant.portal_id)"
    )
    return int(system.manage("shell", "--no-imports", "-c", script).split()[-1])


if __name__ == "__main__":
    sys.exit(main())
