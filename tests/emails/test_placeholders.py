"""Placeholders, however they are spelled, and what is left of a text when a value is missing."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emails.placeholders import PLACEHOLDERS, fill, has_lone_brace, in_braces, mistakes

VALUES = dict.fromkeys(PLACEHOLDERS, "Ada")
PIECES = [*"{}｛｝ \n,.!\0ax_'|", *(f"{{{name}}}" for name in PLACEHOLDERS), "{{", "}}", "contact.firstname", "\u200b"]
any_text = st.text(max_size=100) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("{ first_name }", "first_name"),
        ("{first_name }", "first_name"),
        ("{\u00a0first_name}", "first_name"),
        ("{{first_name}}", "first_name"),
        ("{{{first_name}}}", "first_name"),
        ("{ {first_name} }", "first_name"),
        ("{first_name}}", "first_name"),
        ("{first name}", "first_name"),
        ("{First Name}", "first_name"),
        ("{FIRST_NAME}", "first_name"),
        ("{firstname}", "first_name"),
        ("{first-name}", "first_name"),
        ("{first\u200b_name}", "first_name"),
        ("{ｆｉｒｓｔ＿ｎａｍｅ}", "first_name"),
        ("｛first_name｝", "first_name"),
        ("{{ contact.firstname }}", "first_name"),
        ("{{contact.first_name}}", "first_name"),
        ("{{ contact.firstname|default('there') }}", "first_name"),
        ("{{ personalization_token('contact.firstname', 'there') }}", "first_name"),
        ("{{ contact.company }}", "company"),
        ("{{ company.name }}", "company"),
        ("{{ site_settings.company_name }}", "company"),
        ("{Expiry Minutes}", "expiry_minutes"),
        ("{expires at}", "expires_at"),
        ("{ Reference }", "reference"),
        ("{code}", "code"),
        ("{ code }", "code"),
        ("{{code}}", "code"),
        ("{CODE}", "code"),
        ("{{ contact.opsagent_otp_code }}", "code"),
        ("{frist_name}", ""),
        ("{vorname}", ""),
        ("{}", ""),
        ("{ }", ""),
        ("{\n}", ""),
        ("{0}", ""),
        ("{two words}", ""),
        ("{% load static %}", ""),
        ("{{ 7*7 }}", ""),
        ("{imię}", ""),
        ("{имя}", ""),
    ],
)
def test_it_knows_a_mistake_by_its_kind(typed: str, meant: str) -> None:
    (found,) = mistakes(f"Hello {typed}, welcome")
    assert (found.typed, found.meant) == (typed, meant)
    assert in_braces(f"Hello {typed}, welcome") == [typed]
    mailed = fill(f"Hello {typed}, welcome", VALUES, language="en")
    if meant in PLACEHOLDERS:
        assert mailed == "Hello Ada, welcome"
    else:
        assert "Ada" not in mailed
        assert mailed in {f"Hello {typed}, welcome", "Hello, welcome"}


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_the_right_spelling_is_no_mistake(name: str) -> None:
    assert mistakes(f"{{{name}}}{{{name}}} {{{name}}}") == []
    assert fill(f"{{{name}}}{{{name}}}", VALUES, language="en") == "AdaAda"


@pytest.mark.parametrize("text", ["", "No braces", "[first_name] %first_name% <first_name> $first_name", "｛注意｝"])
def test_what_is_no_placeholder_stays(text: str) -> None:
    assert mistakes(text) == []
    assert not has_lone_brace(text)
    assert fill(text, VALUES, language="en") == text


@pytest.mark.parametrize(
    ("text", "is_lone"),
    [
        ("{first_name", True),
        ("first_name}", True),
        ("}{", True),
        (":-}", True),
        ("{first_name}", False),
        ("{{x}}", False),
    ],
)
def test_it_sees_a_brace_without_its_fellow(text: str, is_lone: bool) -> None:
    assert has_lone_brace(text) is is_lone


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{first_name}, your code", "Your code"),
        ("{first_name}: your code", "Your code"),
        ("{first_name} – your code", "Your code"),
        ("{first_name}! Your code", "Your code"),
        ("{first_name}... your code", "Your code"),
        ("  {first_name} , your code", "Your code"),
        ("{first_name}'s code", "Code"),
        ("{first_name} {company}, your code", "Your code"),
        ("{first_name}، رمزك", "رمزك"),
        ("\u200f{first_name}، رمزك", "رمزك"),
        ("{first_name}，您的验证码", "您的验证码"),
        ("{first_name}、認証コード", "認証コード"),
        ("{first_name}様、認証コード", "認証コード"),
        ("{first_name}님, 인증 코드", "인증 코드"),
        ("{first_name}, élan", "Élan"),
        ("{first_name}, ßa", "ßa"),
        ("One\n{first_name}, two", "One\nTwo"),
        ("Hello {first_name},", "Hello,"),
        ("Hello {first_name}، you", "Hello، you"),
        ("Hello, {first_name}", "Hello"),
        ("Hello, {first_name}\nyou", "Hello\nyou"),
        ("Hello, {first_name}.", "Hello."),
        ("Bonjour {first_name} !", "Bonjour !"),
        ("Dear {first_name} ({company}),", "Dear,"),
        ("Dear “{first_name}”.", "Dear."),
        ("{first_name}", ""),
        ("{first_name},", ""),
        ("{first_name}{company}", ""),
        ("Welcome! {first_name}, your code", "Welcome! Your code"),
        ("Good morning.  {first_name} {company}, your code", "Good morning.  Your code"),
        ("欢迎！{first_name}，您的验证码", "欢迎！您的验证码"),
        ("Note: {first_name}, your code", "Note: your code"),
        ("Really? {first_name},", "Really?"),
        ("Welcome! {first_name} has a code", "Welcome! has a code"),
    ],
)
def test_nothing_tells_of_a_missing_value(text: str, shown: str) -> None:
    assert fill(text, {}, language="en").strip() == shown
    assert fill(text, {"first_name": "", "company": ""}, language="en").strip() == shown


@pytest.mark.parametrize(("language", "shown"), [("tr", "İki"), ("az", "İki"), ("en", "Iki"), ("tr-tr", "İki")])
def test_it_writes_capitals_as_the_language_does(language: str, shown: str) -> None:
    assert fill("{first_name}, iki", {}, language=language) == shown


@given(any_text, st.booleans())
def test_it_never_fails_and_leaves_no_placeholder(text: str, is_known: bool) -> None:
    filled = fill(text, VALUES if is_known else {}, language="en")
    assert "\0" not in filled
    assert not re.search(r"\{+\s*(first_name|company|reference|expires_at|expiry_minutes|code)\s*\}", filled)
    for found in mistakes(text):
        assert found.typed in text
        assert found.meant in {*PLACEHOLDERS, "code", ""}
    has_lone_brace(text)


@pytest.mark.parametrize("piece", ["{", "{ ", "}", "{{a}", "{a} ", ", ", ", {a}", "{" + " " * 19])
def test_no_text_takes_it_long(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    fill(text, {}, language="en")
    mistakes(text)
    assert time.process_time() - began < 10
