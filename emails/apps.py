"""Application configuration."""

from django.apps import AppConfig


class EmailsConfig(AppConfig):
    """Rendering and sending of mail."""

    name = "emails"
