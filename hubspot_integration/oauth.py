"""Installing the app in a portal, and the tokens that come of it.

Source: https://developers.hubspot.com/docs/api-reference/latest/authentication/manage-oauth-tokens
"""

import datetime as dt
import enum
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.urls import reverse
from django.utils import timezone

from hubspot_integration import attempts, transport, zones
from hubspot_integration.attempts import Attempt, InstallationError, Purpose
from hubspot_integration.models import OAuthGrant, Portal, PortalMember
from hubspot_integration.signals import portal_connected, portal_disconnected
from hubspot_integration.transport import HubSpotError
from opsagent.metrics import Counter

log = structlog.get_logger(__name__)

# Each class goes into its own parameter of the authorize URL; a scope in the wrong one blocks the installation.
REQUIRED_SCOPES: Final = ("oauth", "crm.objects.contacts.read", "crm.objects.contacts.write")
OPTIONAL_SCOPES: Final = ("automation", "crm.schemas.contacts.write")

_LONGEST_ZONE: Final = 64
# HubSpot asks for a refresh before the token ends, not after a 401.
REFRESH_MARGIN: Final = dt.timedelta(minutes=5)
LOOK_EVERY: Final = dt.timedelta(hours=1)
_LOCK_NOT_AVAILABLE: Final = "55P03"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
_FAREWELL_TIMEOUT: Final = 5.0
REFRESHES: Final = Counter(
    "opsagent_token_refreshes_total", "Refreshes of a portal's token: done, or why HubSpot refused.", ("outcome",)
)


class NotInstalled(Exception):
    """Somebody signed in to a portal that the app is not installed in. `portal_name` is what HubSpot calls it."""

    def __init__(self, portal_name: str) -> None:
        super().__init__("The app is not installed in this portal")
        self.portal_name = portal_name


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


def redirect_uri() -> str:
    """Return the callback address as HubSpot knows it."""
    return str(settings.PUBLIC_BASE_URL) + reverse("hubspot_oauth_callback")


