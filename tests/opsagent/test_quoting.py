"""What somebody else wrote, in a sentence of ours."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsagent.quoting import quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("de-AT", "de-AT"),
        ("<b>&", "<b>&"),
        ("日本語 Ünï 😀", "日本語 Ünï 😀"),
        ("\ud83d", r"\ud83d"),
        ("a\0b\n\r\tc", r"a\x00b\n\r\tc"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u200b\ufeffb", r"a\u200b\ufeffb"),
        ("a\u2028b", r"a\u2028b"),
        ("\U000e0041", r"\U000e0041"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 80 + "…"),
    ],
)
def test_it_shows_what_can_be_shown_and_spells_the_rest(text: str, shown: str) -> None:
    assert quoted(text) == shown


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_can_be_quoted(text: str) -> None:
    shown = quoted(text, longest=40)
    shown.encode()
    assert len(shown) <= 40 * 10 + 1
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
