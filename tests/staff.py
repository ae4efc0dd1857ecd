"""Members of staff with an authenticator app, as tests need them."""

import time

from django.contrib.auth.models import User
from django.test import Client
from django_otp import DEVICE_ID_SESSION_KEY
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

PASSWORD = "a-long-password-of-staff"
LOGIN, INDEX = "/admin/login/", "/admin/"


def with_app(user: User) -> TOTPDevice:
    """Give a user an authenticator app."""
    return TOTPDevice.objects.create(user=user, name="Authenticator app", confirmed=True)


def token_of(device: TOTPDevice, *, steps_ahead: int = 0) -> str:
    """Return what the app shows; a step ahead where the present one is used up."""
    device.refresh_from_db()
    totp = TOTP(device.bin_key)
    totp.time = time.time() + steps_ahead * device.step
    return f"{totp.token():06d}"


def wrong(token: str) -> str:
    """Return other digits."""
    return f"{(int(token) + 500_000) % 1_000_000:06d}"


def forget_used_tokens() -> None:
    """Let every app's present digits be accepted once more."""
    TOTPDevice.objects.update(last_t=-1)


def signed_in(user: User) -> Client:
    """Return a browser in which the user has just shown both factors."""
    device = TOTPDevice.objects.filter(user=user, confirmed=True).first() or with_app(user)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    session = client.session
    session[DEVICE_ID_SESSION_KEY] = device.persistent_id
    session.save()
    return client
