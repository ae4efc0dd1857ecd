"""HubSpot's API in our words: every call is for one portal, has a time limit and ends in an answer or a HubSpotError."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog
from django.conf import settings
from django.utils import timezone

from hubspot_integration import budget, oauth, transport
from hubspot_integration.models import ContactPropertyList, RefusedFeature
from hubspot_integration.signals import feature_refused
from hubspot_integration.transport import HubSpotError

log = structlog.get_logger(__name__)

MAXIMUM_BATCH: Final = 100
"""Inputs of one batch call (https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines)."""


LENIENT_VERSION: Final = "2026-03"
"""From 2026-09 on HubSpot holds every write against rules that the portal's admin made for other properties
(https://developers.hubspot.com/changelog/crm-api-write-validation-enforcement); a code must not fail for those."""

_PROPERTY_WORDS: Final = frozenset({"PROPERTY_DOESNT_EXIST", "READ_ONLY_VALUE"})


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


class Feature(enum.StrEnum):
    """What a portal's HubSpot may refuse on its own: one scope's worth of calls each."""

    CONTACTS = "contacts"
    PROPERTIES = "properties"
    PROPERTY_CREATION = "creating properties"
    CALLBACKS = "callbacks"


def contact_properties(portal_id: int, *, timeout: float = transport.READ_TIMEOUT) -> list[ContactProperty]:
    """Fetch every contact property of the portal, remember the list, return it sorted by label."""
    path = f"/crm/properties/{settings.HUBSPOT_API_VERSION}/contacts"
    answer = _call(portal_id, Feature.PROPERTIES, "GET", path, timeout=timeout)
    found = [_property(item) for item in _results(answer)]
    found.sort(key=lambda item: (item.label.casefold(), item.name))
    ContactPropertyList.objects.update_or_create(
        portal_id=portal_id,
        defaults={"properties": [asdict(item) for item in found], "fetched_at": timezone.now()},
    )
    back = [_property_feature(item.name) for item in found if not item.archived and not item.read_only]
    RefusedFeature.objects.filter(portal_id=portal_id, feature__in=back).delete()
    return found


def contact_property(portal_id: int, name: str, *, timeout: float = transport.READ_TIMEOUT) -> ContactProperty | None:
    """Fetch one contact property; None when the portal has none of that name."""
    path = f"/crm/properties/{settings.HUBSPOT_API_VERSION}/contacts/{quote(name, safe='')}"
    try:
        return _property(_call(portal_id, Feature.PROPERTIES, "GET", path, timeout=timeout))
    except HubSpotError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


def create_text_property(
    portal_id: int, *, name: str, label: str, description: str, group: str, group_label: str
) -> ContactProperty:
    """Create a single-line text property in a group of its own; whatever exists already is taken as it is.

    Raises HubSpotError. Source: https://developers.hubspot.com/docs/api-reference/latest/crm/properties/guide
    """
    base = f"/crm/properties/{settings.HUBSPOT_API_VERSION}/contacts"
    _create(portal_id, f"{base}/groups", {"name": group, "label": group_label})
    definition = {
        "name": name,
        "label": label,
        "description": description,
        "groupName": group,
        "type": "string",
        "fieldType": "text",
        "formField": False,
    }
    created = _create(portal_id, base, definition)
    found = _property(created) if created is not None else contact_property(portal_id, name)
    if found is None:
        raise HubSpotError("HubSpot says that the property exists, but does not show it", permanent=True)
    return found


def contact(
    portal_id: int, contact_id: int, properties: Sequence[str], *, timeout: float = transport.READ_TIMEOUT
) -> dict[str, str] | None:
    """Fetch some properties of one contact; None when the portal has no such contact.

    A property without a value, or that the portal does not have, is an empty text. Raises HubSpotError.
    """
    query = urlencode({"properties": ",".join(properties), "archived": "false"})
    path = f"/crm/objects/{settings.HUBSPOT_API_VERSION}/contacts/{contact_id}?{query}"
    try:
        answer = _call(portal_id, Feature.CONTACTS, "GET", path, timeout=timeout)
    except HubSpotError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    values = answer.get("properties") if isinstance(answer, dict) else None
    found = values if isinstance(values, dict) else {}
    return {name: value if isinstance(value := found.get(name), str) else "" for name in properties}


def contact_values(portal_id: int, contact_ids: Sequence[int], names: Sequence[str]) -> dict[int, dict[str, str]]:
    """Read properties of up to 100 contacts in one call: contact id → property name → value.

    Contacts that the portal does not have are left out; a property without a value is an empty text. Raises
    HubSpotError.
    """
    path = f"/crm/objects/{settings.HUBSPOT_API_VERSION}/contacts/batch/read"
    body = {"inputs": [{"id": str(contact)} for contact in contact_ids], "properties": list(names)}
    answer = _call(portal_id, Feature.CONTACTS, "POST", path, json=body, counted=True)
    wanted = {str(contact): contact for contact in contact_ids}
    found: dict[int, dict[str, str]] = {}
    for item in _results(answer):
        values = item.get("properties")
        if str(item.get("id")) in wanted and isinstance(values, dict):
            contact = wanted[str(item["id"])]
            found[contact] = {name: value if isinstance(value := values.get(name), str) else "" for name in names}
    return found


def update_contacts(portal_id: int, values: Mapping[int, Mapping[str, str]]) -> dict[int, HubSpotError]:
    """Write properties of up to 100 contacts in one call; return the contacts it refused, each with its reason.

    `values`: contact id → property name → value. Where the portal's own rules for other properties stand in the way,
    the call is made once more on the API version before those rules (see LENIENT_VERSION). Raises HubSpotError when
    the call as a whole failed; nothing was written then, as far as HubSpot says.
    """
    names = {name for named in values.values() for name in named}
    _check_allowed(portal_id, *map(_property_feature, names))
    body = {"inputs": [{"id": str(contact), "properties": dict(named)} for contact, named in values.items()]}
    try:
        answer = _batch_update(portal_id, settings.HUBSPOT_API_VERSION, body)
    except HubSpotError as error:
        if error.words & _PROPERTY_WORDS and len(concerned := error.properties & names) > 0:
            for name in concerned:
                _refuse(portal_id, _property_feature(name), error.reason)
            raise
        if error.status != HTTPStatus.BAD_REQUEST or "VALIDATION_ERROR" not in error.words or error.properties & names:
            raise
        log.info("written_on_lenient_version", portal_id=portal_id, reason=error.reason)
        answer = _batch_update(portal_id, LENIENT_VERSION, body)
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
        Feature.CALLBACKS,
        "POST",
        f"/automation/actions/callbacks/{settings.HUBSPOT_API_VERSION}/complete",
        json={
            "inputs": [
                # typedOutputs has no schema, but HubSpot's specification requires it.
                {"callbackId": callback_id, "outputFields": dict(outputs), "typedOutputs": {}}
                for callback_id, outputs in completions
            ]
        },
        counted=True,
    )


