"""One way to HubSpot's authorize page and back. A browser may be on several at once, each with an end of its own.

A row remembers the attempt, found by the digest of its state and consumed by deleting it. A cookie of its own binds it to
the browser: no session is begun for somebody who has not come back yet, and two tabs never overwrite each other's.
"""

import base64
import datetime as dt
import enum
import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from hubspot_integration.models import OAuthState, PortalMember

LIFETIME: Final = dt.timedelta(minutes=10)
OPEN_AT_ONCE: Final = 10
"""How many attempts a browser may be on; the next one ends the oldest."""


class Purpose(enum.StrEnum):
    """What somebody goes to HubSpot for."""

    INSTALL = "install"
    SIGN_IN = "sign_in"
    CONFIRM = "confirm"


class InstallationError(Exception):
    """An attempt did not succeed. The message is a sentence for the person in front of the browser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What was begun. `return_to` is a path of ours; `portal_id` and `user_id` say who has to come back, for CONFIRM."""

    purpose: Purpose
    verifier: str
    return_to: str
    portal_id: int | None
    user_id: int | None


def begin(
    *, purpose: Purpose, now: dt.datetime, return_to: str = "", member: PortalMember | None = None
) -> tuple[str, str]:
    """Write down an attempt; return its state and the PKCE challenge, for HubSpot's authorize URL."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    OAuthState.objects.create(
        digest=_digest(state),
        code_verifier=verifier,
        created_at=now,
        purpose=purpose.value,
        return_to=return_to,
        expected_portal_id=member.portal_id if member else None,
        expected_user_id=member.hubspot_user_id if member else None,
    )
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return state, challenge


def keep(request: HttpRequest, response: HttpResponseBase, *, state: str, now: dt.datetime) -> None:
    """Bind an attempt to the browser that the response goes to; the oldest ones end where it is on too many."""
    ours = sorted(
        (name for name in request.COOKIES if name.startswith(_prefix())), key=lambda name: request.COOKIES[name]
    )
    oldest = ours[: max(0, len(ours) + 1 - OPEN_AT_ONCE)]
    for name in oldest:
        _let_go(response, name)
    if oldest:
        OAuthState.objects.filter(digest__in=[_digest(_state(request, name)) for name in oldest]).delete()
    response.set_cookie(
        _cookie(state),
        f"{int(now.timestamp() * 1_000_000)}.{state}",
        max_age=LIFETIME,
        secure=bool(settings.SESSION_COOKIE_SECURE),
        httponly=True,
        samesite="Lax",  # HubSpot's redirect back to us must carry it
    )


def take(request: HttpRequest, *, state: str, now: dt.datetime) -> Attempt:
    """Return the attempt that came back with this state, once. Raises InstallationError, having ended no attempt.

    It is consumed by one DELETE that finds a row: of two requests with the same state, one gets it.
    """
    kept = _state(request, _cookie(state))
    if not kept or not secrets.compare_digest(_bytes(kept), _bytes(state)):
        raise InstallationError(
            "This installation link has expired or was opened in another browser. Please start again."
        )
    row = OAuthState.objects.filter(digest=_digest(state), created_at__gte=now - LIFETIME).first()
    if row is None or OAuthState.objects.filter(digest=row.digest).delete()[0] != 1:
        raise InstallationError("This installation link has expired or was used already. Please start again.")
    return Attempt(
        purpose=Purpose(row.purpose),
        verifier=str(row.code_verifier),
        return_to=row.return_to,
        portal_id=row.expected_portal_id,
        user_id=row.expected_user_id,
    )


def let_go(response: HttpResponseBase, *, state: str) -> None:
    """Take the cookie of an attempt that is over from the browser."""
    _let_go(response, _cookie(state))


def delete_expired(*, now: dt.datetime, limit: int) -> int:
    """Delete some attempts that nobody can finish any more; return how many. Call it until that is 0."""
    expired = OAuthState.objects.filter(created_at__lt=now - LIFETIME).order_by("created_at")
    digests = list(expired.values_list("digest", flat=True)[:limit])
    return OAuthState.objects.filter(digest__in=digests).delete()[0]


def _state(request: HttpRequest, cookie: str) -> str:
    return request.COOKIES.get(cookie, "").partition(".")[2]


def _let_go(response: HttpResponseBase, cookie: str) -> None:
    response.delete_cookie(cookie, samesite="Lax")


def _cookie(state: str) -> str:
    return _prefix() + _digest(state)[:16]


def _prefix() -> str:
    # No other host of the operator's, and nobody on an unencrypted line, can plant a cookie of this name (RFC 6265bis, 4.1.3.2).
    return "__Host-opsagent_attempt_" if settings.SESSION_COOKIE_SECURE else "opsagent_attempt_"


def _digest(state: str) -> str:
    return hashlib.sha256(_bytes(state)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
