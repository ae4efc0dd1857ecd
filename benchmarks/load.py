"""Load: requests that are signed beforehand, sent over kept connections, as fast as they are answered."""

import asyncio
import base64
import hmac
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import uvloop


@dataclass(frozen=True, slots=True)
class Result:
    """One volley: requests per second, latencies in seconds in ascending order, answers by status."""

    rate: float
    latencies: list[float]
    statuses: dict[int, int]

    def percentile(self, share: float) -> float:
        """Return a latency in milliseconds."""
        return 1000 * self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))]


def executions(
    *, portal_id: int, first: int, count: int, inputs: Mapping[str, str] = MappingProxyType({})
) -> list[bytes]:
    """Return bodies of executions with these inputs besides the usual ones, each for a contact of its own; about 1.2 KB like HubSpot's."""
    bodies = []
    for number in range(first, first + count):
        fields = {"email": f"contact{number}@example.com", "language": "en", "override_settings": "false", **inputs}
        payload = {
            "callbackId": f"ap-{portal_id}-{number}-7-0",
            "origin": {"portalId": portal_id, "actionDefinitionId": 264737568, "actionDefinitionVersion": 3,
                       "extensionDefinitionId": 264737568, "extensionDefinitionVersionId": 3},
            "context": {"workflowId": 192814114, "actionId": 7, "source": "WORKFLOWS"},
            "object": {"objectId": number, "objectType": "CONTACT", "properties": {"firstname": "Ada"}},
            "fields": fields,
            "inputFields": fields,
            "typedInputs": {name: {"value": value, "type": "STRING"} for name, value in fields.items()},
            "padding": "x" * 300,
        }  # fmt: skip
        bodies.append(json.dumps(payload, separators=(",", ":")).encode())
    return bodies


def signed(bodies: Sequence[bytes], *, base_url: str, path: str, secret: str) -> list[bytes]:
    """Return whole HTTP requests, signed with version 3 for `base_url`."""
    timestamp = str(time.time_ns() // 1_000_000)
    requests = []
    for body in bodies:
        message = b"POST" + base_url.encode() + path.encode() + body + timestamp.encode()
        signature = base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-HubSpot-Signature-v3: {signature}\r\nX-HubSpot-Request-Timestamp: {timestamp}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


class _Client(asyncio.Protocol):
    """One connection that sends the next request as soon as the last one is answered."""

    def __init__(self, requests: deque[bytes], latencies: list[float], statuses: dict[int, int]) -> None:
        self._requests, self._latencies, self._statuses = requests, latencies, statuses
        self._buffer = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._next()

    def data_received(self, data: bytes) -> None:
        try:
            self._receive(data)
        except ValueError:
            self._fail(ConnectionError(f"the server sent an answer without a Content-Length: {self._buffer[:200]!r}"))

    def _receive(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        status = int(head[9:12])
        self._statuses[status] = self._statuses.get(status, 0) + 1
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the server closed the connection"))

    def _fail(self, reason: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(reason)
            self._transport.close()

    def _next(self) -> None:
        if not self._requests:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests.popleft())


def volley(requests: Sequence[bytes], *, port: int, connections: int) -> Result:
    """Send every request once and wait for all answers."""

    async def run() -> Result:
        queue, latencies, statuses = deque(requests), [], {}  # type: ignore[var-annotated]
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        clients = [
            (await loop.create_connection(lambda: _Client(queue, latencies, statuses), "127.0.0.1", port))[1]
            for _ in range(connections)
        ]
        await asyncio.gather(*(client.done for client in clients))
        return Result(len(requests) / (time.perf_counter() - began), sorted(latencies), statuses)

    return uvloop.run(run())
