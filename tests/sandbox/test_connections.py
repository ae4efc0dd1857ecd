"""The HTTP client under HubSpot's own calls, against servers that behave in every way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from sandbox import connections
from sandbox.connections import Answer, BrokenConnectionError, Connections, wire_url

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server that writes these bytes for each request, and counts connections and requests."""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self.answers, self.close = list(answers), close
        self.connections = 0
        self.serving: list[asyncio.Task[None]] = []
        self.requests: list[bytes] = []
        self.heard = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.append(cast("asyncio.Task[None]", asyncio.current_task()))
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            self.requests.append(head + await reader.readexactly(int(length.partition(b":")[2])))
            self.heard.set()
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
            if self.close:
                break
        writer.close()

    async def use(self, work: Callable[["Server", Connections], Awaitable[None]]) -> None:
        client = Connections()
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            try:
                await work(self, client)
            finally:
                client.close()
                await asyncio.gather(*self.serving)  # until the server has seen the end of its connections


def _ask(server: Server, times: int = 1) -> list[Answer]:
    answers: list[Answer] = []

    async def work(server: Server, client: Connections) -> None:
        for _ in range(times):
            answer = await client.request("POST", f"{server.url}/a?b=c", {"X-A": "b"}, b"body")
            answers.append(answer)

    asyncio.run(server.use(work))
    return answers


def test_a_connection_is_kept_and_used_again() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kind: Plain\r\n\r\nok")
    for answer in _ask(server, 3):
        assert (answer.status, answer.body, answer.headers["x-kind"]) == (200, b"ok", "Plain")
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-A: b\r\nContent-Length: 4\r\n\r\nbody" in server.requests[0]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_every_framing_is_understood(answer: bytes, body: bytes) -> None:
    assert [found.body for found in _ask(Server(answer), 2)] == [body, body]


def test_an_answer_may_end_with_the_connection() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nto the end", close=True)
    assert [answer.body for answer in _ask(server, 2)] == [b"to the end"] * 2
    assert server.connections == 2


def test_a_server_that_wants_no_more_gets_a_new_connection() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", close=True)
    _ask(server, 2)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1_100_000, "larger than 1 MB"),
    ],
)
def test_what_is_no_answer_breaks_the_request(answer: bytes, words: str) -> None:
    server = Server(answer, close=True)
    with pytest.raises(BrokenConnectionError, match=words):
        _ask(server)
    assert len(server.requests) == 1  # never repeated by itself


def test_a_connection_that_has_rested_too_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.0)
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    _ask(server, 2)
    assert server.connections == 2


def test_nobody_listening_is_said() -> None:
    async def work() -> None:
        await Connections().request("GET", "http://127.0.0.1:1/", {}, b"")

    with pytest.raises(BrokenConnectionError, match=r"cannot connect to 127\.0\.0\.1:1"):
        asyncio.run(work())


def test_giving_up_closes_the_connection() -> None:
    async def work(server: Server, client: Connections) -> None:
        asking = asyncio.create_task(client.request("GET", f"{server.url}/", {}, b""))
        await server.heard.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.answers[:] = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
        assert (await client.request("GET", f"{server.url}/", {}, b"")).body == b"ok"
        assert server.connections == 2

    asyncio.run(Server(b"HTTP/1.1 200 OK\r\n").use(work))


def test_urls_go_over_the_wire_in_ascii() -> None:
    assert wire_url("https://x/ä?a=%20b&c=(d)#e") == "https://x/%C3%A4?a=%20b&c=(d)"
