"""Handing messages to real servers on this machine: an SMTP server that refuses on request, and a provider's HTTP API."""

import asyncio
import base64
import email
import email.policy
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from pytest_django import Settings

from emails import messages as messages_module
from emails.content import Content
from emails.messages import HandOver, Message, send_each
from sandbox.local.ports import free_port
from sandbox.local.waiting import PATIENCE, pace

CONTENT = Content(subject="Your code", text="Hello,\n\n482951\n", html="<p>Hello,</p><p>482951</p>")


def message(to: str, number: int = 1, **changes: Any) -> Message:
    return Message(**{"to": to, "content": CONTENT, "message_id": f"0193a5f2-{number}@otp.example.com", **changes})


def outcomes(*messages: Message) -> list[HandOver]:
    """Send messages; return their outcomes, after checking that each message had one and that none tells a secret."""
    positions, found = [], []
    for position, outcome in send_each(messages):
        positions.append(position)
        found.append(outcome)
        assert "example.com" not in outcome.reason
        assert "482951" not in outcome.reason
        assert " " not in outcome.reason
        assert bool(outcome.reason) is not outcome.accepted
    assert positions == list(range(len(messages)))
    return found


ACCEPTED = HandOver(accepted=True)


def passing(reason: str, retry_after: float | None = None) -> HandOver:
    return HandOver(accepted=False, permanent=False, reason=reason, retry_after=retry_after)


def final(reason: str) -> HandOver:
    return HandOver(accepted=False, permanent=True, reason=reason)


# ---------------------------------------------------------------- SMTP


@dataclass
class Mailbox:
    """An SMTP server's memory and its orders. Replies are keyed by recipient."""

    port: int = 0
    connections: int = 0
    received: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    at_greeting: str = ""
    at_sender: dict[str, str] = field(default_factory=dict)
    at_recipient: dict[str, str] = field(default_factory=dict)
    at_data: list[str] = field(default_factory=list)
    after_data: dict[str, str] = field(default_factory=dict)
    hangs_up_after_data: set[str] = field(default_factory=set)
    silent_at_recipient: set[str] = field(default_factory=set)
    chatty_at_recipient: set[str] = field(default_factory=set)

    async def handle_MAIL(self, *call: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        _server, _session, envelope, address, options = call
        if reply := self.at_sender.get(address):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, *call: Any) -> str:  # noqa: N802
        server, _session, envelope, address, _options = call
        for _ in range(100 if address in self.chatty_at_recipient else 0):
            await server.push("250-I am still thinking about this recipient")
            await asyncio.to_thread(pace, 0.3)
        if address in self.silent_at_recipient:
            await asyncio.Event().wait()  # until the caller hangs up
        if reply := self.at_recipient.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *call: Any) -> str:  # noqa: N802
        server, _session, envelope = call
        (recipient,) = envelope.rcpt_tos
        if reply := self.after_data.get(recipient):
            return reply
        self.recipients.append(recipient)
        self.received.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        if recipient in self.hangs_up_after_data:
            server.transport.abort()
        return "250 OK"


class Server(SMTP):
    """aiosmtpd's server, which can also refuse the greeting and the DATA command itself."""

    @property
    def mailbox(self) -> Mailbox:
        mailbox: Mailbox = self.event_handler
        return mailbox

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.mailbox.connections += 1
        super().connection_made(transport)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        if self.mailbox.at_greeting:
            await self.push(self.mailbox.at_greeting)
        else:
            await super().smtp_EHLO(hostname)

    async def smtp_HELO(self, hostname: str) -> None:  # noqa: ARG002,N802
        await self.push(self.mailbox.at_greeting or "502 EHLO, please")

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if self.mailbox.at_data:
            await self.push(self.mailbox.at_data.pop(0))
        else:
            await super().smtp_DATA(arg)


class ServerController(Controller):
    """Runs the server above in a thread."""

    def factory(self) -> SMTP:
        return Server(self.handler, **self.SMTP_kwargs)


def refuse_everybody(*_: object) -> AuthResult:
    return AuthResult(success=False, handled=False)


