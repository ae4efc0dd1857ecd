"""The web application: HubSpot's API, the control API and the pages, side by side."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from sandbox import control, pages
from sandbox.api import authorize, callbacks, contacts, installs, properties, tokens
from sandbox.api.errors import not_found
from sandbox.hubspot import HubSpot
from sandbox.pages.rendering import HERE, environment
from sandbox.replies import JSONReply


def create_app(hubspot: HubSpot) -> Starlette:
    """Return the application around one HubSpot."""
    # The calls of a burst first: routes are tried in this order.
    api = (contacts, callbacks, tokens, properties, installs, authorize)
    routes: list[BaseRoute] = [route for module in api for route in module.routes()]
    routes += control.routes()
    routes += pages.routes()
    # Built by sandbox/card_host/build.mjs; without it the contact page says how.
    card_host = StaticFiles(directory=HERE / "card_host" / "dist", check_dir=False)
    routes.append(Mount("/card-host", card_host, name="card-host"))
    routes.append(Mount("/static", StaticFiles(directory=HERE / "static"), name="static"))
    app = Starlette(routes=routes, exception_handlers={404: _not_found})
    app.state.hubspot = hubspot
    app.state.templates = environment()
    return app


async def _not_found(request: Request, _exc: Exception) -> Response:
    return JSONReply(not_found(f"There is no {request.method} {request.url.path}").body, 404)
