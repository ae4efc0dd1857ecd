"""A portal's own texts for its mails: changed language by language, exported and imported as one file."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction

from emails import languages
from emails.languages import ChosenTexts
from hubspot_integration.models import Portal
from opsagent.quoting import quoted
from otp import audit
from otp.audit import Action, ActorKind
from otp.mails import to_contacts
from otp.models import EmailTexts, OTPSettings
from otp.pages.forms import EmailTextsForm

FIELDS: Final = {
    "subject": "Email Subject",
    "greeting": "Greeting",
    "body_text": "Body Text",
    "footer_text": "Footer Text",
}
"""The four texts of a language and what people call them."""

MAXIMUM_FILE: Final = 1_000_000
"""Bytes of a file with texts."""
MAXIMUM_LANGUAGES: Final = 200
MAXIMUM_REASONS: Final = 50
FORMAT: Final = "OpsAgent OTP texts 1"

_LONGEST_TEXT: Final = 80


class TextsChangedMeanwhile(Exception):
    """Somebody else has changed the texts since they were read."""


class UnusableFile(Exception):
    """A file with texts was not taken. `reasons` are sentences that name the field and the remedy."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("The file was not taken")
        self.reasons = reasons


def of_language(portal: Portal, language: str) -> EmailTexts:
    """Return the portal's texts in a normalised language; empty and unsaved where there are none."""
    found = EmailTexts.objects.filter(portal=portal, language=language).first()
    return found or EmailTexts(portal=portal, language=language)


def mark_of(texts: EmailTexts) -> str:
    """Return what tells one state of the texts from another."""
    content = json.dumps([getattr(texts, name) for name in FIELDS])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def change(
    *, portal: Portal, language: str, values: Mapping[str, str], seen: str, actor: str, now: dt.datetime
) -> None:
    """Store a language's texts, all of them valid; an empty one is given back to the app's own.

    `seen`: the mark of the texts that whoever changes them has read. What changed is recorded under the `actor`'s
    name. Raises TextsChangedMeanwhile, having changed nothing.
    """
    with transaction.atomic():
        _lock(portal)
        texts = of_language(portal, language)
        if seen != mark_of(texts):
            raise TextsChangedMeanwhile
        _store(portal, {language: values}, actor, now)


