"""Application configuration."""

from django.apps import AppConfig


class OtpConfig(AppConfig):
    """One-time passwords."""

    name = "otp"
    verbose_name = "One-time passwords"

    def ready(self) -> None:
        """Connect the receivers, and register the admin's pages."""
        # Both import models, which exist only now; by itself Django looks for an `admin` beside this module only.
        from otp.hubspot import receivers  # noqa: F401, PLC0415
        from otp.staff import admin  # noqa: F401, PLC0415
