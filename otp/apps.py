"""Application configuration."""

from django.apps import AppConfig


class OtpConfig(AppConfig):
    """One-time passwords."""

    name = "otp"
    verbose_name = "One-time passwords"

    def ready(self) -> None:
        """Connect the receivers."""
        from otp import receivers  # noqa: F401, PLC0415 (receivers import models, which exist only now)
