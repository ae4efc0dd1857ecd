"""Application configuration."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django_otp.plugins.otp_totp import apps as totp_apps


class OpsAgentConfig(AppConfig):
    """The ground the other applications stand on."""

    name = "opsagent"
    default = True

    def ready(self) -> None:
        """Register the system checks."""
        from opsagent import checks  # noqa: F401, PLC0415 (checks register themselves when they are imported)


class StaffAdminConfig(admin_apps.AdminConfig):
    """Django's admin, entered through our login."""

    default = False
    default_site = "opsagent.staff.site.StaffSite"


class SecondFactorConfig(totp_apps.DefaultConfig):  # type: ignore[misc]  # the package has no types
    """The authenticator apps of staff, under a name that tells them from the codes of the product."""

    verbose_name = "Second factor of staff"
