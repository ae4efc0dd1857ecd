"""The web process: what granian serves. It reads whole requests, refuses what is not worth a thread, and takes one then.

Python code that waits for a slow client waits here in one event loop, where waiting costs a few kilobytes, and never in
a thread: a body has its deadline and its limit, whoever sends it and whatever stands in front of this process. A call that
bears a signature is refused, or proven, before it gets a thread (settings.SIGNED_CALLS). The few threads do what blocks:
the database. Their number is that of a process's database connections.

Granian's RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

import asyncio
import contextlib
import io
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.utils.http import parse_header_parameters

from opsagent import calls, request_log
from opsagent.calls import MAXIMUM_BODY, Answer, Door, Head

log = structlog.get_logger(__name__)

THREADS: Final = 4
"""Each keeps a database connection; more of them bought nothing when measured."""
WAITING: Final = 64
"""Requests that a process has read and not answered; beyond, it says 503 at once, and HubSpot calls again."""
BODY_SECONDS: Final = 10.0
"""From the end of a request's head to the end of its body."""
SMALL_BODY: Final = 65_536
LARGE_BODIES: Final = 32
"""So many bodies larger than SMALL_BODY are read at a time: what strangers may send must not fill the memory."""

# RSGI's own names, in words that the type checker can do without.
Scope = Any
Protocol = Any

_CLOSE: Final = ("connection", "close")
"""With an answer to a body that was not read to its end, and is not going to be."""
_TOO_SLOW: Final = calls.problem(408, "too_slow", "The body did not arrive within 10 seconds. Send it anew.")
_BROKEN_OFF: Final = calls.problem(400, "broken_off", "The body ended before its end. Send it anew.")
_BUSY: Final = calls.problem(
    503, "busy", "Too many requests at this moment. Call again in a second.", ("Retry-After", "1")
)


