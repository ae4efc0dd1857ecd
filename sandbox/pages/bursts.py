"""The progress of many enrolments."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.hubspot import HubSpot
from sandbox.pages.rendering import not_found, render

# What is drawn: the summary's key, its label, and what it counts.
BARS = (
    ("enrolled", "Enrolled", "contacts that entered the workflow"),
    ("answered", "Answered", "executions the app has answered"),
    ("written", "Written", "contacts whose property the app has written"),
    ("mailed", "Mailed", "mails to these contacts in the mailbox"),
    ("completed", "Completed", "executions that ended in success"),
)


def routes() -> list[BaseRoute]:
    """Return the route."""
    return [Route("/bursts/{burst_id:int}", show, methods=["GET"])]


async def show(request: Request) -> Response:
    """Show how far a burst has come."""
    hubspot: HubSpot = request.app.state.hubspot
    burst = hubspot.bursts.get(request.path_params["burst_id"])
    if burst is None:
        return not_found(request, "There is no such burst.")
    portal, workflow = hubspot.portals[burst.portal_id], hubspot.workflows[burst.workflow_id]
    context: dict[str, Any] = {"burst": burst, "summary": burst.summary(), "bars": BARS}
    return render(request, "burst.html", portal=portal, workflow=workflow, **context)
