"""The sandbox's pages for people. They work without JavaScript; with it they keep themselves up to date."""

from starlette.routing import BaseRoute

from sandbox.pages import accounts, bursts, calls, faults, mailbox, workflows


def routes() -> list[BaseRoute]:
    """Return all pages."""
    modules = (accounts, workflows, bursts, mailbox, faults, calls)
    return [route for module in modules for route in module.routes()]
