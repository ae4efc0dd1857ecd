"""The mailbox."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.hubspot import HubSpot
from sandbox.pages.rendering import not_found, page_of, render, see


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        Route("/mailbox", show, methods=["GET"]),
        Route("/mailbox", clear, methods=["POST"]),
        Route("/mailbox/{mail_id:int}", show_mail, methods=["GET"]),
    ]


async def show(request: Request) -> Response:
    """Show the messages, newest first."""
    hubspot: HubSpot = request.app.state.hubspot
    query = request.query_params.get("to", "")
    page = page_of(request, hubspot.mailbox.search(query.strip()))
    return render(request, "mailbox.html", page=page, query=query)


async def clear(request: Request) -> Response:
    """Throw all messages away."""
    hubspot: HubSpot = request.app.state.hubspot
    hubspot.mailbox.clear()
    return see("/mailbox")


async def show_mail(request: Request) -> Response:
    """Show one message: its HTML in a frame that can do nothing, its text, its headers."""
    hubspot: HubSpot = request.app.state.hubspot
    mail = hubspot.mailbox.mails.get(request.path_params["mail_id"])
    if mail is None:
        return not_found(request, "There is no such message.")
    return render(request, "mail.html", mail=mail)
