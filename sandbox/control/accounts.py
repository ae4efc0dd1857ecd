"""Control API: portals, installs, contacts and properties. ``…`` is ``/sandbox/api/portals/{portalId}``.

==================================  ==============================================================================
GET    /sandbox/api/portals         all portals: ``{portals: [Portal]}``
GET    …                            one Portal: contacts, install, scopes, users, calls and refusals
POST   …/tokens                     ``{scopes?, userId?}``: install without a browser; the token endpoint's answer
POST   …/expire-tokens              let the portal's access tokens run out now: ``{expired}``
DELETE …/install                    uninstall from HubSpot's side: 204
GET    …/contacts                   ``?q=&offset=&limit=``: ``{total, contacts: [Contact]}``
POST   …/contacts                   ``{properties}``: the new Contact; ``{count}``: ``{created, firstId, lastId}``
GET    …/contacts/{contactId}       Contact with the history of every property
PATCH  …/contacts/{contactId}       ``{properties, source?}``: write as a person would (source CRM_UI or FORM)
DELETE …/contacts/{contactId}       ``?privacy=true`` for a privacy deletion: ``{events}``, webhooks being sent
POST   …/contacts/{contactId}/merge ``{into}``: the contact becomes part of another; its id answers 404
GET    …/properties                 all definitions, as the properties API answers them
PATCH  …/properties/{name}          ``{archived?, hidden?, readOnlyValue?, calculated?}``: as an admin would
DELETE …/properties/{name}          204
==================================  ==============================================================================
"""

from typing import Any

from starlette.routing import BaseRoute

from sandbox.accounts import Contact, Portal, TakenError
from sandbox.api.tokens import token_pair
from sandbox.control.fields import BadInputError, Command, no_content, route
from sandbox.control.shaping import contact_shape, portal_shape
from sandbox.properties import InvalidValueError
from sandbox.times import now

MAX_CONTACTS = 100_000
SOURCES = ("CRM_UI", "FORM", "IMPORT")


def routes() -> list[BaseRoute]:
    """Return the routes."""
    one = "/portals/{portal_id:int}"
    contact = f"{one}/contacts/{{contact_id:int}}"
    return [
        route("/portals", "GET", list_portals),
        route(one, "GET", get_portal),
        route(f"{one}/tokens", "POST", install),
        route(f"{one}/expire-tokens", "POST", expire_tokens),
        route(f"{one}/install", "DELETE", uninstall),
        route(f"{one}/contacts", "GET", list_contacts),
        route(f"{one}/contacts", "POST", create_contacts),
        route(contact, "GET", get_contact),
        route(contact, "PATCH", patch_contact),
        route(contact, "DELETE", delete_contact),
        route(f"{contact}/merge", "POST", merge_contact),
        route(f"{one}/properties", "GET", list_properties),
        route(f"{one}/properties/{{name}}", "PATCH", patch_property),
        route(f"{one}/properties/{{name}}", "DELETE", delete_property),
    ]


async def list_portals(command: Command) -> Any:
    """Answer all portals."""
    return {"portals": [portal_shape(portal) for portal in command.hubspot.portals.values()]}


async def get_portal(command: Command) -> Any:
    """Answer one portal."""
    return portal_shape(command.portal)


async def install(command: Command) -> Any:
    """Install the app as the first user who may, with all scopes it declares, unless told otherwise."""
    fields, hubspot = command.fields, command.hubspot
    portal, project = command.portal, hubspot.project
    user_id = fields.integer("userId", next(u.id for u in portal.users.values() if u.may_install))
    declared = (*project.required_scopes, *project.conditional_scopes, *project.optional_scopes)
    scopes = tuple(fields.items("scopes", str, "a scope")) if "scopes" in fields else declared
    fields.end()
    if user_id not in portal.users:
        raise BadInputError("userId", f"Portal {portal.id} has no such user")
    authorization = hubspot.authorization(portal, user_id, scopes)
    hubspot.install(authorization)
    return token_pair(hubspot, hubspot.tokens.grant(authorization), authorization)


async def expire_tokens(command: Command) -> Any:
    """Let the portal's access tokens run out."""
    return {"expired": command.hubspot.tokens.expire(command.portal.id, now())}


async def uninstall(command: Command) -> Any:
    """Uninstall the app."""
    command.hubspot.uninstall(command.portal)
    return no_content()


