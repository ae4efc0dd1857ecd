"""HubSpot's API in our words: every call is for one portal, has a time limit and ends in an answer or a HubSpotError."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from django.conf import settings
from django.utils import timezone

from hubspot_integration import oauth, transport
from hubspot_integration.models import ContactPropertyList
from hubspot_integration.transport import HubSpotError

MAXIMUM_BATCH: Final = 100
"""Inputs of one batch call (https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactProperty:
    """A contact property's definition, as far as choosing one needs it."""

    name: str
    label: str
    type: str
    field_type: str
    hubspot_defined: bool = False
    archived: bool = False
    hidden: bool = False
    calculated: bool = False
    unique: bool = False
    read_only: bool = False
    sensitive: bool = False


def contact_properties(portal_id: int, *, timeout: float = transport.READ_TIMEOUT) -> list[ContactProperty]:
    """Fetch every contact property of the portal, remember the list, return it sorted by label."""
    answer = _call(portal_id, "GET", f"/crm/properties/{settings.HUBSPOT_API_VERSION}/contacts", timeout=timeout)
    found = [_property(item) for item in _results(answer)]
    found.sort(key=lambda item: (item.label.casefold(), item.name))
    ContactPropertyList.objects.update_or_create(
        portal_id=portal_id,
        defaults={"properties": [asdict(item) for item in found], "fetched_at": timezone.now()},
    )
    return found


def contact_property(portal_id: int, name: str, *, timeout: float = transport.READ_TIMEOUT) -> ContactProperty | None:
    """Fetch one contact property; None when the portal has none of that name."""
    path = f"/crm/properties/{settings.HUBSPOT_API_VERSION}/contacts/{quote(name, safe='')}"
    try:
        return _property(_call(portal_id, "GET", path, timeout=timeout))
    except HubSpotError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


def update_contacts(portal_id: int, values: Mapping[int, Mapping[str, str]]) -> dict[int, HubSpotError]:
    """Write properties of up to 100 contacts in one call; return the contacts it refused, each with its reason.

    `values`: contact id → property name → value. Raises HubSpotError when the call as a whole failed; nothing was
    written then, as far as HubSpot says.
    """
    answer = _call(
        portal_id,
        "POST",
        f"/crm/objects/{settings.HUBSPOT_API_VERSION}/contacts/batch/update",
        json={"inputs": [{"id": str(contact), "properties": dict(named)} for contact, named in values.items()]},
    )
    refused: dict[int, HubSpotError] = {}
    # 207 raises nothing in HTTP: the refusals are in the answer.
    for item in answer.get("errors") or [] if isinstance(answer, dict) else []:
        category = str(item.get("category") or item.get("code") or "").upper()
        for contact in (item.get("context") or {}).get("ids") or []:
            if str(contact).isdigit():
                refused[int(contact)] = HubSpotError(
                    "HubSpot refused this contact", permanent=True, status=207, words=[category] if category else []
                )
    written = {str(item.get("id")) for item in _results(answer)}
    for contact in values:
        if str(contact) not in written and contact not in refused:
            refused[contact] = HubSpotError("HubSpot's answer leaves this contact out", permanent=False, status=207)
    return refused


def complete_callbacks(portal_id: int, completions: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Complete up to 100 blocked workflow steps: callback id and outputs of each, all values text.

    HubSpot answers 204 for unknown and already completed ids too, so success proves little.
    """
    _call(
        portal_id,
        "POST",
        f"/automation/actions/callbacks/{settings.HUBSPOT_API_VERSION}/complete",
        json={
            "inputs": [
                # typedOutputs has no schema, but HubSpot's specification requires it.
                {"callbackId": callback_id, "outputFields": dict(outputs), "typedOutputs": {}}
                for callback_id, outputs in completions
            ]
        },
    )


def _call(
    portal_id: int, method: str, path: str, *, json: object = None, timeout: float = transport.READ_TIMEOUT
) -> Any:
    token = oauth.access_token_for(portal_id)
    try:
        return transport.call(method, path, token=token, json=json, timeout=timeout)
    except HubSpotError as error:
        if error.status != HTTPStatus.UNAUTHORIZED:
            raise
    # HubSpot may end a token early: one refresh, one repetition.
    token = oauth.access_token_for(portal_id, refused=token)
    return transport.call(method, path, token=token, json=json, timeout=timeout)


def _results(answer: object) -> list[dict[str, Any]]:
    results = answer.get("results") if isinstance(answer, dict) else None
    return [item for item in results or [] if isinstance(item, dict)]


def _property(item: Mapping[str, Any]) -> ContactProperty:
    modification = item.get("modificationMetadata") or {}
    return ContactProperty(
        name=str(item.get("name", "")),
        label=str(item.get("label") or item.get("name", "")),
        type=str(item.get("type", "")),
        field_type=str(item.get("fieldType", "")),
        hubspot_defined=bool(item.get("hubspotDefined")),
        archived=bool(item.get("archived")),
        hidden=bool(item.get("hidden")),
        calculated=bool(item.get("calculated")),
        unique=bool(item.get("hasUniqueValue")),
        read_only=bool(modification.get("readOnlyValue")),
        sensitive=item.get("dataSensitivity", "non_sensitive") not in {None, "", "non_sensitive"},
    )
