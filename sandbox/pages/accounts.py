"""Home, portals and contact records."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.accounts import Contact, Portal, TakenError
from sandbox.hubspot import HubSpot
from sandbox.pages import cards
from sandbox.pages.rendering import not_found, page_of, render, see
from sandbox.properties import InvalidValueError
from sandbox.times import now

RECENT = 20
PortalPage = Callable[[Request, HubSpot, Portal], Awaitable[Response]]
ContactPage = Callable[[Request, HubSpot, Portal, Contact], Awaitable[Response]]


def routes() -> list[BaseRoute]:
    """Return the routes. A record's address has the shape of HubSpot's own, so that the app's links lead here."""
    portal, record = "/contacts/{portal_id:int}", "/contacts/{portal_id:int}/record/0-1/{contact_id:int}"
    return [
        Route("/", home, methods=["GET"]),
        Route(portal, of_portal(show_portal), methods=["GET"]),
        Route(portal, of_portal(add_contact), methods=["POST"]),
        Route(f"{portal}/uninstall", of_portal(uninstall), methods=["POST"]),
        Route(record, of_contact(show_contact), methods=["GET"]),
        Route(record, of_contact(change_property), methods=["POST"]),
        Route(f"{record}/enrol", of_contact(enrol), methods=["POST"]),
        Route(f"{record}/delete", of_contact(delete), methods=["POST"]),
    ]


def of_portal(page: PortalPage) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that hands the portal in the path to a page."""

    async def endpoint(request: Request) -> Response:
        hubspot: HubSpot = request.app.state.hubspot
        portal = hubspot.portals.get(request.path_params["portal_id"])
        if portal is None:
            return not_found(request, "There is no such portal.")
        return await page(request, hubspot, portal)

    return endpoint


def of_contact(page: ContactPage) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that hands portal and contact in the path to a page."""

    async def with_contact(request: Request, hubspot: HubSpot, portal: Portal) -> Response:
        contact = portal.contacts.get(request.path_params["contact_id"])
        if contact is None:
            return not_found(request, "There is no such contact. It may have been deleted or merged.")
        return await page(request, hubspot, portal, contact)

    return of_portal(with_contact)


async def home(request: Request) -> Response:
    """Show the portals and the sandbox's addresses."""
    return render(request, "home.html")


async def show_portal(
    request: Request, hubspot: HubSpot, portal: Portal, error: str = "", status: int = HTTPStatus.OK
) -> Response:
    """Show a portal: contacts, workflows, the connected app."""
    query = request.query_params.get("q", "")
    return render(
        request,
        "portal.html",
        status=status,
        portal=portal,
        workflows=hubspot.workflows_of(portal),
        query=query,
        page=page_of(request, portal.search(query)),
        install_url=f"{hubspot.project.app_origin}{hubspot.options.install_path}",
        error=error,
    )


async def add_contact(request: Request, hubspot: HubSpot, portal: Portal) -> Response:
    """Create a contact as an admin would."""
    form = await request.form()
    values: dict[str, str | None] = {name: str(form.get(name, "")) for name in ("email", "firstname", "lastname")}
    try:
        contact = portal.create(portal.clean(values), at=now(), source="CRM_UI")
    except (InvalidValueError, TakenError) as problem:
        return await show_portal(request, hubspot, portal, str(problem), HTTPStatus.BAD_REQUEST)
    return see(f"/contacts/{portal.id}/record/0-1/{contact.id}")


async def uninstall(request: Request, hubspot: HubSpot, portal: Portal) -> Response:
    """Uninstall the app from HubSpot's side."""
    hubspot.uninstall(portal)
    return see(f"{request.url.path.removesuffix('/uninstall')}#app")


async def show_contact(
    request: Request,
    hubspot: HubSpot,
    portal: Portal,
    contact: Contact,
    error: str = "",
    status: int = HTTPStatus.OK,
) -> Response:
    """Show a contact: values and their history, recent executions."""
    shown = [item for item in portal.properties.values() if not item.hidden and not item.archived]
    executions = hubspot.executor.by_contact.get((portal.id, contact.id), [])
    return render(
        request,
        "contact.html",
        status=status,
        portal=portal,
        contact=contact,
        properties=sorted(shown, key=lambda item: _last_change(contact, item.name), reverse=True),
        writable=[item for item in shown if not item.read_only_value],
        workflows=hubspot.workflows_of(portal),
        executions=executions[: -RECENT - 1 : -1],
        cards=cards.on_record(request, hubspot, portal, contact),
        error=error,
    )


async def change_property(request: Request, hubspot: HubSpot, portal: Portal, contact: Contact) -> Response:
    """Write one property as an admin would."""
    form = await request.form()
    try:
        values = portal.clean({str(form.get("property", "")): str(form.get("value", ""))})
        portal.write(contact, values, at=now(), source="CRM_UI")
    except (InvalidValueError, TakenError) as problem:
        return await show_contact(request, hubspot, portal, contact, str(problem), HTTPStatus.BAD_REQUEST)
    return see(request.url.path)


async def enrol(request: Request, hubspot: HubSpot, portal: Portal, contact: Contact) -> Response:
    """Enrol the contact in a workflow."""
    form = await request.form()
    chosen = str(form.get("workflow", ""))
    workflow = next((item for item in hubspot.workflows_of(portal) if str(item.id) == chosen), None)
    if workflow is None:
        return not_found(request, "There is no such workflow.")
    hubspot.enrol(workflow, [contact])
    return see(f"{request.url.path.removesuffix('/enrol')}#executions")


async def delete(request: Request, hubspot: HubSpot, portal: Portal, contact: Contact) -> Response:
    """Delete the contact; the app hears of it by webhook."""
    form = await request.form()
    hubspot.delete_contact(portal, contact, privacy=form.get("kind") == "privacy")
    return see(f"/contacts/{portal.id}")


def _last_change(contact: Contact, name: str) -> tuple[bool, float]:
    """Return what puts the values changed last on top and empty ones at the end."""
    changes = contact.history.get(name)
    return contact.value(name) is not None, changes[-1].at if changes else 0.0
