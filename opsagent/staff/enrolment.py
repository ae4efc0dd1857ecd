"""Authenticator apps of staff: set up with a one-time link and the password, replaced with the app that is set up.

A password alone sets nothing up, or whoever has stolen one would give the account an app of their own. The link is signed
and stored nowhere: it dies with the first login after it, a new password, and every change of the account's apps.
"""

import datetime as dt
from typing import Final, cast

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import base36_to_int, int_to_base36, urlencode
from django_otp.plugins.otp_totp.models import TOTPDevice

DEVICE_NAME: Final = "Authenticator app"
HOURS: Final = settings.PASSWORD_RESET_TIMEOUT // 3600
LONGEST: Final = dt.timedelta(minutes=15)
"""From the moment that the key of a new app is shown to the first code of it."""
_BEGUN: Final = "staff_device_begun"
_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"


class _Keys(PasswordResetTokenGenerator):
    """Django's single-use tokens, tied to the account's apps as well. Valid for PASSWORD_RESET_TIMEOUT seconds."""

    key_salt = "opsagent.staff.enrolment"

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        devices = sorted(TOTPDevice.objects.filter(user=user, confirmed=True).values_list("pk", flat=True))
        return f"{super()._make_hash_value(user, timestamp)}{user.is_active}{user.is_staff}{devices}"


_keys = _Keys()


def link(user: User) -> str:
    """Return a link that lets `user`, who must be active and in staff, set an app up once within HOURS hours."""
    key = f"{int_to_base36(user.pk)}-{_keys.make_token(user)}"
    # In the query, which no access log holds; a path would be logged.
    return f"{settings.PUBLIC_BASE_URL}{reverse('admin:enrol')}?{urlencode({'key': key})}"


def holder(key: str) -> User | None:
    """Return whose link this is, if it can still be used."""
    number, _, token = key.partition("-")
    try:
        pk = base36_to_int(number)
    except ValueError:
        return None
    user = User.objects.filter(pk=pk, is_active=True, is_staff=True).first()
    return user if user is not None and _keys.check_token(user, token) else None


def begin(request: HttpRequest, user: User) -> TOTPDevice:
    """Make the key of a new app. It counts when `confirm` has seen what the app shows, in the same browser."""
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user, confirmed=False).delete()
        device = TOTPDevice.objects.create(user=user, name=DEVICE_NAME, confirmed=False)
    request.session[_BEGUN] = device.pk
    return cast("TOTPDevice", device)


def begun(request: HttpRequest, user: User) -> TOTPDevice | None:
    """Return the app that this browser is setting up; no longer than `LONGEST` after it was begun.

    Its key is shown until then, and whoever steals a session later must not find it there.
    """
    recent = timezone.now() - LONGEST
    return TOTPDevice.objects.filter(
        pk=request.session.get(_BEGUN), user=user, confirmed=False, created_at__gt=recent
    ).first()


def confirm(request: HttpRequest, user: User, token: str, *, key: str | None = None) -> TOTPDevice | None:
    """Put the new app in the place of all others and log its owner in with it; None if it shows something else.

    With a `key` that has been used in the meantime nothing happens either.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)  # one after the other: a link is used once
        if key is not None and holder(key) != user:
            return None
        device = begun(request, user)
        if device is None or not device.verify_token("".join(token.split())[:20]):
            return None
        TOTPDevice.objects.filter(user=user).exclude(pk=device.pk).delete()
        device.confirmed = True
        device.save(update_fields=["confirmed"])
        user.refresh_from_db()
        user.otp_device = device  # type: ignore[attr-defined]  # django-otp reads it
        login(request, user, backend=_BACKEND)
    request.session.pop(_BEGUN, None)
    return cast("TOTPDevice", device)


def remove(user: User) -> None:
    """Take every app away. The account needs a new link before anybody can log in with it."""
    TOTPDevice.objects.filter(user=user).delete()
