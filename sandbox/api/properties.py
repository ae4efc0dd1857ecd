"""The properties API: what can be read and written on a contact.

https://developers.hubspot.com/docs/api-reference/latest/crm/properties/guide
"""

from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from sandbox.api import errors
from sandbox.api.gate import Call, route
from sandbox.properties import FIELD_TYPES, NAME, Group, Property
from sandbox.replies import JSONReply
from sandbox.times import now

READ = ("crm.objects.contacts.read", "crm.schemas.contacts.read")
WRITE = "crm.schemas.contacts.write"


def routes() -> list[BaseRoute]:
    """Return the dated routes and their v3 twins."""
    found: list[BaseRoute] = []
    for base in ("/crm/v3/properties/contacts", "/crm/properties/{version}/contacts"):
        found += [
            route(f"{base}/groups", "GET", "groups.list", list_groups, *READ),
            route(f"{base}/groups", "POST", "groups.create", create_group, WRITE),
            route(base, "GET", "properties.list", list_properties, *READ),
            route(base, "POST", "properties.create", create_property, WRITE),
            route(f"{base}/{{name}}", "GET", "properties.read", read_property, *READ),
        ]
    return found


def list_properties(call: Call) -> Response:
    """Answer all definitions; archived and sensitive ones only when asked for."""
    query = call.request.query_params
    archived = query.get("archived", "false") == "true"
    sensitivity = query.get("dataSensitivity", "non_sensitive")
    return JSONReply({
        "results": [
            _as_json(call, item)
            for item in call.portal.properties.values()
            if item.archived == archived and item.sensitivity == sensitivity
        ]
    })  # fmt: skip


def read_property(call: Call) -> Response:
    """Answer one definition."""
    item = call.portal.properties.get(call.request.path_params["name"])
    archived = call.request.query_params.get("archived", "false") == "true"
    if item is None or item.archived != archived:
        raise errors.not_found(f"Property {call.request.path_params['name']} does not exist")
    return JSONReply(_as_json(call, item))


def create_property(call: Call) -> Response:
    """Create a property in an existing group; 409 if the name is taken."""
    content = call.json()
    name, label, kind, field_type, group = (
        _text(content, key) for key in ("name", "label", "type", "fieldType", "groupName")
    )
    if not NAME.fullmatch(name) or name.startswith("hs_"):
        raise errors.validation(f"Property name {name!r} is invalid: lower case letters, digits and underscores")
    if field_type not in FIELD_TYPES.get(kind, ()):
        raise errors.validation(f"fieldType {field_type!r} does not go with type {kind!r}")
    if group not in call.portal.groups:
        raise errors.validation(f"Property group {group!r} does not exist")
    if name in call.portal.properties:
        raise errors.conflict(f"A property named '{name}' already exists.")
    options = content.get("options") or []
    item = Property(
        name,
        label,
        kind,
        field_type,
        description=content.get("description") or "",
        group=group,
        choices=[(str(option["value"]), str(option["label"])) for option in options],
        hidden=content.get("hidden") is True,
        form_field=content.get("formField") is True,
        unique=content.get("hasUniqueValue") is True,
        sensitivity=content.get("dataSensitivity") or "non_sensitive",
        created_at=now(),
        created_by=call.access.authorization.user_id,
    )
    call.portal.properties[name] = item
    return JSONReply(_as_json(call, item), 201)


def list_groups(call: Call) -> Response:
    """Answer all groups."""
    return JSONReply({"results": [group.as_json() for group in call.portal.groups.values()]})


def create_group(call: Call) -> Response:
    """Create a group; 409 if the name is taken."""
    content = call.json()
    name, label = _text(content, "name"), _text(content, "label")
    if name in call.portal.groups:
        raise errors.conflict(f"A property group named '{name}' already exists.")
    order = content.get("displayOrder")
    group = Group(name, label, order if isinstance(order, int) else -1)
    call.portal.groups[name] = group
    return JSONReply(group.as_json(), 201)


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not value:
        raise errors.validation(f"Invalid input JSON: some required fields were not set: [{key}]")
    return value


def _as_json(call: Call, item: Property) -> dict[str, Any]:
    answer = item.as_json()
    if call.is_dated:  # newer than the v3 shape
        answer["dataSensitivity"] = item.sensitivity
    return answer