def begin(
    *, purpose: Purpose, now: dt.datetime, return_to: str = "", member: PortalMember | None = None
) -> tuple[str, str]:
    """Begin an attempt; return HubSpot's authorize URL and the attempt's state.

    With `member` nobody else can finish it, and HubSpot's page proposes that member's account.
    """
    state, challenge = attempts.begin(purpose=purpose, now=now, return_to=return_to, member=member)
    query = {
        "client_id": settings.HUBSPOT_CLIENT_ID,
        "redirect_uri": redirect_uri(),
        "scope": " ".join(REQUIRED_SCOPES),
        "optional_scope": " ".join(OPTIONAL_SCOPES),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    account = f"/{member.portal_id}" if member else ""
    return f"{settings.HUBSPOT_APP_BASE_URL}/oauth/authorize{account}?{urlencode(query, quote_via=quote)}", state


def finish(*, attempt: Attempt, code: str) -> PortalMember:
    """Exchange the authorization code and do what the browser went for; return who came back.

    An installation stores the portal, its tokens and its installer. Signing in and confirming store only that somebody
    came: the portal keeps its tokens. Raises InstallationError, when somebody else came back to confirm too, and
    NotInstalled for whoever signs in to a portal that is not connected.
    """
    now = timezone.now()
    try:
        token = _token_request(
            grant_type="authorization_code", code=code, redirect_uri=redirect_uri(), code_verifier=attempt.verifier
        )
        facts = _introspect(token["access_token"])
    except HubSpotError as error:
        refusal = classify(error, refreshing=False)
        log.warning("installation_refused", refusal=refusal.value, status=error.status, words=sorted(error.words))
        raise InstallationError(_INSTALLATION_SENTENCES[refusal]) from None
    portal_id, user_id = facts.get("hub_id") or token.get("hub_id"), facts.get("user_id") or token.get("user_id")
    if not isinstance(portal_id, int) or not isinstance(user_id, int):
        raise InstallationError("HubSpot did not say which account was connected. Please start again.")
    person = {"email": str(facts.get("user") or "")[:254], "signed_in_at": now, "last_seen_at": now}
    if attempt.purpose is Purpose.INSTALL:
        return _install(portal_id, user_id, person, token, facts, now)
    if attempt.purpose is Purpose.CONFIRM:
        return _confirm(attempt, portal_id, user_id, person)
    portal = Portal.objects.connected().filter(id=portal_id).first()
    if portal is None:
        raise NotInstalled(str(facts.get("hub_domain") or portal_id)[:255])
    member, _ = PortalMember.objects.update_or_create(portal=portal, hubspot_user_id=user_id, defaults=person)
    log.info("signed_in", portal_id=portal.id)
    return member


def _confirm(attempt: Attempt, portal_id: int, user_id: int, person: Mapping[str, Any]) -> PortalMember:
    """Note that a member has come back from HubSpot. Raises InstallationError when it was somebody else."""
    if (portal_id, user_id) != (attempt.portal_id, attempt.user_id):
        raise InstallationError(
            f"HubSpot answered for {person['email'] or 'another user'} in account {portal_id}, and not for whoever is signed "
            "in here. Nothing was changed. Try again, and choose the same account and user at HubSpot."
        )
    members = PortalMember.objects.filter(portal_id=portal_id, hubspot_user_id=user_id)
    members.update(**person)
    member = members.first()
    if member is None:  # taken off the list while they were at HubSpot, or in this very moment
        raise InstallationError("Your access to these settings has been ended, so nothing was changed. Sign in again.")
    log.info("identity_confirmed", portal_id=portal_id)
    return member


def _install(
    portal_id: int,
    user_id: int,
    person: Mapping[str, Any],
    token: Mapping[str, Any],
    facts: Mapping[str, Any],
    now: dt.datetime,
) -> PortalMember:
    scopes = token.get("scopes") or facts.get("scopes") or []
    details = _account_details(token["access_token"])
    with transaction.atomic():
        portal, _ = Portal.objects.update_or_create(
            id=portal_id,
            defaults={
                "hub_domain": str(facts.get("hub_domain") or "")[:255],
                "ui_domain": str(details.get("uiDomain") or "app.hubspot.com")[:255],
                "time_zone": _zone(details.get("timeZone")),
                "account_type": str(details.get("accountType") or "")[:32],
                "installed_at": now,
                "disconnected_at": None,
            },
        )
        OAuthGrant.objects.update_or_create(portal=portal, defaults={**_grant_fields(token, now), "scopes": scopes})
        portal.refused_features.all().delete()
        member, _ = PortalMember.objects.update_or_create(portal=portal, hubspot_user_id=user_id, defaults=person)
        portal.installed_by = member
        portal.save(update_fields=["installed_by"])
    portal_connected.send(sender=Portal, portal=portal, scopes=set(scopes), member=member)
    log.info("portal_connected", portal_id=portal.id, scopes=scopes)
    return member


def _zone(name: object) -> str:
    """Return the name of the portal's time zone; UTC for what is none."""
    return name if isinstance(name, str) and len(name) <= _LONGEST_ZONE and zones.named(name) else "UTC"


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
        token = _token_request(deadline=deadline, grant_type="refresh_token", refresh_token=grant.refresh_token)
        for field, value in _grant_fields(token, now, keep_refresh_token=grant.refresh_token).items():
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


def refusal_of_an_unknown_token() -> Refusal:
    """Ask the token endpoint to refresh a token that nobody has; return why it refuses.

    REVOKED: it knew us, and looked at the token. CONFIGURATION: it did not know us. TRANSIENT: no answer.
    """
    try:
        _token_request(grant_type="refresh_token", refresh_token=str(uuid4()))
    except HubSpotError as error:
        return classify(error, refreshing=True)
    return Refusal.CONFIGURATION  # whoever accepts any token is not HubSpot


def introspect(portal_id: int) -> dict[str, Any]:
    """Return what HubSpot says of a portal's access token, `app_id` and `scopes` among it. Raises HubSpotError."""
    return _introspect(access_token_for(portal_id))


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


def notice_uninstalls(*, now: dt.datetime) -> None:
    """Refresh tokens that nobody has needed for an hour: HubSpot tells of an uninstall in no other way.

    Stops at the first refusal that says nothing about the portal; whatever stands in the way, it is in everybody's.
    """
    idle = OAuthGrant.objects.filter(refreshed_at__lt=now - LOOK_EVERY).order_by("refreshed_at")
    for portal_id in idle.values_list("portal_id", flat=True):
        try:
            access_token_for(portal_id)
        except NotConnected:
            continue
        except HubSpotError:
            return


def disconnect(portal_id: int, *, asked_by: str, by_staff: bool = False) -> bool:
    """Uninstall the app from a portal, on both sides; return whether HubSpot's side is known to be done.

    `asked_by` and `by_staff` say who wants it, as in `mark_disconnected`. Whatever HubSpot answers, if it answers, our side
    is disconnected and holds no token afterwards; where HubSpot's side is not done, the admin removes the app there.
    Source: https://developers.hubspot.com/changelog/app-listing-and-app-certification-requirement-updates-for-may-2026
    """
    grant = OAuthGrant.objects.filter(portal_id=portal_id).first()
    uninstalled = grant is not None and _uninstall(portal_id)
    if grant is not None:
        _revoke(grant.refresh_token)
    mark_disconnected(portal_id, asked_by=asked_by, by_staff=by_staff)
    return uninstalled


def _uninstall(portal_id: int) -> bool:
    try:
        transport.call(
            "DELETE",
            f"/appinstalls/{settings.HUBSPOT_API_VERSION}/external-install",
            token=access_token_for(portal_id),
            timeout=_FAREWELL_TIMEOUT,
        )
    except NotConnected:  # uninstalled there already: that is how the refresh was refused
        return True
    except HubSpotError as error:
        log.warning("uninstall_refused", portal_id=portal_id, status=error.status, reason=error.reason)
        return False
    return True


def _revoke(refresh_token: str) -> None:
    """Make a refresh token worthless; after an uninstall it is that already, and HubSpot may well say so."""
    try:
        transport.call(
            "POST",
            f"/oauth/{settings.HUBSPOT_API_VERSION}/token/revoke",
            form={
                "client_id": settings.HUBSPOT_CLIENT_ID,
                "client_secret": settings.HUBSPOT_CLIENT_SECRETS[0],
                "token": refresh_token,
                "token_type_hint": "refresh_token",
            },
            timeout=_FAREWELL_TIMEOUT,
        )
    except HubSpotError as error:
        log.info("revocation_refused", status=error.status, reason=error.reason)


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
_INSTALLATION_SENTENCES: Final = {
    Refusal.CODE: "This installation link has expired. Please start again.",
    Refusal.REVOKED: "HubSpot refused the connection. Please start again.",
    Refusal.CONFIGURATION: (
        "HubSpot does not accept this app's credentials. Please tell the operator of this app; nothing was changed."
    ),
    Refusal.TRANSIENT: "HubSpot did not answer in time. Please start again in a minute.",
}


def _token_request(*, deadline: float = transport.NO_HURRY, **form: str) -> dict[str, Any]:
    """Call the token endpoint with the current client secret and, if HubSpot does not know it, once with the next.

    All of it is over at `deadline`.
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


def _introspect(access_token: str) -> dict[str, Any]:
    answer = transport.call(
        "POST",
        f"/oauth/{settings.HUBSPOT_API_VERSION}/token/introspect",
        form={
            "client_id": settings.HUBSPOT_CLIENT_ID,
            "client_secret": settings.HUBSPOT_CLIENT_SECRETS[0],
            "token": access_token,
            "token_type_hint": "access_token",
        },
    )
    return answer if isinstance(answer, dict) else {}


def _account_details(access_token: str) -> dict[str, Any]:
    try:
        answer = transport.call(
            "GET", f"/account-info/{settings.HUBSPOT_API_VERSION}/details", token=access_token, timeout=3.0
        )
    except HubSpotError as error:  # some accounts refuse it (403): the portal then counts in UTC
        log.info("account_details_unavailable", status=error.status)
        return {}
    return answer if isinstance(answer, dict) else {}


def _grant_fields(token: Mapping[str, Any], now: dt.datetime, *, keep_refresh_token: str = "") -> dict[str, Any]:
    lifetime = token.get("expires_in")
    return {
        "access_token": token["access_token"],
        # HubSpot may send a new one: the latest counts; it may send none: the old one stays.
        "refresh_token": token.get("refresh_token") or keep_refresh_token,
        "expires_at": now + dt.timedelta(seconds=lifetime if isinstance(lifetime, int) else 1800),
        "refreshed_at": now,
    }
