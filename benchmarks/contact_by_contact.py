"""What conventional code does: write one contact, complete one step, one call after the other, and wait when refused.

Measured on a few codes against the same limit and latency, and calculated for ten thousand.
"""

import time
from http import HTTPStatus
from typing import Any, Final

import httpx

from benchmarks.portals import PROPERTY
from sandbox.local.control import Control
from sandbox.local.system import System

CALLS_PER_CODE: Final = 2
HUBSPOTS_CALLS_PER_SECOND: Final = 11
RETRY_SECONDS: Final = 1.0


def measure(system: System, hubspot: Control, portal_id: int, *, count: int) -> dict[str, Any]:
    """Deliver `count` codes contact by contact; return calls per code, refusals and seconds."""
    created = hubspot.post(f"/portals/{portal_id}/contacts", count=count)
    token = hubspot.post(f"/portals/{portal_id}/tokens")["access_token"]
    calls = refused = 0
    began = time.monotonic()
    with httpx.Client(base_url=system.sandbox_url, headers={"Authorization": f"Bearer {token}"}) as http:
        for contact in range(created["firstId"], created["lastId"] + 1):
            for method, path, body in (
                ("PATCH", f"/crm/v3/objects/contacts/{contact}", {"properties": {PROPERTY: "482951"}}),
                ("POST", f"/automation/v4/actions/callbacks/ap-{contact}/complete", {"outputFields": {}}),
            ):
                while True:
                    answer = http.request(method, path, json=body)
                    calls += 1
                    if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                        break
                    refused += 1
                    time.sleep(RETRY_SECONDS)
                answer.raise_for_status()
    return {
        "codes": count,
        "seconds": round(time.monotonic() - began, 1),
        "calls_per_code": round((calls - refused) / count, 2),
        "refused_share": round(refused / calls, 3),
        "calculated_seconds_for_10000": round(10_000 * CALLS_PER_CODE / HUBSPOTS_CALLS_PER_SECOND),
    }
