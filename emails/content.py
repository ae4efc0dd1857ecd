"""What the mail with a code says: a tenant's texts with a closed list of placeholders, as plain text and as HTML. Pure.

Tenant text is data and never a template: one regular expression finds the placeholders, Django's autoescaping does the
rest. So mark-up and template syntax appear in the mail as they were typed.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.template.loader import render_to_string

PLACEHOLDERS: Final = ("expiry_minutes", "expires_at", "first_name", "company", "reference")

MAXIMUM_VALUE_LENGTH: Final = 100
"""Characters of one value. A contact's name comes from whoever filled in a form: it must not become a letter."""

_LOOKS_LIKE_A_PLACEHOLDER: Final = re.compile(r"\{([\w.-]+)\}")
_PLACEHOLDER: Final = re.compile(rf"( ?)\{{({'|'.join(PLACEHOLDERS)})\}}")
# Control characters, and lone surrogates, which no encoding of a mail can carry.
_NEVER_SHOWN: Final = frozenset({"Cc", "Cs"})


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


def compose(texts: Texts, *, code: str, values: Mapping[str, str], language: str, right_to_left: bool) -> Content:
    """Fill in the placeholders and lay the mail out.

    `values`: placeholder → what stands in its place, at most MAXIMUM_VALUE_LENGTH characters of one line; a missing
    value becomes nothing, and takes the space before it along ("Hello {first_name}," → "Hello,"). Placeholders within
    values stay as they are. `language` is a language tag for `lang`. The code stands in both parts as one unbroken
    word, left to right. The subject is one line, whatever was given. Any text at all is accepted.
    """
    subject, greeting = (_line(_substitute(text, values)) for text in (texts.subject, texts.greeting))
    context = {
        "subject": subject,
        "greeting": greeting,
        "body": _block(_substitute(texts.body, values)),
        "footer": _block(_substitute(texts.footer, values)),
        "code": code,
        "language": language,
        "direction": "rtl" if right_to_left else "ltr",
    }
    return Content(
        subject=subject,
        text=render_to_string("emails/code.txt", context),
        html=render_to_string("emails/code.html", context),
    )


def _substitute(text: str, values: Mapping[str, str]) -> str:
    def value_of(found: re.Match[str]) -> str:
        space, name = found.groups()
        value = _line(values.get(name, ""))[:MAXIMUM_VALUE_LENGTH]
        return space + value if value else ""

    return _PLACEHOLDER.sub(value_of, text)


def _line(text: str) -> str:
    """One line: every run of white space, line breaks of all kinds included, becomes one space."""
    return _shown(" ".join(text.split()))


def _block(text: str) -> str:
    """Lines with one kind of line break between them."""
    return "\n".join(_shown(line.rstrip()) for line in text.strip().splitlines())


def _shown(line: str) -> str:
    return "".join(
        character for character in line if character == "\t" or unicodedata.category(character) not in _NEVER_SHOWN
    )
