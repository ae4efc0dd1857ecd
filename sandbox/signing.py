"""HubSpot's request signatures.

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
"""

import base64
import hashlib
import hmac
import re

_DECODED = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}
_ENCODED = re.compile("|".join(_DECODED), re.IGNORECASE)


def decode_url(url: str) -> str:
    """Decode the twelve percent-encodings HubSpot decodes before a v3 signature, and no other."""
    return _ENCODED.sub(lambda match: _DECODED[match[0].upper()], url)


def v1(secret: str, body: bytes) -> str:
    """Return the v1 signature that webhooks still carry, in hex."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


def v2(secret: str, method: str, url: str, body: bytes) -> str:
    """Return the v2 signature of workflow actions, in hex. It covers the URL as it is sent."""
    return hashlib.sha256(secret.encode() + method.encode() + url.encode() + body).hexdigest()


def v3(secret: str, method: str, url: str, body: bytes, timestamp: str) -> str:
    """Return the v3 signature, in base64. It covers the URL after ``decode_url``."""
    message = method.encode() + decode_url(url).encode() + body + timestamp.encode()
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()
