"""The Django admin at /admin/: who gets in, and the pages about their account."""

import io
from base64 import b32encode
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Final, cast

import structlog
from django.contrib import messages
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth import authenticate, logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import BadRequest, ValidationError
from django.db import DataError
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from django_otp.plugins.otp_totp.models import TOTPDevice

from opsagent.staff import enrolment, proof
from opsagent.staff.forms import PasswordForm, ProofForm, StaffLoginForm, StaffPasswordChangeForm, TokenForm
from opsagent.staff.lists import guarded, refuse_what_no_value_can_be
from opsagent.staff.throttle import remember_browser

log = structlog.get_logger(__name__)

View = Callable[..., HttpResponseBase]


class StaffSite(AdminSite):
    """The admin at /admin/: nothing of it without both factors."""

    site_header = site_title = "OpsAgent OTP support"
    index_title = "Support"
    site_url = None
    login_form = StaffLoginForm
    login_template = "admin/staff_login.html"
    enable_nav_sidebar = True

    def register(
        self, model_or_iterable: Any, admin_class: "type[ModelAdmin[Any]] | None" = None, **options: Any
    ) -> None:
        """Register models, each guarded against lookups that its lists do not offer, whoever wrote the admin."""
        super().register(model_or_iterable, guarded(admin_class or ModelAdmin), **options)

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether somebody in staff has signed in with both factors."""
        return super().has_permission(request) and getattr(request.user, "otp_device", None) is not None

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Ask for fresh proof where it is needed, and answer 400 to values that nothing can be compared with."""
        inner = super().admin_view(view, cacheable)

        def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            refuse_what_no_value_can_be(request, *kwargs.values())
            if self.has_permission(request) and _decides_who_gets_in(request):
                again = proof.ask_again(request, then=request.get_full_path())
                if again is not None:
                    return again
            try:
                response = inner(request, *args, **kwargs)
                # Lists read their rows while they are drawn.
                return response.render() if isinstance(response, TemplateResponse) else response
            except (DataError, OverflowError, ValidationError) as error:
                log.info("admin_value_refused", reason=type(error).__name__)
                raise BadRequest("A value in the address or the form cannot be.") from None

        return update_wrapper(limited, inner)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Add the pages on which staff set their app up and show both factors once more."""
        return [
            path("enrol/", self.enrol, name="enrol"),
            path("second-factor/", self.admin_view(self.second_factor), name="second_factor"),
            path("prove/", self.admin_view(self.prove), name="prove"),
            *super().get_urls(),
        ]

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Let somebody in, and remember their browser."""
        response = super().login(request, extra_context)
        if request.method == "POST" and self.has_permission(request):
            remember_browser(request, response, cast("User", request.user))
        return response

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Change one's own password with both factors."""
        context = {**self.each_context(request), **(extra_context or {})}
        return cast("TemplateResponse", _PasswordChange.as_view(extra_context=context)(request))

    @method_decorator([never_cache, sensitive_post_parameters(), require_http_methods(["GET", "HEAD", "POST"])])
    def enrol(self, request: HttpRequest) -> HttpResponse:
        """Set an app up with a link of `manage.py staff_enrol` and the password."""
        key = (request.POST if request.method == "POST" else request.GET).get("key", "")
        user = enrolment.holder(key)
        if user is None:
            return self._page(request, "admin/enrol.html", _TITLE, status=400)
        step = request.POST.get("step", "")
        if step == "confirm" and (device := enrolment.begun(request, user)) is not None:
            form: PasswordForm | TokenForm = TokenForm(request.POST)
            if form.is_valid() and enrolment.confirm(request, user, form.cleaned_data["otp_token"], key=key):
                return self._is_set_up(request)
            form.add_error(None, _WRONG_CODE)
            return self._page(request, "admin/enrol.html", _TITLE, key=key, form=form, **_shown(device))
        form = PasswordForm(request.POST if step == "password" else None)
        if form.is_valid():
            password = form.cleaned_data["password"]
            if authenticate(request, username=user.get_username(), password=password) is not None:
                device = enrolment.begin(request, user)
                return self._page(request, "admin/enrol.html", _TITLE, key=key, form=TokenForm(), **_shown(device))
            form.add_error("password", "This is not the password of this account.")
        return self._page(request, "admin/enrol.html", _TITLE, key=key, form=form, holder=user)

    @method_decorator([sensitive_post_parameters(), require_http_methods(["GET", "HEAD", "POST"])])
    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Put another app in the place of the present one, or take it away: both with both factors."""
        user = cast("User", request.user)
        step = request.POST.get("step", "")
        if step == "confirm" and (device := enrolment.begun(request, user)) is not None:
            form: ProofForm | TokenForm = TokenForm(request.POST)
            if form.is_valid() and enrolment.confirm(request, user, form.cleaned_data["otp_token"]):
                return self._is_set_up(request)
            form.add_error(None, _WRONG_CODE)
            return self._page(request, "admin/second_factor.html", "Second factor", form=form, **_shown(device))
        form = ProofForm(request, request.POST if step in {"change", "remove"} else None)
        if form.is_valid() and step == "remove":
            enrolment.remove(user)
            logout(request)
            messages.success(request, "The app is removed. Log in again once you have set up another with a new link.")
            return redirect("admin:login")
        if form.is_valid():
            device = enrolment.begin(request, user)
            return self._page(request, "admin/second_factor.html", "Second factor", form=TokenForm(), **_shown(device))
        return self._page(request, "admin/second_factor.html", "Second factor", form=form)

    @method_decorator([sensitive_post_parameters(), require_http_methods(["GET", "HEAD", "POST"])])
    def prove(self, request: HttpRequest) -> HttpResponse:
        """Ask for both factors once more, and lead on to `next`."""
        then = (request.POST if request.method == "POST" else request.GET).get("next", "")
        if not url_has_allowed_host_and_scheme(then, allowed_hosts=None):
            then = reverse("admin:index")
        form = ProofForm(request, request.POST if request.method == "POST" else None)
        if form.is_valid():
            messages.info(request, "Thank you. Now choose once more what you wanted to do.")
            return redirect(then)
        return self._page(request, "admin/prove.html", "Is it still you?", form=form, then=then)

    def _is_set_up(self, request: HttpRequest) -> HttpResponse:
        messages.success(request, "Your authenticator app is set up. Every login asks for its code.")
        response = redirect("admin:index")
        remember_browser(request, response, cast("User", request.user))
        return response

    def _page(
        self, request: HttpRequest, template: str, title: str, *, status: int = 200, **more: Any
    ) -> TemplateResponse:
        return TemplateResponse(
            request, template, {**self.each_context(request), "title": title, **more}, status=status
        )


_TITLE: Final = "Set up your authenticator app"
_WRONG_CODE: Final = (
    "This code is wrong, or the link has been used. Wait for the next code that your app shows, then try again."
)


class _PasswordChange(PasswordChangeView):
    form_class = StaffPasswordChangeForm
    template_name = "admin/password_change.html"
    success_url = reverse_lazy("admin:password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}


def _decides_who_gets_in(request: HttpRequest) -> bool:
    """Whether a page makes, changes or deletes users, groups or authenticator apps: more than their lists do."""
    name = str(getattr(request.resolver_match, "url_name", None) or "")
    is_list = name.endswith("_changelist") and request.method != "POST"
    return name.startswith(("auth_user_", "auth_group_", "otp_totp_totpdevice_")) and not is_list


# How long a session lasts is the same for everybody: see `opsagent.sessions`.
@receiver(user_logged_in)
def _note_login(request: HttpRequest, **_: Any) -> None:
    proof.note_proof(request)


# ------------------------------------------------------------------ what an app scans
def _shown(device: TOTPDevice) -> dict[str, Any]:
    return {"begun": device, "picture": _picture(device.config_url), "secret": b32encode(device.bin_key).decode()}


def _picture(text: str) -> SafeString:
    """Return a QR code as inline SVG, dark on white: cameras read nothing off a dark page."""
    # Four megabytes in every web process, for a page that few people see once.
    import qrcode.image.svg  # noqa: PLC0415

    drawn = io.BytesIO()
    qrcode.make(text, image_factory=qrcode.image.svg.SvgPathFillImage, border=2).save(drawn)
    svg = drawn.getvalue().decode()
    return mark_safe(svg[svg.index("<svg") :].replace("<svg ", '<svg role="img" aria-label="QR code" ', 1))  # noqa: S308 (drawn by the library, no text in it)
