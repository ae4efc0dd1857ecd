"""`make demo`: everything on this machine, and the job done once before your eyes."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, TypeVar

import httpx

from sandbox.local import cards, servers
from sandbox.local.administrator import Administrator
from sandbox.local.ports import free_port
from sandbox.local.system import ROOT, NotStarted, System
from sandbox.local.waiting import PATIENCE, eventually

LOGS: Final = ROOT / ".local" / "demo"
PROPERTY: Final = "otp_code"
SUBMITTED: Final = "submitted_code"
STAFF, STAFF_PASSWORD = "support", "a-password-for-this-machine-only"

T = TypeVar("T")


class JobFailed(Exception):
    """A part of the job did not happen."""


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the job")
    once = parser.parse_args().once
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    shutil.rmtree(LOGS, ignore_errors=True)
    try:
        with contextlib.ExitStack() as stack:
            system = _start(stack)
            record = _do_the_job(system)
            if not once:
                _build_cards()
            _say("")
            _say("  Open   " + f"{system.app_url}/".ljust(34) + "the app: install it, its settings")
            _say(
                "         "
                + f"{system.sandbox_url}/".ljust(34)
                + "HubSpot on your laptop: contacts, workflows, mailbox"
            )
            _say(
                f"         {system.sandbox_url}{record}\n"
                + " " * 43
                + "that contact's record, with the card Generate OTP"
            )
            _say("         " + f"{system.app_url}/admin/".ljust(34) + "the support staff's admin; first, once, with an")
            _say(" " * 43 + f"authenticator app, as {STAFF}, {STAFF_PASSWORD}:")
            _say(f"         {_link_of_staff(system)}")
            _say("         " + f"{LOGS.relative_to(ROOT)}/".ljust(34) + "the logs of every process")
            if not once:
                _say("\n  Ctrl-C ends everything.")
                _stay(system)
    except KeyboardInterrupt:
        _say("\n  Ended.")
        return 0
    except Exception as problem:  # noqa: BLE001 (the person in front of it wants a sentence)
        _say(f"\n  FAILED: {problem or type(problem).__name__}\n  The logs are in {LOGS.relative_to(ROOT)}/.")
        return 1
    return 0


def _start(stack: contextlib.ExitStack) -> System:
    _say("Starting …")
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if database_url is None:
        database_url = _timed("PostgreSQL", lambda: stack.enter_context(servers.postgres())).url
    if redis_url is None:
        redis_url = _timed("Valkey", lambda: stack.enter_context(servers.valkey())).connection_url
    ports = {name: _port(name, preferred) for name, preferred in (("app", 8000), ("sandbox", 8100), ("mailbox", 8125))}
    system = System(
        database_url=database_url,
        redis_url=redis_url,
        logs=LOGS,
        web_port=ports["app"],
        sandbox_port=ports["sandbox"],
        smtp_port=ports["mailbox"],
        sandbox_options=("--retry-base-seconds", "2"),
        settings={"DJANGO_SUPERUSER_PASSWORD": STAFF_PASSWORD},
    )
    return _timed("sandbox, mailbox, migrations, web, worker, beat", lambda: stack.enter_context(system))


def _link_of_staff(system: System) -> str:
    """Make an administrator, if there is none yet; return the link with which they set up their authenticator app."""
    with contextlib.suppress(NotStarted):  # the database is one of yours, and an earlier demo was here
        system.manage("createsuperuser", "--noinput", "--username", STAFF, "--email", "support@opsagent.example")
    return system.manage("staff_enrol", STAFF).strip()


def _build_cards() -> None:
    """Build the card for the contact pages; without node the demo goes on, and says so."""
    try:
        _timed("the card for the contact pages", lambda: cards.build(lambda what: _say(f"  {what} …")))
    except cards.NotBuilt as problem:
        _say(f"  {problem}")


def _do_the_job(system: System) -> str:
    """Install, set up, enrol one contact, and follow its code to every place it must reach; return its record's path."""
    hubspot = httpx.Client(base_url=f"{system.sandbox_url}/sandbox/api", timeout=PATIENCE)
    portal = hubspot.get("/portals").json()["portals"][0]
    installer = next(user for user in portal["users"] if user["mayInstall"])
    workflows = {
        one["steps"][0]["actionUid"]: one["workflowId"]
        for one in hubspot.get("/workflows", params={"portalId": portal["portalId"]}).json()["workflows"]
    }
    admin = Administrator(system)
    _say("\nThe job")
    _timed(f"{installer['name']} installs the app in {portal['name']}", lambda: admin.install(installer["userId"]))
    _timed(
        f"settings: store in {PROPERTY}, send by e-mail, wait until delivered",
        lambda: admin.save_settings(
            store_in_property=True, property_name=PROPERTY, send_email=True, wait_until_delivered=True
        ),
    )
    contact = hubspot.get(f"/portals/{portal['portalId']}/contacts", params={"limit": 1}).json()["contacts"][0]
    enrolled_at = time.time()
    answer = hubspot.post(
        "/enrolments", json={"workflowId": workflows["opsagent_generate_otp"], "contactIds": [contact["contactId"]]}
    )
    callback_id = answer.json()["enrolments"][0]["callbackId"]
    _say(f"  {contact['properties']['email']} reaches the step Generate OTP")

    def execution() -> dict[str, Any]:
        found: dict[str, Any] = hubspot.get(f"/executions/{callback_id}").json()
        return found

    def written() -> list[dict[str, Any]]:
        path = f"/portals/{portal['portalId']}/contacts/{contact['contactId']}"
        history: list[dict[str, Any]] = hubspot.get(path).json()["history"].get(PROPERTY, [])
        return history

    def mails() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = hubspot.get("/mails", params={"to": contact["properties"]["email"]}).json()[
            "mails"
        ]
        return found

    run = _eventually("the app answers", lambda: (found := execution())["answeredAt"] and found)
    _event("answered, the step waits" if run["attempts"][0]["outputFields"].get("hs_execution_state") == "BLOCK"
           else "answered", run["answeredAt"], enrolled_at)  # fmt: skip
    change = _eventually("the property is written", written)[0]
    _event(f"code written to the contact property {PROPERTY}", change["at"], enrolled_at)
    mail = _eventually("the mail arrives", mails)[0]
    _event(f"mail received: {mail['subject']}", mail["receivedAt"], enrolled_at)
    run = _eventually("the step is completed", lambda: (found := execution())["finishedAt"] and found)
    outputs = run["outputFields"]
    _event(
        f"step completed: {outputs.get('otp_status')}, property {outputs.get('otp_property_status')}, "
        f"e-mail {outputs.get('otp_email_status')}",
        run["finishedAt"],
        enrolled_at,
    )
    text = hubspot.get(f"/mails/{mail['mailId']}").json()["text"]
    code = outputs.get("otp_code", "")
    if not (code and change["value"] == code and code in text and outputs["otp_status"] == "success"):
        raise JobFailed("The code in the outputs, the property and the mail is not the same.")
    if run["violations"]:
        raise JobFailed(f"HubSpot would complain: {run['violations']}")
    _say(f"  The same code stands in the outputs, the property and the mail: {code}")
    _verify(hubspot, portal["portalId"], contact["contactId"], workflows["opsagent_verify_otp"], code)
    return f"/contacts/{portal['portalId']}/record/0-1/{contact['contactId']}"


