"""HubSpot's own requests to the app: signed, timed, never following a redirect."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from sandbox import signing
from sandbox.connections import Answer, BrokenConnectionError, Connections, wire_url
from sandbox.options import Options
from sandbox.times import milliseconds, now


class NoAnswerError(Exception):
    """The app could not be reached, or said nothing in time."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class Outgoing:
    """Send signed requests over kept connections."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._connections = Connections()

    def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    async def send(
        self, method: str, url: str, body: bytes, *, within: float, extra: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request with v2 and v3 signatures and a fresh timestamp. Raises NoAnswerError.

        The v3 header is on every request, next to the version that was there before:
        https://developers.hubspot.com/changelog/introducing-version-3-of-webhook-signatures
        """
        target = wire_url(url)  # the signature must cover exactly what is sent
        secret = self._options.client_secret
        timestamp = str(milliseconds(now()))
        headers = {
            "X-HubSpot-Signature": signing.v2(secret, method, target, body),
            "X-HubSpot-Signature-Version": "v2",
            "X-HubSpot-Signature-v3": signing.v3(secret, method, target, body, timestamp),
            "X-HubSpot-Request-Timestamp": timestamp,
            "User-Agent": "HubSpot Connect 2.0 (http://dev.hubspot.com/) (sandbox)",
            "Accept": "*/*",
            **(extra or {}),
        }
        if body:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(within):
                return await self._connections.request(method, target, headers, body)
        except TimeoutError:
            raise NoAnswerError(f"no answer within {within:g} s", timed_out=True) from None
        except BrokenConnectionError as reason:
            raise NoAnswerError(str(reason)) from None


def compact_json(content: Any) -> bytes:
    """Return JSON as HubSpot sends it: UTF-8 without spaces."""
    return orjson.dumps(content)
