"""What the mail with a code says: a tenant's texts with a closed list of placeholders, as plain text and as HTML. Pure.

Tenant text is data and never a template: what is filled in (`emails.placeholders`) is escaped, and mark-up appears in the
mail as it was typed. The layout around the texts is a template; it is rendered and its styles are moved into its elements
once per language, never per message.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

import css_inline
from django.template.loader import render_to_string

from emails.placeholders import CODE, PLACEHOLDERS, fill, has_lone_brace, mistakes
from emails.values import MAXIMUM_LENGTH, NEVER_SHOWN, REORDERING, fitting, holds_a_link, in_one_line
from opsagent.quoting import quoted

MAXIMUM_TEXT_LENGTH: Final = 2000
MAXIMUM_LINE_LENGTH: Final = 200

_LONGEST_QUOTED: Final = 60
_LINE_BREAKS: Final = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
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
    if NEVER_SHOWN.search(_LINE_BREAKS.sub("", text)):
        found.append(f"{label} holds an invisible control character. Remove it, or type the text anew.")
    if REORDERING.search(text):
        found.append(
            f"{label} holds an invisible character that reverses the order of letters. Remove it, or type the text "
            "anew: right-to-left languages need none."
        )
    return found + _complaints_about_braces(text, label, shows_on_locked_screens=shows_on_locked_screens)


def _complaints_about_braces(text: str, label: str, *, shows_on_locked_screens: bool) -> list[str]:
    found, unknown = [], []
    for mistake in mistakes(text):
        typed = quoted(mistake.typed, longest=_LONGEST_QUOTED)
        if mistake.meant == CODE:
            found.append(
                f"{label} must not hold the code: it shows on locked screens. Remove {typed}."
                if shows_on_locked_screens
                else f"{label} cannot hold the code, which has its own place between body and footer. Remove {typed}."
            )
        elif mistake.meant:
            found.append(f"{label}: {typed} is not a placeholder. Write {{{mistake.meant}}}.")
        else:
            unknown.append(typed)
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        verb = "is not a placeholder" if len(unknown) == 1 else "are not placeholders"
        found.append(f"{label}: {', '.join(unknown)} {verb}. Remove it, or use one of these: {known}.")
    if has_lone_brace(text):
        found.append(
            f"{label} holds a brace that opens or closes nothing. Remove it, or complete the placeholder, such as "
            "{first_name}."
        )
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

    `values`: placeholder → what stands in its place, at most `values.MAXIMUM_LENGTH` characters of one line; a missing
    value becomes nothing, and takes along what only made sense with it ("Hello {first_name}," → "Hello,"). A first
    name that holds a link counts as missing. Placeholders within values stay as they are. `language` is a language tag for `lang`. The code stands in both parts as one unbroken
    word, left to right; `valid_until` below it and `reference` at the end are lines with placeholders, empty for none.
    The subject is one line, whatever was given. Any text at all is accepted.
    """
    if holds_a_link(values.get("first_name", "")):
        values = {**values, "first_name": ""}
    values = {name: fitting(text, right_to_left=right_to_left) for name, text in values.items()}
    filled = functools.partial(fill, values=values, language=language.lower())
    footer = _block(filled(texts.footer))
    parts = {
        "subject": in_one_line(filled(texts.subject)),
        "greeting": in_one_line(filled(texts.greeting)),
        "body": _block(filled(texts.body)),
        "code": code,
        "valid_until": in_one_line(filled(valid_until)),
        "footer": footer,
        "reference": in_one_line(filled(reference)),
        "preheader": in_one_line(footer)[:MAXIMUM_LENGTH],
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


def _block(text: str) -> str:
    """Lines with one kind of line break between them."""
    return "\n".join(NEVER_SHOWN.sub("", line.rstrip()) for line in text.strip().splitlines())
