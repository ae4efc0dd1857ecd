"""Application configuration."""

from django.apps import AppConfig


class OpsAgentConfig(AppConfig):
    """The ground the other applications stand on."""

    name = "opsagent"

    def ready(self) -> None:
        """Register the system checks."""
        from opsagent import checks  # noqa: F401, PLC0415 (checks register themselves when they are imported)