@pytest.fixture
def mailbox(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Mailbox]:
    """An SMTP server that the settings point to. Parameter: further options of the server."""
    mailbox = Mailbox(port=free_port())
    options = {"ready_timeout": PATIENCE, **getattr(request, "param", {})}
    controller = ServerController(mailbox, hostname="127.0.0.1", port=mailbox.port, **options)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mailbox.port
    settings.EMAIL_TIMEOUT = PATIENCE
    controller.start()
    mailbox.connections = 0  # the controller has knocked itself, to see whether the server is up
    yield mailbox
    controller.stop()


def test_it_sends_many_messages_over_one_connection(mailbox: Mailbox) -> None:
    addresses = [f"contact{number}@example.com" for number in range(5)]
    assert outcomes(*(message(address) for address in addresses)) == [ACCEPTED] * 5
    assert mailbox.recipients == addresses
    assert mailbox.connections == 1


def test_it_sends_text_and_html_marked_as_automatic(mailbox: Mailbox) -> None:
    outcomes(message("ada@example.com"))
    (received,) = mailbox.received
    assert received["Subject"] == "Your code"
    assert received["To"] == "ada@example.com"
    assert received["From"] == "codes@otp.example.com"
    assert received["Auto-Submitted"] == "auto-generated"
    assert received["Message-ID"] == "<0193a5f2-1@otp.example.com>"
    assert received["Reply-To"] is None
    assert received.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in received.iter_parts()] == ["text/plain", "text/html"]
    assert [part.get_content().replace("\r", "") for part in received.iter_parts()] == [
        CONTENT.text,
        CONTENT.html,
    ]


def test_it_keeps_the_message_id_from_attempt_to_attempt(mailbox: Mailbox) -> None:
    outcomes(message("ada@example.com", 7))
    outcomes(message("ada@example.com", 7))
    assert [received["Message-ID"] for received in mailbox.received] == ["<0193a5f2-7@otp.example.com>"] * 2


@pytest.mark.parametrize("configured", ["codes@otp.example.com", "The Operator <codes@otp.example.com>"])
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Analytical Engines", "Analytical Engines"),
        ('Engines, "Ltd" <eve@example.com>', 'Engines, "Ltd" <eve@example.com>'),
        ("Ünïcode 株式会社", "Ünïcode 株式会社"),
        ("Two\r\nBcc: eve@example.com\0", "Two Bcc: eve@example.com"),
    ],
)
def test_it_puts_the_senders_name_before_the_operators_address(
    mailbox: Mailbox, settings: Settings, configured: str, name: str, shown: str
) -> None:
    settings.DEFAULT_FROM_EMAIL = configured
    assert outcomes(message("ada@example.com", from_name=name, reply_to="help@company.example")) == [ACCEPTED]
    (received,) = mailbox.received
    (sender,) = received["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (shown, "codes@otp.example.com")
    assert received["Reply-To"] == "help@company.example"
    assert mailbox.recipients == ["ada@example.com"]
    assert received["Bcc"] is None


def test_it_sends_a_long_senders_name(mailbox: Mailbox) -> None:
    name = "株式会社" * 25
    assert outcomes(message("ada@example.com", from_name=name)) == [ACCEPTED]
    (sender,) = mailbox.received[0]["From"].addresses
    # The space between encoded words means nothing (RFC 2047, section 6.2); Python's parser keeps it.
    assert (sender.display_name.replace(" ", ""), sender.addr_spec) == (name, "codes@otp.example.com")


def test_it_yields_an_outcome_before_the_next_message_leaves(mailbox: Mailbox) -> None:
    sending = send_each([message("ada@example.com"), message("bob@example.com")])
    assert mailbox.recipients == []
    assert next(sending) == (0, ACCEPTED)
    assert mailbox.recipients == ["ada@example.com"]
    assert next(sending) == (1, ACCEPTED)
    assert mailbox.recipients == ["ada@example.com", "bob@example.com"]


def test_it_asks_for_a_message_when_its_turn_has_come(mailbox: Mailbox) -> None:
    asked = []

    def messages() -> Iterator[Message]:
        for name in ("ada", "bob"):
            asked.append(name)
            yield message(f"{name}@example.com")

    sending = send_each(messages())
    assert asked == []
    assert next(sending) == (0, ACCEPTED)
    assert asked == ["ada"]
    assert list(sending) == [(1, ACCEPTED)]


def test_it_ends_the_connection_when_the_caller_stops_early(mailbox: Mailbox) -> None:
    sending = send_each([message("ada@example.com"), message("bob@example.com")])
    next(sending)
    sending.close()
    assert mailbox.recipients == ["ada@example.com"]


def test_it_connects_to_nobody_without_messages(mailbox: Mailbox) -> None:
    assert outcomes() == []
    assert mailbox.connections == 0


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("550 5.1.1 <bad@example.com> does not exist", final("recipient_refused_550")),
        ("553 5.1.3 bad@example.com", final("recipient_refused_553")),
        ("450 4.2.1 bad@example.com is busy", passing("recipient_refused_450")),
        ("452 4.2.2 full", passing("recipient_refused_452")),
        ("530 5.7.0 authentication required", passing("authentication_refused_530")),
    ],
)
def test_it_tells_a_refused_recipient_from_the_others(mailbox: Mailbox, reply: str, outcome: HandOver) -> None:
    mailbox.at_recipient["bad@example.com"] = reply
    found = outcomes(message("ada@example.com"), message("bad@example.com"), message("bob@example.com"))
    assert found == [ACCEPTED, outcome, ACCEPTED]
    assert mailbox.recipients == ["ada@example.com", "bob@example.com"]
    assert mailbox.connections == 1