class Web:
    """An RSGI application around a WSGI one, with the door in front."""

    def __init__(self, application: WSGIHandler, door: Door) -> None:
        self._application, self._door = application, door
        self._threads = _Threads(THREADS)
        self._in_hand = self._large = 0  # touched by the event loop alone

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to serve (called once in each worker process)."""
        self._threads.start()
        self._door.open()

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """End, after the last answer."""
        self._door.close()

    async def __rsgi__(self, scope: Scope, protocol: Protocol) -> None:
        """Answer one request."""
        line = request_log.Line(scope.method, scope.path)
        signed = self._door.leads(scope.path)
        head = Head(scope.method.upper(), scope.path, scope.query_string, scope.headers.get)
        body, refused = b"", self._door.refused(head) if signed else None
        if refused is None:
            body, refused = await self._body(scope, protocol)
        unread = _CLOSE if refused is not None and _has_body(scope) else None
        if refused is None and signed:
            refused = self._door.unproven(head, body)
        if refused is None and self._in_hand >= WAITING:
            refused = _BUSY
        if refused is not None:
            with line:
                line.write(refused.status, quiet=False)
            _send(protocol, refused if signed else calls.plain(refused), line, unread)
            return
        self._in_hand += 1
        try:
            if signed:
                await self._threads.run(_answer_signed, self._door, head, body, scope, protocol, line)
            else:
                await self._threads.run(_answer_page, self._application, scope, body, protocol)
        finally:
            self._in_hand -= 1

    async def _body(self, scope: Scope, protocol: Protocol) -> tuple[bytes, Answer | None]:
        """Return the whole body; or the answer to one that is too large, too slow, or broken off."""
        if not _has_body(scope):
            return b"", None
        declared = int(scope.headers.get("content-length") or -1)  # hyper refuses what is no number
        if declared > MAXIMUM_BODY:
            return b"", calls.TOO_LARGE
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if 0 <= declared <= SMALL_BODY:
                    return await protocol(), None  # the server itself stops at the declared length
                return await self._chunks(protocol)
        except TimeoutError:
            return b"", _TOO_SLOW
        except Exception as error:  # noqa: BLE001 (granian's own; whoever sent it has gone)
            log.info("body_broken_off", reason=type(error).__name__)
            return b"", _BROKEN_OFF

    async def _chunks(self, protocol: Protocol) -> tuple[bytes, Answer | None]:
        body, is_large, ends = bytearray(), False, 0
        try:
            async for chunk in protocol:
                body += chunk
                ends += not chunk
                if len(body) > MAXIMUM_BODY:
                    return b"", calls.TOO_LARGE
                if len(body) > SMALL_BODY and not is_large:
                    if self._large >= LARGE_BODIES:
                        return b"", _BUSY
                    is_large = True
                    self._large += 1
            # granian marks a body's end by an empty chunk, and what breaks it off by one more
            return (bytes(body), None) if ends <= 1 else (b"", _BROKEN_OFF)
        finally:
            self._large -= is_large


def _has_body(scope: Scope) -> bool:
    return scope.headers.get("content-length") not in {None, "0"} or "transfer-encoding" in scope.headers


# ------------------------------------------------------------------ in a thread
def _answer_signed(
    door: Door, head: Head, body: bytes, scope: Scope, protocol: Protocol, line: request_log.Line
) -> None:
    close_old_connections()
    try:
        with line:
            answer = door.answer(head, body, lambda: _Request(_environ(scope, body)))
            line.write(answer.status, quiet=True)
        _send(protocol, answer, line)
    finally:
        close_old_connections()


def _answer_page(application: WSGIHandler, scope: Scope, body: bytes, protocol: Protocol) -> None:
    begun: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        begun[:] = int(status[:3]), [(name.lower(), value) for name, value in headers]

    response: Any = application(_environ(scope, body), start_response)
    try:
        status, headers = begun
        if getattr(response, "streaming", False) and "content-length" not in dict(headers):
            _stream(protocol.response_stream(status, headers), response)
        else:
            protocol.response_bytes(status, headers, b"".join(response))
    finally:
        response.close()


def _stream(transport: Any, chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        try:
            for _ in transport.send_bytes(chunk).__await__():
                pass
        except Exception as error:  # noqa: BLE001 (granian's own; whoever listened has gone)
            log.info("answer_broken_off", reason=type(error).__name__)
            return


def _send(protocol: Protocol, answer: Answer, line: request_log.Line, more: tuple[str, str] | None = None) -> None:
    headers = [
        ("content-type", answer.content_type),
        (request_log.HEADER.lower(), line.request_id),
        *[(name.lower(), value) for name, value in answer.headers],
        *([more] if more else []),
    ]
    protocol.response_bytes(answer.status, headers, answer.content)


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return a request as WSGI has it (PEP 3333): texts hold bytes, one a character."""
    server, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": port,
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "HTTP_HOST": scope.authority or "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    given: dict[str, str] = {}
    for name, value in scope.headers.items():
        if "_" in name:
            continue  # or X_Forwarded_For would pass for X-Forwarded-For, which a proxy has seen to
        between = "; " if name == "cookie" else ","
        given[name] = f"{given[name]}{between}{value}" if name in given else value
    given.pop("content-length", None)
    given.pop("transfer-encoding", None)
    if "content-type" in given:
        environ["CONTENT_TYPE"] = given.pop("content-type")
    environ.update((f"HTTP_{name.upper().replace('-', '_')}", value) for name, value in given.items())
    return environ


class _Request(WSGIRequest):
    """A request in UTF-8, whatever its Content-Type says.

    Django would decode query and form by any codec that is named there (`charset=rot13`), and it reads the header before
    there is a handler that could answer to one that makes no sense.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = "", {}
        with contextlib.suppress(ValueError, LookupError, TypeError):
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))


class _Threads:
    """A few threads that work off what the event loop hands them, in order."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._work: queue.SimpleQueue[tuple[asyncio.Future[None], Callable[..., None], tuple[Any, ...]]]
        self._work = queue.SimpleQueue()

    def start(self) -> None:
        """Start them; daemons, because a process that ends has answered everything before."""
        for number in range(self._number):
            threading.Thread(target=self._work_for_ever, name=f"request {number}", daemon=True).start()

    async def run(self, work: Callable[..., None], *arguments: Any) -> None:
        """Have a thread do some work, and wait for its end."""
        done = asyncio.get_running_loop().create_future()
        self._work.put((done, work, arguments))
        await done

    def _work_for_ever(self) -> None:
        while True:
            done, work, arguments = self._work.get()
            try:
                work(*arguments)
            except Exception:
                log.exception("request_failed")
            done.get_loop().call_soon_threadsafe(_end, done)


def _end(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsagent.settings")
_django = get_wsgi_application()
_django.request_class = _Request
application = Web(_django, calls.door())
