"""The forms on which staff show who they are."""

from typing import Any, Final, cast

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.http import HttpRequest

from opsagent.staff import proof

REFUSED: Final = (
    "User name, password and authentication code do not fit together. A code is accepted once: wait for the next one that "
    "your app shows."
)


def _password(label: str = "Password") -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "current-password"})
    return forms.CharField(label=label, strip=False, widget=widget)


def _token(label: str = "Authentication code") -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=20,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code"}),
    )


class StaffLoginForm(AdminAuthenticationForm):
    """User name, password and the six digits of the authenticator app."""

    otp_token = _token()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django tells the browser only, and a failed login is kept with the name.
        name = cast("forms.CharField", self.fields["username"])
        name.validators.append(MaxLengthValidator(name.max_length or 0))
        # Browsers ask for it; an attempt without it is answered as every other that fails.
        self.fields["otp_token"].required = False
        self.fields["otp_token"].widget.attrs["required"] = True

    def clean(self) -> dict[str, Any]:
        """Look at all three at once. Raises ValidationError, which does not say what was wrong."""
        typed = self.cleaned_data
        name, password = typed.get("username"), typed.get("password")
        if name is not None and password:
            assert self.request is not None  # noqa: S101 (the login page hands it over)
            token = typed.get("otp_token", "")
            self.user_cache = proof.prove(self.request, username=name, password=password, token=token)
            if self.user_cache is None:
                raise ValidationError(REFUSED, code="invalid_login")
        return typed


class PasswordForm(forms.Form):
    """The password alone, beside a link that has proven the rest."""

    password = _password()


class TokenForm(forms.Form):
    """What an app that is being set up shows."""

    otp_token = _token("Code that the app shows now")


class ProofForm(forms.Form):
    """Both factors of somebody who is signed in."""

    password = _password()
    otp_token = _token("Code that the app shows now")

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean(self) -> dict[str, Any]:
        """Look at both at once. Raises ValidationError, which does not say what was wrong."""
        typed = super().clean() or {}
        _check_both(self.request, typed.get("password"), typed.get("otp_token"))
        return typed


class StaffPasswordChangeForm(AdminPasswordChangeForm):
    """The old password, what the app shows, and the new password twice."""

    otp_token = _token("Code that your app shows now")

    def __init__(self, request: HttpRequest, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        """Leave it to `clean`, which looks at both factors at once and counts a failure."""
        return cast("str", self.cleaned_data["old_password"])

    def clean(self) -> dict[str, Any] | None:
        """Look at both factors, then at the new password. Raises ValidationError."""
        _check_both(self.request, self.cleaned_data.get("old_password"), self.cleaned_data.get("otp_token"))
        return super().clean()


def _check_both(request: HttpRequest, password: str | None, token: str | None) -> None:
    if not (password and token):
        return  # the fields say so
    name = request.user.get_username()
    if proof.prove(request, username=name, password=password, token=token) is None:
        raise ValidationError(
            "Password and code do not fit together. A code is accepted once: wait for the next one that your app shows.",
            code="not_proven",
        )
    proof.note_proof(request)
