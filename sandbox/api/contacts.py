"""The contacts API: reads and updates, single and in batches.

https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide
"""

import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from sandbox.accounts import Contact, Portal, TakenError
from sandbox.api import errors
from sandbox.api.gate import Call, route
from sandbox.properties import InvalidValueError
from sandbox.replies import JSONReply
from sandbox.times import iso, now

MAX_BATCH = 100
ALWAYS = ("createdate", "hs_object_id", "lastmodifieddate")
BY_DEFAULT = ("email", "firstname", "lastname")
READ = "crm.objects.contacts.read"
WRITE = "crm.objects.contacts.write"


def routes() -> list[BaseRoute]:
    """Return the dated routes and their v3 twins."""
    found: list[BaseRoute] = []
    for base in ("/crm/objects/{version}/contacts", "/crm/v3/objects/contacts"):
        found += [
            route(f"{base}/batch/read", "POST", "contacts.batch_read", batch_read, READ),
            route(f"{base}/batch/update", "POST", "contacts.batch_update", batch_update, WRITE),
            route(f"{base}/{{contact}}", "GET", "contacts.read", read, READ),
            route(f"{base}/{{contact}}", "PATCH", "contacts.update", update, WRITE),
        ]
    return found


def read(call: Call) -> Response:
    """Answer one contact; properties that do not exist are left out in silence."""
    query = call.request.query_params
    contact = _find(call, call.request.path_params["contact"], query.get("idProperty", ""))
    asked = [name for value in query.getlist("properties") for name in value.split(",") if name]
    return JSONReply(_record(call, contact, asked or BY_DEFAULT))


def update(call: Call) -> Response:
    """Write properties of one contact and answer those that were written."""
    id_property = call.request.query_params.get("idProperty", "")
    contact = _find(call, call.request.path_params["contact"], id_property)
    values = _values(call.json().get("properties"))
    cleaned = _clean(call.portal, values)
    _write(call, contact, cleaned)
    return JSONReply(_record(call, contact, cleaned))


def batch_read(call: Call) -> Response:
    """Answer up to 100 contacts; unknown ids make it a 207 with errors."""
    started = now()
    content = call.json()
    id_property = content.get("idProperty") or ""
    asked = content.get("properties") or BY_DEFAULT
    references = [item["id"] for item in _inputs(content)]
    found = {reference: call.portal.find(reference, id_property) for reference in dict.fromkeys(references)}
    missing = [reference for reference, contact in found.items() if contact is None]
    results = [_record(call, contact, asked) for contact in found.values() if contact is not None]
    return _batch_reply(started, results, [_not_found(missing)] if missing else [], len(missing))


def batch_update(call: Call) -> Response:
    """Write properties of up to 100 contacts.

    A repeated id, an unknown property or a refused value fails the whole batch and nothing is written; unknown
    contacts make it a 207 with errors, the others are written.
    """
    started = now()
    inputs = _inputs(call.json())
    repeated = [reference for reference, times in Counter(item["id"] for item in inputs).items() if times > 1]
    if repeated:
        message = f"Duplicate IDs found in batch input: [{', '.join(repeated)}]. IDs must be unique"
        raise errors.validation(message, context={"ids": repeated})
    writes: list[tuple[Contact, dict[str, str]]] = []
    missing: list[str] = []
    for item in inputs:
        cleaned = _clean(call.portal, _values(item.get("properties")))
        contact = call.portal.find(item["id"], item.get("idProperty") or "")
        if contact is None:
            missing.append(item["id"])
        else:
            writes.append((contact, cleaned))
    refused: list[Contact] = []
    if call.half_batch:
        refused = [contact for contact, _ in writes[1::2]]
        writes = writes[::2]
    for contact, cleaned in writes:
        _write(call, contact, cleaned)
    results = [_record(call, contact, cleaned) for contact, cleaned in writes]
    problems = [_not_found(missing)] if missing else []
    problems += [_write_failed(contact) for contact in refused]
    return _batch_reply(started, results, problems, len(missing) + len(refused))


def _find(call: Call, reference: str, id_property: str) -> Contact:
    contact = call.portal.find(reference, id_property)
    if contact is None:
        raise errors.not_found()
    return contact


def _inputs(content: dict[str, Any]) -> list[dict[str, Any]]:
    inputs = content.get("inputs")
    if not isinstance(inputs, list):
        raise errors.validation("Invalid input JSON: some required fields were not set: [inputs]")
    if len(inputs) > MAX_BATCH:
        raise errors.validation(f"Batch size of {len(inputs)} exceeds the limit of {MAX_BATCH}")
    if not all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in inputs):
        raise errors.validation("Invalid input JSON: every entry of inputs needs an id that is a string")
    return inputs


def _values(given: Any) -> dict[str, str | None]:
    if not isinstance(given, dict):
        raise errors.validation("Invalid input JSON: some required fields were not set: [properties]")
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise errors.validation(f"Invalid input JSON: the value of {name} must be a string or null")
    return given


def _clean(portal: Portal, values: dict[str, str | None]) -> dict[str, str]:
    cleaned = {}
    for name, value in values.items():
        try:
            cleaned.update(portal.clean({name: value}))
        except InvalidValueError as problem:
            raise errors.invalid_value(portal.id, name, problem) from None
    return cleaned


def _write(call: Call, contact: Contact, cleaned: dict[str, str]) -> None:
    app = str(call.hubspot.options.app_id)
    try:
        call.portal.write(contact, cleaned, at=now(), source="INTEGRATION", source_id=app)
    except TakenError as reason:
        raise errors.taken(reason) from None
    call.hubspot.note_write(call.portal, contact, cleaned)


def _record(call: Call, contact: Contact, names: Iterable[str]) -> dict[str, Any]:
    known = call.portal.properties
    record: dict[str, Any] = {
        "id": str(contact.id),
        "properties": {
            name: contact.value(name) for name in (*ALWAYS, *names) if name in known and not known[name].archived
        },
        "createdAt": iso(contact.created_at),
        "updatedAt": iso(contact.updated_at),
        "archived": False,
    }
    if call.is_dated:
        record["url"] = f"https://{call.portal.ui_domain}/contacts/{call.portal.id}/record/0-1/{contact.id}"
    return record


def _batch_reply(
    started: float, results: list[dict[str, Any]], problems: list[dict[str, Any]], number: int
) -> Response:
    body: dict[str, Any] = {
        "status": "COMPLETE",
        "results": results,
        "startedAt": iso(started),
        "completedAt": iso(now()),
    }
    if not problems:
        return JSONReply(body)
    return JSONReply({**body, "numErrors": number, "errors": problems}, 207)


def _not_found(references: list[str]) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.",
        "context": {"ids": references},
        "errors": [],
        "links": {},
    }


def _write_failed(contact: Contact) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "status": "error",
        "category": "VALIDATION_ERROR",
        "message": f"Contact {contact.id} could not be updated",
        "context": {"ids": [str(contact.id)]},
        "errors": [],
        "links": {},
    }
