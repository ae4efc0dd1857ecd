"""HubSpot's API in our words: every call is for one portal, has a time limit and ends in an answer or a HubSpotError."""

import enum
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog
from django.conf import settings
from django.utils import timezone

from hubspot_integration import budget, refusals, tokens, transport
from hubspot_integration.models import ContactPropertyList, RefusedFeature
from hubspot_integration.transport import HubSpotError

log = structlog.get_logger(__name__)

MAXIMUM_BATCH: Final = 100
"""Inputs of one batch call (https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines)."""


LENIENT_VERSION: Final = "2026-03"
"""From 2026-09 on HubSpot holds every write against rules that the portal's admin made for other properties
(https://developers.hubspot.com/changelog/crm-api-write-validation-enforcement); a code must not fail for those."""

_PASSING_CATEGORIES: Final = frozenset({"RATE_LIMITS", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT", "LOCKED"})
"""What HubSpot says of a call that may succeed later, and so, said of one member of a batch, of that member."""
_LEFT_OUT_SECONDS: Final = 10.0
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
    READING = "reading contacts"
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
        answer = _call(portal_id, Feature.READING, "GET", path, timeout=timeout)
    except HubSpotError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    values = answer.get("properties") if isinstance(answer, dict) else None
    found = values if isinstance(values, dict) else {}
    return {name: value if isinstance(value := found.get(name), str) else "" for name in properties}


class AskAgain(HubSpotError):
    """What stood in the way of a batch is mended: the same call is worth making at once.

    Time has passed since its content was looked at, so that it should be looked at again.
    """

    def __init__(self, mended: str) -> None:
        super().__init__(f"Worth asking again: {mended}", permanent=False, words=[mended.upper()])


class Batches:
    """The calls of one turn of deliveries to one portal: up to 100 members each, taken from the budget of those.

    No call waits for anything but its own answer, where `make_ready` has been called before. Each raises AskAgain once
    for a token that HubSpot ended early, which is refreshed then, and once where the portal's rules for other properties
    stand in the way of a write: from then on it writes on the API version before those rules (see LENIENT_VERSION).
    """

    def __init__(self, portal_id: int) -> None:
        self._portal_id = portal_id
        self._version = settings.HUBSPOT_API_VERSION
        self._is_renewed = False

    def make_ready(self) -> None:
        """Refresh the portal's token if it ends soon, which takes its time. Raises HubSpotError."""
        tokens.access_token_for(self._portal_id)

    def contact_values(
        self, contact_ids: Sequence[int], names: Sequence[str]
    ) -> tuple[dict[int, dict[str, str]], dict[int, HubSpotError]]:
        """Read properties of contacts: contact id → property name → value, and the contacts that could not be read.

        Contacts of which HubSpot says that the portal does not have them are in neither; those that its answer leaves
        out could not be read. A property without a value is an empty text. Raises HubSpotError when nothing could be read.
        """
        path = f"/crm/objects/{settings.HUBSPOT_API_VERSION}/contacts/batch/read"
        body = {"inputs": [{"id": str(contact)} for contact in contact_ids], "properties": list(names)}
        answer = self._call(Feature.READING, path, body)
        wanted = {str(contact): contact for contact in contact_ids}
        found: dict[int, dict[str, str]] = {}
        for item in _results(answer):
            values = item.get("properties")
            if str(item.get("id")) in wanted and isinstance(values, dict):
                contact = wanted[str(item["id"])]
                found[contact] = {name: value if isinstance(value := values.get(name), str) else "" for name in names}
        refused = {wanted[member]: error for member, error in _refused_members(answer).items() if member in wanted}
        for contact in contact_ids:
            if contact not in found and contact not in refused:
                refused[contact] = _left_out()
        return found, {contact: error for contact, error in refused.items() if "OBJECT_NOT_FOUND" not in error.words}

    def update_contacts(self, values: Mapping[int, Mapping[str, str]]) -> dict[int, HubSpotError]:
        """Write properties of contacts; return the contacts that HubSpot refused, each with its reason.

        `values`: contact id → property name → value. Raises HubSpotError when the call as a whole failed; nothing was
        written then, as far as HubSpot says.
        """
        names = {name for named in values.values() for name in named}
        path = f"/crm/objects/{self._version}/contacts/batch/update"
        body = {"inputs": [{"id": str(contact), "properties": dict(named)} for contact, named in values.items()]}
        try:
            answer = self._call(Feature.CONTACTS, path, body, *map(_property_feature, names))
        except HubSpotError as error:
            if error.words & _PROPERTY_WORDS:
                for name in error.properties & names:
                    refusals.remember(self._portal_id, _property_feature(name), error.reason)
            if self._is_held_up_by_other_rules(error, names):
                self._version = LENIENT_VERSION
                log.info("written_on_lenient_version", portal_id=self._portal_id, reason=error.reason)
                raise AskAgain("lenient_version") from None
            raise
        said = _refused_members(answer)
        written = {str(item.get("id")) for item in _results(answer)}
        return {
            contact: said.get(str(contact)) or _left_out()
            for contact in values
            if str(contact) in said or str(contact) not in written
        }

    def complete_callbacks(self, completions: Sequence[tuple[str, Mapping[str, str]]]) -> dict[str, HubSpotError]:
        """Complete blocked workflow steps: callback id and outputs of each, all values text.

        Returns the callbacks that HubSpot refused. It answers 204 for unknown and already completed ids too, so success
        proves little. Raises HubSpotError when the call as a whole failed.
        """
        path = f"/automation/actions/callbacks/{settings.HUBSPOT_API_VERSION}/complete"
        inputs = [
            # typedOutputs has no schema, but HubSpot's specification requires it.
            {"callbackId": callback_id, "outputFields": dict(outputs), "typedOutputs": {}}
            for callback_id, outputs in completions
        ]
        return _refused_members(self._call(Feature.CALLBACKS, path, {"inputs": inputs}))

    def _is_held_up_by_other_rules(self, error: HubSpotError, names: Collection[str]) -> bool:
        return (
            self._version != LENIENT_VERSION
            and error.status == HTTPStatus.BAD_REQUEST
            and "VALIDATION_ERROR" in error.words
            and not error.properties & set(names)
        )

    def _call(self, feature: Feature, path: str, body: object, *more: str) -> Any:
        portal_id = self._portal_id
        refused = refusals.look(portal_id, [feature, *more])
        budget.take(portal_id)
        refusals.begin_probe(refused)
        try:
            token = tokens.access_token_for(portal_id)
            answer = transport.call("POST", path, token=token, json=body)
        except HubSpotError as error:
            if error.status == HTTPStatus.UNAUTHORIZED and not self._is_renewed:
                self._is_renewed = True
                tokens.access_token_for(portal_id, refused=token)
                refusals.put_probe_first(refused)
                raise AskAgain("token_renewed") from None
            if not error.permanent:  # HubSpot is in trouble, which says nothing about what it refuses
                refusals.put_probe_first(refused)
            raise _learned(portal_id, feature, error) from None
        refusals.forget(refused)
        return answer


def _create(portal_id: int, path: str, definition: Mapping[str, Any]) -> Any:
    """Create something; return None where there is one of that name."""
    try:
        return _call(portal_id, Feature.PROPERTY_CREATION, "POST", path, json=dict(definition))
    except HubSpotError as error:
        if error.status == HTTPStatus.CONFLICT:
            return None
        raise


def _call(
    portal_id: int,
    feature: Feature,
    method: str,
    path: str,
    *,
    json: object = None,
    timeout: float = transport.READ_TIMEOUT,
) -> Any:
    """Make one call that somebody waits for: whatever it takes, a refresh of the token too, `timeout` seconds at most."""
    deadline = time.monotonic() + timeout
    refused = refusals.look(portal_id, [feature])
    try:
        token = tokens.access_token_for(portal_id, deadline=deadline)
        try:
            answer = transport.call(method, path, token=token, json=json, timeout=transport.time_left(deadline))
        except HubSpotError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
            # HubSpot may end a token early: one refresh, one repetition.
            token = tokens.access_token_for(portal_id, refused=token, deadline=deadline)
            answer = transport.call(method, path, token=token, json=json, timeout=transport.time_left(deadline))
    except HubSpotError as error:
        raise _learned(portal_id, feature, error) from None
    refusals.forget(refused)
    return answer


def _learned(portal_id: int, feature: Feature, error: HubSpotError) -> HubSpotError:
    """Remember what a refusal says about the calls to come; return it as what it is to whoever called."""
    if error.status == HTTPStatus.UNAUTHORIZED or "BANNED" in error.words:
        refusals.remember(portal_id, RefusedFeature.EVERYTHING, error.reason)
        return refusals.passing(error)
    if error.status == HTTPStatus.FORBIDDEN:
        refusals.remember(portal_id, feature, error.reason)
        return error if "MISSING_SCOPES" in error.words else refusals.passing(error)
    if error.retry_after is not None:
        budget.pause(portal_id, error.retry_after)
    return error


def _refused_members(answer: object) -> dict[str, HubSpotError]:
    """Return the members of a batch that HubSpot refused, by their ids: 207 raises nothing, they are in the answer."""
    refused: dict[str, HubSpotError] = {}
    for item in transport.objects(answer.get("errors")) if isinstance(answer, dict) else []:
        category = str(item.get("category") or item.get("code") or "").upper()[:100]
        context = item.get("context")
        members = context.get("ids") if isinstance(context, dict) else None
        for member in members if isinstance(members, list) else []:
            refused[str(member)] = HubSpotError(
                "HubSpot refused this member of a batch",
                permanent=category not in _PASSING_CATEGORIES,
                status=HTTPStatus.MULTI_STATUS,
                words=[category] if category else [],
            )
    return refused


def _left_out() -> HubSpotError:
    """Return what it means for a member of a batch that HubSpot's answer says nothing of it."""
    return HubSpotError(
        "HubSpot's answer leaves this contact out",
        permanent=False,
        status=HTTPStatus.MULTI_STATUS,
        retry_after=_LEFT_OUT_SECONDS,
        ambiguous=True,
    )


def _property_feature(name: str) -> str:
    return f"{RefusedFeature.PROPERTY}{name}"


def _results(answer: object) -> list[dict[str, Any]]:
    return transport.objects(answer.get("results")) if isinstance(answer, dict) else []


def _property(item: Mapping[str, Any]) -> ContactProperty:
    modification = item.get("modificationMetadata")
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
        read_only=isinstance(modification, dict) and bool(modification.get("readOnlyValue")),
        sensitive=item.get("dataSensitivity", "non_sensitive") not in {None, "", "non_sensitive"},
    )
