"""The Celery application. Tasks live in `otp.tasks`; a task is a wake-up, never the only record of work."""

import os
import sys
from typing import Any, Final

from celery import Celery
from celery.signals import worker_init
from kombu.transport.redis import Channel

# A message is a reminder, and the database remembers better: nothing is put back into Redis when a worker loses its
# connection. Kombu 5.7 tries to, through the connection that is just gone, and the AttributeError ends the worker.
Channel.do_restore = False

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsagent.settings")

app = Celery("opsagent")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

SWITCH_SECONDS: Final = 0.0005


@worker_init.connect
def take_turns_often(**_: Any) -> None:
    """Let a worker's threads take turns ten times as often as Python does by itself.

    Every answer of the database or the mail server that a thread waits for ends in a wait for the interpreter: by default up
    to 5 ms behind each busy thread. A single code's way has some twenty such waits.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
