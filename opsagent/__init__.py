"""The project package: settings, processes and the ground that the applications stand on."""

from opsagent.celery import app as celery_app

__all__ = ["celery_app"]
