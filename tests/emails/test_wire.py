"""The bytes that SMTP carries, read by the standard library's parser."""

from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from django.core.mail.message import BadHeaderError
from hypothesis import example, given
from hypothesis import strategies as st

from emails.content import Content
from emails.wire import to_bytes

HEADERS = {
    "From": "Acme <codes@example.com>",
    "To": "ada@example.com",
    "Subject": "Code",
    "Date": "Mon, 23 Nov 2026 14:30:00 -0000",
    "Message-ID": "<1@example.com>",
}
CONTENT = Content(subject="Code", text="482951\n", html="<p>482951</p>\n")

# What a mail can hold: `emails.content` has taken the rest out.
any_words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.just("\n"), max_size=300)


def parsed(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, EmailMessage, policy=policy.SMTP)


@given(text=any_words, html=any_words)
def test_it_carries_any_words_in_seven_bits_and_short_lines(text: str, html: str) -> None:
    raw = to_bytes(HEADERS, Content(subject="Code", text=text, html=html))
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    plain, marked_up = parsed(raw).iter_parts()
    assert plain.get_payload(decode=True) == text.replace("\n", "\r\n").encode()
    assert marked_up.get_payload(decode=True) == html.replace("\n", "\r\n").encode()
    assert [part.get_content_type() for part in (plain, marked_up)] == ["text/plain", "text/html"]


def test_it_cannot_be_ended_by_what_it_carries() -> None:
    boundary = parsed(to_bytes(HEADERS, CONTENT)).get_boundary()
    forged = f"--{boundary}--\n\n--{boundary}\nContent-Type: text/html\n\nforged"
    parts = list(parsed(to_bytes(HEADERS, Content(subject="Code", text=forged, html="<p></p>"))).iter_parts())
    assert len(parts) == 2
    assert b"forged" in parts[0].get_payload(decode=True)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=150)
)
@example("=?utf-8?q?Your=20bank?=")
def test_it_keeps_any_subject(subject: str) -> None:
    shown = str(parsed(to_bytes({**HEADERS, "Subject": subject}, CONTENT))["Subject"])
    assert shown.replace(" ", "") == subject


@pytest.mark.parametrize("name", ["From", "To", "Reply-To", "Subject", "Date", "X-Other"])
@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n"])
def test_it_refuses_a_header_of_two_lines(name: str, break_: str) -> None:
    with pytest.raises(BadHeaderError, match=name):
        to_bytes({**HEADERS, name: f"one{break_}Bcc: eve@example.com"}, CONTENT)


def test_it_spells_foreign_domains_in_ascii() -> None:
    raw = to_bytes({**HEADERS, "To": "ada@straße.example", "From": "Acme <codes@faß.example>"}, CONTENT)
    assert b"To: ada@xn--strae-oqa.example\r\n" in raw
    assert b"From: Acme <codes@xn--fa-hia.example>\r\n" in raw
