"""Portals of the sandbox, installed and set up as their admins do it, and single contacts on their way through them."""

import threading
import time
from collections.abc import Iterable
from typing import Any, Final, Self

from benchmarks.stage import say
from sandbox.local.administrator import Administrator
from sandbox.local.control import Control
from sandbox.local.system import System

PROPERTY: Final = "otp_code"
MAXIMUM_SECONDS: Final = 60.0


def set_up(system: System, hubspot: Control, portal_id: int, *, mail: bool, wait: bool) -> int:
    """Install the app in a portal that stores its codes; return the id of its Generate OTP workflow."""
    users = hubspot.get(f"/portals/{portal_id}")["users"]
    admin = Administrator(system)
    admin.install(next(user["userId"] for user in users if user["mayInstall"]))
    admin.save_settings(store_in_property=True, property_name=PROPERTY, send_email=mail)
    if wait:
        admin.save_settings(wait_until_delivered=True)
    return workflow(hubspot, portal_id)


def workflow(hubspot: Control, portal_id: int) -> int:
    """Return the id of a portal's Generate OTP workflow."""
    workflows = hubspot.get("/workflows", portalId=portal_id)["workflows"]
    return next(int(one["workflowId"]) for one in workflows if "generate" in one["steps"][0]["actionUid"])


class Singles:
    """Single contacts, one enrolled every `pace` seconds whatever became of the others, in a thread of its own.

    Used as a context manager: entering begins, leaving ends. What became of them is asked for afterwards, so that
    looking does not slow down what is looked at; waiting for one before the next sets out would hide every stall.
    """

    def __init__(self, url: str, portal_id: int, *, at_most: int, pace: float = 0.25) -> None:
        self._hubspot, self._portal_id, self._pace = Control(url), portal_id, pace
        created = self._hubspot.post(f"/portals/{portal_id}/contacts", count=at_most)
        self._contacts = iter(range(created["firstId"], created["lastId"] + 1))
        self._workflow = workflow(self._hubspot, portal_id)
        self._enrolled: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def count(self) -> int:
        """How many have set out."""
        return len(self._enrolled)

    def seconds(self) -> tuple[list[float], list[float]]:
        """Wait until all have come through; return how long each one's mail and each one's property took, ascending.

        From the moment at which the sandbox sends the execution to the app, by the sandbox's clock alone. Raises
        RuntimeError when one does not come through in time.
        """
        deadline = time.monotonic() + MAXIMUM_SECONDS
        mailed: list[float] = []
        written: list[float] = []
        received: dict[str, float] = {}
        for enrolled in self._enrolled:
            contact_path = f"/portals/{self._portal_id}/contacts/{enrolled['contactId']}"
            while True:
                contact = self._hubspot.get(contact_path)
                changes = contact["history"].get(PROPERTY)
                address = contact["properties"]["email"]
                if changes and address not in received:
                    found = self._hubspot.get("/mails", limit=100_000, to=_domain(address))["mails"]
                    received = {mail["recipients"][0]: mail["receivedAt"] for mail in reversed(found)}
                if changes and address in received:
                    break
                if time.monotonic() > deadline:
                    raise RuntimeError(f"A single contact's code was not delivered within {MAXIMUM_SECONDS:.0f} s.")
                time.sleep(0.5)
            began = self._hubspot.get(f"/executions/{enrolled['callbackId']}")["attempts"][0]["startedAt"]
            mailed.append((received[address] - began) / 1000)
            written.append((changes[0]["at"] - began) / 1000)
        return sorted(mailed), sorted(written)

    def _run(self) -> None:
        due = time.monotonic()
        for contact in self._contacts:
            answer = self._hubspot.post("/enrolments", workflowId=self._workflow, contactIds=[contact])
            self._enrolled.append(answer["enrolments"][0])
            due += self._pace
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
        say("  all single contacts have set out")


def percentile(ascending: list[float], share: float) -> float:
    """Return a nearest-rank percentile."""
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def as_milliseconds(ascending: Iterable[float]) -> dict[str, float]:
    """Return median, p99 and the longest."""
    values = list(ascending)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * percentile(values, share), 1) for name, share in shares.items()}


def _domain(address: str) -> str:
    return address.partition("@")[2]
