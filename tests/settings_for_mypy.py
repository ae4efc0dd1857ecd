"""The settings as the type checker's Django plugin imports them: it starts no server."""

from tests import environment

environment.install()

from opsagent.settings import *  # noqa: E402, F403
