"""The portal admin's settings page, used as a browser uses it: what it shows is parsed, what is posted is its form."""

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from hubspot_integration import access
from hubspot_integration.models import ContactPropertyList, OAuthGrant, Portal
from hubspot_integration.oauth import REQUIRED_SCOPES
from otp import forms, views
from otp.models import OTPSettings
from tests import factories

PATH = "/settings/"
SYNC = "/settings/properties/sync"
DEFAULTS: dict[str, str | bool] = {
    "Code Type": "numeric",
    "Code Length": "6",
    "Default Expiry": "10",
    "Store OTP in HubSpot Property": False,
    "HubSpot Property Name": "",
    "Send OTP via Email": False,
    "Email Subject": "Your Verification Code",
    "Greeting": "Hello,",
    "Body Text": "Your one-time verification code is:",
    "Footer Text": (
        "This code will expire in {expiry_minutes} minutes. "
        "If you didn't request this code, please ignore this email."
    ),
    "Wait until delivered": False,
    "Give the code to later workflow steps": True,
}


# ---------------------------------------------------------------- HubSpot, as far as this page calls it


def contact_property(name: str, label: str, **changes: Any) -> dict[str, Any]:
    """Return a property's definition as HubSpot's Properties API answers it."""
    return {
        "name": name,
        "label": label,
        "type": "string",
        "fieldType": "text",
        "description": "",
        "groupName": "contactinformation",
        "options": [],
        "displayOrder": -1,
        "calculated": False,
        "externalOptions": False,
        "hasUniqueValue": False,
        "hidden": False,
        "hubspotDefined": False,
        "archived": False,
        "formField": True,
        "dataSensitivity": "non_sensitive",
        "modificationMetadata": {
            "archivable": True,
            "readOnlyDefinition": False,
            "readOnlyOptions": False,
            "readOnlyValue": False,
        },
        **changes,
    }


def error_body(category: str) -> dict[str, Any]:
    return {"status": "error", "message": "refused", "correlationId": "a43683b0-5717-4ceb-80b4", "category": category}


@dataclass
class HubSpot:
    """A small HTTP server with HubSpot's property and token endpoints. Tests change what it has and how it answers."""

    url: str = ""
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    failure: tuple[int, dict[str, Any]] | None = None
    refresh_failure: tuple[int, dict[str, Any]] | None = None
    delay: float = 0.0

    def add(self, name: str, label: str, **changes: Any) -> None:
        self.properties[name] = contact_property(name, label, **changes)

    def answer(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        self.calls.append(f"{method} {path}")
        time.sleep(self.delay)
        if path == "/oauth/2026-09/token":
            return self.refresh_failure or (200, {"access_token": "new", "refresh_token": "new", "expires_in": 1800})
        if self.failure:
            return self.failure
        listing = "/crm/properties/2026-09/contacts"
        if path == listing:
            return 200, {"results": list(self.properties.values())}
        found = self.properties.get(unquote(path.removeprefix(f"{listing}/")))
        return (200, found) if found else (404, error_body("OBJECT_NOT_FOUND"))


@pytest.fixture
def hubspot(settings: Settings) -> Iterator[HubSpot]:
    fake = HubSpot()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = fake.answer(self.command, self.path)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 (the names that http.server looks for)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's signature)
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        fake.url = settings.HUBSPOT_API_BASE_URL = f"http://127.0.0.1:{server.server_address[1]}"
        fake.add("otp_code", "OTP code")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()
