"""How often somebody may fail to log in: per account, per network, and per browser that staff have logged in with.

django-axes counts and remembers; here stands how much is too much. docs/security.md says what a stranger can do at most.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, get_random_string

from opsagent import callers

PER_NETWORK_AND_ACCOUNT: Final = 5
PER_NETWORK: Final = 20
PER_ACCOUNT: Final = 20
PER_KNOWN_BROWSER: Final = 5

_SALT: Final = "opsagent.staff.browser"
_REMEMBERED_SECONDS: Final = 90 * 24 * 3600
_KNOWN: Final = "→ known browser "  # no header can hold this arrow, so no User-Agent passes for one
Credentials = Mapping[str, Any] | None


def client_address(request: HttpRequest) -> str | None:
    """Return where a request comes from, as failed logins are counted: an IPv4 address, or the first one of an IPv6 /64.

    None means that nobody knows.
    """
    seen = callers.address(request)
    return callers.network(request).partition("/")[0] if seen and ":" in seen else seen


class StaffThrottle(AxesDatabaseHandler):  # type: ignore[misc]  # the package has no types
    """django-axes' counting with limits of our own."""

    def is_locked(self, request: HttpRequest, credentials: Credentials = None) -> bool:
        """Whether an attempt is refused without being looked at.

        An account that many networks fail at stays open to whoever has its second factor. Nobody else is told anything
        about its password: see `opsagent.staff.proof`.
        """
        if _is_known(request, credentials):
            return self._over(request, credentials) >= 0
        *places, account = self._counted(request, credentials)
        is_guessed_at = account >= PER_ACCOUNT and not request.POST.get("otp_token")
        return is_guessed_at or _worst(places) >= 0

    def get_failures(self, request: HttpRequest, credentials: Credentials = None) -> int:
        """Return the failures as axes compares them with AXES_FAILURE_LIMIT, once one more has been counted."""
        return self._over(request, credentials) + int(settings.AXES_FAILURE_LIMIT)

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **more: Any
    ) -> None:
        """Count a failure, under the browser's name if staff have logged in with it before."""
        if request is not None:
            _is_known(request, credentials)
        super().user_login_failed(sender, credentials, request, **more)

    def reset_user_attempts(self, request: HttpRequest, credentials: Credentials = None) -> int:
        """Forget, after a login, what failed from that place and browser: not what others do to the account or network."""
        _is_known(request, credentials)
        from_here, _, of_account = self.filter_user_attempts(request, credentials)
        ours = from_here | of_account.filter(user_agent__startswith=_KNOWN, user_agent=_agent(request))
        deleted, _ = ours.delete()
        return int(deleted)

    def _over(self, request: HttpRequest, credentials: Credentials) -> int:
        """Return by how much the worst count is over its limit; below zero: how much is left."""
        if _is_known(request, credentials):
            of_account = self.get_user_attempts(request, credentials)[-1]
            return _sum(of_account.filter(user_agent=_agent(request))) - PER_KNOWN_BROWSER
        return _worst(self._counted(request, credentials))

    def _counted(self, request: HttpRequest, credentials: Credentials) -> list[int]:
        return [_sum(attempts) for attempts in self.get_user_attempts(request, credentials)]


def _agent(request: HttpRequest) -> str:
    return str(cast("Any", request).axes_user_agent)


def _sum(attempts: QuerySet[AccessAttempt]) -> int:
    return attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0


def _worst(counted: list[int]) -> int:
    """Return the greatest excess; the order is that of AXES_LOCKOUT_PARAMETERS."""
    limits = (PER_NETWORK_AND_ACCOUNT, PER_NETWORK, PER_ACCOUNT)
    return max(failures - limit for failures, limit in zip(counted, limits, strict=False))


# ------------------------------------------------------------------ browsers that staff have logged in with
# As OWASP describes it: what strangers do to an account does not concern the browsers that its owner uses.
# https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies


def remember_browser(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Let this browser's next failures be counted on their own, for 90 days or until the password changes."""
    if known_browser(request, user.get_username()):
        return
    name = {"user": user.pk, "browser": get_random_string(16), "of": _mark(user)}
    response.set_cookie(
        settings.STAFF_BROWSER_COOKIE_NAME,
        signing.dumps(name, salt=_SALT),
        max_age=_REMEMBERED_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )


def known_browser(request: HttpRequest, username: str) -> str:
    """Return a browser's own name if the owner of `username` has logged in with it; else an empty text."""
    cookie = request.COOKIES.get(settings.STAFF_BROWSER_COOKIE_NAME, "")
    try:
        name = signing.loads(cookie, salt=_SALT, max_age=_REMEMBERED_SECONDS) if cookie else {}
    except signing.BadSignature:
        return ""
    user = User.objects.filter(pk=name["user"], username=username).first() if name else None
    if user is None or not constant_time_compare(name["of"], _mark(user)):
        return ""
    return str(name["browser"])


def _mark(user: User) -> str:
    """Return what changes with the password and tells nothing about it."""
    return str(user.get_session_auth_hash())[:16]


def _is_known(request: HttpRequest, credentials: Credentials) -> bool:
    """Whether the account's owner has logged in with this browser; if so it bears its own name, in place of its kind."""
    attempt = cast("Any", request)  # axes has set its own attributes on it
    if not hasattr(attempt, "staff_browser"):
        attempt.staff_browser = known_browser(request, str((credentials or {}).get("username") or ""))
        if attempt.staff_browser:
            attempt.axes_user_agent = f"{_KNOWN}{attempt.staff_browser}"
    return bool(attempt.staff_browser)
