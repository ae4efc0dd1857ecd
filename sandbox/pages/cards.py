"""App cards on a contact's record: the real, bundled cards of the project, as one of the portal's users sees them."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.requests import Request

from sandbox.accounts import Contact, Portal, User
from sandbox.hubspot import HubSpot
from sandbox.pages.rendering import HERE
from sandbox.project import Card

BUILT = HERE / "card_host" / "dist"
LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "es": "Español",
    "fr": "Français",
    "ja": "日本語",
    "nl": "Nederlands",
    "pt-br": "Português",
}


@dataclass(frozen=True, slots=True)
class ShownCard:
    """One card, and what the browser needs to run it; None when it is not built."""

    name: str
    data: str | None


@dataclass(frozen=True, slots=True)
class ShownCards:
    """The cards of a record, who looks at them, and why they cannot be shown, if so."""

    cards: list[ShownCard]
    agent: User
    language: str
    languages: dict[str, str]
    problem: str


def on_record(request: Request, hubspot: HubSpot, portal: Portal, contact: Contact) -> ShownCards:
    """Return the sidebar cards of a contact, for the user and language that the address asks for."""
    users = list(portal.users.values())
    wanted = request.query_params.get("agent", "")
    agent = next((user for user in users if str(user.id) == wanted), users[0])
    language = request.query_params.get("language", "en")
    language = language if language in LANGUAGES else "en"
    cards = [card for card in hubspot.project.cards if card.location == "crm.record.sidebar"]
    return ShownCards(
        cards=[_shown(card, hubspot, portal, contact, agent, language) for card in cards],
        agent=agent,
        language=language,
        languages=LANGUAGES,
        problem=_problem(cards),
    )


def _shown(card: Card, hubspot: HubSpot, portal: Portal, contact: Contact, agent: User, language: str) -> ShownCard:
    if not _bundle(card).exists():
        return ShownCard(card.name, None)
    first_name, _, last_name = agent.name.partition(" ")
    # https://developers.hubspot.com/docs/apps/developer-platform/add-features/ui-extensions/ui-extensions-sdk/context
    context: dict[str, Any] = {
        "location": card.location,
        "crm": {"objectId": contact.id, "objectTypeId": "0-1"},
        "portal": {"id": portal.id, "timezone": "UTC"},
        "user": {
            "id": agent.id,
            "email": agent.email,
            "emails": [agent.email],
            "firstName": first_name,
            "lastName": last_name,
            "roles": [],
            "teams": [],
            "permissions": [],
            "language": language,
            "locale": language,
        },
        "extension": {"appId": hubspot.options.app_id, "appName": hubspot.project.name, "cardTitle": card.name},
        "variables": dict(hubspot.project.variables),
    }
    bundle = f"/card-host/cards/{_bundle(card).name}"
    return ShownCard(
        card.name, json.dumps({"bundle": bundle, "context": context, "portalId": portal.id, "userId": agent.id})
    )


def _problem(cards: list[Card]) -> str:
    if all(_bundle(card).exists() for card in cards) and (BUILT / "host.js").exists():
        return ""
    reason = BUILT.with_name("problem.txt")
    if reason.exists():
        return reason.read_text("utf-8")
    return "The card is not built yet. “make demo” builds it, with node 20 and npm."


def _bundle(card: Card) -> Path:
    return BUILT / "cards" / f"{PurePosixPath(card.entrypoint).stem}.js"
