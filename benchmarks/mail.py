"""Figure 11: mails a second that one worker process hands to an SMTP server, of what smtplib alone does.

smtplib sends a message that the worker made, again and again over one open connection; the worker claims, renders, sends
and commits the outcome of each before the next. The same server, the sandbox's mailbox in a process of its own, takes
both, in turn; its clock alone counts, from the first message to the last. Alone: `python -m benchmarks.mail`.
"""

import contextlib
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import psycopg

from benchmarks import runner
from benchmarks.figures import Measured
from benchmarks.stage import Stage, in_shell, say
from sandbox.local.control import Control
from sandbox.local.system import ROOT, System

ANSWERS: Final = ("mail",)
SENDER: Final = "codes@opsagent.example"
LONGEST_SECONDS: Final = 300
_MAKE_DUE: Final = """
    UPDATE otp_delivery SET next_attempt_at = now()
    WHERE id IN (SELECT id FROM otp_delivery WHERE portal_id = %s AND channel = 'email' AND status = 'pending'
                 ORDER BY id LIMIT %s)
"""
_SENT: Final = "SELECT count(*) FROM otp_delivery WHERE channel = 'email' AND status = 'sent'"


def measure(stage: Stage) -> Iterator[Measured]:
    """Let both send, in turn; the first round warms up and does not count."""
    rounds, count = stage.scale.pick(2, 7), stage.scale.pick(300, 2000)
    with stage.whole_system() as system, Mailing(system, portals=1, mails=(rounds + 1) * count) as mailing:
        ratios, ours = [], []
        for number in range(rounds + 1):
            worker = mailing.by_workers(count)
            limit = mailing.by_smtplib(count, processes=1)
            if number:
                ratios.append(worker / limit)
                ours.append(worker)
                say(f"  round {number}/{rounds}  worker {worker:.0f}/s, smtplib {limit:.0f}/s: {worker / limit:.2f}")
        detail = {"rounds": rounds, "mails": count, "per_second": round(statistics.median(ours))}
        yield Measured("mail", statistics.median(ratios), detail)


class Mailing:
    """Codes that are to be mailed when it is said, in so many portals; and a mailbox that counts. A context manager."""

    def __init__(self, system: System, *, portals: int, mails: int) -> None:
        self._system = system
        self._hubspot = Control(system.sandbox_url)
        ids = in_shell(system, f"mailing_portals({portals}, {mails // portals})")
        self._portals = [int(portal_id) for portal_id in ids.split(",")]
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hubspot.__exit__()

    def by_workers(self, count: int) -> float:
        """Let what runs of the product mail so many codes; return mails a second. Raises RuntimeError."""
        self._hubspot.delete("/mails")
        with psycopg.connect(self._system.database_url, autocommit=True) as connection:
            for portal_id in self._portals:
                connection.execute(_MAKE_DUE, (portal_id, count // len(self._portals)))
            self._sent += count // len(self._portals) * len(self._portals)
            deadline = time.monotonic() + LONGEST_SECONDS
            while connection.execute(_SENT).fetchone() != (self._sent,):
                if time.monotonic() > deadline:
                    raise RuntimeError("The mails did not leave.")
                time.sleep(0.2)
        return self._rate(count // len(self._portals) * len(self._portals))

    def by_smtplib(self, count: int, *, processes: int) -> float:
        """Send copies of the last mail over one open connection per process; return mails a second."""
        newest = self._hubspot.get("/mails", limit=1)["mails"][0]["mailId"]
        raw = self._hubspot.get(f"/mails/{newest}")["raw"].encode()
        self._hubspot.delete("/mails")
        with tempfile.NamedTemporaryFile() as message:
            message.write(raw)
            message.flush()
            command = [
                sys.executable, "-m", "benchmarks.mail", "smtplib", self._system.smtp_address, message.name,
                str(count // processes),
            ]  # fmt: skip
            with contextlib.ExitStack() as stack:
                started = [stack.enter_context(subprocess.Popen(command, cwd=ROOT)) for _ in range(processes)]
            if any(process.returncode for process in started):
                raise RuntimeError("smtplib did not send everything.")
        return self._rate(count // processes * processes)

    def _rate(self, count: int) -> float:
        last = self._hubspot.get("/mails", limit=1)
        first = self._hubspot.get("/mails", limit=1, offset=count - 1)
        if last["total"] != count:
            raise RuntimeError(f"{last['total']} mails arrived, not {count}: something was sent twice or not at all.")
        milliseconds = float(last["mails"][0]["receivedAt"] - first["mails"][0]["receivedAt"])
        return 1000 * (count - 1) / milliseconds


def send(address: str, file: str, count: str) -> None:
    """Send a file as a message, so many times over one connection: the limit program."""
    raw = Path(file).read_bytes()
    host, _, port = address.rpartition(":")
    with smtplib.SMTP(host, int(port)) as smtp:
        for number in range(int(count)):
            smtp.sendmail(SENDER, [f"contact{number}@example.com"], raw)


if __name__ == "__main__":
    if sys.argv[1:2] == ["smtplib"]:
        send(*sys.argv[2:])
    else:
        runner.alone("mail")
