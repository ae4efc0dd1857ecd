"""Which texts a mail is written in, and the app's own texts in every language."""

import datetime as dt
import re
import zoneinfo
from pathlib import Path

import polib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emails import languages
from emails.content import complaints
from emails.languages import STOCK_LANGUAGES, choose, format_moment, normalise, stock_texts

CATALOGUES = sorted(Path(languages.__file__).parent.glob("locale/*/LC_MESSAGES/django.po"))
LIVES = (5, 10, 15, 30, 60)
FRENCH = {"subject": "Code Acme", "greeting": "Salut,", "body": "Le code :"}


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("en", "en"),
        ("pt-br", "pt-br"),
        ("pt_BR", "pt-br"),
        (" PT-br ", "pt-br"),
        ("zh-cn", "zh-hans"),
        ("zh", "zh-hans"),
        ("zh-Hans-CN", "zh-hans"),
        ("zh-tw", "zh-hant"),
        ("zh-hk", "zh-hk"),
        ("iw", "he"),
        ("in", "id"),
        ("no", "nb"),
        ("no-no", "nb-no"),
        ("tl", "fil"),
        ("sh", "sr-latn"),
        ("fil", "fil"),
        ("es-419", "es-419"),
        ("", ""),
        ("English", ""),
        ("e", ""),
        ("de-", ""),
        ("de--at", ""),
        ("../../etc", ""),
        ("de\nat", ""),
        ("{code}", ""),
        ("de-" + "a" * 30, ""),
    ],
)
def test_it_spells_languages_one_way(spelling: str, code: str) -> None:
    assert normalise(spelling) == code


@given(st.text(max_size=30))
def test_it_takes_anything_for_a_language(text: str) -> None:
    code = normalise(text)
    assert normalise(code) == code
    assert choose(text, {}, default=text, minutes=10).language in STOCK_LANGUAGES


@pytest.mark.parametrize(
    ("wanted", "own", "default", "language", "subject"),
    [
        ("pt-br", {"pt-br": {"subject": "Acme BR"}, "pt": {"subject": "Acme PT"}}, "en", "pt-br", "Acme BR"),
        ("pt-br", {"pt": {"subject": "Acme PT"}}, "en", "pt-br", "Seu código de verificação"),
        ("pt-pt", {"pt": {"subject": "Acme PT"}}, "en", "pt", "Acme PT"),
        ("pt-pt", {}, "en", "pt", "O seu código de verificação"),
        ("gu", {"de": {"subject": "Acme DE"}}, "de", "de", "Acme DE"),
        ("gu", {}, "de", "de", "Ihr Bestätigungscode"),
        ("gu", {}, "pt-br", "pt-br", "Seu código de verificação"),
        ("gu", {}, "gu", "en", "Your Verification Code"),
        ("", {"en": {"subject": "Acme"}}, "en", "en", "Acme"),
        ("gu", {"gu": {"subject": "એકમે"}}, "en", "en", "Your Verification Code"),
        ("gu-in", {"gu": {"subject": "એકમે", "greeting": "નમસ્તે,", "body": "કોડ:"}}, "en", "gu", "એકમે"),
        ("zh-hk", {}, "en", "zh-hant", "您的驗證碼"),
        ("zh-sg", {}, "en", "zh-hans", "您的验证码"),
        ("sr-me", {}, "en", "sr", "Ваш верификациони код"),
        ("no-no", {}, "en", "nb", "Din bekreftelseskode"),
    ],
)
def test_it_falls_back_as_promised(
    wanted: str, own: dict[str, dict[str, str]], default: str, language: str, subject: str
) -> None:
    chosen = choose(wanted, own, default=default, minutes=10)
    assert (chosen.language, chosen.texts.subject) == (language, subject)


def test_it_takes_each_text_that_the_portal_wrote() -> None:
    chosen = choose("fr-ca", {"fr": {"greeting": "Salut {first_name},"}}, default="en", minutes=10)
    assert chosen.language == "fr"
    assert chosen.texts.greeting == "Salut {first_name},"
    assert chosen.texts.body == "Votre code de vérification à usage unique est :"


def test_it_never_mixes_languages() -> None:
    chosen = choose("gu", {"gu": FRENCH}, default="de", minutes=10)
    assert (chosen.texts.footer, chosen.valid_until, chosen.reference) == ("", "", "")
    assert choose("gu", {"gu": {"body": "કોડ:"}}, default="de", minutes=10).texts == stock_texts("de", 10)


