"""Ports on this machine that are nobody else's from the moment they are chosen until this process ends."""

import contextlib
import random
import socket
from typing import Final

_CHOICE: Final = range(20_000, 32_000)
"""Below the ports that connections leave from (on Linux 32768 to 60999): there, one of thousands of connections may take
any port between its choice and the server's start, or while the server restarts."""
_NEARBY: Final = 50
_kept: Final[list[socket.socket]] = []


class NoPort(Exception):
    """Every port that was looked at is taken."""


def free_port(preferred: int = 0) -> int:
    """Return `preferred` if nobody listens there, else the next free one above it; 0 means any.

    The port stays bound here, which keeps it from everybody who asks for a free one, and from no server that is told to
    listen on it. Raises NoPort.
    """
    ports = range(preferred, preferred + _NEARBY) if preferred else random.sample(_CHOICE, _NEARBY)
    for port in ports:
        if _keep(port, alone=not preferred):
            return port
    raise NoPort(f"No free port between {min(ports)} and {max(ports)}.")


def _keep(port: int, *, alone: bool) -> bool:
    """Bind a port without listening. `alone`: not beside another process that keeps it, nor beside old connections."""
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(socket.socket())
        if not alone:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            mine.bind(("127.0.0.1", port))
        except OSError:
            return False
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # from now on the server may bind it as well
            mine.setsockopt(socket.SOL_SOCKET, option, 1)
        stack.pop_all()
        _kept.append(mine)
        return True
