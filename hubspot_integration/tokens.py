"""The tokens of a portal: kept fresh under a lock, one refresh whoever asks, and gone when the connection ends.

Source: https://developers.hubspot.com/docs/api-reference/latest/authentication/manage-oauth-tokens
"""

import datetime as dt
import enum
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from hubspot_integration import transport
from hubspot_integration.models import OAuthGrant, Portal
from hubspot_integration.signals import portal_disconnected
from hubspot_integration.transport import HubSpotError
from opsagent.metrics import Counter

log = structlog.get_logger(__name__)

# HubSpot asks for a refresh before the token ends, not after a 401.
REFRESH_MARGIN: Final = dt.timedelta(minutes=5)
_LOCK_NOT_AVAILABLE: Final = "55P03"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
_USUAL_LIFETIME: Final = 1800
_LONGEST_LIFETIME: Final = 24 * 3600
"""Seconds of an access token; what HubSpot says beyond that is no lifetime."""
REFRESHES: Final = Counter(
    "opsagent_token_refreshes_total", "Refreshes of a portal's token: done, or why HubSpot refused.", ("outcome",)
)


class NotConnected(HubSpotError):
    """The app is not installed in the portal (any more): no call is possible until it is connected again."""

    def __init__(self) -> None:
        super().__init__("The portal is not connected", permanent=True, words=["NOT_CONNECTED"])


class Refusal(enum.Enum):
    """Why the token endpoint said no: only `REVOKED` says anything about the portal."""

    REVOKED = "revoked"
    CONFIGURATION = "configuration"
    CODE = "code"
    TRANSIENT = "transient"


def access_token_for(portal_id: int, *, refused: str | None = None, deadline: float = transport.NO_HURRY) -> str:
    """Return an access token of a portal, refreshed when it ends within five minutes.

    One refresh at a time per portal: whoever comes second waits on the row lock and reads the result. `refused` is a
    token that HubSpot has just answered 401 to; while it is still the stored one, it is refreshed whatever its age.
    `deadline`: when somebody in front of a screen wants the answer at the latest (of `time.monotonic`).
    Raises NotConnected when the portal has no tokens or HubSpot refused them as revoked (it is then disconnected),
    HubSpotError with `permanent=False` for every other failure: a wrong client secret disconnects nobody.
    """
    now = timezone.now()
    grant = OAuthGrant.objects.filter(portal_id=portal_id).first()
    if grant is None:
        raise NotConnected
    if grant.is_fresh(now, REFRESH_MARGIN) and grant.access_token != refused:
        return str(grant.access_token)
    try:
        return _refresh(portal_id, refused=refused, deadline=deadline)
    except OAuthGrant.DoesNotExist:
        raise NotConnected from None
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise HubSpotError("Another process is still refreshing the portal's token", permanent=False) from None
    except HubSpotError as error:
        refusal = classify(error, refreshing=True)
        REFRESHES.add(refusal.value)
        log.warning("refresh_refused", portal_id=portal_id, refusal=refusal.value, status=error.status)
        if refusal is Refusal.REVOKED:
            mark_disconnected(portal_id)
            raise NotConnected from None
        if grant.is_fresh(now) and grant.access_token != refused:
            return str(grant.access_token)
        raise HubSpotError(
            f"The portal's token could not be refreshed: {refusal.value}",
            permanent=False,
            status=error.status,
            retry_after=error.retry_after,
        ) from None


def _refresh(portal_id: int, *, refused: str | None, deadline: float) -> str:
    with transaction.atomic():
        _wait_no_longer_than(deadline)
        grant = OAuthGrant.objects.select_for_update().get(portal_id=portal_id)
        now = timezone.now()
        if grant.is_fresh(now, REFRESH_MARGIN) and grant.access_token != refused:
            return str(grant.access_token)
        token = request_tokens(deadline=deadline, grant_type="refresh_token", refresh_token=grant.refresh_token)
        for field, value in grant_fields(token, now, keep_refresh_token=grant.refresh_token).items():
            setattr(grant, field, value)
        grant.save()
        REFRESHES.add("done")
        return str(grant.access_token)


def _wait_no_longer_than(deadline: float) -> None:
    """Let the transaction's next lock be waited for until the deadline only."""
    if deadline < transport.NO_HURRY:
        milliseconds = max(1, int((deadline - time.monotonic()) * 1000))
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])


