"""The Celery application. Tasks live in `otp.tasks`; a task is a wake-up, never the only record of work."""

import os

from celery import Celery
from kombu.transport.redis import Channel

# A message is a reminder, and the database remembers better: nothing is put back into Redis when a worker loses its
# connection. Kombu 5.7 tries to, through the connection that is just gone, and the AttributeError ends the worker.
Channel.do_restore = False

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsagent.settings")

app = Celery("opsagent")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