def _create(portal_id: int, path: str, definition: Mapping[str, Any]) -> Any:
    """Create something; return None where there is one of that name."""
    try:
        return _call(portal_id, Feature.PROPERTY_CREATION, "POST", path, json=dict(definition))
    except HubSpotError as error:
        if error.status == HTTPStatus.CONFLICT:
            return None
        raise


def _batch_update(portal_id: int, version: str, body: object) -> Any:
    path = f"/crm/objects/{version}/contacts/batch/update"
    return _call(portal_id, Feature.CONTACTS, "POST", path, json=body, counted=True)


def _call(
    portal_id: int,
    feature: Feature,
    method: str,
    path: str,
    *,
    json: object = None,
    timeout: float = transport.READ_TIMEOUT,
    counted: bool = False,
) -> Any:
    """Make one call with the portal's token. `counted`: a delivery's, taken from the budget of those."""
    _check_allowed(portal_id, feature)
    if counted:
        budget.take(portal_id)
    token = oauth.access_token_for(portal_id)
    try:
        try:
            return transport.call(method, path, token=token, json=json, timeout=timeout)
        except HubSpotError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        # HubSpot may end a token early: one refresh, one repetition.
        token = oauth.access_token_for(portal_id, refused=token)
        return transport.call(method, path, token=token, json=json, timeout=timeout)
    except HubSpotError as error:
        _learn(portal_id, feature, error)
        raise


def _learn(portal_id: int, feature: Feature, error: HubSpotError) -> None:
    """Remember what a refusal says about the calls to come."""
    if error.status == HTTPStatus.UNAUTHORIZED or "BANNED" in error.words:
        _refuse(portal_id, RefusedFeature.EVERYTHING, error.reason)
    elif error.status == HTTPStatus.FORBIDDEN:
        _refuse(portal_id, feature, error.reason)
    elif error.retry_after is not None:
        budget.pause(portal_id, error.retry_after)


def _refuse(portal_id: int, feature: str, reason: str) -> None:
    _, is_new = RefusedFeature.objects.get_or_create(
        portal_id=portal_id, feature=feature, defaults={"reason": reason, "refused_at": timezone.now()}
    )
    if is_new:
        log.warning("feature_refused", portal_id=portal_id, feature=feature, reason=reason)
        feature_refused.send(sender=RefusedFeature, portal_id=portal_id, feature=feature, reason=reason)


def _check_allowed(portal_id: int, *features: str) -> None:
    refusal = RefusedFeature.objects.filter(
        portal_id=portal_id, feature__in=[RefusedFeature.EVERYTHING, *features]
    ).first()
    if refusal is not None:
        raise HubSpotError("HubSpot has refused this before", permanent=True, words=[refusal.reason.upper()])


def _property_feature(name: str) -> str:
    return f"property:{name}"


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
