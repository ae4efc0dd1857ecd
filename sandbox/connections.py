"""A small HTTP/1.1 client over kept connections: one request is one attempt.

HTTP libraries repeat requests by themselves when a kept connection turns out to be closed. A stand-in for HubSpot that
counts attempts cannot have that, and at thousands of requests a burst their pools cost more than the sandbox itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Any, cast
from urllib.parse import quote, urlsplit

import orjson
from httptools import HttpParserError, HttpResponseParser

# Less than servers keep an idle connection open, so that none is closed under a request.
IDLE_SECONDS = 1.5
MAX_ANSWER_BYTES = 1_048_576
_URL_CHARACTERS = "%/:?#[]@!$&'()*+,;=~"
_PORTS = {"http": 80, "https": 443}


class BrokenConnectionError(Exception):
    """The connection could not be made, ended before the answer was complete, or spoke something else."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body, or None when it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


def wire_url(url: str) -> str:
    """Return a URL as it goes over the wire: ASCII, without a fragment, its own escapes untouched."""
    return quote(url.partition("#")[0], safe=_URL_CHARACTERS)


class Connections:
    """Send requests over kept connections, opening as many as there are requests at once."""

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, str], list[_Connection]] = defaultdict(list)

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request to a URL that ``wire_url`` has made and return the answer.

        Redirects are not followed. Raises BrokenConnectionError; cancelling it closes the connection.
        """
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if body or method != "GET":
            head.append(f"Content-Length: {len(body)}")
        request = "\r\n".join([*head, "", ""]).encode("latin-1") + body
        idle = self._idle[parts.scheme, parts.netloc]
        connection = self._take(idle) or await _open(url)
        answer = await connection.exchange(request)
        if connection.is_reusable:
            idle.append(connection)
        return answer

    def close(self) -> None:
        """Close all kept connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def _take(self, idle: "list[_Connection]") -> "_Connection | None":
        """Return the connection used last, if it is still open and fresh."""
        while idle:
            connection = idle.pop()
            if connection.is_reusable and monotonic() - connection.used_at < IDLE_SECONDS:
                return connection
            connection.close()
        return None


async def _open(url: str) -> "_Connection":
    parts = urlsplit(url)
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection,
            parts.hostname or "",
            parts.port or _PORTS[parts.scheme],
            ssl=True if parts.scheme == "https" else None,
        )
    except (OSError, KeyError, ValueError) as error:
        raise BrokenConnectionError(f"cannot connect to {parts.netloc}: {error}") from None
    return connection


class _Connection(asyncio.Protocol):
    """One connection, carrying one request at a time. The ``on_`` methods are called by the parser."""

    def __init__(self) -> None:
        self.used_at = monotonic()
        self.is_reusable = True
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._waiting: asyncio.Future[Answer] | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and return the answer."""
        if self._transport is None or self._transport.is_closing():
            raise BrokenConnectionError("the connection was closed before the request was sent")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            self._waiting = None

    def close(self) -> None:
        """Close the connection, whatever is under way."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (called by the event loop)."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        """Feed the parser (called by the event loop)."""
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(f"the answer is not HTTP: {error}")
        if len(self._body) > MAX_ANSWER_BYTES:
            self._fail("the answer is larger than 1 MB")

    def connection_lost(self, _error: Exception | None) -> None:
        """End what is under way (called by the event loop)."""
        self.is_reusable = False
        framed = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self._headers and not framed:  # an answer without a length ends with the connection
            self.on_message_complete()
        self._fail("the connection was closed without an answer")

    def on_message_begin(self) -> None:
        """Forget the answer before."""
        self._headers.clear()
        self._body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand the answer over, unless it was only an interim one."""
        status = self._parser.get_status_code()
        if status < HTTPStatus.OK:
            return
        self.used_at = monotonic()
        self.is_reusable = self.is_reusable and self._parser.should_keep_alive()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer(status, dict(self._headers), bytes(self._body)))

    def _fail(self, reason: str) -> None:
        self.is_reusable = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(BrokenConnectionError(reason))
        with suppress(RuntimeError):  # the loop may be closing
            self.close()
