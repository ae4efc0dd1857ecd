"""The app's latest API calls."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.hubspot import HubSpot
from sandbox.pages.rendering import page_of, render


def routes() -> list[BaseRoute]:
    """Return the route."""
    return [Route("/calls", show, methods=["GET"])]


async def show(request: Request) -> Response:
    """Show the calls, newest first, of one route or portal if asked."""
    hubspot: HubSpot = request.app.state.hubspot
    route, portal = request.query_params.get("route", ""), request.query_params.get("portal", "")
    found = [
        call for call in hubspot.log.newest() if call.route.startswith(route) and portal in ("", str(call.portal_id))
    ]
    return render(request, "calls.html", page=page_of(request, found), route=route, portal=portal)
