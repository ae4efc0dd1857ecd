"""HubSpot's request signatures, both ways: pure functions over bytes.

Source: https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

MAXIMUM_AGE_MS: Final = 300_000
V3: Final = "X-HubSpot-Signature-v3"
TIMESTAMP: Final = "X-HubSpot-Request-Timestamp"
V2: Final = "X-HubSpot-Signature"
VERSION: Final = "X-HubSpot-Signature-Version"
HEADERS: Final = (V3, TIMESTAMP, V2, VERSION)

# The only escapes that HubSpot decodes before it signs with v3; `urllib.parse.unquote` would decode too many.
_DECODED: Final = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$",
    "%27": "'", "%28": "(", "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
_ESCAPE: Final = re.compile("|".join(_DECODED), re.IGNORECASE)
_TIMESTAMP: Final = re.compile(r"[0-9]{13}", re.ASCII)


def sign_v3(*, secret: str, method: str, uri: str, body: bytes, timestamp: str) -> str:
    """Return the `X-HubSpot-Signature-v3` of a request: base64 of an HMAC-SHA256; `timestamp` in milliseconds."""
    return _hmac(secret, method, _decoded(uri), body, timestamp).decode()


def sign_v2(*, secret: str, method: str, uri: str, body: bytes) -> str:
    """Return the `X-HubSpot-Signature` of version v2: hex of a SHA-256."""
    return hashlib.sha256(secret.encode() + method.encode() + uri.encode() + body).hexdigest()


def verify(
    *,
    secrets: Iterable[str],
    method: str,
    uri: str,
    body: bytes,
    headers: Mapping[str, str],
    now_ms: int,
    allow_v2: bool,
) -> bool:
    """Tell whether HubSpot, knowing one of `secrets`, signed this request. Never raises.

    `uri` is the public URL exactly as HubSpot called it, percent-escapes and order of parameters included. Version 3
    is required to be at most five minutes away from `now_ms`, in either direction. Version 2 carries no time: it holds
    for as long as the secret does. It counts only with `allow_v2`, and only where no version 3 came along. That keeps
    nobody out who has caught a request signed both ways and leaves version 3 away; `signature_versions` does.
    """
    given = headers.get(V3)
    if given is not None:
        timestamp = headers.get(TIMESTAMP, "")
        if not _TIMESTAMP.fullmatch(timestamp) or abs(now_ms - int(timestamp)) > MAXIMUM_AGE_MS:
            return False
        # HubSpot's own local proxy signs the URL as sent, HubSpot itself the decoded one; nobody else can make either.
        expected = [
            _hmac(secret, method, signed, body, timestamp).decode()
            for secret in secrets
            for signed in ((uri, _decoded(uri)) if "%" in uri else (uri,))
        ]
        return _any_equal(given, expected)
    given = headers.get(V2)
    if allow_v2 and given is not None and headers.get(VERSION) == "v2":
        return _any_equal(given, [sign_v2(secret=secret, method=method, uri=uri, body=body) for secret in secrets])
    return False


def _decoded(uri: str) -> str:
    return _ESCAPE.sub(lambda match: _DECODED[match.group().upper()], uri)


def _hmac(secret: str, method: str, uri: str, body: bytes, timestamp: str) -> bytes:
    message = method.encode() + uri.encode() + body + timestamp.encode()
    return base64.b64encode(hmac.digest(secret.encode(), message, "sha256"))


def _any_equal(given: str, expected: Iterable[str]) -> bool:
    # Bytes, because compare_digest refuses non-ASCII text; every candidate is compared, so time tells nothing.
    given_bytes = given.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(given_bytes, candidate.encode()) for candidate in expected]
    return any(matches)
