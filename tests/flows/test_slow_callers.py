"""Whoever is slow waits alone: nobody holds up the web process by sending, or listening, slowly."""

import contextlib
import os
import selectors
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import httpx
import orjson
import psycopg
import pytest

from hubspot_integration.models import Portal
from otp.models import OneTimeCode
from sandbox.local import system as local
from sandbox.local.system import System
from sandbox.local.waiting import eventually, pace
from tests.generating import execution
from tests.hubspot import HubSpot
from tests.signing import signed_headers

pytestmark = pytest.mark.django_db(transaction=True)

HELD = 100
GENERATE = "/hubspot/actions/generate-otp"
FORGED = (
    "X-HubSpot-Signature-v3: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"
    "X-HubSpot-Request-Timestamp: 1795000000000\r\n"
    "X-HubSpot-Signature: 00\r\nX-HubSpot-Signature-Version: v2\r\n"
)
SLOW = "Content-Length: 100000\r\n\r\n{"
CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"
HEADS = {
    "an action, without signature": f"POST {GENERATE} HTTP/1.1\r\nHost: localhost\r\n{SLOW}",
    "an action, forged": f"POST {GENERATE} HTTP/1.1\r\nHost: localhost\r\n{FORGED}{SLOW}",
    "webhooks, forged": f"POST /hubspot/webhooks HTTP/1.1\r\nHost: localhost\r\n{FORGED}{SLOW}",
    "the card, forged": f"POST /hubspot/cards/otp/generate?a=b HTTP/1.1\r\nHost: localhost\r\n{FORGED}{SLOW}",
    "settings": f"POST /settings/texts/import HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n{SLOW}",
    "admin": f"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n{SLOW}",
    "a mail provider": f"POST /email-events/postmark/tracking/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eDp5\r\n{SLOW}",
    "a probe": f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{SLOW}",
    "in chunks": f"POST /settings/ HTTP/1.1\r\nHost: localhost\r\n{CHUNKED}1\r\na\r\n",
    "headers": "POST /settings/ HTTP/1.1\r\nHost: local",
    "nothing": "",
}


class Sockets:
    """Connections that send a byte a second; `ended` are the answers to those that are over, by number."""

    def __init__(self, port: int, head: str, count: int) -> None:
        self._drip = b"1\r\na\r\n" if CHUNKED in head else b"x" if head else b""
        self._selector = selectors.DefaultSelector()
        self._open: dict[int, socket.socket] = {}
        self.ended: dict[int, bytes] = {}
        for number in range(count):
            self._open[number] = one = socket.create_connection(("127.0.0.1", port), timeout=10)
            one.sendall(head.encode())
            one.settimeout(0)
            self._selector.register(one, selectors.EVENT_READ, number)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_on)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for one in self._open.values():
            one.close()

    def all_ended(self, *, seconds: float) -> bool:
        """Wait until the server has ended every connection."""
        with contextlib.suppress(AssertionError):
            eventually(lambda: not self._open, seconds=seconds)
        return not self._open

    def _keep_on(self) -> None:
        answers: dict[int, bytes] = {}
        next_drip = time.monotonic() + 1
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                try:
                    received = self._open[key.data].recv(65_536)
                except OSError:
                    received = b""
                answers[key.data] = answers.get(key.data, b"") + received
                if not received:
                    self._end(key.data, answers[key.data])
            if time.monotonic() >= next_drip:
                next_drip += 1
                for one in list(self._open.values()):
                    with contextlib.suppress(OSError):
                        one.send(self._drip)

    def _end(self, number: int, answer: bytes) -> None:
        one = self._open.pop(number)
        self._selector.unregister(one)
        one.close()
        self.ended[number] = answer


def signed_call(system: System, portal: Portal, callback_id: str, *, timeout: float = 5) -> httpx.Response:
    """Send what HubSpot would, for a contact of its own."""
    target = {"objectId": zlib.crc32(callback_id.encode()), "objectType": "CONTACT"}
    body = orjson.dumps(execution(portal, callbackId=callback_id, object=target))
    headers = signed_headers(GENERATE, body, secret=local.CLIENT_SECRET, base_url=system.app_url)
    with httpx.Client(timeout=timeout) as client:
        return client.post(f"{system.app_url}{GENERATE}", content=body, headers=headers)


