"""Who somebody in staff is: the password and, always, the six digits of their authenticator app.

Wrong password, no digits, wrong digits, no app set up, not in staff: one answer, counted in one way, after the password
was hashed once. So nobody who guesses passwords hears that one was right.
"""

import time
from typing import Any, Final, cast

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django_otp.plugins.otp_totp.models import TOTPDevice

from opsagent.staff.throttle import known_browser

FREE_GUESSES: Final = 50
"""Wrong digits in a row, with the right password, from all networks together. NIST SP 800-63B-4 allows 100."""
_LONGEST_PAUSE: Final = 300
RECENT_SECONDS: Final = 15 * 60
_PROVEN_AT: Final = "staff_proven_at"


def prove(request: HttpRequest, *, username: str, password: str, token: str) -> User | None:
    """Return the member of staff whom both factors prove, with `otp_device` set; None counts as one failed login."""
    user = authenticate(request, username=username, password=password)
    if user is None:  # counted by Django's own signal
        return None
    device = _device(request, user, token) if user.is_staff else None
    if device is None:
        user_login_failed.send(sender=__name__, credentials={"username": user.get_username()}, request=request)
        return None
    cast("Any", user).otp_device = device
    return user


def _device(request: HttpRequest, user: User, token: str) -> TOTPDevice | None:
    """Return the device that shows these digits now and has not shown them to us before."""
    digits = "".join(token.split())
    if not digits:
        return None
    with transaction.atomic():
        device = TOTPDevice.objects.select_for_update().filter(user=user, confirmed=True).first()
        if device is None or (_must_wait(device) and not known_browser(request, user.get_username())):
            return None
        return device if device.verify_token(digits[:20]) else None


def _must_wait(device: TOTPDevice) -> bool:
    """Whether the last of many wrong digits is too recent. The pause grows to five minutes and no further.

    django-otp's own doubles without end, so that whoever has stolen a password could keep its owner out for years.
    """
    excess = device.throttling_failure_count - FREE_GUESSES
    if excess < 0 or device.throttling_failure_timestamp is None:
        return False
    pause = min(2 ** min(excess, 16), _LONGEST_PAUSE)
    return bool((timezone.now() - device.throttling_failure_timestamp).total_seconds() < pause)


# ------------------------------------------------------------------ once more, before what matters
def note_proof(request: HttpRequest) -> None:
    """Remember in the session that both factors were shown just now."""
    request.session[_PROVEN_AT] = time.time()


def ask_again(request: HttpRequest, *, then: str) -> HttpResponse | None:
    """Return a redirect to the page that asks for both factors, and leads to `then`; None if they were shown just now."""
    if time.time() - request.session.get(_PROVEN_AT, 0) < RECENT_SECONDS:
        return None
    return redirect(f"{reverse('admin:prove')}?{urlencode({'next': then})}")