def mark_disconnected(portal_id: int, *, asked_by: str = "", by_staff: bool = False) -> None:
    """Record that the app is no longer installed and wipe the tokens. Does nothing the second time.

    `asked_by`: the e-mail address of the admin who wanted it, or with `by_staff` the user name of somebody in support
    staff; empty when HubSpot ended the connection.
    """
    with transaction.atomic():
        changed = Portal.objects.connected().filter(id=portal_id).update(disconnected_at=timezone.now())
        OAuthGrant.objects.filter(portal_id=portal_id).delete()
    if changed:
        log.warning("portal_disconnected", portal_id=portal_id)
        portal_disconnected.send(
            sender=Portal, portal=Portal.objects.get(id=portal_id), asked_by=asked_by, by_staff=by_staff
        )


def refusal_of_an_unknown_token() -> Refusal:
    """Ask the token endpoint to refresh a token that nobody has; return why it refuses.

    REVOKED: it knew us, and looked at the token. CONFIGURATION: it did not know us. TRANSIENT: no answer.
    """
    try:
        request_tokens(grant_type="refresh_token", refresh_token=str(uuid4()))
    except HubSpotError as error:
        return classify(error, refreshing=True)
    return Refusal.CONFIGURATION  # whoever accepts any token is not HubSpot


def classify(error: HubSpotError, *, refreshing: bool) -> Refusal:
    """Tell why the token endpoint refused. Unknown refusals count as configuration: they never disconnect a portal."""
    if not error.permanent:
        return Refusal.TRANSIENT
    if not refreshing and error.words & {"INVALID_GRANT", "BAD_AUTH_CODE", "BAD_CODE_VERIFIER"}:
        return Refusal.CODE
    if error.words & _CONFIGURATION_WORDS:
        return Refusal.CONFIGURATION
    if refreshing and error.words & {"INVALID_GRANT", "BAD_REFRESH_TOKEN", "BAD_HUB", "ACCESS_DENIED"}:
        return Refusal.REVOKED
    return Refusal.CONFIGURATION


_CONFIGURATION_WORDS: Final = frozenset(
    {
        "INVALID_CLIENT", "UNAUTHORIZED_CLIENT", "UNSUPPORTED_GRANT_TYPE", "INVALID_REQUEST", "BAD_CLIENT_ID",
        "BAD_CLIENT_SECRET", "BAD_GRANT_TYPE", "BAD_REDIRECT_URI", "BAD_SCOPES",
    }
)  # fmt: skip


def request_tokens(*, deadline: float = transport.NO_HURRY, **form: str) -> dict[str, Any]:
    """Call the token endpoint with the current client secret and, if HubSpot does not know it, once with the next.

    All of it is over at `deadline`. Raises HubSpotError.
    """
    secrets_to_try = settings.HUBSPOT_CLIENT_SECRETS[:2]
    for position, client_secret in enumerate(secrets_to_try, start=1):
        try:
            answer = transport.call(
                "POST",
                f"/oauth/{settings.HUBSPOT_API_VERSION}/token",
                form={**form, "client_id": settings.HUBSPOT_CLIENT_ID, "client_secret": client_secret},
                timeout=transport.time_left(deadline),
            )
        except HubSpotError as error:
            if position < len(secrets_to_try) and error.words & {"BAD_CLIENT_SECRET", "INVALID_CLIENT"}:
                log.warning("client_secret_refused", position=position)
                continue
            raise
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise HubSpotError("HubSpot's token answer holds no token", permanent=False)
        return answer
    raise AssertionError("unreachable: the settings hold at least one client secret")


def introspect(access_token: str) -> dict[str, Any]:
    """Return what HubSpot says of an access token, `app_id` and `scopes` among it. Raises HubSpotError."""
    answer = transport.call(
        "POST",
        f"/oauth/{settings.HUBSPOT_API_VERSION}/token/introspect",
        form=form_about(access_token, "access_token"),
    )
    return answer if isinstance(answer, dict) else {}


def form_about(token: str, kind: str) -> dict[str, str]:
    """Return what HubSpot wants to know from whoever speaks of a token: who we are, and which token of which kind."""
    return {
        "client_id": settings.HUBSPOT_CLIENT_ID,
        "client_secret": settings.HUBSPOT_CLIENT_SECRETS[0],
        "token": token,
        "token_type_hint": kind,
    }


def grant_fields(token: Mapping[str, Any], now: dt.datetime, *, keep_refresh_token: str = "") -> dict[str, Any]:
    """Return what a grant holds of the token endpoint's answer at `now`."""
    lifetime, renewed = token.get("expires_in"), token.get("refresh_token")
    seconds = lifetime if isinstance(lifetime, int) and 0 < lifetime <= _LONGEST_LIFETIME else _USUAL_LIFETIME
    return {
        "access_token": token["access_token"],
        # HubSpot may send a new one: the latest counts; it may send none: the old one stays.
        "refresh_token": renewed if isinstance(renewed, str) and renewed else keep_refresh_token,
        "expires_at": now + dt.timedelta(seconds=seconds),
        "refreshed_at": now,
    }
