"""The app as HubSpot sees it: a developer project in a folder, and a server that answers as a test says."""

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from sandbox.local.waiting import PATIENCE

SUCCESS: Final = {"outputFields": {"result": "good", "token": "T-1", "hs_execution_state": "SUCCESS"}}


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer; `drop` closes the connection instead, `after` holds it back."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    after: Callable[[], object] | None = None


Respond = Callable[[Received], Reply]


class App:
    """The server. `respond` decides every answer and may be replaced at any time."""

    def __init__(self) -> None:
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                received = Received(self.command, self.path, dict(self.headers), body, time.time())
                app.received.append(received)
                with app.counting(), contextlib.suppress(ConnectionError):  # who asked may be gone
                    app.say(self, app.respond(received))

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class looks for these names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.let_go = threading.Event()
        self._lock, self._now = threading.Lock(), 0
        self.reset()
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self) -> None:
        """Answer every action with success again."""
        self.let_go.set()
        self.let_go = threading.Event()
        self.received: list[Received] = []
        self.most_at_once = 0
        self.respond: Respond = lambda _: Reply(SUCCESS)

    def held(self, body: Any = SUCCESS) -> Reply:
        """Return an answer that comes when the test sets `let_go`, or ends."""
        return Reply(body, after=partial(self.let_go.wait, PATIENCE))

    def together(self, count: int) -> Reply:
        """Return a success that waits until so many requests are here at once."""
        return Reply(SUCCESS, after=partial(threading.Barrier(count).wait, PATIENCE))

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Note how many requests are being answered at once."""
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    def answer(self, *replies: Reply) -> None:
        """Give these answers in their order, the last one again and again."""
        left = list(replies)
        lock = threading.Lock()

        def respond(_: Received) -> Reply:
            with lock:
                return left.pop(0) if len(left) > 1 else left[0]

        self.respond = respond

    @staticmethod
    def say(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        """Send one answer."""
        if reply.after:
            reply.after()
        if reply.drop:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            return
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def outputs(**values: Any) -> Reply:
    """Return the answer of an action with these outputs."""
    return Reply({"outputFields": values})


def write_project(folder: Path) -> Path:
    """Write a developer project with two actions, webhooks and a card, that uses ${BASE}, ${MAX} and ${PUBLISHED}."""
    files: dict[str, Any] = {
        "hsproject.json": {"name": "badge-app", "srcDir": "src", "platformVersion": "2026.09"},
        "src/hsprofile.test.json": {
            "accountId": 1,
            "variables": {"BASE": "http://localhost:1", "MAX": 10, "PUBLISHED": True, "NAME": "Badges"},
        },
        "src/app/app-hsmeta.json": {
            "uid": "badge_app",
            "type": "app",
            "config": {
                "name": "${NAME}",
                "description": "Issues badges.",
                "distribution": "private",
                "auth": {
                    "type": "oauth",
                    "redirectUrls": ["${BASE}/oauth/callback"],
                    "requiredScopes": ["oauth", "crm.objects.contacts.read"],
                    "conditionallyRequiredScopes": ["crm.objects.contacts.write"],
                    "optionalScopes": ["automation", "crm.schemas.contacts.write"],
                },
                "permittedUrls": {"fetch": ["${BASE}"], "iframe": [], "img": []},
            },
        },
        "src/app/workflow-actions/1-issue-hsmeta.json": _ISSUE,
        "src/app/workflow-actions/2-check-hsmeta.json": _CHECK,
        "src/app/webhooks/webhooks-hsmeta.json": {
            "uid": "badge_webhooks",
            "type": "webhooks",
            "config": {
                "settings": {"targetUrl": "${BASE}/webhooks", "maxConcurrentRequests": "${MAX}"},
                "subscriptions": {
                    "crmObjects": [{"subscriptionType": "object.deletion", "objectType": "contact", "active": True}],
                    "legacyCrmObjects": [{"subscriptionType": "contact.deletion", "active": False}],
                    "hubEvents": [{"subscriptionType": "contact.privacyDeletion", "active": True}],
                },
            },
        },
        "src/app/cards/badge-hsmeta.json": {
            "uid": "badge_card",
            "type": "card",
            "config": {"name": "Badge", "location": "crm.record.sidebar", "entrypoint": "/app/cards/Badge.tsx"},
        },
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


def _input(name: str, kind: str = "string", *, source: str, required: bool = False, **more: Any) -> dict[str, Any]:
    definition = {"name": name, "type": kind, "fieldType": "text", "options": [], **more}
    return {"typeDefinition": definition, "supportedValueTypes": [source], "isRequired": required}


def _output(name: str, kind: str = "string", *values: str) -> dict[str, Any]:
    options = [{"value": value, "label": value.title()} for value in values]
    return {"typeDefinition": {"name": name, "type": kind, "fieldType": "text", "options": options}}


_ISSUE: Final[dict[str, Any]] = {
    "uid": "issue_badge",
    "type": "workflow-action",
    "config": {
        "actionUrl": "${BASE}/actions/issue",
        "isPublished": "${PUBLISHED}",
        "supportedClients": [{"client": "WORKFLOWS"}],
        "objectTypes": ["CONTACT"],
        "objectRequestOptions": {"properties": ["firstname", "phone"]},
        "inputFields": [
            _input("email", source="OBJECT_PROPERTY", required=True),
            _input("tongue", source="OBJECT_PROPERTY"),
            _input(
                "custom",
                "enumeration",
                source="STATIC_VALUE",
                options=[{"value": "no", "label": "No"}, {"value": "yes", "label": "Yes"}],
            ),
            _input("colour", source="STATIC_VALUE"),
            _input("shelf", "enumeration", source="STATIC_VALUE", optionsUrl="${BASE}/actions/options"),
        ],
        "inputFieldDependencies": [
            {
                "dependencyType": "CONDITIONAL_SINGLE_FIELD",
                "controllingFieldName": "custom",
                "controllingFieldValue": "yes",
                "dependentFieldNames": ["colour", "shelf"],
            }
        ],
        "outputFields": [
            _output("result", "enumeration", "good", "bad"),
            _output("token"),
            _output("at", "datetime"),
            _output("left", "number"),
            _output("unlabelled"),
        ],
        "executionRules": [
            {"labelName": "late", "conditions": {"result": "bad", "token": ["LATE", "TOO_LATE"]}},
            {"labelName": "issued", "conditions": {"result": ["good"]}},
        ],
        "labels": {
            "en": {
                "actionName": "Issue badge",
                "actionDescription": "Issues a badge.",
                "actionCardContent": "Issue",
                "inputFieldLabels": {
                    "email": "Address",
                    "tongue": "Preferred Language Property",
                    "custom": "Custom",
                    "colour": "Colour",
                    "shelf": "Shelf",
                },
                "inputFieldDescriptions": {"email": "Where to <b>send</b> it."},
                "inputFieldOptionLabels": {"custom": {"yes": "Yes, please"}},
                "outputFieldLabels": {"result": "Badge result", "token": "Badge token", "at": "At", "left": "Left"},
                "executionRules": {"late": "Too late for {{ token }}.", "issued": "Badge {{token}} issued."},
            }
        },
    },
}
_CHECK: Final[dict[str, Any]] = {
    "uid": "check_badge",
    "type": "workflow-action",
    "config": {
        "actionUrl": "${BASE}/actions/check",
        "isPublished": True,
        "supportedClients": [{"client": "WORKFLOWS"}],
        "objectTypes": ["CONTACT"],
        "inputFields": [_input("token", source="OBJECT_PROPERTY", required=True)],
        "outputFields": [_output("verdict", "enumeration", "known", "unknown")],
        "labels": {"en": {"actionName": "Check badge", "outputFieldLabels": {"verdict": "Verdict"}}},
    },
}
