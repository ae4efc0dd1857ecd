"""The mailbox, over real SMTP."""

import smtplib
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from sandbox.local.waiting import PATIENCE, eventually
from tests.sandbox.client import Sandbox

HTML = '<p dir="rtl">קוד: <b>482913</b></p>'


@pytest.fixture
def smtp(sandbox: Sandbox) -> Iterator[smtplib.SMTP]:
    client = _connect(sandbox)
    yield client
    client.close()


def _connect(sandbox: Sandbox) -> smtplib.SMTP:
    return smtplib.SMTP(sandbox.process.smtp_host, sandbox.process.smtp_port, timeout=PATIENCE)


def _message(to: str = "ada@example.com", subject: str = "Tu código ✓") -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "Codes <codes@app.example>", to
    message["Message-ID"], message["X-Kind"] = f"<{to}>", "código"
    message.set_content("Your code is 482913.\n")
    message.add_alternative(HTML, subtype="html")
    return message


def _mails(sandbox: Sandbox, **query: Any) -> list[Any]:
    found: list[Any] = sandbox.get("/mails", **query)["mails"]
    return found


def test_a_message_is_kept_and_understood(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    before = int(time.time() * 1000)
    smtp.send_message(_message(), from_addr="bounce@app.example", to_addrs=["ada@example.com", "bob@example.com"])
    listed = _mails(sandbox)[0]
    mail = sandbox.get(f"/mails/{listed['mailId']}")
    assert mail["sender"] == "bounce@app.example"
    assert mail["recipients"] == ["ada@example.com", "bob@example.com"]
    assert mail["subject"] == "Tu código ✓"
    assert mail["messageId"] == "<ada@example.com>"
    assert mail["text"] == "Your code is 482913.\n"
    assert mail["html"].strip() == HTML
    assert ["X-Kind", "código"] in mail["headers"]
    assert "=?utf-8?" in mail["raw"]
    assert before <= mail["receivedAt"] <= time.time() * 1000
    assert "text" not in listed


def test_messages_over_one_connection_are_told_apart_from_others(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    for number in range(3):
        smtp.send_message(_message(f"a{number}@example.com"))
    with _connect(sandbox) as other:
        other.send_message(_message("b@example.com"))
    listed = sandbox.get("/mails")
    assert listed["connections"] == 2
    assert [mail["connectionId"] for mail in listed["mails"]] == [2, 1, 1, 1]


def test_mails_are_found_by_recipient_and_time(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    for name in ("ada", "adele", "bob"):
        smtp.send_message(_message(f"{name}@example.com"))
    assert [mail["recipients"] for mail in _mails(sandbox, to="AD")] == [["adele@example.com"], ["ada@example.com"]]
    assert len(_mails(sandbox, limit=1, offset=1)) == 1
    assert _mails(sandbox, since=int(time.time() * 1000) + 60_000) == []
    sandbox.delete("/mails")
    assert sandbox.get("/mails") == {"total": 0, "connections": 0, "mails": []}


def test_addresses_may_be_international(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    smtp.send_message(_message("zoë@exämple.com"), to_addrs=["zoë@exämple.com"])
    assert _mails(sandbox)[0]["recipients"] == ["zoë@exämple.com"]


def test_a_single_recipient_can_be_refused(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    fault = sandbox.fault("smtp.rcpt", "refuse", match="bob", code=550, text="5.1.1 No such user")
    refused = smtp.send_message(_message(), to_addrs=["ada@example.com", "bob@example.com"])
    assert refused == {"bob@example.com": (550, b"5.1.1 No such user")}
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        smtp.send_message(_message("bob@example.com"))
    smtp.send_message(_message("carl@example.com"))  # the session goes on
    assert [mail["recipients"] for mail in _mails(sandbox)] == [["carl@example.com"], ["ada@example.com"]]
    assert sandbox.fired(fault) == 2


@pytest.mark.parametrize(
    ("route", "error"),
    [
        ("smtp.mail", smtplib.SMTPSenderRefused),
        ("smtp.data", smtplib.SMTPDataError),
        ("smtp.after_data", smtplib.SMTPDataError),
    ],
)
def test_each_step_can_be_refused(sandbox: Sandbox, smtp: smtplib.SMTP, route: str, error: type[Exception]) -> None:
    sandbox.fault(route, "refuse", code=452, text="Insufficient storage", times=1)
    with pytest.raises(error) as refused:
        smtp.send_message(_message())
    assert "452" in str(refused.value)
    assert _mails(sandbox) == []
    smtp.rset()
    smtp.send_message(_message())
    assert len(_mails(sandbox)) == 1


def test_a_connection_can_be_refused(sandbox: Sandbox) -> None:
    sandbox.fault("smtp.connect", "refuse", code=421, text="Closing", times=1)
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        _connect(sandbox)
    assert refused.value.smtp_code == 421
    _connect(sandbox).quit()


@pytest.mark.parametrize("route", ["smtp.connect", "smtp.mail", "smtp.rcpt", "smtp.data", "smtp.after_data"])
def test_each_step_can_drop_the_connection(sandbox: Sandbox, route: str) -> None:
    sandbox.fault(route, "drop", times=1)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        _connect(sandbox).send_message(_message())
    assert _mails(sandbox) == []


def test_a_message_can_be_kept_although_the_sender_never_hears_so(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    sandbox.fault("smtp.after_data", "drop_after", match="ada@", times=1)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        smtp.send_message(_message())
    assert len(_mails(sandbox)) == 1


def test_a_message_can_be_held_and_let_go(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    fault = sandbox.fault("smtp.after_data", "hold")
    sender = threading.Thread(target=smtp.send_message, args=(_message(),))
    sender.start()
    eventually(lambda: sandbox.fired(fault) == 1)
    assert _mails(sandbox) == []
    sandbox.delete(f"/faults/{fault}")
    sender.join()
    assert len(_mails(sandbox)) == 1


def test_a_burst_counts_its_mails(sandbox: Sandbox, smtp: smtplib.SMTP) -> None:
    path = f"/portals/{sandbox.portal}/contacts/{sandbox.contact}"
    sandbox.patch(path, properties={"email": "ada@example.com"})
    burst = sandbox.post("/enrolments", workflowId=sandbox.workflow, contactIds=[sandbox.contact])["burstId"]
    smtp.send_message(_message("ada@example.com"))
    smtp.send_message(_message("stranger@example.com"))
    summary = sandbox.get(f"/bursts/{burst}")
    assert summary["mailed"] == 1
    assert summary["firstMailAt"] == summary["lastMailAt"]
