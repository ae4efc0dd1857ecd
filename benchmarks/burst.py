"""Ten thousand contacts of one portal reach the step at once; HubSpot allows 110 calls in 10 s and takes 80 ms for each.

`python -m benchmarks.burst` (QUICK=1: one thousand). Says when the last code was answered, written, mailed and completed,
how many HubSpot calls a code cost, how many were refused, and how another portal's single codes fared meanwhile.
"""

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.endpoints import RESULTS
from sandbox.local import servers
from sandbox.local.administrator import Administrator
from sandbox.local.control import Control
from sandbox.local.system import System

SINGLE_SECONDS = 60
CALLS_PER_SECOND = 10.0  # of the budget: 100 in 10 s
CALLS_PER_CODE_WRITTEN_AND_COMPLETED = 2 / 100


def main() -> int:
    """Measure and print."""
    count = 1_000 if os.environ.get("QUICK") == "1" else 10_000
    with contextlib.ExitStack() as stack:
        print("Starting …", flush=True)
        postgres, valkey = stack.enter_context(servers.postgres()), stack.enter_context(servers.valkey())
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = ("--latency-ms", "80", "--no-request-log", "--retry-base-seconds", "2")
        system = stack.enter_context(
            System(
                postgres.url, valkey.connection_url, logs, sandbox_options=options, settings={"LOG_LEVEL": "WARNING"}
            )
        )
        hubspot = stack.enter_context(Control(system.sandbox_url))
        big, small = hubspot.portal_ids()[:2]
        for portal_id in (big, small):
            _set_up(system, hubspot, portal_id)
        idle = [_single(hubspot, small) for _ in range(10)]
        calls_before = hubspot.get(f"/portals/{big}")["calls"]
        burst = hubspot.post("/enrolments", workflowId=_workflow(hubspot, big), count=count, property="otp_code")[
            "burstId"
        ]
        meanwhile = []
        while not (progress := hubspot.get(f"/bursts/{burst}"))["completed"] + progress["failed"] >= count:
            print(f"  {_line(progress)}", flush=True)
            meanwhile.append(_single(hubspot, small))
            time.sleep(1)
        print(f"  {_line(progress)}\n")
        time.sleep(75)  # the confirming completions count too
        _report(hubspot, big, count, progress, calls_before, idle, meanwhile)
    return 0


def _set_up(system: System, hubspot: Control, portal_id: int) -> None:
    users = hubspot.get(f"/portals/{portal_id}")["users"]
    admin = Administrator(system)
    admin.install(next(user["userId"] for user in users if user["mayInstall"]))
    admin.save_settings(store_in_property=True, property_name="otp_code", send_email=True)
    with contextlib.suppress(Exception):  # a portal without the scope to complete cannot wait
        admin.save_settings(wait_until_delivered=True)


def _workflow(hubspot: Control, portal_id: int) -> int:
    workflows = hubspot.get("/workflows", portalId=portal_id)["workflows"]
    return next(int(one["workflowId"]) for one in workflows if "generate" in one["steps"][0]["actionUid"])


def _single(hubspot: Control, portal_id: int) -> float:
    """Enrol one new contact of another portal; return the seconds until its mail has arrived."""
    created = hubspot.post(f"/portals/{portal_id}/contacts", count=1)
    contact = hubspot.get(f"/portals/{portal_id}/contacts/{created['lastId']}")
    began = time.time()
    hubspot.post("/enrolments", workflowId=_workflow(hubspot, portal_id), contactIds=[created["lastId"]])
    while time.time() - began < SINGLE_SECONDS:
        mails = hubspot.get("/mails", to=contact["properties"]["email"], limit=1)["mails"]
        if mails:
            return float(mails[0]["receivedAt"] / 1000 - began)
        time.sleep(0.02)
    return float("inf")


def _line(progress: dict[str, Any]) -> str:
    return "   ".join(f"{name} {progress[name]:6}" for name in ("answered", "written", "mailed", "completed", "failed"))


def _report(
    hubspot: Control,
    portal_id: int,
    count: int,
    progress: dict[str, Any],
    before: dict[str, Any],
    idle: list[float],
    meanwhile: list[float],
) -> None:
    calls = hubspot.get(f"/portals/{portal_id}")["calls"]
    total = calls["total"] - before["total"]
    refused = calls["rateLimited"] - before["rateLimited"]
    began = progress["startedAt"] / 1000
    answered = progress["lastAnswerAt"] / 1000 - began
    completed = progress["lastCompletionAt"] / 1000 - began
    allowed = count * CALLS_PER_CODE_WRITTEN_AND_COMPLETED / CALLS_PER_SECOND
    figures = {
        "figure": "burst",
        "codes": count,
        "last_answer_s": round(answered, 1),
        "last_completion_s": round(completed, 1),
        "last_completion_after_limit_s": round(completed - max(answered, allowed), 2),
        "calls_per_code": round(total / count, 4),
        "refused_share": round(refused / max(1, total), 4),
        "failed": progress["failed"],
        "single_code_idle_median_s": round(statistics.median(idle), 3),
        "single_code_meanwhile_median_s": round(statistics.median(meanwhile), 3),
        "single_code_meanwhile_max_s": round(max(meanwhile), 3),
    }
    for name, value in figures.items():
        print(f"  {name:34} {value}")
    with RESULTS.open("a") as results:
        results.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    sys.exit(main())
