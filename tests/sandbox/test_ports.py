"""Ports that stay free for those who were given them."""

import contextlib
import socket
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.local import ports
from sandbox.local.ports import NoPort, free_port


def listen(port: int) -> socket.socket:
    """Listen as servers do."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_a_port_is_nobody_elses_from_the_moment_it_is_chosen() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    for _ in range(2):  # the server may restart
        with closing(listen(port)), socket.create_connection(("127.0.0.1", port)):
            pass


def test_nobody_is_given_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_CHOICE", range(27_000, 27_000 + ports._NEARBY))
    given: list[int] = []
    with contextlib.suppress(NoPort):
        while len(given) <= ports._NEARBY:
            given.append(free_port())
    assert 0 < len(given) == len(set(given)) <= ports._NEARBY
    with pytest.raises(NoPort, match="No free port between 27000 and 27049"):
        free_port()


def test_no_connection_leaves_from_such_a_port() -> None:
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert max(ports._CHOICE) < first


def test_the_next_one_is_taken_where_somebody_listens() -> None:
    preferred = free_port()
    assert free_port(preferred) == preferred  # it is ours
    with closing(listen(preferred)):
        assert preferred < free_port(preferred) < preferred + 50