@pytest.mark.parametrize("kind", HEADS)
def test_a_hundred_slow_callers_hold_up_nobody(system: System, hubspot: HubSpot, kind: str) -> None:
    portal = hubspot.connect()
    assert signed_call(system, portal, "warm", timeout=30).status_code == 200
    with Sockets(system.web_port, HEADS[kind], HELD) as held:
        for number in range(6):
            # two seconds are promised; a machine that is busy with something else gets a little more
            assert httpx.get(f"{system.app_url}/healthz", timeout=5).status_code == 200
            answer = signed_call(system, portal, f"held-{number}")
            assert answer.status_code == 200
            assert answer.json()["outputFields"]["otp_status"] == "success"
        if kind == "an action, without signature":
            assert held.all_ended(seconds=5)
        else:
            assert len(held.ended) < HELD  # they were held, or this shows nothing
            assert held.all_ended(seconds=20)
        answers = {answer.partition(b"\r\n")[0] for answer in held.ended.values()}
    assert answers <= ({b"HTTP/1.1 401 Unauthorized"} if kind.endswith("without signature") else
                       {b""} if kind in {"headers", "nothing"} else {b"HTTP/1.1 408 Request Timeout"})  # fmt: skip
    assert OneTimeCode.objects.count() == 7


def answer_to(system: System, *parts: bytes, shut: bool = False) -> bytes:
    """Send parts one after the other until the server answers; return all it sends until it closes."""
    with socket.create_connection(("127.0.0.1", system.web_port), timeout=15) as one:
        received = b""
        try:
            for part in parts:
                one.sendall(part)
            if shut:
                one.shutdown(socket.SHUT_WR)
            while chunk := one.recv(65_536):
                received += chunk
        except ConnectionError:
            pass  # it closed while we were still sending
        return received


PATHS = [
    GENERATE,
    "/hubspot/webhooks",
    "/hubspot/cards/otp/verify",
    "/settings/texts/import",
    "/admin/login/",
    "/healthz",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(system: System, path: str) -> None:
    query = "?a=b" if path.startswith("/hubspot/cards") else ""
    head = f"POST {path}{query} HTTP/1.1\r\nHost: localhost\r\n{FORGED}Content-Length: 104857600\r\n\r\n"
    answer = answer_to(system, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"1 MB" in answer


@pytest.mark.parametrize("path", PATHS)
def test_a_body_without_end_ends_at_the_limit(system: System, path: str) -> None:
    query = "?a=b" if path.startswith("/hubspot/cards") else ""
    head = f"POST {path}{query} HTTP/1.1\r\nHost: localhost\r\n{FORGED}{CHUNKED}"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield head.encode()
        for _ in range(2_000):
            sent += 1
            yield chunk

    answer = answer_to(system, *[head.encode(), *[chunk] * 16], b"1\r\nx\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    with (
        contextlib.suppress(ConnectionError, TimeoutError),
        socket.create_connection(("127.0.0.1", system.web_port), timeout=15) as one,
    ):
        for part in endless():
            one.sendall(part)
    assert sent < 500, "the server went on reading"


def test_half_a_form_is_no_form(system: System) -> None:
    head = f"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\n{CHUNKED}"
    assert b" 400 " in answer_to(system, head.encode(), b"8\r\nusername\r\n", shut=True)[:15]


def test_requests_beyond_what_it_takes_at_a_time_are_told_so_at_once(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    assert signed_call(system, portal, "warm", timeout=30).status_code == 200
    with psycopg.connect(system.database_url) as blocker, ThreadPoolExecutor(200) as pool:
        blocker.execute("LOCK TABLE otp_onetimecode IN EXCLUSIVE MODE")
        asked = [pool.submit(signed_call, system, portal, f"busy-{number}", timeout=60) for number in range(200)]
        refused = _first(asked, 72)  # of 200, two processes take 64 each
        assert {answer.status_code for answer in refused} == {503}
        assert refused[0].json()["error"]["code"] == "busy"
        assert refused[0].headers["Retry-After"] == "1"
        blocker.rollback()
        statuses = [answer.result().status_code for answer in asked]
    assert statuses.count(200) == OneTimeCode.objects.count() - 1 > 0
    assert set(statuses) == {200, 503}


def _first(asked: list[Any], number: int) -> list[httpx.Response]:
    """Return the first answers, while others are still waiting."""
    done = eventually(lambda: [one for one in asked if one.done()], lambda found: len(found) >= number)
    return [one.result() for one in done]


def test_it_stops_in_order_while_it_works_and_others_dawdle(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    assert signed_call(system, portal, "warm", timeout=30).status_code == 200
    process = system.processes["web"]
    with (
        Sockets(system.web_port, HEADS["settings"], 20),
        psycopg.connect(system.database_url) as blocker,
        ThreadPoolExecutor(1) as pool,
    ):
        blocker.execute("LOCK TABLE otp_onetimecode IN EXCLUSIVE MODE")
        asked = pool.submit(signed_call, system, portal, "under-way", timeout=60)
        _wait_for_lock(blocker)
        os.kill(process.pid, signal.SIGTERM)
        pace(1)  # the request is under way when the process is asked to end
        blocker.rollback()
        assert asked.result().status_code == 200
        assert process.wait(20) == 0
        del system.processes["web"]  # the next test starts it again
    assert OneTimeCode.objects.count() == 2


def _wait_for_lock(connection: psycopg.Connection[Any]) -> None:
    eventually(lambda: (connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() or (0,))[0])
