"""Hands messages to the mail provider, one by one over one connection, and says of each what became of it."""

import contextlib
import functools
import smtplib
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.headerregistry import Address
from email.utils import formatdate, parseaddr
from typing import Any, Final

import structlog
from anymail.exceptions import AnymailAPIError, AnymailRecipientsRefused
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection

from emails.content import Content
from emails.wire import to_bytes
from opsagent import addresses

log = structlog.get_logger(__name__)

MAXIMUM_RETRY_AFTER: Final = 24 * 3600.0

# Authentication required, too weak or refused (RFC 4954, section 6): a server may say so at any step.
_AUTHENTICATION_REPLIES: Final = frozenset({530, 534, 535, 538})
# Time-out and rate limit pass by themselves; refused credentials and an unpaid bill are the operator's to mend, and
# the code may still be alive by then. None of them says anything about the recipient.
_PASSING_STATUSES: Final = frozenset({401, 402, 403, 407, 408, 429})
# No pixel and no link of the provider's belongs into a mail with a code. Elsewhere it is a setting of the account.
_LETS_TRACKING_BE_TURNED_OFF: Final = frozenset({"Mailgun", "Mandrill", "Postmark", "SendGrid", "SparkPost"})
_SILENT_IN_A_ROW: Final = 2
MESSAGE_SECONDS: Final = 20.0
"""A message may take so long in all, connecting included: EMAIL_TIMEOUT bounds each wait, but a server can ask for many."""
_DONE: Final = 250
_TIMED_OUT: Final = "timed_out"
# A connection that is just being made has no socket to cut yet.
_CUT_AGAIN: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One mail to one recipient.

    `message_id` is `left@right` without angle brackets and the same at every attempt: whoever receives the mail twice
    can tell. `from_name` stands before the operator's address; without it DEFAULT_FROM_EMAIL is the sender as it is.
    `metadata` is given to providers that hand it back with their reports, and to nobody else.
    """

    to: str
    content: Content
    message_id: str
    from_name: str = ""
    reply_to: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """What became of one message: accepted by the provider, or refused.

    `permanent`: trying again cannot help. `reason`: a short machine word such as `recipient_refused_550`; never an
    address, and never the server's own words, which repeat what was sent. `retry_after`: seconds the provider asked
    for, or None. `provider_message_id`: what the provider calls an accepted message in its reports, if it said.
    """

    accepted: bool
    permanent: bool = False
    reason: str = ""
    retry_after: float | None = None
    provider_message_id: str = ""

    @classmethod
    def refused(cls, reason: str, *, permanent: bool, retry_after: float | None = None) -> "HandOver":
        """Make the outcome of a message that the provider does not have."""
        return cls(accepted=False, permanent=permanent, reason=reason, retry_after=retry_after)


def send_each(messages: Iterable[Message]) -> Generator[tuple[int, HandOver], None, None]:
    """Send the messages in their order; yield position and outcome of each before the next one is even asked for.

    So the caller can commit an outcome before anything else leaves, make each message when its turn comes, and stop
    whenever it likes. Every message gets one attempt at most and exactly one outcome. A connection that broke is
    replaced for the next message; when none can be had, or two messages in a row got no answer in time, all that
    remain are refused for now. Raises nothing that a server or a backend did.
    """
    with contextlib.closing(Sender()) as sender:
        for position, message in enumerate(messages):
            yield position, sender.send(message)


class Sender:
    """The mail backend with its one connection, made for the first message and replaced when it breaks. To be closed."""

    def __init__(self) -> None:
        self._backend: Any = None
        self._given_up: HandOver | None = None
        self._silent_in_a_row = 0
        self._watch = _Watch(self._cut)

    @property
    def has_given_up(self) -> bool:
        """Whether the server cannot be reached, or does not answer: nothing more is tried then."""
        return self._given_up is not None

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last message got no answer in time, and the next one will show whose fault that was."""
        return self._silent_in_a_row > 0 and self._given_up is None

    def send(self, message: Message) -> HandOver:
        """Hand over one message, in MESSAGE_SECONDS at most; say what became of it. Raises nothing.

        When no connection can be had, two messages in a row got no answer in time, or one had to be cut short, all that
        follow are refused for now.
        """
        with self._watch:
            return self._send(message)

    def _send(self, message: Message) -> HandOver:
        try:
            # It also guards against a second recipient: providers split "a@example.com, b@example.com".
            message = replace(message, to=addresses.checked(message.to))
        except ValueError:
            return HandOver.refused("recipient_malformed", permanent=True)
        self._open()
        if self._given_up is not None:
            return self._given_up
        try:
            if smtp := self._smtp():
                smtp.sendmail(*_envelope(message), to_bytes(_headers(message), message.content))
                outcome = HandOver(accepted=True)
            else:
                outcome = self._hand_over(_email(message))
        except Exception as error:  # noqa: BLE001 (backends raise what they like; every error is one message's outcome)
            outcome = HandOver.refused(_TIMED_OUT, permanent=False) if self._watch.has_cut else _refusal(error)
            self._recover(outcome)
            return outcome
        self._silent_in_a_row = 0
        return outcome

    def _hand_over(self, email: "_Email") -> HandOver:
        if getattr(self._backend, "esp_name", "") in _LETS_TRACKING_BE_TURNED_OFF:
            email.track_opens = email.track_clicks = False
        # A backend that does not count returns None.
        if self._backend.send_messages([email]) == 0:
            return HandOver.refused("not_sent", permanent=False)
        status = getattr(email, "anymail_status", None)
        message_id = getattr(status, "message_id", None)
        return _provider_refusal(status) or HandOver(
            accepted=True, provider_message_id=message_id if isinstance(message_id, str) else ""
        )

    def close(self) -> None:
        """Say goodbye to the server; the connection that the next message asks for would be a new one."""
        self._watch.end()
        self._hang_up()

    def _cut(self) -> None:
        """End the connection under whoever waits for an answer. From another thread."""
        sock = getattr(self._smtp(), "sock", None)
        if sock is not None:
            # The plain socket's own: that of TLS would take its state away from the thread that reads.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _hang_up(self) -> None:
        backend, self._backend = self._backend, None
        if backend is not None:
            # A farewell that fails takes nothing back.
            with contextlib.suppress(OSError):
                backend.close()

    def _open(self) -> None:
        if self._backend is not None or self._given_up is not None:
            return
        try:
            self._backend = get_connection()
            self._backend.open()
            if smtp := self._smtp():
                # Otherwise smtplib greets with the first message, which then bears the blame for a refused greeting.
                smtp.ehlo_or_helo_if_needed()
        except Exception as error:  # noqa: BLE001 (see send)
            self._given_up = (
                HandOver.refused(_TIMED_OUT, permanent=False) if self._watch.has_cut else _no_connection(error)
            )
            self._hang_up()

    def _recover(self, outcome: HandOver) -> None:
        """Leave a connection that the next message can use, or none."""
        self._silent_in_a_row = self._silent_in_a_row + 1 if outcome.reason == _TIMED_OUT else 0
        if self._silent_in_a_row == _SILENT_IN_A_ROW or self._watch.has_cut:
            self._given_up = outcome
        if smtp := self._smtp():
            # smtplib keeps a socket that was closed, and a refused DATA command leaves the transaction open, so that
            # the next MAIL FROM is refused as out of order (RFC 5321, section 4.1.4): RSET settles both.
            with contextlib.suppress(OSError):
                if smtp.rset()[0] == _DONE:
                    return
            self._hang_up()

    def _smtp(self) -> smtplib.SMTP | None:
        connection = getattr(self._backend, "connection", None)
        return connection if isinstance(connection, smtplib.SMTP) else None


