"""What strangers wrote, on its way into a mail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emails.values import MAXIMUM_LENGTH, fitting, holds_a_link


@pytest.mark.parametrize(
    "name",
    [
        "http://evil.example",
        "HTTPS://EVIL.EXAMPLE/x",
        "hxxp://evil",
        "//evil/x",
        "mailto:ada",
        "tel:+441632960000",
        "www.evil",
        "evil.example",
        "Visit evil.example now",
        "evil。example",
        "evil｡example",
        "evil．com",
        "evil․com",
        "ⓔvil.ⓒom",
        "ｅｖｉｌ.ｃｏｍ",
        "a@b.example",
        "a＠b",
        "e\u200bvil.exam\u200bple",
        "evil\u2060.\u2060com",
        "e\u00advil.example",
        "evil\n.example",
        "straße.example",
        "пример.рф",
        "例え.jp",
        "evil.भारत",
        "מבחן.קום",
        "xn--e1afmkfd.xn--p1ai",
        "192.168.0.1",
        "bit.ly/x",
        "evil-bank.example",
        "St.John",  # the price
        "Call +1 (900) 555-0199",
        "0900 1234567",
        "\\\\evil\\share",
        "vbscript:x",
        "callto:ada",
        "bitcoin:1abc",
        "steam://run",
        "file:\\\\x",
        "evil:8080/x",
        "🔗.ws",
        "x" * 1001,
    ],
)
def test_it_knows_what_becomes_a_link(name: str) -> None:
    assert holds_a_link(name)


@pytest.mark.parametrize(
    "name",
    ["", "Ada", "Ada Lovelace", "J.R.R. Tolkien", "Dr. Ada", "O'Neil", "Mary-Ann", "Anna/Maria", "José", "李 明", "שרה", "Jr.",
     "A. B. C.", "Ada (work)", "+44", "No. 5", "आशा"],
)  # fmt: skip
def test_it_lets_names_be(name: str) -> None:
    assert not holds_a_link(name)


@given(st.text(st.characters(codec=None), max_size=300), st.booleans())
def test_any_value_fits(text: str, right_to_left: bool) -> None:
    holds_a_link(text)
    value = fitting(text, right_to_left=right_to_left)
    assert len(value) <= MAXIMUM_LENGTH + 2
    assert len(value.splitlines()) <= 1
    assert value.count("\u2068") == value.count("\u2069") <= 1
    value.encode()
