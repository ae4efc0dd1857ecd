"""What leaves for Sentry: a real event, sent to a server of ours in place of Sentry's, read in full."""

import gzip
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "a local variable": "482951",
    "the exception": "A7K3M2",
    "the body": "JKRFMN",
    "the query": "na1-query-token",
    "a header": "na1-header-token",
    "a cookie": "na1-cookie-token",
    "the path": "path.address@example.com",
    "the log": "log.address@example.com",
    "a task's argument": "task.address@example.com",
    "a task's exception": "903117",
    "the user": "user.address@example.com",
}
RAISE = """
import json, logging, os, sys, types
import django
django.setup()
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import path
import sentry_sdk
from celery import shared_task

secrets = json.loads(os.environ["TEST_SECRETS"])

def broken_view(request, where):
    code = secrets["a local variable"]
    logging.getLogger("somewhere").error("mail to %s", secrets["the log"])
    request.POST, request.body, request.COOKIES
    raise ValueError("no such code: " + secrets["the exception"])

@shared_task
def broken_task(address):
    code = secrets["a task's exception"]
    raise KeyError(code)

urls = types.ModuleType("urls")
urls.urlpatterns = [path("broken/<path:where>", broken_view)]
sys.modules["urls"] = urls
settings.ROOT_URLCONF = "urls"
sentry_sdk.set_user({"email": secrets["the user"]})
client = Client(raise_request_exception=False)
client.cookies["__Host-opsagent_session"] = secrets["a cookie"]
answer = client.post(
    "/broken/" + secrets["the path"] + "?code=" + secrets["the query"],
    data=json.dumps({"code": secrets["the body"]}), content_type="application/json",
    headers={"authorization": "Bearer " + secrets["a header"]}, secure=True,
)
assert answer.status_code == 500
broken_task.apply((secrets["a task's argument"],))
sentry_sdk.flush(180)
"""


@pytest.fixture
def sink() -> Iterator[tuple[str, list[bytes]]]:
    """A server that keeps what is posted to it: its DSN, and the bodies."""
    bodies: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://publickey@127.0.0.1:{server.server_port}/1", bodies
        server.shutdown()
        thread.join()


def test_it_reports_what_went_wrong_and_nothing_secret(sink: tuple[str, list[bytes]]) -> None:
    dsn, bodies = sink
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "opsagent.settings",
        "SENTRY_DSN": dsn,
        "TEST_SECRETS": json.dumps(SECRETS),
    }
    done = subprocess.run(
        [sys.executable, "-c", RAISE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sent = b"\n".join(bodies).decode()
    assert [where for where, secret in SECRETS.items() if secret in sent] == []
    events = [json.loads(lines[2]) for lines in (body.split(b"\n") for body in bodies) if b'"type":"event"' in lines[1]]
    assert [event["exception"]["values"][-1]["type"] for event in events] == ["ValueError", "KeyError"]
    assert [event["transaction"] for event in events] == ["__main__.broken_view", "opsagent.broken_task"]
    frames = events[0]["exception"]["values"][-1]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "broken_view"
    assert "vars" not in json.dumps(events)
    assert {"request", "user", "extra", "breadcrumbs", "contexts", "tags"} & set(events[0]) == set()
    assert events[0]["environment"] == "otp.example.com"


def test_nothing_of_sentry_is_loaded_without_an_address() -> None:
    look = "import django, sys; django.setup(); import opsagent.urls; print('sentry_sdk' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opsagent.settings"}
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
