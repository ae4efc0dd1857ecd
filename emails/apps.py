"""Application configuration."""

from django.apps import AppConfig


class EmailsConfig(AppConfig):
    """Rendering and sending of mail."""

    name = "emails"

    def ready(self) -> None:
        """Register the system checks."""
        from emails import checks  # noqa: F401, PLC0415 (checks register themselves when they are imported)
