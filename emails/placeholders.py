"""Placeholders in a tenant's texts: found however they are spelled, filled in, left out without a trace. Pure.

Tenant text is data and never a template: one regular expression finds what stands in braces. Braces have no other use
in these texts, so everything in them is a placeholder or a mistake.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

PLACEHOLDERS: Final = ("expiry_minutes", "expires_at", "first_name", "company", "reference")

CODE: Final = "code"
"""What somebody means who wants the code in a text, where it has no place."""

# Other names that people give to the same things: HubSpot's tokens, other programs' words. Letters only.
_MEANT: Final = {
    **{name.replace("_", ""): name for name in PLACEHOLDERS},
    **dict.fromkeys(
        ("contactfirstname", "contactname", "customerfirstname", "fname", "givenname", "name", "userfirstname"),
        "first_name",
    ),
    **dict.fromkeys(
        ("companyname", "contactcompany", "sitesettingscompanyname", "account", "accountname", "portal"), "company"
    ),
    **dict.fromkeys(
        ("expiry", "expires", "expiresin", "expiresinminutes", "expiration", "expirationminutes", "minutes"),
        "expiry_minutes",
    ),
    **dict.fromkeys(("expiryat", "expirydate", "expirytime", "otpexpiresat", "validuntil"), "expires_at"),
    **dict.fromkeys(("otpreference", "ref", "referenceid", "referencenumber"), "reference"),
    **dict.fromkeys(
        ("code", "contactopsagentotpcode", "onetimecode", "opsagentotpcode", "otp", "otpcode", "passcode", "pin",
         "verificationcode"),
        CODE,
    ),
}  # fmt: skip
# Braces as other keyboards have them; each is one character, so positions stay.
_BRACES: Final = str.maketrans("｛｝﹛﹜", "{}{}")
# A name in braces, however many of them. Bounded, so that a text of nothing but braces costs no time.
_IN_BRACES: Final = re.compile(r"\{[{\s]{0,20}+([^{}]{0,300}+)\}(?:\s{0,20}\})*")
_EXACT: Final = frozenset(f"{{{name}}}" for name in PLACEHOLDERS)
_QUOTED: Final = re.compile(r"""['"“”‘’]([^'"“”‘’]+)['"“”‘’]""")
_NAME: Final = re.compile(r"[\w.-]+")
_LATIN_NAME: Final = re.compile(r"[a-zA-Z][\w .-]*")

# ---- what goes along with a value that is missing; "\0" stands in its place meanwhile, and no text can hold one
_GONE: Final = "\0"
_SPACE: Final = r"[^\S\n]"
_COMMAS: Final = ",،、，;؛；"
_STOPS: Final = rf"{_COMMAS}.:!?。．：！？؟।۔·…‥—–‐\-"
_PAIRS: Final = ("()", "[]", "（）", "“”", "„“", "«»", "「」", '""')
_WITHIN_A_PAIR: Final = re.compile(
    "|".join(rf"{re.escape(opening)}{_SPACE}*\0{_SPACE}*{re.escape(closing)}" for opening, closing in _PAIRS)
)
# With an English genitive, or with what Japanese and Korean put behind a name to be polite.
_AT_THE_BEGINNING: Final = re.compile(
    rf"^(?:{_SPACE}|[\u200e\u200f])*\0(?:['’]s\b|様|さま|さん|님|씨)?(?:{_SPACE}|[\0{_STOPS}])*(.?)", re.MULTILINE
)
# The same behind the end of a sentence: "Welcome! {first_name}, your code" is "Welcome! Your code".
_AFTER_A_SENTENCE: Final = re.compile(
    rf"([.!?…。！？؟।۔])({_SPACE}*)\0(?:{_SPACE}*\0)*{_SPACE}*[{_COMMAS}:：](?:{_SPACE}|[\0{_STOPS}])*(.?)"
)
_AFTER_A_COLON: Final = re.compile(rf"([:：]{_SPACE}*)\0{_SPACE}*[{_COMMAS}]{_SPACE}*")
_BEFORE_A_STOP: Final = re.compile(rf"{_SPACE}*[{_COMMAS}]{_SPACE}*\0(?={_SPACE}*(?:$|[{_STOPS}]))", re.MULTILINE)
_ANYWHERE: Final = re.compile("[ \u00a0]?\0")
# Where a capital i has a dot.
_DOTTED: Final = ("tr", "az")


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something in braces that is not exactly a placeholder: as it was typed, and which placeholder is meant.

    `meant` is one of PLACEHOLDERS, CODE, or empty where it cannot be told.
    """

    typed: str
    meant: str