@pytest.mark.parametrize("reply", ["550 5.7.1 sender rejected", "451 4.7.1 try again"])
def test_it_never_blames_a_recipient_for_the_sender(mailbox: Mailbox, reply: str) -> None:
    mailbox.at_sender["codes@otp.example.com"] = reply
    assert outcomes(message("ada@example.com")) == [passing(f"sender_refused_{reply[:3]}")]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("554 5.7.1 482951 looks like spam", final("message_refused_554")),
        ("451 4.3.0 try again", passing("message_refused_451")),
    ],
)
def test_it_says_when_the_content_was_refused(mailbox: Mailbox, reply: str, outcome: HandOver) -> None:
    mailbox.after_data["ada@example.com"] = reply
    assert outcomes(message("ada@example.com"), message("bob@example.com")) == [outcome, ACCEPTED]
    assert mailbox.connections == 1


def test_it_goes_on_after_a_refused_data_command(mailbox: Mailbox) -> None:
    mailbox.at_data.append("451 4.3.0 not now")
    found = outcomes(message("ada@example.com"), message("bob@example.com"))
    assert found == [passing("message_refused_451"), ACCEPTED]
    assert mailbox.connections == 1


def test_it_reconnects_once_after_the_server_hung_up(mailbox: Mailbox) -> None:
    mailbox.hangs_up_after_data.add("ada@example.com")
    addresses = ["ada@example.com", "bob@example.com", "cid@example.com"]
    found = outcomes(*(message(address) for address in addresses))
    # Whether the first one was accepted nobody knows: it is tried again, under the same Message-ID.
    assert found == [passing("disconnected"), ACCEPTED, ACCEPTED]
    assert mailbox.recipients == addresses
    assert mailbox.connections == 2


def test_it_reconnects_after_the_server_said_goodbye(mailbox: Mailbox) -> None:
    mailbox.at_recipient["bad@example.com"] = "421 4.7.0 too many messages on this connection"
    found = outcomes(message("ada@example.com"), message("bad@example.com"), message("bob@example.com"))
    assert found == [ACCEPTED, passing("recipient_refused_421"), ACCEPTED]
    assert mailbox.connections == 2


def test_it_waits_for_a_silent_server_twice_and_then_gives_up(mailbox: Mailbox, settings: Settings) -> None:
    settings.EMAIL_TIMEOUT = 2.0
    mailbox.silent_at_recipient = {"bad@example.com", "worse@example.com"}
    found = outcomes(
        message("bad@example.com"),
        message("ada@example.com"),
        message("bad@example.com"),
        message("worse@example.com"),
        message("bob@example.com"),
    )
    silent = passing("timed_out")
    assert found == [silent, ACCEPTED, silent, silent, silent]
    assert mailbox.recipients == ["ada@example.com"]
    assert mailbox.connections == 3