async def list_contacts(command: Command) -> Any:
    """Answer contacts whose id, name or address contains the text."""
    fields = command.fields
    portal = command.portal
    found = portal.search(fields.text("q", ""))
    offset, limit = fields.integer("offset", 0), fields.integer("limit", 100, low=1, high=MAX_CONTACTS)
    fields.end()
    page = found[offset : offset + limit]
    return {"total": len(found), "contacts": [contact_shape(contact) for contact in page]}


async def create_contacts(command: Command) -> Any:
    """Create one contact with given values, or many made-up ones."""
    fields, hubspot = command.fields, command.hubspot
    portal = command.portal
    if "count" in fields:
        count = fields.integer("count", low=1, high=MAX_CONTACTS)
        fields.end()
        created = hubspot.add_contacts(portal, count)
        return {"created": count, "firstId": created[0].id, "lastId": created[-1].id}
    values = _clean(portal, fields.texts("properties"))
    fields.end()
    try:
        contact = portal.create(values, at=now(), source="CRM_UI")
    except TakenError as reason:
        raise BadInputError("properties", str(reason)) from None
    return contact_shape(contact)


async def get_contact(command: Command) -> Any:
    """Answer one contact with its history."""
    return contact_shape(command.contact, with_history=True)


async def patch_contact(command: Command) -> Any:
    """Write values as a person would."""
    fields = command.fields
    portal = command.portal
    contact = command.contact
    values = _clean(portal, fields.texts("properties"))
    source = fields.text("source", SOURCES[0])
    fields.end()
    if source not in SOURCES:
        raise BadInputError("source", f"must be one of {', '.join(SOURCES)}")
    write(portal, contact, values, source)
    return contact_shape(contact, with_history=True)


def write(portal: Portal, contact: Contact, values: dict[str, str], source: str) -> None:
    """Write cleaned values. Raises BadInputError when another contact has one that must be unique."""
    try:
        portal.write(contact, values, at=now(), source=source)
    except TakenError as reason:
        raise BadInputError("properties", str(reason)) from None


async def delete_contact(command: Command) -> Any:
    """Delete a contact and tell the app."""
    fields, hubspot = command.fields, command.hubspot
    portal = command.portal
    contact = command.contact
    privacy = fields.flag("privacy")
    fields.end()
    return {"events": hubspot.delete_contact(portal, contact, privacy=privacy)}


async def merge_contact(command: Command) -> Any:
    """Merge a contact into another, which takes over values it lacks."""
    fields = command.fields
    portal = command.portal
    contact = command.contact
    into = portal.contacts.get(fields.integer("into"))
    fields.end()
    if into is None or into is contact:
        raise BadInputError("into", "must be the id of another contact of this portal")
    portal.delete(contact)
    missing = {name: value for name, value in contact.values.items() if not into.values.get(name)}
    write(portal, into, missing, "MERGE_CONTACTS")
    return contact_shape(into, with_history=True)


async def list_properties(command: Command) -> Any:
    """Answer all definitions, archived and sensitive ones included."""
    properties = command.portal.properties.values()
    return {"properties": [{**item.as_json(), "dataSensitivity": item.sensitivity} for item in properties]}


async def patch_property(command: Command) -> Any:
    """Change a definition in ways that matter to an app that writes to it."""
    fields = command.fields
    item = command.portal.properties.get(command.path["name"])
    if item is None:
        raise BadInputError("name", "There is no such property", 404)
    item.archived = fields.flag("archived", default=item.archived)
    item.hidden = fields.flag("hidden", default=item.hidden)
    item.read_only_value = fields.flag("readOnlyValue", default=item.read_only_value)
    item.calculated = fields.flag("calculated", default=item.calculated)
    fields.end()
    return {**item.as_json(), "dataSensitivity": item.sensitivity}


async def delete_property(command: Command) -> Any:
    """Delete a definition; values already written stay in the history."""
    if command.portal.properties.pop(command.path["name"], None) is None:
        raise BadInputError("name", "There is no such property", 404)
    return no_content()


def _clean(portal: Portal, values: dict[str, str]) -> dict[str, str]:
    try:
        return portal.clean(dict(values))
    except InvalidValueError as problem:
        raise BadInputError("properties", problem.message) from None
