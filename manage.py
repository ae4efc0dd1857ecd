#!/usr/bin/env python
"""Run a management command of OpsAgent OTP."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    if sys.argv[1:] == ["generate_keys"]:
        # The one command that must run without settings: they refuse to start without what it prints.
        from opsagent import keys

        print(keys.generate())  # noqa: T201
        raise SystemExit(0)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsagent.settings")
    execute_from_command_line(sys.argv)