def test_a_message_takes_no_longer_than_its_time_however_often_the_server_says_something(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages_module, "MESSAGE_SECONDS", 0.5)
    mailbox.chatty_at_recipient = {"bad@example.com"}
    began = time.monotonic()
    found = outcomes(message("one@example.com"), message("bad@example.com"), message("two@example.com"))
    assert found == [ACCEPTED, passing("timed_out"), passing("timed_out")]
    assert time.monotonic() - began < 20


def test_it_refuses_all_for_now_when_nobody_answers(mailbox: Mailbox, settings: Settings) -> None:
    settings.EMAIL_PORT = 9
    found = outcomes(message("ada@example.com"), message("bob@example.com"))
    assert found == [passing("connection_failed")] * 2


def test_it_refuses_the_rest_for_now_when_the_server_went_away(mailbox: Mailbox, settings: Settings) -> None:
    mailbox.hangs_up_after_data.add("bob@example.com")
    sending = send_each([message(f"{name}@example.com") for name in ("ada", "bob", "cid", "dan")])
    assert next(sending) == (0, ACCEPTED)
    assert next(sending) == (1, passing("disconnected"))
    settings.EMAIL_PORT = 9
    assert list(sending) == [(2, passing("connection_failed")), (3, passing("connection_failed"))]


@pytest.mark.parametrize("reply", ["554 5.7.1 go away", "421 4.3.2 later"])
def test_it_blames_nobody_for_a_refused_greeting(mailbox: Mailbox, reply: str) -> None:
    mailbox.at_greeting = reply
    found = outcomes(message("ada@example.com"), message("bob@example.com"))
    assert found == [passing(f"server_refused_{reply[:3]}")] * 2
    assert mailbox.connections == 1


@pytest.mark.parametrize("mailbox", [{"authenticator": refuse_everybody, "auth_require_tls": False}], indirect=True)
def test_it_blames_nobody_for_refused_credentials(mailbox: Mailbox, settings: Settings) -> None:
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "codes", "wrong"
    found = outcomes(message("ada@example.com"), message("bob@example.com"))
    assert found == [passing("authentication_refused_535")] * 2
    assert mailbox.connections == 1


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "ada@example.com, eve@example.com",
        "ada@example.com\r\nBcc: eve@example.com",
        "Ada <ada@example.com>",
        "ådå@example.com",
        "ada@i❤.ws",
        "ada@xn--a.example",
        "=?utf-8?q?ada?=@example.com",
    ],
)
def test_it_refuses_what_is_not_one_address(mailbox: Mailbox, address: str) -> None:
    assert outcomes(message(address), message("bob@example.com")) == [final("recipient_malformed"), ACCEPTED]
    assert mailbox.recipients == ["bob@example.com"]


@pytest.mark.parametrize("spelling", ["ada@straße.example", "ada@xn--strae-oqa.example", "ada@STRAẞE.example"])
def test_it_mails_a_domain_by_idna_2008(mailbox: Mailbox, spelling: str) -> None:
    assert outcomes(message(spelling, reply_to="hilfe@faß.de")) == [ACCEPTED]
    assert mailbox.recipients == ["ada@xn--strae-oqa.example"]
    assert mailbox.received[0]["To"] == "ada@xn--strae-oqa.example"
    assert mailbox.received[0]["Reply-To"] == "hilfe@xn--fa-hia.de"


def test_a_reply_to_that_is_no_address_holds_no_mail_back(mailbox: Mailbox) -> None:
    assert outcomes(message("ada@example.com", reply_to="hilfe@i❤.ws")) == [ACCEPTED]
    assert mailbox.received[0]["Reply-To"] is None


def test_it_asks_for_bounces_and_for_no_other_automatic_answers(mailbox: Mailbox) -> None:
    outcomes(message("ada@example.com"))
    assert mailbox.received[0]["X-Auto-Response-Suppress"] == "DR, RN, NRN, OOF, AutoReply"


ENCODED_WORD = "=?utf-8?q?Your=20bank?="


def test_it_lets_nobody_write_encoded_words(mailbox: Mailbox) -> None:
    content = Content(subject=ENCODED_WORD, text="482951", html="482951")
    sender = f"{ENCODED_WORD}, Ltd"
    outcomes(message("ada@example.com", content=content, from_name=sender))
    (received,) = mailbox.received
    assert received["Subject"] == ENCODED_WORD
    assert received["From"].addresses[0].display_name == sender
    assert received["From"].addresses[0].addr_spec == "codes@otp.example.com"


