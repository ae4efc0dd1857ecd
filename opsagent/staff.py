"""The Django admin as support staff enter it: a throttled login, with a second factor for whoever has set one up."""

import io
from base64 import b32encode
from typing import Any, cast

import django_otp
import qrcode
import qrcode.image.svg
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from django_otp.plugins.otp_totp.models import TOTPDevice

DEVICE_NAME = "Authenticator app"


def client_address(request: HttpRequest) -> str:
    """Return the address of whoever called, as the outermost of our own PROXY_COUNT proxies saw it.

    Each proxy appends whom it heard from to X-Forwarded-For. What stands further left than our proxies wrote comes
    from the caller and is worth nothing.
    """
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    if 0 < settings.PROXY_COUNT <= len(hops):
        return hops[-settings.PROXY_COUNT]
    return str(request.META.get("REMOTE_ADDR", ""))


class StaffLoginForm(AdminAuthenticationForm):
    """User name, password and, from whoever has set up an authenticator app, its six digits."""

    otp_token = forms.CharField(
        label="Authentication code",
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )

    def clean(self) -> dict[str, Any]:
        """Check the second factor after the first. Raises ValidationError."""
        cleaned = super().clean()
        user = self.get_user()
        if user is not None and django_otp.user_has_device(user):
            # django-otp reads it when the login is complete
            cast("Any", user).otp_device = self._device(user)
        return cleaned

    def _device(self, user: User) -> TOTPDevice:
        token = self.cleaned_data.get("otp_token", "").replace(" ", "")
        if not token:
            raise ValidationError("Enter the authentication code that your authenticator app shows.", code="no_token")
        device = django_otp.match_token(user, token)
        if device is None:
            # Counts as a failed login: whoever knows the password alone is throttled like everybody else.
            user_login_failed.send(sender=__name__, credentials={"username": user.get_username()}, request=self.request)
            raise ValidationError(
                "This authentication code is wrong or was used before. Wait for the next one, then try again.",
                code="wrong_token",
            )
        return cast("TOTPDevice", device)


class StaffSite(AdminSite):
    """The admin at /admin/."""

    site_header = site_title = "OpsAgent OTP support"
    index_title = "Support"
    site_url = None
    login_form = StaffLoginForm
    login_template = "admin/staff_login.html"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether somebody in staff has signed in, with every factor that they have."""
        if not super().has_permission(request):
            return False
        user = cast("Any", request.user)
        return bool(user.is_verified() or not django_otp.user_has_device(user))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Add the page on which staff set up their second factor."""
        return [
            path("second-factor/", self.admin_view(self.second_factor), name="second_factor"),
            *super().get_urls(),
        ]

    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Show whether a second factor is set up; set one up, or remove it."""
        return _second_factor(request, self)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def _second_factor(request: HttpRequest, site: StaffSite) -> HttpResponse:
    user = cast("User", request.user)
    if request.method == "POST":
        step = {"begin": _begin, "confirm": _confirm, "remove": _remove}.get(request.POST.get("step", ""))
        if step is None:
            messages.error(request, "Nothing was changed: the page was damaged. Try again.")
        else:
            step(request, user)
        return redirect("admin:second_factor")
    device = TOTPDevice.objects.filter(user=user, confirmed=True).first()
    begun = None if device else TOTPDevice.objects.filter(user=user, confirmed=False).first()
    context = {
        **site.each_context(request),
        "title": "Second factor",
        "device": device,
        "begun": begun,
        "picture": _picture(begun.config_url) if begun else "",
        "key": b32encode(begun.bin_key).decode() if begun else "",
    }
    return TemplateResponse(request, "admin/second_factor.html", context)


def _begin(request: HttpRequest, user: User) -> None:
    if TOTPDevice.objects.filter(user=user, confirmed=True).exists():
        messages.error(request, "A second factor is set up already. Remove it first.")
        return
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user, confirmed=False).delete()
        TOTPDevice.objects.create(user=user, name=DEVICE_NAME, confirmed=False)


def _confirm(request: HttpRequest, user: User) -> None:
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=False).first()
        is_right = device is not None and device.verify_token(_token(request))
        if device is not None and is_right:
            device.confirmed = True
            device.save(update_fields=["confirmed"])
    if device is None or not is_right:
        messages.error(request, "This code is wrong. Wait for the next one that your app shows, then try again.")
        return
    django_otp.login(request, device)
    messages.success(request, "The second factor is set up. From the next login on you are asked for its code.")


def _remove(request: HttpRequest, user: User) -> None:
    if django_otp.match_token(cast("AbstractBaseUser", user), _token(request)) is None:
        messages.error(request, "Nothing was removed: this code is wrong. Wait for the next one, then try again.")
        return
    TOTPDevice.objects.filter(user=user).delete()
    messages.success(request, "The second factor is removed. The password alone is enough again.")


def _token(request: HttpRequest) -> str:
    return request.POST.get("otp_token", "").replace(" ", "")[:20]


def _picture(text: str) -> SafeString:
    """Return a QR code as inline SVG."""
    drawn = io.BytesIO()
    qrcode.make(text, image_factory=qrcode.image.svg.SvgPathImage, border=2).save(drawn)
    svg = drawn.getvalue().decode()
    return mark_safe(svg[svg.index("<svg") :].replace("<svg ", '<svg role="img" aria-label="QR code" ', 1))  # noqa: S308 (drawn by the library, no text in it)
