"""The control API, by which tests, benchmarks and the pages move the sandbox.

JSON in and out below ``/sandbox/api``, camelCase. Wrong input is a 400 (404 for what the path names) with
``{"error": {"field", "message"}}``. Each module lists its routes at its top; ``shapes`` has the shapes.
"""

from starlette.routing import BaseRoute

from sandbox.control import accounts, faults, mails, operation, workflows


def routes() -> list[BaseRoute]:
    """Return all routes of the control API."""
    modules = (accounts, workflows, mails, faults, operation)
    return [route for module in modules for route in module.routes()]