class _Watch:
    """Calls `cut` from a thread of its own when what is done within `with` takes longer than MESSAGE_SECONDS."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self._do_cut = cut
        self._ended = threading.Event()
        self._until: float | None = None
        self._thread: threading.Thread | None = None
        self.has_cut = False

    def __enter__(self) -> None:
        self.has_cut = False
        self._until = time.monotonic() + MESSAGE_SECONDS
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mail-watch", daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._until = None

    def end(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        left = MESSAGE_SECONDS
        while not self._ended.wait(left):
            until = self._until
            left = MESSAGE_SECONDS if until is None else until - time.monotonic()
            if left <= 0:
                self.has_cut = True
                self._do_cut()
                left = _CUT_AGAIN


class _Email(EmailMultiAlternatives):
    """With what Anymail's backends look for besides."""

    metadata: Mapping[str, str]
    track_opens: bool
    track_clicks: bool


def _email(message: Message) -> "_Email":
    headers = {
        name: value if name in {"To", "Reply-To"} else _undecodable(value) for name, value in _headers(message).items()
    }
    email = _Email(
        subject=headers["Subject"],
        body=message.content.text,
        from_email=headers.pop("From"),
        to=[headers.pop("To")],
        reply_to=[headers.pop("Reply-To")] if "Reply-To" in headers else None,
        headers={name: value for name, value in headers.items() if name not in {"Subject", "Date"}},
    )
    email.attach_alternative(message.content.html, "text/html")
    email.metadata = dict(message.metadata)
    return email


def _undecodable(text: str) -> str:
    """Break what looks like an encoded word (RFC 2047) by a character without width.

    Providers put a header of ASCII characters into the mail as it is, and whoever reads the mail would decode it.
    """
    return text.replace("=?", "=\u2060?")


def _headers(message: Message) -> dict[str, str]:
    """Every header but those about MIME."""
    return {
        "From": _sender(message.from_name, settings.DEFAULT_FROM_EMAIL),
        "To": message.to,
        **({"Reply-To": reply_to} if (reply_to := _reply_to(message.reply_to)) else {}),
        "Subject": message.content.subject,
        "Date": formatdate(),
        "Message-ID": f"<{message.message_id}>",
        # Keep holiday notices from answering (RFC 3834, section 5; [MS-OXCMAIL] 2.2.3.2.14).
        "Auto-Submitted": "auto-generated",
        # Not All: that word also asks for no non-delivery reports, and a bounce is what senders want to know.
        "X-Auto-Response-Suppress": "DR, RN, NRN, OOF, AutoReply",
    }


