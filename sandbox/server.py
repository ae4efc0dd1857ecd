"""Running the sandbox: HTTP and SMTP on one event loop, until a signal ends it."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.app import create_app
from sandbox.hubspot import HubSpot
from sandbox.mailbox import MailServer

SHUTDOWN_SECONDS = 1


class DroppableProtocol(HttpToolsProtocol):
    """An HTTP connection that a route can close without an answer."""

    def on_message_begin(self) -> None:
        """Hand the means to do so to the application."""
        super().on_message_begin()
        self.scope["extensions"] = {"sandbox.abort": {"now": self.transport.abort}}


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would raise the signal again at the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to ``serve``."""
        yield


async def serve(hubspot: HubSpot, host: str, port: int, smtp_port: int) -> None:
    """Serve until SIGTERM or SIGINT. Prints one JSON line with both addresses when ready."""
    loop = asyncio.get_running_loop()
    # aiosmtpd logs every connection and command; the mailbox itself is the record.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    mail_server = await loop.create_server(
        lambda: MailServer(hubspot.mailbox, hubspot.faults), host, smtp_port, backlog=1024
    )
    listener = _listen(host, port)
    config = uvicorn.Config(
        create_app(hubspot),
        http=DroppableProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=75,  # longer than clients keep idle connections, so that none is closed under them
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = Server(config)

    def stop() -> None:
        hubspot.faults.clear()  # what a fault holds must not hold up the end
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    smtp_address = mail_server.sockets[0].getsockname()
    addresses = {
        "http": f"http://{_host(listener.getsockname()[0])}:{listener.getsockname()[1]}",
        "smtp": f"{_host(smtp_address[0])}:{smtp_address[1]}",
    }
    # The listener already queues connections, so the line may go out before uvicorn accepts the first.
    print(json.dumps(addresses), flush=True)
    try:
        await server.serve(sockets=[listener])
    finally:
        mail_server.close()
        await hubspot.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(2048)
    return listener


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
