"""Requests as HubSpot sends them, for tests that speak to Django without a network."""

import json
import time
from typing import Any

from django.conf import settings
from django.test import Client

from hubspot_integration.signatures import sign_v2, sign_v3


def signed_headers(
    path: str,
    body: bytes,
    *,
    method: str = "POST",
    versions: tuple[str, ...] = ("v2", "v3"),
    secret: str | None = None,
    base_url: str | None = None,
    timestamp: str | None = None,
) -> dict[str, str]:
    """Return HubSpot's signature headers for a request to `path` (query included) of the public address."""
    secret = secret or settings.HUBSPOT_CLIENT_SECRETS[0]
    uri = (base_url or settings.PUBLIC_BASE_URL) + path
    timestamp = timestamp or str(int(time.time() * 1000))
    headers = {}
    if "v2" in versions:
        headers["X-HubSpot-Signature"] = sign_v2(secret=secret, method=method, uri=uri, body=body)
        headers["X-HubSpot-Signature-Version"] = "v2"
    if "v3" in versions:
        headers["X-HubSpot-Signature-v3"] = sign_v3(
            secret=secret, method=method, uri=uri, body=body, timestamp=timestamp
        )
        headers["X-HubSpot-Request-Timestamp"] = timestamp
    return headers


def post_signed(path: str, payload: Any, **options: Any) -> Any:
    """POST `payload` (bytes as they are, anything else as JSON) signed as HubSpot does; return Django's response."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload, separators=(",", ":")).encode()
    headers = signed_headers(path, body, **options)
    return Client(raise_request_exception=False).post(
        path, data=body, content_type="application/json", headers=headers, secure=True
    )
