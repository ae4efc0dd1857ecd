"""The Celery application. Tasks live in `otp.tasks`; a task is a wake-up, never the only record of work."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opsagent.settings")

app = Celery("opsagent")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
