"""The developer project and the code say the same: what HubSpot shows is what the server does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.urls import resolve

from hubspot_integration import installing
from otp.hubspot import otp_card
from otp.models import VerificationReason
from otp.words import Reason

PROJECT = Path(__file__).resolve().parent.parent.parent / "hubspot_integration" / "project"
SOURCE = PROJECT / "src"
ACTIONS = {name: SOURCE / "app/workflow-actions" / f"{name}-otp-hsmeta.json" for name in ("generate", "verify")}
LOCALES = {"en", "fr", "de", "ja", "es", "pt-br", "nl"}
LONGEST_NAME = 40
BASE = "${API_BASE}"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def config(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(path)["config"]
    return found


def fields(action: str, kind: str) -> dict[str, dict[str, Any]]:
    """Return an action's inputs or outputs by name."""
    return {one["typeDefinition"]["name"]: one for one in config(ACTIONS[action])[kind]}


def options(action: str, kind: str, name: str) -> list[str]:
    return [option["value"] for option in fields(action, kind)[name]["typeDefinition"]["options"]]


def labels() -> list[tuple[str, str]]:
    return [(action, locale) for action in ACTIONS for locale in sorted(LOCALES)]


# ------------------------------------------------------------------ the actions
@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_calls_its_route(action: str) -> None:
    address = config(ACTIONS[action])["actionUrl"]
    assert address.startswith(BASE)
    assert resolve(address.removeprefix(BASE)).url_name == f"{action}_otp_action"


@pytest.mark.parametrize(("action", "locale"), labels())
def test_every_label_is_there_in_every_language(action: str, locale: str) -> None:
    definition = config(ACTIONS[action])
    assert set(definition["labels"]) == LOCALES
    words = definition["labels"][locale]
    inputs, outputs = fields(action, "inputFields"), fields(action, "outputFields")
    assert set(words["inputFieldLabels"]) == set(words["inputFieldDescriptions"]) == set(inputs)
    assert set(words["outputFieldLabels"]) == set(outputs)
    assert set(words["executionRules"]) == {rule["labelName"] for rule in definition["executionRules"]}
    assert {name: set(named) for name, named in words["inputFieldOptionLabels"].items()} == {
        name: set(options(action, "inputFields", name)) for name in inputs if options(action, "inputFields", name)
    }
    assert all(text.strip() for text in _texts(words))


@pytest.mark.parametrize(("action", "locale"), labels())
def test_names_fit_and_do_not_borrow_hubspots(action: str, locale: str) -> None:
    words = config(ACTIONS[action])["labels"][locale]
    for name in (words["actionName"], words["appDisplayName"]):
        assert len(name) <= LONGEST_NAME
        assert "hub" not in name.lower()


@pytest.mark.parametrize(("action", "locale"), labels())
def test_a_translation_fills_in_the_same_outputs(action: str, locale: str) -> None:
    words = config(ACTIONS[action])["labels"]
    for rule, sentence in words["en"]["executionRules"].items():
        used = re.findall(r"{{ (\w+) }}", sentence)
        assert re.findall(r"{{ (\w+) }}", words[locale]["executionRules"][rule]) == used
        assert set(used) <= set(fields(action, "outputFields"))


@pytest.mark.parametrize(("action", "locale"), labels())
def test_no_code_stands_in_the_workflow_history(action: str, locale: str) -> None:
    assert "{{ otp_code }}" not in json.dumps(config(ACTIONS[action])["labels"][locale])


@pytest.mark.parametrize("action", ACTIONS)
def test_every_outcome_has_a_line_in_the_history(action: str) -> None:
    rules = config(ACTIONS[action])["executionRules"]
    for name in ("otp_status", "otp_error") if action == "generate" else ("otp_reason",):
        told = {value for rule in rules for value in rule["conditions"].get(name, [])}
        missing = set(options(action, "outputFields", name)) - told
        assert missing <= {"internal"}, name


def _texts(words: Any) -> list[str]:
    return [words] if isinstance(words, str) else [text for value in words.values() for text in _texts(value)]


# ------------------------------------------------------------------ the app
def test_the_app_asks_for_the_scopes_that_the_code_asks_for() -> None:
    auth = config(SOURCE / "app/app-hsmeta.json")["auth"]
    assert tuple(auth["requiredScopes"]) == installing.REQUIRED_SCOPES
    assert tuple(auth["optionalScopes"]) == installing.OPTIONAL_SCOPES
    assert auth["conditionallyRequiredScopes"] == []
    (callback,) = auth["redirectUrls"]
    assert resolve(callback.removeprefix(BASE)).url_name == "hubspot_oauth_callback"


