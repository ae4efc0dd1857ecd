#!/usr/bin/env python
"""Run a management command of OpsAgent OTP."""

import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    if sys.argv[1:2] == ["generate_keys"]:
        # The one command that must run without settings: they refuse to start without what it makes.
        from opsagent import keys

        folder = sys.argv[2:]
        print(keys.write(Path(folder[0])) if folder else keys.generate())  # noqa: T201
        raise SystemExit(0)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsagent.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"{type(error).__name__}: {error}")  # the sentence is the remedy; a traceback would only hide it
