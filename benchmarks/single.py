"""Figure 8: a single code on an idle system, from enrolment until the property is written and the mail accepted.

The time begins when the sandbox sends the execution to the app and ends, by the sandbox's clock alone, with the later of
the write and the mail. What the sandbox takes by itself is measured apart and taken off: one batch update of one contact
over a kept connection, and one message of the same size from connecting to acceptance, which is SMTP's share. What
enrolling itself takes the sandbox never counts: it is over when the time begins. The sandbox adds no latency here. Alone:
`python -m benchmarks.single`.
"""

import smtplib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Final

import httpx

from benchmarks import runner
from benchmarks.figures import Measured
from benchmarks.portals import PROPERTY, Singles, as_milliseconds, set_up
from benchmarks.stage import Stage, say
from sandbox.local.control import Control
from sandbox.local.system import System

ANSWERS: Final = ("single_code",)
PACE_SECONDS: Final = 2.5
"""Longer than writes of one portal wait for company once there was one."""


def measure(stage: Stage) -> Iterator[Measured]:
    """Send single contacts far apart; the first one warms up and does not count."""
    count = stage.scale.pick(6, 60)
    with stage.whole_system() as system, Control(system.sandbox_url) as hubspot:
        portal_id = hubspot.portal_ids()[1]
        set_up(system, hubspot, portal_id, mail=True, wait=False)
        for name, amount in (("warming up", 2), ("measuring", count)):
            say(f"  {amount} single contacts, one every {PACE_SECONDS} s: {name}")
            singles = Singles(system.sandbox_url, portal_id, at_most=amount, pace=PACE_SECONDS)
            with singles:
                while singles.count < amount:
                    time.sleep(0.2)
            mailed, written = singles.seconds()
        smtp_seconds = _time_to_mail(system, hubspot)
        hubspot_seconds = _time_to_write(system, hubspot, portal_id)
    mail, prop = statistics.median(mailed) - smtp_seconds, statistics.median(written) - hubspot_seconds
    yield Measured(
        "single_code",
        1000 * max(mail, prop),
        {
            "singles": count,
            "property_ms": as_milliseconds(written),
            "mail_ms": as_milliseconds(mailed),
            "hubspots_own_ms": round(1000 * hubspot_seconds, 1),
            "smtps_own_ms": round(1000 * smtp_seconds, 1),
        },
    )


def _median(act: Callable[[], object]) -> float:
    seconds = []
    for _ in range(11):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _time_to_mail(system: System, hubspot: Control) -> float:
    newest = hubspot.get("/mails", limit=1)["mails"][0]["mailId"]
    raw = hubspot.get(f"/mails/{newest}")["raw"].encode()
    host, _, port = system.smtp_address.rpartition(":")

    def mail() -> None:
        with smtplib.SMTP(host, int(port)) as smtp:
            smtp.sendmail("codes@opsagent.example", ["nobody@example.com"], raw)

    return _median(mail)


def _time_to_write(system: System, hubspot: Control, portal_id: int) -> float:
    contact = hubspot.contacts(portal_id)[0]["contactId"]
    token = hubspot.post(f"/portals/{portal_id}/tokens")["access_token"]
    body = {"inputs": [{"id": str(contact), "properties": {PROPERTY: "482951"}}]}
    with httpx.Client(base_url=system.sandbox_url, headers={"Authorization": f"Bearer {token}"}) as http:

        def write() -> None:
            http.post("/crm/v3/objects/contacts/batch/update", json=body).raise_for_status()

        return _median(write)


if __name__ == "__main__":
    runner.alone("single")