def as_file(portal: Portal) -> bytes:
    """Return all the portal's own texts as one file that `read_file` takes."""
    content = {
        "format": FORMAT,
        "languages": {
            texts.language: {name: getattr(texts, name) for name in FIELDS}
            for texts in EmailTexts.objects.filter(portal=portal)
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=2).encode() + b"\n"


def read_file(data: bytes, *, portal: Portal) -> dict[str, dict[str, str]]:
    """Return the texts of a file by normalised language: such as can be typed into the form of that language.

    Raises UnusableFile with the first MAXIMUM_REASONS reasons; what they quote of the file can be shown to anybody.
    """
    listed = _listed(data)
    settings = OTPSettings.of(portal)
    letterhead = to_contacts.Letterhead(portal, settings, ())
    found: dict[str, dict[str, str]] = {}
    reasons: list[str] = []
    for spelling, texts in listed.items():
        language = languages.normalise(spelling)
        if not language:
            reasons.append(f"“{quoted(spelling)}” is not a language code. Use one such as “de” or “pt-br”.")
        elif language in found:
            reasons.append(f"“{quoted(spelling)}” is there twice. Remove one of them.")
        else:
            underlying = letterhead.texts(language, settings.expiry_minutes)
            mistakes, found[language] = _take(texts, EmailTexts(portal=portal, language=language), underlying)
            reasons += [f"{language}: {mistake}" for mistake in mistakes]
    if len(reasons) > MAXIMUM_REASONS:
        raise UnusableFile(*reasons[:MAXIMUM_REASONS], f"And {len(reasons) - MAXIMUM_REASONS:,} more of the kind.")
    if reasons:
        raise UnusableFile(*reasons)
    return found


def replace_all(*, portal: Portal, texts: Mapping[str, Mapping[str, str]], actor: str, now: dt.datetime) -> None:
    """Let the portal have exactly these texts, as `read_file` returns them; what is not among them is given back."""
    with transaction.atomic():
        _lock(portal)
        nothing = dict.fromkeys(FIELDS, "")
        present = {one.language: nothing for one in EmailTexts.objects.filter(portal=portal)}
        _store(
            portal, {**present, **{language: {**nothing, **values} for language, values in texts.items()}}, actor, now
        )


def _store(portal: Portal, wanted: Mapping[str, Mapping[str, str]], actor: str, now: dt.datetime) -> None:
    typed = {}
    for language, values in wanted.items():
        texts = of_language(portal, language)
        changed = {name: text for name, text in values.items() if getattr(texts, name) != text}
        if not changed:
            continue
        for name, text in changed.items():
            typed[f"{language} {name}"] = [_brief(getattr(texts, name)), _brief(text)]
            setattr(texts, name, text)
        if any(getattr(texts, name) for name in FIELDS):
            texts.save()
        else:
            texts.delete()
    if typed:
        audit.record(
            portal=portal,
            at=now,
            actor=actor,
            actor_kind=ActorKind.ADMIN,
            action=Action.SETTINGS_CHANGED,
            detail={"texts": sorted(typed), "note": str(audit.note(portal=portal, at=now, typed=typed))},
        )


def _listed(data: bytes) -> dict[str, Any]:
    """Return what a file holds under "languages". Raises UnusableFile."""
    if not data:
        raise UnusableFile("There is no file, or it is empty. Choose a file that was exported here.")
    if len(data) > MAXIMUM_FILE:
        raise UnusableFile(f"The file is larger than {MAXIMUM_FILE:,} bytes. Choose the file that was exported here.")
    try:
        content = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise UnusableFile("The file is not JSON in UTF-8. Choose the file that was exported here.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UnusableFile(f"“format” is not “{FORMAT}”. Choose a file that was exported here.")
    if unknown := content.keys() - {"format", "languages"}:
        raise UnusableFile(f"“{quoted(min(unknown))}” is not known. Remove it.")
    listed = content.get("languages")
    if not isinstance(listed, dict) or len(listed) > MAXIMUM_LANGUAGES:
        raise UnusableFile(f"“languages” does not hold texts by language, {MAXIMUM_LANGUAGES} languages at most.")
    return listed


def _take(texts: Any, instance: EmailTexts, underlying: ChosenTexts) -> tuple[list[str], dict[str, str]]:
    """Return what is wrong with a language's texts of a file, and the texts as the form of that language takes them."""
    if not isinstance(texts, dict):
        return [f"there are no texts, but something else. Use an object with {', '.join(FIELDS)}."], {}
    mistakes = [f"“{quoted(name)}” is not known. Use {', '.join(FIELDS)}." for name in texts if name not in FIELDS]
    typed = {name: text for name in FIELDS if isinstance(text := texts.get(name, ""), str)}
    mistakes += [f"{FIELDS[name]} is not a text. Put it in quotation marks." for name in FIELDS if name not in typed]
    form = EmailTextsForm(typed, instance=instance, underlying=underlying)
    mistakes += [str(one) for name, found in form.errors.items() if name in typed for one in found]
    return mistakes, dict(form.cleaned_data)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object of a JSON file. Raises UnusableFile for a name that is there twice: one of them would get lost."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UnusableFile(f"“{quoted(name)}” is there twice. Remove one of them.")
        found[name] = value
    return found


def _no_number(name: str) -> Any:
    """Refuse what Python takes for JSON and nobody else does: NaN, Infinity."""
    raise ValueError(name)


def _lock(portal: Portal) -> None:
    """Put whoever changes a portal's texts in one line."""
    OTPSettings.objects.get_or_create(portal=portal)
    OTPSettings.objects.select_for_update().get(portal=portal)


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