def test_deletions_are_told_to_the_webhooks_address() -> None:
    webhooks = config(SOURCE / "app/webhooks/webhooks-hsmeta.json")
    assert resolve(webhooks["settings"]["targetUrl"].removeprefix(BASE)).url_name == "hubspot_webhooks"
    assert webhooks["subscriptions"]["crmObjects"] == [
        {"subscriptionType": "object.deletion", "objectType": "contact", "active": True}
    ]
    assert webhooks["subscriptions"]["hubEvents"] == [{"subscriptionType": "contact.privacyDeletion", "active": True}]


@pytest.mark.parametrize("profile", sorted(SOURCE.glob("hsprofile.*.json")), ids=lambda path: path.name)
def test_a_profile_defines_every_variable_and_no_secret(profile: Path) -> None:
    used = {name for path in SOURCE.rglob("*-hsmeta.json") for name in re.findall(r"\$\{(\w+)\}", path.read_text())}
    assert set(read(profile)["variables"]) == used


# ------------------------------------------------------------------ the card
def test_the_card_stands_in_the_sidebar_of_contacts() -> None:
    definition = config(SOURCE / "app/cards/generate-otp-card-hsmeta.json")
    assert definition["name"] == "Generate OTP"
    assert definition["location"] == "crm.record.sidebar"
    assert definition["objectTypes"] == ["contacts"]


@pytest.mark.parametrize("folder", ["cards", "settings"])
def test_an_entry_point_is_a_file_of_its_folder(folder: str) -> None:
    (meta,) = (SOURCE / "app" / folder).glob("*-hsmeta.json")
    entry = SOURCE / config(meta)["entrypoint"].lstrip("/")
    assert entry.parent == meta.parent
    assert "hubspot.extend" in entry.read_text()


def test_the_card_may_fetch_where_it_fetches() -> None:
    permitted = config(SOURCE / "app/app-hsmeta.json")["permittedUrls"]["fetch"]
    assert permitted == [f"{BASE}/hubspot/cards/"]  # and nothing else: what HubSpot signs for a browser stays there
    api, settings_page = (SOURCE / "app" / name for name in ("cards/api.ts", "settings/Settings.tsx"))
    assert re.findall(r"`\$\{baseUrl\}(/[^`]*)`", api.read_text()) == ["/hubspot/cards/otp"]
    assert re.findall(r"fetch\(`\$\{baseUrl\}(/[^`]*)`", settings_page.read_text()) == ["/hubspot/cards/settings"]
    for what in re.findall(r"post\('(\w+)'", api.read_text()):
        assert resolve(f"/hubspot/cards/otp/{what}").url_name == f"otp_card_{what}"
    assert resolve("/hubspot/cards/otp").url_name == "otp_card"
    assert resolve("/hubspot/cards/settings").url_name == "card_settings"


def test_the_card_reads_what_the_server_writes() -> None:
    api = (SOURCE / "app/cards/api.ts").read_text()
    answers = (otp_card.ActiveCodeAnswer, otp_card.OverviewAnswer, otp_card.CheckAnswer)
    for answer in answers:
        for name in map(str, answer().fields):
            assert name in {"ok", "result"} or re.search(rf"\b{name}\b", api), name
    known = {str(name) for name in otp_card.SettingsAnswer().fields}
    for name in re.findall(r"settings\.(\w+)", api):
        assert name in known
    for reason in VerificationReason.values:
        assert reason == "rate_limited" or f"'{reason}'" in api


def test_the_card_has_words_for_every_refusal() -> None:
    texts = (SOURCE / "app/cards/texts.ts").read_text()
    for reason in Reason:
        assert f"| '{reason}'" in texts


# ------------------------------------------------------------------ its packages
def test_what_is_checked_is_what_is_uploaded() -> None:
    checked = read(PROJECT / "package.json")["dependencies"]
    for folder in ("cards", "settings"):
        assert read(SOURCE / "app" / folder / "package.json")["dependencies"] == checked


@pytest.mark.parametrize(
    "folder", [PROJECT, PROJECT.parent.parent / "sandbox" / "card_host"], ids=lambda path: path.name
)
def test_packages_are_pinned_without_a_registrys_name(folder: Path) -> None:
    lock = (folder / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert '"resolved"' not in lock
    assert "omit-lockfile-registry-resolved=true" in (folder / ".npmrc").read_text()
