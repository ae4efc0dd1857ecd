"""The sandbox as a process, and its control API in the words of these tests."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx

from sandbox.local.waiting import PATIENCE, eventually

__all__ = ["Process", "Sandbox", "eventually"]

ROOT: Final = Path(__file__).resolve().parent.parent.parent
APP_ID: Final = 1_234_444
CLIENT_ID: Final = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
CLIENT_SECRET: Final = "sandbox-client-secret"
OPTIONS: Final = {
    "retryBaseSeconds": 0.05,
    "actionTimeoutSeconds": PATIENCE,  # a test that is about giving up sets its own
    "rateLimit": 110,
    "rateWindow": 10,
    "accessTokenSeconds": 1800,
}


def command(project: Path, *options: str) -> list[str]:
    """Return the command line of a sandbox on free ports."""
    return [sys.executable, "-m", "sandbox", "--project", str(project), "--port", "0", "--smtp-port", "0", *options]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a sandbox."""
    own = {
        "SANDBOX_APP_ID": str(APP_ID),
        "SANDBOX_CLIENT_ID": CLIENT_ID,
        "SANDBOX_CLIENT_SECRET": CLIENT_SECRET,
    }
    return {**os.environ, **own, **changes}


class Process:
    """A running sandbox."""

    def __init__(self, project: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            command(project, *options), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the sandbox ended with status {self.process.wait()}"
        addresses = json.loads(line)
        self.http, (self.smtp_host, _, port) = addresses["http"], addresses["smtp"].rpartition(":")
        self.smtp_port = int(port)
        self.web = httpx.Client(base_url=self.http, timeout=PATIENCE)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal and return its exit status."""
        self.web.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()


class Sandbox:
    """A running sandbox as new, with a first portal, its first workflow and contact."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = process.http
        self.web = process.web
        self.post("/reset")
        self.patch("/options", **OPTIONS, latencyMs=0, executionConcurrency=16, logRequests=True)
        self.portal: int = self.get("/portals")["portals"][0]["portalId"]
        self.workflow: int = self.get("/workflows", portalId=self.portal)["workflows"][0]["workflowId"]
        self.contact: int = self.get(f"/portals/{self.portal}/contacts", limit=1)["contacts"][0]["contactId"]

    def control(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self.web.request(method, f"/sandbox/api{path}", **request)

    def get(self, path: str, **query: Any) -> Any:
        return _checked(self.control("GET", path, params=query))

    def post(self, path: str, **body: Any) -> Any:
        return _checked(self.control("POST", path, json=body))

    def patch(self, path: str, **body: Any) -> Any:
        return _checked(self.control("PATCH", path, json=body))

    def put(self, path: str, **body: Any) -> Any:
        return _checked(self.control("PUT", path, json=body))

    def delete(self, path: str, **query: Any) -> Any:
        return _checked(self.control("DELETE", path, params=query))

    def token(self, portal: int | None = None, *scopes: str) -> str:
        """Install the app and return an access token."""
        body = {"scopes": scopes} if scopes else {}
        token: str = self.post(f"/portals/{portal or self.portal}/tokens", **body)["access_token"]
        return token

    def api(self, method: str, path: str, token: str, **request: Any) -> httpx.Response:
        """Call HubSpot's API as the app does."""
        return self.web.request(method, path, headers={"Authorization": f"Bearer {token}"}, **request)

    def enrol(self, *contacts: int, **more: Any) -> str:
        """Enrol one contact, or these, and return the first callback id."""
        ids = list(contacts) or [self.contact]
        answer = self.post("/enrolments", workflowId=self.workflow, contactIds=ids, **more)
        callback_id: str = answer["enrolments"][0]["callbackId"]
        return callback_id

    def execution(self, callback_id: str, *states: str) -> Any:
        """Return an execution, once it is in one of the states."""

        return eventually(
            lambda: self.get(f"/executions/{callback_id}"), lambda found: not states or found["state"] in states
        )

    def complete(self, token: str, callback_id: str, /, **outputs: str) -> httpx.Response:
        """Complete an execution as the app does."""
        path = f"/automation/actions/callbacks/2026-09/{callback_id}/complete"
        return self.api("POST", path, token, json={"outputFields": outputs, "typedOutputs": {}})

    def fault(self, route: str, kind: str, **more: Any) -> int:
        fault_id: int = self.post("/faults", route=route, kind=kind, **more)["faultId"]
        return fault_id

    def fired(self, fault_id: int) -> int:
        return next(int(fault["fired"]) for fault in self.get("/faults")["faults"] if fault["faultId"] == fault_id)

    def history(self, contact: int, name: str) -> list[str]:
        """Return everything written to a property, oldest first."""
        history = self.get(f"/portals/{self.portal}/contacts/{contact}")["history"]
        return [change["value"] for change in history.get(name, [])]


def _checked(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.request.url}: {response.status_code} {response.text}"
    return response.json() if response.content else None
