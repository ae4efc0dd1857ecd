"""What probes and browsers get."""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from hubspot_integration.models import Portal
from otp.models import OTPSettings
from tests.generating import execution, outputs

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["/", "/hubspot/oauth/callback?error=access_denied"]
ASK = """
import django, json
django.setup()
from django.test import Client
response = Client().get("/readyz")
print(json.dumps({"status": response.status_code, "body": response.json()}))
"""


EXECUTE = """
import django, json
django.setup()
from tests.signing import post_signed
body = {"callbackId": "ap-1", "origin": {"portalId": 1}, "object": {"objectId": 1}, "inputFields": {"email": "a@b.co"}}
response = post_signed("/hubspot/actions/generate-otp", body | {"context": {"source": "WORKFLOWS"}})
print(json.dumps({"status": response.status_code, "body": response.json()}))
"""


def elsewhere(ask: str = ASK, **changes: str) -> dict[str, Any]:
    """Ask something, /readyz by default, in a process of its own with other variables."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opsagent.settings", **changes}
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, env=environment, check=True, capture_output=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_says_that_it_is_alive() -> None:
    response = Client().get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/api/schema", "/", "/help", "/privacy", "/terms", "/favicon.ico"]
)
def test_head_is_answered_as_get_without_a_body(path: str) -> None:
    secure = path not in {"/healthz", "/readyz", "/metrics"}
    asked, got = Client().head(path, secure=secure), Client().get(path, secure=secure)
    assert asked.status_code == got.status_code
    assert asked.status_code in {200, 301, 302, 403}
    assert asked["Content-Type"] == got["Content-Type"]
    assert asked.content == b""


@pytest.mark.django_db
def test_it_says_that_it_is_ready() -> None:
    response = Client().get("/readyz")
    expected = {"status": "ok", "database": "ok", "broker": "ok", "oldest_due_delivery_seconds": 0.0}
    assert (response.status_code, response.json()) == (200, expected)


@pytest.mark.django_db
def test_it_says_that_the_broker_is_away(no_redis: None) -> None:
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "database": "ok", "broker": "unavailable: ConnectionError"}
    assert Client().get("/healthz").status_code == 200


def test_it_says_that_the_database_is_away() -> None:
    answer = elsewhere(DATABASE_URL="postgres://opsagent@127.0.0.1:9/opsagent")
    assert answer["status"] == 503
    assert answer["body"] == {"status": "unavailable", "database": "unavailable: OperationalError", "broker": "ok"}


def test_hubspot_is_asked_to_call_again_when_the_database_is_away() -> None:
    answer = elsewhere(EXECUTE, DATABASE_URL="postgres://opsagent@127.0.0.1:9/opsagent")
    assert answer["status"] == 503
    assert answer["body"]["error"]["code"] == "unavailable"


@pytest.mark.django_db
def test_it_tells_busy_from_broken(portal: Portal) -> None:
    OTPSettings.objects.filter(portal=portal).update(store_in_property=True, property_name="otp_code")
    with time_machine.travel(timezone.now(), tick=False) as clock:
        outputs(execution(portal))
        clock.shift(dt.timedelta(seconds=31))
        response = Client().get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "busy")
    assert response.json()["oldest_due_delivery_seconds"] == 31


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "web:8000", "127.0.0.1"])
def test_it_answers_probes_whatever_host_they_name(path: str, host: str) -> None:
    assert Client().get(path, headers={"host": host}).status_code == 200
    assert Client().get("/", headers={"host": host if host != "127.0.0.1" else "evil.example"}).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_it_sends_strict_headers_with_every_page(page: str) -> None:
    response = Client().get(page, secure=True)
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert "max-age=31536000" in response["Strict-Transport-Security"]


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_it_has_no_inline_script_or_style(page: str) -> None:
    html = Client().get(page, secure=True).content.decode()
    assert " style=" not in html
    assert "<style" not in html
    assert re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", html) is None


@pytest.mark.django_db
def test_it_sends_browsers_to_https_but_not_hubspot() -> None:
    assert Client().get("/").status_code == 301
    assert Client().post("/hubspot/actions/generate-otp", data="{}", content_type="application/json").status_code == 401


def test_browsers_find_an_icon_where_they_look_unasked() -> None:
    response = Client().get("/favicon.ico", secure=True, follow=True)
    assert response["Content-Type"] == "image/svg+xml"
    assert response.getvalue().startswith(b"<svg")  # to the end: that closes the file
