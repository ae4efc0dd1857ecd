"""Staff's authenticator apps and failed logins in the admin: they are seen and deleted there, and nothing else."""

from typing import Any

from axes.admin import AccessAttemptAdmin
from axes.models import AccessAttempt
from django.contrib import admin
from django.http import HttpRequest
from django_otp.plugins.otp_totp.admin import TOTPDeviceAdmin
from django_otp.plugins.otp_totp.models import TOTPDevice

admin.site.unregister([TOTPDevice, AccessAttempt])


@admin.register(AccessAttempt)
class AttemptAdmin(AccessAttemptAdmin):  # type: ignore[misc]  # the package has no types
    """Failed logins that still count; deleting them ends a lock."""

    actions = ()  # its own one fails (django-axes 8.3.1), and old attempts go with the next failure anyway


@admin.register(TOTPDevice)
class DeviceAdmin(TOTPDeviceAdmin):  # type: ignore[misc]  # the package has no types
    """Who has an app, and since when. Who has lost theirs gets it deleted, and a new link (`manage.py staff_enrol`)."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 (Django's signature)
        """Never: an app that somebody else made is no second factor."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 (Django's signature)
        """Never."""
        return False
