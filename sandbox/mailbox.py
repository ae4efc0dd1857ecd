"""A mailbox: an SMTP server that accepts everything, keeps it and shows it to people and tests."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern
from functools import cached_property
from itertools import count
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.faults import SMTP_KINDS, Fault, Faults
from sandbox.times import now

OK = "250 OK"


@dataclass(frozen=True)
class Mail:
    """One accepted message. It is parsed when somebody looks at it."""

    id: int
    received_at: float
    connection_id: int
    sender: str
    recipients: tuple[str, ...]
    raw: bytes

    @cached_property
    def message(self) -> EmailMessage:
        """Return the parsed message."""
        return BytesParser(EmailMessage, policy=modern).parsebytes(self.raw)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return all headers, decoded, in their order."""
        return [(name, str(value)) for name, value in self.message.items()]

    @property
    def subject(self) -> str:
        """Return the decoded subject."""
        return str(self.message.get("subject", ""))

    @property
    def text(self) -> str:
        """Return the plain text part, empty without one."""
        return self._part("plain")

    @property
    def html(self) -> str:
        """Return the HTML part, empty without one."""
        return self._part("html")

    def _part(self, kind: str) -> str:
        part = self.message.get_body((kind,))
        return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


class Mailbox:
    """Keep messages in the order in which they arrived."""

    def __init__(self, on_mail: Callable[[Mail], None]) -> None:
        self._on_mail = on_mail
        self._ids = count(1)
        self.connections = 0
        self.mails: dict[int, Mail] = {}

    def add(self, connection_id: int, sender: str, recipients: list[str], raw: bytes) -> Mail:
        """Keep one message."""
        mail = Mail(next(self._ids), now(), connection_id, sender, tuple(recipients), raw)
        self.mails[mail.id] = mail
        self._on_mail(mail)
        return mail

    def search(self, recipient: str = "", since: float = 0.0) -> list[Mail]:
        """Return messages to addresses that contain the text, newest first."""
        wanted = recipient.lower()
        return [
            mail
            for mail in reversed(self.mails.values())
            if mail.received_at >= since and any(wanted in address.lower() for address in mail.recipients)
        ]

    def clear(self) -> None:
        """Throw all messages away and count connections anew."""
        self.mails.clear()
        self.connections = 0


class MailServer(SMTP):
    """One SMTP connection, with the faults that are switched on.

    A fault meets a connection at its banner (``smtp.connect``), at MAIL, RCPT and DATA, or after the message has
    been received (``smtp.after_data``) or kept (``smtp.answer``).
    """

    def __init__(self, mailbox: Mailbox, faults: Faults) -> None:
        super().__init__(_Handler(), hostname="sandbox.localhost", ident="Sandbox mailbox", enable_SMTPUTF8=True)
        self.mailbox = mailbox
        self._faults = faults
        mailbox.connections += 1
        self.connection_id = mailbox.connections

    async def _handle_client(self) -> None:
        # aiosmtpd has no hook before its banner; this coroutine is where it sends it.
        fault = await self.meet("smtp.connect", "")
        if fault is not None:
            await self.push(f"{fault.code} {fault.text}")
            if self.transport is not None:
                self.transport.close()
            return
        await super()._handle_client()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd finds commands by this name
        """Answer the DATA command itself, before any of the message is sent."""
        recipients = ",".join(self.envelope.rcpt_tos) if self.envelope else ""
        fault = await self.meet("smtp.data", recipients)
        if fault is not None:
            await self.push(f"{fault.code} {fault.text}")
            return
        await super().smtp_DATA(arg)

    async def meet(self, route: str, subject: str, before_drop: Callable[[], object] | None = None) -> Fault | None:
        """Carry out delays and drops; return the fault if it is a refusal to be spoken.

        ``before_drop`` is done before a connection is dropped after the work. A drop never returns: aiosmtpd cancels
        the conversation once the connection is gone.
        """
        fault = await self._faults.meet(route, kinds=SMTP_KINDS, subject=subject)
        if fault is None or fault.kind == "refuse":
            return fault
        if fault.kind == "drop_after" and before_drop is not None:
            before_drop()
        if self.transport is not None:
            cast(asyncio.Transport, self.transport).abort()  # uvloop's transports do not inherit from asyncio's
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class _Handler:
    """Answer what aiosmtpd asks at each step of a conversation."""

    async def handle_MAIL(  # noqa: N802 - aiosmtpd finds hooks by these names
        self, server: MailServer, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = await server.meet("smtp.mail", address)
        if fault is not None:
            return f"{fault.code} {fault.text}"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return OK

    async def handle_RCPT(  # noqa: N802
        self, server: MailServer, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        fault = await server.meet("smtp.rcpt", address)
        if fault is not None:
            return f"{fault.code} {fault.text}"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return OK

    async def handle_DATA(  # noqa: N802
        self, server: MailServer, _session: Session, envelope: Envelope
    ) -> str:
        content: Any = envelope.content
        raw = content if isinstance(content, bytes) else str(content).encode()

        def keep() -> Mail:
            return server.mailbox.add(server.connection_id, envelope.mail_from or "", list(envelope.rcpt_tos), raw)

        fault = await server.meet("smtp.after_data", ",".join(envelope.rcpt_tos), before_drop=keep)
        if fault is not None:
            return f"{fault.code} {fault.text}"
        mail = keep()
        await server.meet("smtp.answer", ",".join(envelope.rcpt_tos))
        return f"{OK}, kept as message {mail.id}"