def test_it_has_texts_in_many_languages() -> None:
    assert len(STOCK_LANGUAGES) > 70
    assert {"ar", "de", "es", "fr", "he", "ja", "nb", "pt", "pt-br", "ru", "zh-hans", "zh-hant"} <= set(STOCK_LANGUAGES)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_it_ships_what_the_translators_wrote(path: Path) -> None:
    source = polib.pofile(str(path))
    compiled = polib.mofile(str(path.with_suffix(".mo")))
    said = {(entry.msgctxt, entry.msgid): (entry.msgstr, entry.msgstr_plural) for entry in compiled}
    assert said == {(entry.msgctxt, entry.msgid): (entry.msgstr, entry.msgstr_plural) for entry in source}
    assert source.metadata["Plural-Forms"] == compiled.metadata["Plural-Forms"]


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_it_translates_everything_and_loses_no_placeholder(path: Path) -> None:
    entries = list(polib.pofile(str(path)))
    assert len(entries) == 6
    for entry in entries:
        forms = list(entry.msgstr_plural.values()) or [entry.msgstr]
        for form in forms:
            assert form.strip() not in {"", entry.msgid, entry.msgid_plural}
            assert re.findall(r"\{\w+\}", form) == re.findall(r"\{\w+\}", entry.msgid)
            assert complaints(form, label="Text") == []


@pytest.mark.parametrize("code", [code for code in STOCK_LANGUAGES if code != "en"])
@pytest.mark.parametrize("minutes", LIVES)
def test_it_speaks_every_language_for_every_life_of_a_code(code: str, minutes: int) -> None:
    chosen = choose(code, {}, default="en", minutes=minutes)
    assert chosen.language == code
    english = stock_texts("en", minutes)
    for name in ("subject", "greeting", "body", "footer"):
        assert getattr(chosen.texts, name) != getattr(english, name)
    assert chosen.texts.footer.count("{expiry_minutes}") == 1
    assert chosen.valid_until.count("{expires_at}") == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("en", ["5 minutes"] * 5),
        ("pl", ["minut"] * 5),
        ("ru", ["минут."] * 5),
        ("lt", ["5 minutes", "10 minučių", "15 minučių", "30 minučių", "60 minučių"]),
        ("ro", ["5 minute", "10 minute", "15 minute", "30 de minute", "60 de minute"]),
        ("ar", ["5 دقائق", "10 دقائق", "15 دقيقة", "30 دقيقة", "60 دقيقة"]),
        ("sl", ["minut."] * 5),
        ("de", ["Minuten"] * 5),
    ],
)
def test_it_counts_as_the_language_does(code: str, words: list[str]) -> None:
    for minutes, expected in zip(LIVES, words, strict=True):
        footer = stock_texts(code, minutes).footer.replace("{expiry_minutes}", str(minutes))
        assert expected.replace("5 minutes", f"{minutes} minutes") in footer


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "Nov. 23, 2026, 2:30 p.m. CET"),
        ("de", "23. November 2026 14:30 CET"),
        ("fr", "23 novembre 2026 14:30 CET"),
        ("ja", "2026年11月23日14:30 CET"),
        ("bs", "23. novembar. 2026. 14:30 CET"),
        ("ar", "2026-11-23 14:30 CET"),
        ("ms", "2026-11-23 14:30 CET"),
        ("gu", "2026-11-23 14:30 CET"),
    ],
)
def test_it_writes_the_moment_as_the_language_does(code: str, text: str) -> None:
    moment = dt.datetime(2026, 11, 23, 13, 30, 59, tzinfo=dt.UTC)
    assert format_moment(code, moment, zoneinfo.ZoneInfo("Europe/Berlin")) == text


def test_it_writes_the_same_moment_in_every_zone() -> None:
    moment = dt.datetime(2026, 11, 23, 13, 30, tzinfo=dt.UTC)
    assert format_moment("de", moment, zoneinfo.ZoneInfo("Asia/Tokyo")) == "23. November 2026 22:30 JST"
    assert format_moment("de", moment, dt.UTC) == "23. November 2026 13:30 UTC"


@pytest.mark.parametrize("code", STOCK_LANGUAGES)
def test_it_formats_the_moment_in_every_language(code: str) -> None:
    text = format_moment(code, dt.datetime(2026, 11, 23, 13, 30, tzinfo=dt.UTC), dt.UTC)
    assert text.endswith(" UTC")
    assert "2026" in text


@pytest.mark.parametrize(
    ("code", "tag"), [("pt-br", "pt-BR"), ("zh-hans", "zh-Hans"), ("es-419", "es-419"), ("de", "de")]
)
def test_it_spells_the_language_for_browsers(code: str, tag: str) -> None:
    assert languages.html_tag(code) == tag


def test_it_names_the_languages() -> None:
    names = dict(languages.choices())
    assert names["de"] == "German (Deutsch)"
    assert names["en"] == "English"
    assert len(names) == len(STOCK_LANGUAGES)
