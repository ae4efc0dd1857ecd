"""Control API: faults on demand. All below ``/sandbox/api``.

==========================  ======================================================================================
GET    /faults              ``{routes: [...], faults: [Fault]}`` with how often each fired
POST   /faults              ``{route, kind, portalId?, match?, member?, times?, …}``: Fault. ``route`` is a route's name
                            or the beginning of one; ``match`` a part of the path, or of the recipient for SMTP;
                            ``member`` the id of a contact or a callback that a batch call must hold
DELETE /faults/{faultId}    204; what it held goes on
DELETE /faults              204
==========================  ======================================================================================

Kinds for HTTP routes: ``status`` (``status``, ``body?``, ``retryAfter?``), ``slow`` (``seconds``), ``drop``,
``drop_after`` (after the work), ``hold`` (until deleted); for calls that change something also ``late`` (closes the
connection and does its work ``seconds`` later, or when deleted); for contacts.batch_update also ``half_batch``; for
oauth.token also ``revoked`` ``bad_hub`` ``bad_client_secret`` ``rotate``. For SMTP routes: ``refuse`` (``code?``, ``text?``),
``slow``, ``drop``, ``drop_after`` (smtp.after_data: the message is kept), ``hold``.
"""

from typing import Any

from starlette.routing import BaseRoute

from sandbox.control.fields import BadInputError, Command, Fields, no_content, route
from sandbox.control.shaping import fault_shape
from sandbox.faults import ROUTES, Fault
from sandbox.hubspot import HubSpot


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        route("/faults", "GET", list_faults),
        route("/faults", "POST", add_fault),
        route("/faults", "DELETE", clear_faults),
        route("/faults/{fault_id:int}", "DELETE", remove_fault),
    ]


async def list_faults(command: Command) -> Any:
    """Answer the faults that are switched on, and the routes there are."""
    return {"routes": list(ROUTES), "faults": [fault_shape(fault) for fault in command.hubspot.faults]}


async def add_fault(command: Command) -> Any:
    """Switch a fault on."""
    fields, hubspot = command.fields, command.hubspot
    fault = read_fault(hubspot, fields)
    hubspot.faults.add(fault)
    return fault_shape(fault)


def read_fault(hubspot: HubSpot, fields: Fields) -> Fault:
    """Return the fault that the fields describe. Raises BadInputError."""
    name, kind = fields.text("route"), fields.text("kind")
    concerned = [kinds for known, kinds in ROUTES.items() if known.startswith(name)]
    if not name or not concerned:
        raise BadInputError("route", f"must be one of {', '.join(ROUTES)}, or the beginning of one")
    possible = frozenset().union(*concerned)
    if kind not in possible:
        raise BadInputError("kind", f"must be one of {', '.join(sorted(possible))} for {name}")
    portal_id = fields.optional_integer("portalId")
    if portal_id is not None and portal_id not in hubspot.portals:
        raise BadInputError("portalId", f"There is no portal {portal_id}")
    fault = Fault(hubspot.faults.next_id(), name, kind, portal_id, fields.text("match", ""))
    fault.member = fields.text("member", "")
    fault.times = fields.optional_integer("times", low=1)
    match kind:
        case "status":
            fault.status = fields.integer("status", low=200, high=599)
            fault.body, fault.retry_after = fields.text("body", ""), fields.text("retryAfter", "")
        case "slow" | "late":
            fault.seconds = fields.number("seconds")
        case "refuse":
            fault.code = fields.integer("code", fault.code, low=400, high=599)
            fault.text = fields.text("text", fault.text)
    fields.end()
    return fault


async def clear_faults(command: Command) -> Any:
    """Switch all faults off."""
    command.hubspot.faults.clear()
    return no_content()


async def remove_fault(command: Command) -> Any:
    """Switch one fault off."""
    if not command.hubspot.faults.remove(command.path["fault_id"]):
        raise BadInputError("faultId", "There is no such fault", 404)
    return no_content()