@dataclass(frozen=True, slots=True)
class _Found:
    start: int
    end: int
    typed: str
    name: str
    meant: str

    @property
    def is_exact(self) -> bool:
        return self.typed in _EXACT


def mistakes(text: str) -> list[Mistake]:
    """Return what stands in braces and is not exactly a placeholder, each once, in the order of appearance.

    However it is spelled: `{ first_name }`, `{{first_name}}`, `{First Name}`, `{{ contact.firstname }}`,
    `｛first_name｝`. `{code}` is one of them: the code has its own place in the mail.
    """
    found = (Mistake(one.typed, one.meant) for one in _found(text) if not one.is_exact)
    return list(dict.fromkeys(found))


def in_braces(text: str) -> list[str]:
    """Return all that stands in braces, placeholders and mistakes, as it was typed."""
    return [one.typed for one in _found(text)]


def has_lone_brace(text: str) -> bool:
    """Whether there is a brace that opens or closes nothing."""
    kept, at = [], 0
    for one in _found(text):
        kept.append(text[at : one.start])
        at = one.end
    return not {"{", "}"}.isdisjoint("".join([*kept, text[at:]]))


def fill(text: str, values: Mapping[str, str], *, language: str) -> str:
    """Put the values in their placeholders' places; texts that are stored may still hold the mistakes above.

    A missing value takes along what only made sense with it: the space before it, brackets or quotation marks around
    it, a comma that nothing follows, and at the beginning of a line the punctuation behind it ("{first_name}, your
    code" → "Your code"). A mistake whose meaning can be told counts as what is meant; the code, names that mean
    nothing and everything in double braces count as missing. Other words in braces stay as they are.
    """
    text = text.replace(_GONE, "")
    if "{" not in text and text.isascii():
        return text
    pieces, at = [], 0
    for one in _found(text):
        pieces += [text[at : one.start], _standing(one, values)]
        at = one.end
    filled = "".join([*pieces, text[at:]])
    return _without_traces(filled, language) if _GONE in filled else filled


def _found(text: str) -> Iterator[_Found]:
    flat = text if text.isascii() else text.translate(_BRACES)
    if "{" not in flat:
        return
    for match in _IN_BRACES.finditer(flat):
        typed, name = text[match.start() : match.end()], match[1].strip()
        meant = name if typed in _EXACT else _meant(name)
        # Full-width braces may be a Japanese text's own: with a name in Latin letters they are a placeholder's.
        if "{" in typed or "}" in typed or meant or _LATIN_NAME.fullmatch(unicodedata.normalize("NFKC", name)):
            yield _Found(match.start(), match.end(), typed, name, meant)


def _meant(name: str) -> str:
    """Return which placeholder somebody means, CODE, or an empty text."""
    plain = unicodedata.normalize("NFKC", name).lower()
    # HubSpot's own: {{ contact.firstname|default('there') }}, {{ personalization_token('contact.firstname', 'there') }}
    for candidate in (plain.partition("|")[0], *_QUOTED.findall(plain)[:1]):
        letters = "".join(character for character in candidate if "a" <= character <= "z")
        others = (character for character in candidate if character.isalpha() and not "a" <= character <= "z")
        if letters in _MEANT and not any(others):
            return _MEANT[letters]
    return ""


def _standing(one: _Found, values: Mapping[str, str]) -> str:
    if one.meant in PLACEHOLDERS:
        return values.get(one.meant) or _GONE
    is_a_name = one.typed.startswith("{{") or _NAME.fullmatch(one.name)
    return _GONE if one.meant or is_a_name else one.typed


def _without_traces(text: str, language: str) -> str:
    """Remove the marks of missing values, and what belongs to them."""
    text = _WITHIN_A_PAIR.sub(_GONE, text)
    text = _AT_THE_BEGINNING.sub(lambda found: _capital(found[1], language), text)
    text = _AFTER_A_SENTENCE.sub(lambda found: found[1] + found[2] + _capital(found[3], language), text)
    text = _AFTER_A_COLON.sub(r"\1", text)
    text = _BEFORE_A_STOP.sub("", text)
    return _ANYWHERE.sub("", text)


def _capital(letter: str, language: str) -> str:
    if letter == "i" and language.partition("-")[0] in _DOTTED:
        return "İ"
    capital = letter.title()
    return capital if len(capital) == 1 else letter
