"""Which language a mail is written in, and what the app itself says in it.

The app's own texts ("stock") are Django translation files in `emails/locale`; English is their source. Language codes
are Django's (`pt-br`, `zh-hans`); HubSpot's and everybody else's spellings become them in `normalise`.
"""

import datetime as dt
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

from django.conf.locale import LANG_INFO
from django.utils import translation
from django.utils.dateformat import format as format_date
from django.utils.formats import get_format
from django.utils.translation import npgettext, pgettext

from emails.content import Texts

SOURCE: Final = "en"
STOCK_LANGUAGES: Final = tuple(
    sorted(
        {SOURCE, *(path.name.lower().replace("_", "-") for path in (Path(__file__).parent / "locale").glob("[a-z]*"))}
    )
)
"""Codes of the languages that the app has texts in."""

MAXIMUM_LENGTH: Final = 20
"""Characters of a language code."""


_FIELDS: Final = tuple(field.name for field in fields(Texts))
_CODE: Final = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")
# Old and other names of a language: what ISO 639 withdrew (iw, in, ji, mo), macrolanguages by what people mean by them.
_RENAMED: Final = {"iw": "he", "in": "id", "ji": "yi", "mo": "ro", "no": "nb", "tl": "fil"}
_WRITTEN_AS: Final = {"zh": "zh-hans", "zh-cn": "zh-hans", "zh-tw": "zh-hant", "sh": "sr-latn"}
# Where cutting off the last part would give the wrong script.
_PARENTS: Final = {
    "zh-sg": "zh-hans",
    "zh-my": "zh-hans",
    "zh-hk": "zh-hant",
    "zh-mo": "zh-hant",
    "zh-hans": "",
    "zh-hant": "",
}
_RIGHT_TO_LEFT: Final = frozenset({"ar", "ckb", "dv", "fa", "he", "ps", "sd", "ug", "ur", "yi"})
_SCRIPT_LENGTH: Final = 4
_TWELVE_HOURS: Final = re.compile(r"(?<!\\)[aAfgPh]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenTexts:
    """The texts of one mail: all in `language`, unless the portal itself wrote it otherwise.

    `valid_until` and `reference` are the layout's own words, with placeholders; empty in languages that the app has no
    words in.
    """

    texts: Texts
    language: str
    valid_until: str = ""
    reference: str = ""

    @property
    def right_to_left(self) -> bool:
        """Whether the language is written from right to left."""
        return right_to_left(self.language)


def normalise(spelling: str) -> str:
    """Return a language code as this app spells it: `pt_BR` → `pt-br`, `zh-CN` → `zh-hans`, `iw` → `he`, `no` → `nb`.

    Returns an empty text for what is no language code. Languages without stock texts are kept: a portal may have its
    own.
    """
    code = spelling.strip().lower().replace("_", "-")
    if len(code) > MAXIMUM_LENGTH or not _CODE.fullmatch(code):
        return ""
    first, separator, rest = code.partition("-")
    code = _RENAMED.get(first, first) + separator + rest
    for script in ("zh-hans", "zh-hant"):
        if code.startswith(f"{script}-"):
            return script
    return _WRITTEN_AS.get(code, code)


def chain(code: str) -> Iterator[str]:
    """Yield a normalised code and what it is a variety of: `pt-br`, `pt`; `zh-hk`, `zh-hant`. Nothing for no code."""
    while code:
        yield code
        code = _PARENTS[code] if code in _PARENTS else code.rpartition("-")[0]


def choose(language: str, own: Mapping[str, Mapping[str, str]], *, default: str, minutes: int) -> ChosenTexts:
    """Choose the texts of a mail to somebody whose preferred language is `language`, in HubSpot's or any spelling.

    `own`: by normalised language what the portal wrote itself, by the names of `Texts`' fields; `default` is the
    portal's default language, and `minutes` how long the code lives, for the plural. The language is the first of
    these that the portal or the app has texts in: the preferred one (`pt-br`), what it is a variety of (`pt`), the
    default and its like, English. Within that language each text is the portal's where it wrote one, else the app's.
    Never are texts of two languages put together: where the app has none, the portal's count only when subject,
    greeting and body are all written; a footer that is not is left out.
    """
    for code in (*chain(normalise(language)), *chain(normalise(default)), SOURCE):
        written = own.get(code, {})
        if code in STOCK_LANGUAGES:
            with translation.override(code):
                return ChosenTexts(
                    texts=replace(stock_texts(code, minutes), **written),
                    language=code,
                    valid_until=pgettext("mail", "Valid until {expires_at}"),
                    reference=pgettext("mail", "Reference: {reference}"),
                )
        if written.keys() >= {"subject", "greeting", "body"}:
            return ChosenTexts(
                texts=Texts(**{name: written.get(name, "") for name in _FIELDS}),
                language=code,
            )
    raise AssertionError("English is always there.")


def stock_texts(language: str, minutes: int) -> Texts:
    """Return the app's own texts in one of STOCK_LANGUAGES; the footer's words fit `minutes`, its placeholder stays."""
    with translation.override(language):
        return Texts(
            subject=pgettext("mail", "Your Verification Code"),
            greeting=pgettext("mail", "Hello,"),
            body=pgettext("mail", "Your one-time verification code is:"),
            footer=npgettext(
                "mail",
                "This code will expire in {expiry_minutes} minute. If you didn't request this code, please ignore this email.",
                "This code will expire in {expiry_minutes} minutes. If you didn't request this code, please ignore this email.",
                minutes,
            ),
        )


def format_moment(language: str, moment: dt.datetime, zone: dt.tzinfo) -> str:
    """Return date, time and time zone, to the minute, as a language writes them: "23. November 2026 14:30 CET".

    By Django's format for the language, if that names the hours from 0 to 23; else, and where Django has none,
    "2026-11-23 14:30 CET". Django's words for the parts of the day are not reliable; English keeps its "2:30 p.m.".
    """
    return _formatted(language, moment.astimezone(dt.UTC).replace(second=0, microsecond=0), zone)


@functools.lru_cache(maxsize=1000)  # codes of a batch expire within the same few minutes, and formatting is slow
def _formatted(language: str, minute: dt.datetime, zone: dt.tzinfo) -> str:
    local = minute.astimezone(zone)
    with translation.override(language):
        layout = str(get_format("DATETIME_FORMAT"))
        if language != SOURCE and (layout == _format_of_no_language() or _TWELVE_HOURS.search(layout)):
            layout = "Y-m-d H:i"
        return f"{format_date(local, layout.removesuffix(' T'))} {format_date(local, 'T')}"


def right_to_left(code: str) -> bool:
    """Whether a language is written from right to left."""
    return code.partition("-")[0] in _RIGHT_TO_LEFT


def html_tag(code: str) -> str:
    """Return a code as `lang` has it: `pt-BR`, `zh-Hans` (RFC 5646)."""
    first, *rest = code.split("-")
    return "-".join([first, *(part.title() if len(part) == _SCRIPT_LENGTH else part.upper() for part in rest)])


def name_of(code: str) -> str:
    """Return a language's English name followed by its own: "German (Deutsch)"; the code where Django knows none."""
    info = LANG_INFO.get(code)
    if info is None or "name" not in info:
        return code
    return info["name"] if info["name"] == info["name_local"] else f"{info['name']} ({info['name_local']})"


def choices() -> list[tuple[str, str]]:
    """Return code and name of every language that the app has texts in, by name."""
    return sorted(((code, name_of(code)) for code in STOCK_LANGUAGES), key=lambda choice: choice[1])


@functools.cache
def _format_of_no_language() -> str:
    """Return the format that Django takes where a language brings none."""
    return str(get_format("DATETIME_FORMAT", use_l10n=False))