def _envelope(message: Message) -> tuple[str, list[str]]:
    return _address_of(settings.DEFAULT_FROM_EMAIL), [message.to]


@functools.lru_cache(maxsize=8)
def _address_of(sender: str) -> str:
    return addresses.normalise(parseaddr(sender)[1])


@functools.lru_cache(maxsize=256)
def _reply_to(address: str) -> str:
    """Return where answers go; nowhere of their own if mail cannot go there: no reason to hold a code back."""
    try:
        return addresses.checked(address)
    except ValueError:
        return ""


@functools.lru_cache(maxsize=256)
def _sender(name: str, operators: str) -> str:
    one_line = " ".join(name.split())
    printable = "".join(character for character in one_line if unicodedata.category(character) not in {"Cc", "Cs"})
    return str(Address(display_name=printable, addr_spec=parseaddr(operators)[1])) if printable else operators


def _refusal(error: Exception) -> HandOver:
    """Put what a backend raised for one message into an outcome."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            # One recipient a message, so one reply.
            return _smtp_refusal("recipient", next((code for code, _ in error.recipients.values()), 0))
        case smtplib.SMTPSenderRefused():
            # The sender is the operator's: the next attempt may find it mended.
            return HandOver.refused(f"sender_refused_{error.smtp_code}", permanent=False)
        case smtplib.SMTPResponseException():
            return _smtp_refusal("message", error.smtp_code)
        case AnymailRecipientsRefused():
            return HandOver.refused("recipient_refused", permanent=True)
        case AnymailAPIError() if status := _status(error):
            return _api_refusal(error, status)
        case _:
            return _breakdown(error)


def _provider_refusal(status: Any) -> HandOver | None:
    """Return why a provider did not take the message, as its answer says; None if it did.

    Anymail raises nothing when the answer names the refused address in a spelling of its own: beside the refusal
    there is then an address that nothing is known of. One message has one recipient, so any refusal is the recipient's.
    Source: https://anymail.dev/en/stable/sending/anymail_additions/#anymail.message.AnymailStatus
    """
    found = getattr(status, "status", None) or set()
    if found & {"invalid", "rejected"}:
        return HandOver.refused("recipient_refused", permanent=True)
    if "failed" in found:
        return HandOver.refused("provider_failed", permanent=False)
    if found == {"unknown"} and not status.message_id:
        # Neither an error nor an acknowledgement: it does not count as sent, and a second attempt could be a second mail.
        return HandOver.refused("not_confirmed", permanent=True)
    return None


def _smtp_refusal(what: str, code: int) -> HandOver:
    if code in _AUTHENTICATION_REPLIES:
        return HandOver.refused(f"authentication_refused_{code}", permanent=False)
    return HandOver.refused(f"{what}_refused_{code}", permanent=500 <= code < 600)  # noqa: PLR2004


def _status(error: AnymailAPIError) -> int | None:
    """Return the HTTP status of a provider's refusal; Amazon's SDK keeps it in the error behind the error."""
    if error.status_code:
        return int(error.status_code)
    answer = getattr(error.__cause__, "response", None)
    return answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None


def _api_refusal(error: AnymailAPIError, status: int) -> HandOver:
    permanent = 400 <= status < 500 and status not in _PASSING_STATUSES  # noqa: PLR2004
    return HandOver.refused(f"provider_refused_{status}", permanent=permanent, retry_after=_retry_after(error))


def _no_connection(error: Exception) -> HandOver:
    """Put what went wrong before any message into an outcome: never a recipient's fault."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return HandOver.refused(f"authentication_refused_{error.smtp_code}", permanent=False)
        case smtplib.SMTPResponseException():
            return HandOver.refused(f"server_refused_{error.smtp_code}", permanent=False)
        case _:
            return _breakdown(error)


def _breakdown(error: Exception) -> HandOver:
    """Put an error that is no answer into an outcome: it says nothing about the message."""
    if _timed_out(error):
        reason = _TIMED_OUT
    elif isinstance(error, smtplib.SMTPServerDisconnected):
        reason = "disconnected"
    elif isinstance(error, AnymailAPIError | OSError):
        reason = "connection_failed"
    else:
        # The type alone: an exception's text may hold the address, Anymail's even the whole message.
        log.error("mail_failed_unexpectedly", error_type=type(error).__name__)
        reason = f"unexpected_{type(error).__name__}"
    return HandOver.refused(reason, permanent=False)


def _timed_out(error: BaseException | None) -> bool:
    """Whether a time-out is behind an error: libraries wrap it in errors of their own."""
    while error is not None:
        if isinstance(error, TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _retry_after(error: AnymailAPIError) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:  # missing, or a date, which providers of mail do not use
        return None
    return seconds if 0 < seconds <= MAXIMUM_RETRY_AFTER else None