def test_it_cannot_be_made_to_add_a_header(mailbox: Mailbox) -> None:
    forged = Content(subject="Code\r\nBcc: eve@example.com", text="482951", html="482951")
    with structlog.testing.capture_logs() as logs:
        found = outcomes(message("ada@example.com", content=forged), message("bob@example.com"))
    assert found == [passing("unexpected_BadHeaderError"), ACCEPTED]
    assert mailbox.recipients == ["bob@example.com"]
    assert logs == [
        {"event": "mail_failed_unexpectedly", "error_type": "BadHeaderError", "log_level": "error"},
    ]


def test_it_works_with_a_backend_that_has_no_connection(settings: Settings) -> None:
    for backend in ("locmem", "dummy"):
        settings.EMAIL_BACKEND = f"django.core.mail.backends.{backend}.EmailBackend"
        assert outcomes(message("ada@example.com")) == [ACCEPTED]


def test_it_refuses_for_now_when_the_backend_is_misconfigured(settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = True
    assert outcomes(message("ada@example.com"), message("bob@example.com")) == [passing("unexpected_ValueError")] * 2


# ---------------------------------------------------------------- a provider's HTTP API, through Anymail


@dataclass
class Provider:
    """Postmark's API as far as sending goes. `answers` are used up one by one; then everything is accepted."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, payload: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        self.received.append(payload)
        if self.answers:
            return self.answers.pop(0)
        accepted = {"ErrorCode": 0, "Message": "OK", "To": payload["To"], "MessageID": "b7bc2f4a", "SubmittedAt": ""}
        return 200, {}, json.dumps(accepted).encode()


@pytest.fixture
def provider(settings: Settings) -> Iterator[Provider]:
    fake = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, headers, data = fake.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's signature)
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
        settings.ANYMAIL = {
            "POSTMARK_SERVER_TOKEN": "test",
            "POSTMARK_API_URL": f"http://127.0.0.1:{server.server_address[1]}/",
        }
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


def refusal(status: int, code: int, text: str = "refused ada@example.com") -> tuple[int, dict[str, str], bytes]:
    return status, {}, json.dumps({"ErrorCode": code, "Message": text}).encode()


TAKEN = HandOver(accepted=True, provider_message_id="b7bc2f4a")


def test_it_sends_through_a_providers_api(provider: Provider) -> None:
    assert outcomes(message("ada@example.com", from_name="Ünï", reply_to="help@company.example")) == [TAKEN]
    (payload,) = provider.received
    assert payload["To"] == "ada@example.com"
    assert payload["From"] == "Ünï <codes@otp.example.com>"
    assert payload["ReplyTo"] == "help@company.example"
    assert (payload["Subject"], payload["TextBody"], payload["HtmlBody"]) == (
        CONTENT.subject,
        CONTENT.text,
        CONTENT.html,
    )
    assert {"Name": "Message-ID", "Value": "<0193a5f2-1@otp.example.com>"} in payload["Headers"]
    assert {"Name": "Auto-Submitted", "Value": "auto-generated"} in payload["Headers"]
    assert (payload["TrackOpens"], payload["TrackLinks"]) == (False, "None")


def test_it_gives_the_provider_what_its_reports_bring_back(provider: Provider) -> None:
    outcomes(message("ada@example.com", metadata={"reference": "0193a5f2"}))
    assert provider.received[0]["Metadata"] == {"reference": "0193a5f2"}


def test_it_tells_a_provider_the_domain_by_idna_2008(provider: Provider) -> None:
    assert outcomes(message("ada@straße.example", reply_to="hilfe@faß.de")) == [TAKEN]
    (payload,) = provider.received
    assert (payload["To"], payload["ReplyTo"]) == ("ada@xn--strae-oqa.example", "hilfe@xn--fa-hia.de")
    assert outcomes(message("ada@i❤.ws")) == [final("recipient_malformed")]
    assert len(provider.received) == 1


@pytest.mark.parametrize("named", ["ada@straße.example", "Ada@Other.example", "ada@xn--strae-oqa.example"])
def test_a_refusal_counts_however_the_provider_spells_the_address(provider: Provider, named: str) -> None:
    provider.answers.append(refusal(422, 300, f"Invalid 'To' address: '{named}'."))
    assert outcomes(message("ada@straße.example")) == [final("recipient_refused")]


def test_what_a_provider_does_not_acknowledge_is_not_sent(provider: Provider) -> None:
    provider.answers.append(refusal(422, 300, "Error parsing 'To': there is something wrong with it."))
    assert outcomes(message("ada@example.com")) == [final("not_confirmed")]


def test_it_gives_a_provider_no_encoded_word(provider: Provider) -> None:
    content = Content(subject=ENCODED_WORD, text="482951", html="482951")
    outcomes(message("ada@example.com", content=content, from_name=ENCODED_WORD))
    (payload,) = provider.received
    for shown in (payload["Subject"], payload["From"]):
        assert "=?" not in shown
        assert ENCODED_WORD in shown.replace("\u2060", "")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        # Postmark's "inactive recipient" (https://postmarkapp.com/developer/api/overview#error-codes)
        (
            refusal(
                422,
                406,
                "You tried to send to a recipient that has been marked as inactive.\n"
                "Found inactive addresses: ada@example.com.\n"
                "Inactive recipients are ones that have generated a hard bounce or a spam complaint.",
            ),
            final("recipient_refused"),
        ),
        (refusal(400, 403), final("provider_refused_400")),
        (refusal(413, 0), final("provider_refused_413")),
        (refusal(401, 10), passing("provider_refused_401")),
        (refusal(403, 0), passing("provider_refused_403")),
        (refusal(408, 0), passing("provider_refused_408")),
        ((429, {"Retry-After": "7"}, b"{}"), passing("provider_refused_429", 7.0)),
        ((429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"{}"), passing("provider_refused_429")),
        ((429, {"Retry-After": "nan"}, b"{}"), passing("provider_refused_429")),
        ((503, {"Retry-After": "1e9"}, b"{}"), passing("provider_refused_503")),
        ((500, {}, b"<html>ada@example.com</html>"), passing("provider_refused_500")),
        ((200, {}, b"not json"), passing("provider_refused_200")),
    ],
)
def test_it_understands_a_providers_refusals(
    provider: Provider, answer: tuple[int, dict[str, str], bytes], outcome: HandOver
) -> None:
    provider.answers.append(answer)
    assert outcomes(message("ada@example.com"), message("bob@example.com")) == [outcome, TAKEN]


def test_it_refuses_for_now_when_a_providers_api_is_away(provider: Provider, settings: Settings) -> None:
    settings.ANYMAIL = {**settings.ANYMAIL, "POSTMARK_API_URL": "http://127.0.0.1:9/"}
    assert outcomes(message("ada@example.com")) == [passing("connection_failed")]


def test_it_sends_through_amazons_api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            refused = len(received) == 2
            data = b'{"message": "Address blacklisted."}' if refused else b'{"MessageId": "0107-abc"}'
            self.send_response(400 if refused else 200)
            if refused:
                self.send_header("x-amzn-ErrorType", "MessageRejected")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's signature)
            """Keep quiet."""

    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        settings.EMAIL_BACKEND = "anymail.backends.amazon_ses.EmailBackend"
        params = settings.ANYMAIL["AMAZON_SES_CLIENT_PARAMS"]
        assert params["config"]["read_timeout"] <= 10
        url = f"http://127.0.0.1:{server.server_address[1]}"
        settings.ANYMAIL = {**settings.ANYMAIL, "AMAZON_SES_CLIENT_PARAMS": {**params, "endpoint_url": url}}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        found = outcomes(
            message("ada@example.com", metadata={"reference": "0193a5f2"}, from_name="Ünï"), message("bob@example.com")
        )
        server.shutdown()
        thread.join()
    assert found[0] == HandOver(accepted=True, provider_message_id="0107-abc")
    assert (found[1].accepted, found[1].reason) == (False, "provider_refused_400")
    raw = email.message_from_bytes(base64.b64decode(received[0]["Content"]["Raw"]["Data"]), policy=email.policy.default)
    assert raw["X-Metadata"] == '{"reference": "0193a5f2"}'
    assert received[0]["Destination"]["ToAddresses"] == ["ada@example.com"]
