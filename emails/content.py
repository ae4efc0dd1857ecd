"""What the mail with a code says: a tenant's texts with a closed list of placeholders, as plain text and as HTML. Pure.

Tenant text is data and never a template: one regular expression finds the placeholders, and what is filled in is
escaped. So mark-up and template syntax appear in the mail as they were typed. The layout around the texts is a
template; it is rendered and its styles are moved into its elements once per language, never per message.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

import css_inline
from django.template.loader import render_to_string

PLACEHOLDERS: Final = ("expiry_minutes", "expires_at", "first_name", "company", "reference")

MAXIMUM_VALUE_LENGTH: Final = 100
"""Characters of one value. A contact's name comes from whoever filled in a form: it must not become a letter."""

MAXIMUM_TEXT_LENGTH: Final = 2000
MAXIMUM_LINE_LENGTH: Final = 200

_LOOKS_LIKE_A_PLACEHOLDER: Final = re.compile(r"\{([\w.-]+)\}")
_PLACEHOLDER: Final = re.compile(rf"( ?)\{{({'|'.join(PLACEHOLDERS)})\}}")
_LINE_BREAKS: Final = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control characters, and lone surrogates, which no encoding of a mail can carry.
_NEVER_SHOWN: Final = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\ud800-\udfff]")
# Embeddings, overrides and isolates of the bidirectional algorithm: they make text appear in another order than it has.
_REORDERING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Characters without width and spaces in turn: programs that merge spaces take them for text.
_FILLING: Final = "\u034f\u200c\u00a0" * 50
_MARKER: Final = re.compile("@@([a-z_]+)@@")
_INLINER: Final = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What a tenant writes: the subject, and what stands above (greeting, body) and below (footer) the code."""

    subject: str
    greeting: str
    body: str
    footer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A finished mail: one line of subject, and the same words as plain text and as HTML."""

    subject: str
    text: str
    html: str


def unknown_placeholders(text: str) -> list[str]:
    """Return the names in braces that are no placeholder, each once, in the order of their appearance.

    `{code}` is one of them: the code has its own place in the mail.
    """
    names = dict.fromkeys(_LOOKS_LIKE_A_PLACEHOLDER.findall(text))
    return [name for name in names if name not in PLACEHOLDERS]


def complaints(
    text: str, *, label: str, one_line: bool = False, shows_on_locked_screens: bool = False, longest: int | None = None
) -> list[str]:
    """Return what is wrong with a text that a tenant wants in its mails: sentences that name the field and the remedy.

    Nothing for a text that can be used. `label`: the field's name on the page. `one_line`: it goes into a header or
    stands on a line of its own. `longest`: characters, by default as many as such a field may have.
    """
    limit = longest or (MAXIMUM_LINE_LENGTH if one_line else MAXIMUM_TEXT_LENGTH)
    found = []
    if len(text) > limit:
        found.append(f"{label} has {len(text):,} characters. Shorten it to {limit:,}.")
    if one_line and _LINE_BREAKS.search(text):
        found.append(f"{label} is a single line. Remove the line break.")
    if _NEVER_SHOWN.search(_LINE_BREAKS.sub("", text)):
        found.append(f"{label} holds an invisible control character. Remove it, or type the text anew.")
    if _REORDERING.search(text):
        found.append(
            f"{label} holds an invisible character that reverses the order of letters. Remove it, or type the text "
            "anew: right-to-left languages need none."
        )
    unknown = unknown_placeholders(text)
    if "code" in unknown:
        found.append(
            f"{label} must not hold the code: it shows on locked screens. Remove {{code}}."
            if shows_on_locked_screens
            else f"{label} cannot hold the code, which has its own place between body and footer. Remove {{code}}."
        )
    if others := [f"{{{name}}}" for name in unknown if name != "code"]:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        verb = "is not a placeholder" if len(others) == 1 else "are not placeholders"
        found.append(f"{label}: {', '.join(others)} {verb}. Remove it, or use one of these: {known}.")
    return found


def compose(
    texts: Texts,
    *,
    code: str,
    values: Mapping[str, str],
    language: str,
    right_to_left: bool,
    valid_until: str = "",
    reference: str = "",
) -> Content:
    """Fill in the placeholders and lay the mail out.

    `values`: placeholder → what stands in its place, at most MAXIMUM_VALUE_LENGTH characters of one line; a missing
    value becomes nothing, and takes the space before it along ("Hello {first_name}," → "Hello,"). Placeholders within
    values stay as they are. `language` is a language tag for `lang`. The code stands in both parts as one unbroken
    word, left to right; `valid_until` below it and `reference` at the end are lines with placeholders, empty for none.
    The subject is one line, whatever was given. Any text at all is accepted.
    """
    values = {name: _value(text, isolated=right_to_left) for name, text in values.items()}
    footer = _block(_substitute(texts.footer, values))
    parts = {
        "subject": _line(_substitute(texts.subject, values)),
        "greeting": _line(_substitute(texts.greeting, values)),
        "body": _block(_substitute(texts.body, values)),
        "code": code,
        "valid_until": _line(_substitute(valid_until, values)),
        "footer": footer,
        "reference": _line(_substitute(reference, values)),
        "preheader": _line(footer)[:MAXIMUM_VALUE_LENGTH],
    }
    present = tuple(name for name, text in parts.items() if text)
    marked_up = {name: escape(text).replace("\n", "<br>") for name, text in parts.items()}
    direction = "rtl" if right_to_left else "ltr"
    return Content(
        subject=parts["subject"],
        text=_fill(_layout("emails/code.txt", "", "", present), parts),
        html=_fill(_layout("emails/code.html", language, direction, present), marked_up),
    )


@functools.lru_cache(maxsize=1000)
def _layout(template: str, language: str, direction: str, present: tuple[str, ...]) -> tuple[str, ...]:
    """Return the layout in pieces: words of its own, the name of a part, words of its own, and so on."""
    markers = {name: f"@@{name}@@" for name in present}
    rendered: str = render_to_string(
        template, {**markers, "language": language, "direction": direction, "filling": _FILLING}
    )
    if template.endswith(".html"):
        rendered = _INLINER.inline(rendered)
    return tuple(_MARKER.split(rendered))


def _fill(layout: tuple[str, ...], parts: Mapping[str, str]) -> str:
    pieces = list(layout)
    pieces[1::2] = [parts[name] for name in layout[1::2]]
    return "".join(pieces)


def _substitute(text: str, values: Mapping[str, str]) -> str:
    def value_of(found: re.Match[str]) -> str:
        space, name = found.groups()
        value = values.get(name)
        return f"{space}{value}" if value else ""

    return _PLACEHOLDER.sub(value_of, text)


def _value(text: str, *, isolated: bool) -> str:
    """What stands in a placeholder's place.

    A name comes from whoever filled in a form: it must neither become a letter nor turn the words around it. In a
    right-to-left mail, dates and Latin names keep their own order only when isolated from what surrounds them.
    """
    value = _REORDERING.sub("", _line(text))[:MAXIMUM_VALUE_LENGTH].rstrip()
    return f"\u2068{value}\u2069" if isolated and value and not value.isdigit() else value


def _line(text: str) -> str:
    """One line: every run of white space, line breaks of all kinds included, becomes one space."""
    return _NEVER_SHOWN.sub("", " ".join(text.split()))


def _block(text: str) -> str:
    """Lines with one kind of line break between them."""
    return "\n".join(_NEVER_SHOWN.sub("", line.rstrip()) for line in text.strip().splitlines())
