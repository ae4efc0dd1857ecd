"""What a code's mail says, whatever a tenant has written."""

import re
import unicodedata
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emails.content import Content, Texts, complaints, compose
from emails.placeholders import PLACEHOLDERS
from emails.values import MAXIMUM_LENGTH

STOCK = Texts(
    subject="Your Verification Code",
    greeting="Hello,",
    body="Your one-time verification code is:",
    footer="This code will expire in {expiry_minutes} minutes.",
)
VALUES = {
    "expiry_minutes": "10",
    "expires_at": "2026-11-23 14:30 CET",
    "first_name": "Ada",
    "company": "analytical.example",
    "reference": "0193a5f2",
}


def mail(
    *,
    subject: str = STOCK.subject,
    greeting: str = STOCK.greeting,
    body: str = STOCK.body,
    footer: str = STOCK.footer,
    values: Mapping[str, str] = VALUES,
    code: str = "482951",
    language: str = "en",
    right_to_left: bool = False,
) -> Content:
    texts = Texts(subject=subject, greeting=greeting, body=body, footer=footer)
    return compose(texts, code=code, values=values, language=language, right_to_left=right_to_left)


class Shown(HTMLParser):
    """The tags of an HTML page, and the text that a reader sees: its body, with a line break for every <br>.

    The hidden line for inboxes is kept apart, as `preheader`.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[tuple[str, str | None]]] = {}
        self.text = self.preheader = ""
        self.hidden = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.setdefault(tag, []).extend(attrs)
        if tag == "br":
            self.text += "\n"
        elif tag == "body":
            self.text = ""
        elif tag == "div":
            self.hidden = ("aria-hidden", "true") in attrs

    def handle_endtag(self, tag: str) -> None:
        self.hidden = self.hidden and tag != "div"

    def handle_data(self, data: str) -> None:
        if self.hidden:
            self.preheader += data
        else:
            self.text += data


def test_it_says_the_same_in_text_and_html() -> None:
    content = mail()
    assert content.subject == "Your Verification Code"
    assert content.text == (
        "Hello,\n\nYour one-time verification code is:\n\n482951\n\nThis code will expire in 10 minutes.\n"
    )
    words = " ".join(Shown(content.html).text.split())
    assert words == "Hello, Your one-time verification code is: 482951 This code will expire in 10 minutes."


@pytest.mark.parametrize("code", ["0000", "482951", "A7K3M2P9"])
def test_it_shows_the_code_as_one_left_to_right_word_of_live_text(code: str) -> None:
    content = mail(code=code, language="ar", right_to_left=True)
    assert f"\n{code}\n" in content.text
    assert re.search(rf'<td class="code[^>]*dir="ltr"[^>]*>{code}</td>', content.html)
    assert code not in Shown(content.html).preheader


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("he", "rtl")])
def test_it_names_language_and_direction(language: str, direction: str) -> None:
    html = mail(language=language, right_to_left=direction == "rtl").html
    assert f'<html lang="{language}" dir="{direction}">' in html


def test_it_fetches_and_links_nothing() -> None:
    shown = Shown(mail(body="https://example.com <img src=https://example.com/x.png>").html)
    assert not {"a", "img", "script", "link", "iframe", "form"} & set(shown.tags)
    names = {name for attributes in shown.attributes.values() for name, _ in attributes}
    assert not {"href", "src", "background", "action", "srcset"} & names
    assert "url(" not in mail().html


def test_it_fills_in_every_placeholder() -> None:
    content = mail(body=" ".join(f"{{{name}}}" for name in PLACEHOLDERS), subject="{company}: {expiry_minutes}")
    assert content.subject == "analytical.example: 10"
    assert "10 2026-11-23 14:30 CET Ada analytical.example 0193a5f2" in content.text
    assert "10 2026-11-23 14:30 CET Ada analytical.example 0193a5f2" in content.html


@pytest.mark.parametrize(
    ("greeting", "shown"),
    [
        ("Hello {first_name},", "Hello,"),
        ("{first_name}", ""),
        ("Dear {first_name} of {company}!", "Dear of analytical.example!"),
        ("Hello{first_name}.", "Hello."),
        ("Hello, {first_name}!", "Hello!"),
        ("Hello, {first_name}, how are you?", "Hello, how are you?"),
        ("{first_name}, your code", "Your code"),
    ],
)
def test_it_leaves_no_gap_for_a_missing_value(greeting: str, shown: str) -> None:
    for values in ({"company": "analytical.example"}, {"company": "analytical.example", "first_name": " \n"}):
        assert mail(greeting=greeting, values=values, body="body").text.split("body")[0].strip() == shown


def test_it_does_not_look_for_placeholders_in_values() -> None:
    content = mail(greeting="{first_name}", values={"first_name": "{company}{code}{{ code }}", "company": "secret"})
    assert content.text.startswith("{company}{code}{{ code }}\n")


def test_it_keeps_values_short_and_on_one_line() -> None:
    content = mail(greeting="{first_name}|", values={"first_name": "A\r\nB\u2028C" + "x" * 500})
    line = content.text.split("\n")[0]
    assert line.startswith("A B C")
    assert len(line) == MAXIMUM_LENGTH + 1


def test_it_keeps_the_lines_of_body_and_footer() -> None:
    content = mail(body="one\r\ntwo\rthree\n\nfour", footer="five\nsix")
    assert "one\ntwo\nthree\n\nfour\n" in content.text
    assert "one<br>two<br>three<br><br>four" in content.html
    assert "five<br>six" in content.html


def test_it_leaves_out_what_is_empty() -> None:
    content = mail(greeting="", body="", footer="")
    assert content.text == "482951\n"
    assert Shown(content.html).text.split() == ["482951"]
    assert "<p" not in content.html


@pytest.mark.parametrize(
    "subject",
    [
        "Code\r\nBcc: eve@example.com",
        "Code\nBcc: eve@example.com",
        "Code\u2028Bcc: eve@example.com",
        "Code\vBcc: eve@example.com",
    ],
)
def test_it_cannot_be_made_to_break_the_subject(subject: str) -> None:
    assert mail(subject=subject).subject == "Code Bcc: eve@example.com"
    assert mail(subject="{company}", values={"company": subject}).subject == "Code Bcc: eve@example.com"


@pytest.mark.parametrize(
    "text",
    [
        "<b>bold</b> & <script>alert(1)</script>",
        "{% load static %} {# comment #} {see below}",
        "{} %s %(code)s $code",
        "\u202egnirts desrever\u202c",
        "&lt;b&gt; &#60; &amp;amp;",
        "\\1 \\g<1> \\",
    ],
)
def test_it_shows_what_was_typed_literally(text: str) -> None:
    content = mail(subject=text, greeting=text, body=text, footer=text)
    assert content.subject == text
    assert content.text == f"{text}\n\n{text}\n\n482951\n\n{text}\n"
    shown = Shown(content.html)
    assert shown.text.count(text) == 3
    assert sorted(shown.tags) == sorted(Shown(mail().html).tags)


def visible(text: str) -> str:
    """Return what of a text is comparable after layout: no white space, no characters that no mail can carry."""
    kept = (character for character in text if unicodedata.category(character) not in {"Cc", "Cs"})
    return "".join("".join(kept).split())


PIECES = [*"{}%<>&\"'#!\\ \r\n\t\0ax_", *(f"{{{name}}}" for name in PLACEHOLDERS), "{code}", "{{ code }}"]
any_text = st.text(st.characters(codec=None), max_size=200) | st.lists(st.sampled_from(PIECES), max_size=40).map(
    "".join
)


@given(subject=any_text, greeting=any_text, body=any_text, footer=any_text)
@example(subject="\ud800", greeting="\0", body="\x1c\x85", footer="\u2029")
def test_it_accepts_any_text_and_shows_all_of_it(subject: str, greeting: str, body: str, footer: str) -> None:
    texts = [re.sub("[{}]", "|", text) for text in (subject, greeting, body, footer)]
    content = mail(subject=texts[0], greeting=texts[1], body=texts[2], footer=texts[3])
    expected = visible(texts[1] + texts[2] + "482951" + texts[3])
    assert visible(content.subject) == visible(texts[0])
    assert visible(content.text) == expected
    shown = Shown(content.html)
    assert visible(shown.text) == expected
    assert set(shown.tags) <= {*Shown(mail().html).tags, "br"}
    for part in (content.subject, content.text, content.html):
        part.encode()


@given(text=any_text, name=any_text)
def test_it_never_fails_and_keeps_the_subject_on_one_line(text: str, name: str) -> None:
    content = mail(subject=text, greeting=text, body=text, footer=text, values={"first_name": name, "company": name})
    assert len(content.subject.splitlines()) <= 1
    assert not any(unicodedata.category(character) == "Cc" for character in content.subject)
    assert content.html.count(">482951</td>") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Hello {first_name},", None),
        ("שלום \u200f{first_name}", None),
        ("two\nlines", "Greeting is a single line. Remove the line break."),
        ("two\u2028lines", "Greeting is a single line. Remove the line break."),
        ("a\0b", "Greeting holds an invisible control character. Remove it, or type the text anew."),
        ("\ud800", "Greeting holds an invisible control character. Remove it, or type the text anew."),
        ("{code}", "Greeting cannot hold the code, which has its own place between body and footer. Remove {code}."),
        (
            "{frist_name}",
            (
                "Greeting: {frist_name} is not a placeholder. Remove it, or use one of these: {expiry_minutes}, "
                "{expires_at}, {first_name}, {company}, {reference}."
            ),
        ),
        ("{ first_name }", "Greeting: { first_name } is not a placeholder. Write {first_name}."),
        ("{{ contact.firstname }}", "Greeting: {{ contact.firstname }} is not a placeholder. Write {first_name}."),
        ("{Company Name}", "Greeting: {Company Name} is not a placeholder. Write {company}."),
        (
            "{first\u200b_name}",
            r"Greeting: {first\u200b_name} is not a placeholder. Write {first_name}.",
        ),
        (
            "{{ CODE }}",
            "Greeting cannot hold the code, which has its own place between body and footer. Remove {{ CODE }}.",
        ),
        (
            "{first_name",
            (
                "Greeting holds a brace that opens or closes nothing. Remove it, or complete the placeholder, such as "
                "{first_name}."
            ),
        ),
        ("x" * 201, "Greeting has 201 characters. Shorten it to 200."),
    ],
)
def test_it_says_what_is_wrong_with_a_text(text: str, complaint: str | None) -> None:
    assert complaints(text, label="Greeting", one_line=True) == ([] if complaint is None else [complaint])


@pytest.mark.parametrize("character", [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"])
def test_it_refuses_what_reverses_the_order_of_letters(character: str) -> None:
    (complaint,) = complaints(f"Your code {character}951482", label="Body Text")
    assert complaint.startswith("Body Text holds an invisible character that reverses the order of letters.")


def test_it_keeps_the_code_off_locked_screens() -> None:
    (complaint,) = complaints("{code}", label="Email Subject", one_line=True, shows_on_locked_screens=True)
    assert complaint == "Email Subject must not hold the code: it shows on locked screens. Remove {code}."


@pytest.mark.parametrize("typed", ["{ code }", "{{code}}", "{CODE}", "{{ otp_code }}", "｛code｝", "{c\u200bode}"])
def test_it_keeps_the_code_off_locked_screens_however_it_is_spelled(typed: str) -> None:
    (complaint,) = complaints(f"{typed}!", label="Email Subject", one_line=True, shows_on_locked_screens=True)
    assert complaint.startswith("Email Subject must not hold the code: it shows on locked screens. Remove ")
    assert "\u200b" not in complaint


def test_it_names_each_mistake_once_and_shortly() -> None:
    found = complaints("{ first_name } { first_name } {{company}} {a} {b} {" + "x" * 250 + "}", label="Body Text")
    assert found[:2] == [
        "Body Text: { first_name } is not a placeholder. Write {first_name}.",
        "Body Text: {{company}} is not a placeholder. Write {company}.",
    ]
    assert found[2].startswith("Body Text: {a}, {b}, {xxxx")
    assert len(found) == 3
    assert len(found[2]) < 250


def test_a_stored_mistake_is_mailed_as_it_was_meant() -> None:
    content = mail(
        subject="{ code } {{first_name}}", greeting="Hi {{ contact.firstname }}!", body="{First Name}", footer="{x}, y"
    )
    assert content.subject == "Ada"
    assert content.text == "Hi Ada!\n\nAda\n\n482951\n\nY\n"


def test_it_takes_lines_where_there_may_be_several() -> None:
    assert complaints("one\r\ntwo\tthree\n\nfour", label="Body Text") == []


def test_it_refuses_a_text_of_a_hundred_kilobytes_and_lays_it_out_all_the_same() -> None:
    long = "<b>&{first_name}\n" * 6000
    (complaint,) = complaints(long, label="Footer Text")
    assert complaint == "Footer Text has 102,000 characters. Shorten it to 2,000."
    assert mail(footer=long).html.count("&lt;b&gt;&amp;Ada") >= 6000


def test_it_does_not_let_a_name_turn_the_words_around_it() -> None:
    for right_to_left in (False, True):
        text = mail(
            greeting="Hello {first_name}, welcome",
            values={"first_name": "\u202eadA\u2066\u2069"},
            right_to_left=right_to_left,
        ).text
        assert re.sub("[\u2068\u2069]", "", text).startswith("Hello adA, welcome\n")
        assert "\u202e" not in text


@pytest.mark.parametrize("name", ["שרה", "سارة", "Sarah שרה", "٣٤٥"])
@pytest.mark.parametrize("placeholder", ["first_name", "company"])
def test_it_isolates_what_reads_from_the_right_among_left_to_right_words(name: str, placeholder: str) -> None:
    values = {**VALUES, placeholder: name}
    content = mail(subject=f"{{{placeholder}}} (10)", greeting=f"Hi {{{placeholder}}} (10)", values=values)
    assert content.subject == f"\u2068{name}\u2069 (10)"
    assert content.text.startswith(f"Hi \u2068{name}\u2069 (10)\n")
    assert f"Hi \u2068{name}\u2069 (10)" in content.html
    assert "\u2068" not in mail(greeting="{first_name} {company} {expires_at} {reference}").text


@pytest.mark.parametrize(
    "name", ["http://evil.example", "evil。example", "Ada: evil．com", "a@b.example", "e\u200bvil.example"]
)
def test_a_name_with_a_link_counts_as_missing(name: str) -> None:
    content = mail(
        subject="{first_name}, your code", greeting="Hello {first_name},", values={**VALUES, "first_name": name}
    )
    assert content.subject == "Your code"
    assert content.text.startswith("Hello,\n")
    for word in ("evil", "b.example"):
        assert word not in content.subject + content.text + content.html


def test_it_isolates_dates_and_names_among_right_to_left_words() -> None:
    text = mail(footer="{expires_at}|{first_name}|{expiry_minutes}", right_to_left=True).text
    assert "\u20682026-11-23 14:30 CET\u2069|\u2068Ada\u2069|10" in text


def test_it_shows_the_layouts_own_lines_where_there_are_words_for_them() -> None:
    texts = Texts(subject="s", greeting="g", body="b", footer="f")
    content = compose(
        texts,
        code="482951",
        values=VALUES,
        language="de",
        right_to_left=False,
        valid_until="Gültig bis {expires_at}",
        reference="Referenznummer: {reference}",
    )
    assert content.text == "g\n\nb\n\n482951\n\nGültig bis 2026-11-23 14:30 CET\n\nf\n\nReferenznummer: 0193a5f2\n"
    assert Shown(content.html).text.split() == content.text.split()


def test_it_has_its_styles_in_the_elements_and_those_for_dark_screens_beside_them() -> None:
    html = mail().html
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert style.split("{")[0].strip().startswith("@media")
    assert "@media (prefers-color-scheme: dark)" in style
    assert re.search(r'<td class="code[^>]* style="[^"]*font-size: 32px', html)
    assert len(html) < 20_000


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""

    def luminance(colour: str) -> float:
        channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_it_can_be_read_on_light_and_dark_screens() -> None:
    source = Path("templates/emails/code.html").read_text(encoding="utf-8")
    light, _, dark = source.partition("@media (prefers-color-scheme: dark)")
    for rules in (light, dark):

        def colour(selector: str, name: str, rules: str = rules) -> str:
            (found,) = re.findall(rf"^ *{selector} {{[^}}]*?(?<![-\w]){name}: (#\w+)", rules, re.MULTILINE)
            return str(found)

        card = colour(r"\.card", "background-color")
        assert contrast(colour(r"\.words", "color"), card) >= 4.5
        assert contrast(colour(r"\.small(?:, \.rest p)?", "color"), card) >= 4.5
        assert contrast(colour(r"\.code", "color"), colour(r"\.code", "background-color")) >= 4.5
