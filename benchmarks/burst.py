"""Figures 5, 6, 7 and 9: ten thousand contacts of one portal at once; 110 HubSpot calls in 10 s, 80 ms each.

Twice, in two portals, both with steps that wait for the completion: storing only, and storing and mailing. Figure 5 is that
of storing only, since a local mail server and this machine's cores decide how fast ten thousand mails go; figures 6, 7
and 9 are the worse of both runs. Meanwhile single contacts of a third portal set out four times a second.
At the end contact-by-contact delivery is tried on a few. Alone: `python -m benchmarks.burst`.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from benchmarks import contact_by_contact, runner
from benchmarks.figures import Measured
from benchmarks.portals import PROPERTY, Singles, as_milliseconds, percentile, set_up
from benchmarks.stage import Stage, say
from sandbox.local.control import Control
from sandbox.local.system import System

ANSWERS: Final = ("last_completion", "calls_per_code", "refused_share", "other_portal")
CALLS_PER_SECOND: Final = 10.0
"""Of the budget for deliveries: 100 of HubSpot's 110 in 10 s."""
CALLS_PER_CODE: Final = 2 / 100
"""Written and completed, a hundred in a call."""
LATENCY_MS: Final = 80
LONGEST_SECONDS: Final = 1800
_PENDING: Final = """
    SELECT count(*) FROM otp_delivery WHERE status = 'pending' AND channel <> 'property_clearing'
"""


@dataclass
class Burst:
    """One portal's ten thousand: the sandbox's count at the end, and the portal's calls before and after."""

    portal_id: int
    workflow_id: int
    calls_before: dict[str, Any]
    progress: dict[str, Any]
    other_mailed: list[float]
    other_written: list[float]


def measure(stage: Stage) -> Iterator[Measured]:
    """Let both bursts happen and settle, then say what they were like."""
    count, idle_count = stage.scale.pick(1_000, 10_000), stage.scale.pick(40, 400)
    options = ("--latency-ms", str(LATENCY_MS), "--retry-base-seconds", "2")
    with stage.whole_system(sandbox_options=options) as system, Control(system.sandbox_url) as hubspot:
        storing, small, mailing = hubspot.portal_ids()
        set_up(system, hubspot, small, mail=True, wait=False)
        workflows = {
            storing: set_up(system, hubspot, storing, mail=False, wait=True),
            mailing: set_up(system, hubspot, mailing, mail=True, wait=True),
        }
        idle_mailed, idle_written = _idle(system, small, idle_count)
        bursts = [
            _burst(system, hubspot, portal_id, workflow_id, small, count)
            for portal_id, workflow_id in workflows.items()
        ]
        say("  waiting for the confirming completions, a minute later")
        _wait_until_settled(system.database_url)
        details = [_detail(hubspot, burst, count) for burst in bursts]
        conventional = contact_by_contact.measure(system, hubspot, storing, count=stage.scale.pick(20, 300))
        say(f"  contact by contact: {conventional}")
    both = dict(zip(("storing", "storing_and_mailing"), details, strict=True))
    detail = {"codes": count, **both, "contact_by_contact": conventional}
    yield Measured("last_completion", details[0]["last_completion_after_limit_s"], detail)
    yield Measured("calls_per_code", max(one["calls_per_code"] for one in details))
    yield Measured("refused_share", 100 * max(one["refused_share"] for one in details))
    idle = percentile(idle_mailed, 0.99)
    yield Measured(
        "other_portal",
        max(percentile(burst.other_mailed, 0.99) for burst in bursts) / idle,
        {
            "what": "enrolment to mail accepted; a portal's own writes wait up to a second for each other, idle or not",
            "idle_mail_ms": as_milliseconds(idle_mailed),
            "idle_property_ms": as_milliseconds(idle_written),
            "samples": [idle_count, *(len(burst.other_mailed) for burst in bursts)],
            "mail_ms": [as_milliseconds(burst.other_mailed) for burst in bursts],
            "property_ms": [as_milliseconds(burst.other_written) for burst in bursts],
        },
    )


def _idle(system: System, portal_id: int, count: int) -> tuple[list[float], list[float]]:
    say(f"  {count} single contacts with nothing else to do")
    singles = Singles(system.sandbox_url, portal_id, at_most=count + 100)
    with singles:
        while singles.count < count:
            time.sleep(0.5)
    return singles.seconds()


def _burst(system: System, hubspot: Control, portal_id: int, workflow_id: int, other_portal: int, count: int) -> Burst:
    singles = Singles(system.sandbox_url, other_portal, at_most=4 * LONGEST_SECONDS)
    calls_before = hubspot.get(f"/portals/{portal_id}")["calls"]
    burst_id = hubspot.post("/enrolments", workflowId=workflow_id, count=count, property=PROPERTY)["burstId"]
    deadline = time.monotonic() + LONGEST_SECONDS
    with singles:
        while True:
            progress = hubspot.get(f"/bursts/{burst_id}")
            say("  " + "  ".join(f"{name} {progress[name]:6}" for name in _SHOWN))
            if progress["completed"] + progress["failed"] >= count:
                break
            if time.monotonic() > deadline:
                raise RuntimeError("The burst did not come to an end.")
            time.sleep(2)
    mailed, written = singles.seconds()
    return Burst(portal_id, workflow_id, calls_before, progress, mailed, written)


def _wait_until_settled(database_url: str) -> None:
    deadline = time.monotonic() + 180
    with psycopg.connect(database_url, autocommit=True) as connection:
        while (connection.execute(_PENDING).fetchone() or (0,))[0]:
            if time.monotonic() > deadline:
                raise RuntimeError("Some deliveries did not settle.")
            time.sleep(1)


def _detail(hubspot: Control, burst: Burst, count: int) -> dict[str, Any]:
    calls = hubspot.get(f"/portals/{burst.portal_id}")["calls"]
    total = calls["total"] - burst.calls_before["total"]
    refused = calls["rateLimited"] - burst.calls_before["rateLimited"]
    progress = burst.progress
    began = progress["startedAt"] / 1000
    answered = progress["lastAnswerAt"] / 1000 - began
    completed = progress["lastCompletionAt"] / 1000 - began
    allowed = count * CALLS_PER_CODE / CALLS_PER_SECOND
    return {
        "last_answer_s": round(answered, 1),
        "budget_allows_s": round(allowed, 1),
        "last_write_s": round(progress["lastWriteAt"] / 1000 - began, 1),
        "last_mail_s": round(progress["lastMailAt"] / 1000 - began, 1) if progress["lastMailAt"] else None,
        "last_completion_s": round(completed, 1),
        "last_completion_after_limit_s": round(completed - max(answered, allowed), 2),
        "answer_ms": progress["answerMs"],
        "calls_per_code": round(total / count, 4),
        "refused_share": round(refused / max(1, total), 4),
        "failed": progress["failed"],
        "lost_completions": progress["lostCompletions"],
    }


_SHOWN: Final = ("answered", "written", "mailed", "completed", "failed")

if __name__ == "__main__":
    runner.alone("burst")