def _verify(hubspot: httpx.Client, portal_id: int, contact_id: int, workflow_id: int, code: str) -> None:
    """Let the customer submit a wrong code and the right one; follow each through the Verify OTP workflow."""
    wrong = "".join(str((int(digit) + 1) % 10) for digit in code)
    for submitted, expected in ((wrong, "invalid"), (code, "valid")):
        submitted_at = time.time()
        path = f"/portals/{portal_id}/contacts/{contact_id}"
        hubspot.patch(path, json={"properties": {SUBMITTED: submitted}, "source": "FORM"})
        answer = hubspot.post("/enrolments", json={"workflowId": workflow_id, "contactIds": [contact_id]})
        callback_id = answer.json()["enrolments"][0]["callbackId"]

        def look(callback_id: str = callback_id) -> Any:
            found = hubspot.get(f"/executions/{callback_id}").json()
            return found if found["finishedAt"] else None

        run = _eventually("the submitted code is checked", look)
        outputs = run["outputFields"]
        _event(
            f"customer submits {submitted}: {outputs['otp_result']} ({outputs['otp_reason']})",
            run["finishedAt"],
            submitted_at,
        )
        if outputs["otp_result"] != expected or run["violations"]:
            raise JobFailed(f"The check should have said {expected}. {run['violations'] or ''}")


def _eventually(what: str, look: Callable[[], Any]) -> Any:
    try:
        return eventually(look)
    except AssertionError as problem:
        raise JobFailed(f"This did not happen: {what} ({problem}).") from None


def _stay(system: System) -> None:
    while True:
        for name, process in system.processes.items():
            if process.poll() is not None:
                raise JobFailed(f"The process {name} has ended.")
        time.sleep(1)


def _port(name: str, preferred: int) -> int:
    port = free_port(preferred)
    if port != preferred:
        _say(f"  Port {preferred} is taken; the {name} uses {port}.")
    return port


def _timed(what: str, act: Callable[[], T]) -> T:
    began = time.monotonic()
    result = act()
    _say(f"  {what} ".ljust(78, ".") + f"{time.monotonic() - began:7.2f} s")
    return result


def _event(what: str, at_ms: float, since: float) -> None:
    _say(f"  {what} ".ljust(78, ".") + f"{at_ms / 1000 - since:+7.2f} s")


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
