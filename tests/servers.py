"""Pytest plugin: real PostgreSQL and Valkey for the run, started before Django reads its settings.

`DATABASE_URL` and `REDIS_URL`, when set, are used instead. Loaded with `-p` (pyproject.toml), because pytest-django
reads the settings before any conftest.py is imported.
"""

import contextlib
import logging
import os
import sys
from urllib.parse import urlsplit, urlunsplit

from sandbox.local import servers
from tests import environment

logging.getLogger("httpx").setLevel(logging.WARNING)
_running = contextlib.ExitStack()

if "DATABASE_URL" not in os.environ:
    print("Starting PostgreSQL from its wheel …", file=sys.stderr)
    os.environ["DATABASE_URL"] = _running.enter_context(servers.postgres()).url
if "REDIS_URL" not in os.environ:
    print("Starting Valkey from its wheel …", file=sys.stderr)
    os.environ["REDIS_URL"] = _running.enter_context(servers.valkey()).connection_url + "/0"
worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if worker:
    # pytest-django gives each of several processes a database of its own; so must we, tests empty theirs. The next two
    # numbers are those of the product's processes, see tests/flows.
    parts = urlsplit(os.environ["REDIS_URL"])
    os.environ["REDIS_URL"] = urlunsplit(parts._replace(path=f"/{3 * int(worker.removeprefix('gw'))}"))
environment.install()


def pytest_unconfigure() -> None:
    """Stop what was started."""
    _running.close()
