"""`python -m tests.checked_settings COMMAND …`: a management command on a temporary real database."""

import os
import sys

from django.core.management import execute_from_command_line

from sandbox.local import servers
from tests import environment

if __name__ == "__main__":
    with servers.postgres() as postgres:
        os.environ["DATABASE_URL"] = postgres.url
        environment.install()
        os.environ["DJANGO_SETTINGS_MODULE"] = "opsagent.settings"
        execute_from_command_line(["manage.py", *sys.argv[1:]])
