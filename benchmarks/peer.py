"""Figure 3: Generate OTP against django-otp's e-mail device, which neither stores, mails nor logs here.

The peer gets the same signed requests, is served the same way and keeps its database connections as well. Each of its
users has a device before the first request. Verify is measured too and told with the figure. Alone:
`python -m benchmarks.peer`.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import psycopg

from benchmarks import load, runner
from benchmarks.endpoints import INPUTS, PATHS, Contacts, rates_in_turn
from benchmarks.figures import Measured
from benchmarks.stage import Stage, say
from sandbox.local.system import CLIENT_SECRET, ROOT

ANSWERS: Final = ("against_django_otp",)
CONNECTIONS: Final = 16


def measure(stage: Stage) -> Iterator[Measured]:
    """Send rounds of the same requests to both, in turn; the first round warms up and does not count."""
    rounds, count = stage.scale.pick(3, 9), stage.scale.pick(300, 1500)
    contacts_needed = (rounds + 1) * count
    peer_database = stage.database(empty=True)
    with stage.web(stage.database()) as system:
        contacts = Contacts(system, verifications=contacts_needed)
        environment = {**system.environment, "DATABASE_URL": peer_database}
        subprocess.run(
            [sys.executable, "-m", "benchmarks.peer_django_otp", str(2 * contacts_needed)],
            cwd=ROOT, env=environment, check=True,
        )  # fmt: skip
        with stage.program("peer_django_otp:application", environment) as peer_port:
            ratios: dict[str, list[float]] = {name: [] for name in PATHS}
            for number in range(rounds + 1):
                # The peer knows one token per user: users of their own for generate and verify, as with us.
                for name, begins in (("verify", 1), ("generate", contacts_needed + 1)):
                    bodies = load.executions(
                        portal_id=contacts.portal_id, first=begins + number * count, count=count, inputs=INPUTS[name]
                    )
                    requests = load.signed(bodies, base_url=system.app_url, path=PATHS[name], secret=CLIENT_SECRET)
                    ports = (peer_port, system.web_port)
                    peer, ours = rates_in_turn(requests, ports, CONNECTIONS, backwards=number % 2 == 1)
                    if number:
                        ratios[name].append(ours / peer)
                        say(
                            f"  round {number}/{rounds}  {name:8} ours {ours:5.0f}/s, peer {peer:5.0f}/s: {ours / peer:.2f}"
                        )
            _check(peer_database, contacts_needed)
            detail = {"rounds": rounds, "verify": round(statistics.median(ratios["verify"]), 3)}
            yield Measured("against_django_otp", statistics.median(ratios["generate"]), detail)


def _check(database_url: str, count: int) -> None:
    """Make sure that the peer did its work. Raises RuntimeError."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT count(*) FILTER (WHERE token IS NULL AND id <= %(count)s),"
            " count(*) FILTER (WHERE last_generated_timestamp IS NOT NULL AND id > %(count)s) FROM otp_email_emaildevice",
            {"count": count},
        ).fetchone()
    if found != (count, count):
        raise RuntimeError(f"The peer verified and generated {found}, not {count} each.")


if __name__ == "__main__":
    runner.alone("peer")
