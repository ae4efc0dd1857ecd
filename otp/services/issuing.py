"""Issuing a code: once per request, within the limits, with everything that must be delivered written down."""

import datetime as dt
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings as django_settings
from django.db import IntegrityError, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from opsagent.database import Statements, once_more_when_disconnected, pipelined_transaction
from opsagent.encryption import encrypt
from otp import audit, codes, tasks
from otp.audit import Action, Actor
from otp.codes import CodeType
from otp.counts import CODES_ISSUED
from otp.models import (
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    OneTimeCode,
    OTPSettings,
    ResendPolicy,
    Source,
    new_reference,
)
from otp.services.contact import NotConnected, RequestKeyTaken, checked_address, guard_of, lock_contact, send_lock

log = structlog.get_logger(__name__)

# A completion that overtakes our own answer is lost (https://community.hubspot.com/t5/APIs-Integrations/
# Error-validating-callback-ID/m-p/1025725): HubSpot must have stored the BLOCK first.
COMPLETION_DELAY: Final = dt.timedelta(seconds=2)
COMPLETION_SCOPE: Final = "automation"
_MINUTE: Final = dt.timedelta(minutes=1)
_DAY: Final = dt.timedelta(days=1)


class Limit(enum.StrEnum):
    """A limit on how many codes are made."""

    RESEND_COOLDOWN = "resend_cooldown"
    CONTACT_10_MINUTES = "contact_10_minutes"
    CONTACT_DAY = "contact_day"
    PORTAL_MINUTE = "portal_minute"


class RateLimited(Exception):
    """A limit on codes has been reached. `limit` says which, `retry_at` when the next code can be made."""

    def __init__(self, limit: Limit, retry_at: dt.datetime) -> None:
        super().__init__(limit)
        self.limit = limit
        self.retry_at = retry_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one request wants different from the portal's settings; None means as set."""

    code_type: CodeType | None = None
    code_length: int | None = None
    expiry_minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A code with its deliveries. `repeated`: the request had been answered before; nothing new was made."""

    code: OneTimeCode
    deliveries: list[Delivery]
    repeated: bool

    @property
    def awaits_completion(self) -> bool:
        """Whether a workflow step is to wait until the deliveries have settled."""
        return any(
            delivery.channel == ChannelName.WORKFLOW_COMPLETION and delivery.status == DeliveryStatus.PENDING
            for delivery in self.deliveries
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is asked for. `actor` is who asks; `action` is what the audit log calls it."""

    portal_id: int
    contact_id: int
    address: str
    first_name: str
    language: str
    request_key: str
    source: Source
    workflow_id: str
    callback_id: str | None
    overrides: Overrides
    actor: Actor
    action: Action
    now: dt.datetime


def issue_code(
    *,
    portal_id: int,
    contact_id: int,
    address: str,
    first_name: str,
    language: str,
    request_key: str,
    source: Source,
    workflow_id: str,
    callback_id: str | None,
    overrides: Overrides,
    actor: Actor,
    action: Action = Action.CODE_ISSUED,
    now: dt.datetime,
) -> Issued:
    """Generate a code for a contact and write down what must be delivered, and in the audit log who had it made.

    The same `request_key` gives the same code and no second delivery, however often and however simultaneously it
    comes, and is never limited. The contact's older live codes are superseded unless the portal keeps them. With
    `callback_id` a workflow step can be made to wait; it is then completed no sooner than two seconds after the latest
    call of this function for it.

    Two round trips to the database: one that locks the contact and reads, one that writes and commits.

    Raises NotConnected, MissingAddress, InvalidAddress, RequestKeyTaken, after which nothing has changed, and
    RateLimited, which leaves a line in the audit log.
    """
    request = _Request(
        portal_id=portal_id, contact_id=contact_id, address=address, first_name=first_name, language=language,
        request_key=request_key, source=source, workflow_id=workflow_id, callback_id=callback_id,
        overrides=overrides, actor=actor, action=action, now=now,
    )  # fmt: skip
    try:
        # Safe to do twice: the request key finds what the first time has left.
        outcome = once_more_when_disconnected(lambda: _issue(request))
    except IntegrityError as error:
        # Only a request key in use for another contact gets here: one contact's requests stand in line.
        if "one_code_per_request" in str(error):
            raise RequestKeyTaken from None
        raise
    if isinstance(outcome, RateLimited):
        log.info(
            "code_refused",
            portal_id=portal_id,
            source=source,
            limit=outcome.limit.value,
            retry_at=str(outcome.retry_at),
        )
        raise outcome
    if not outcome.repeated:
        _wake(portal_id, outcome)
        CODES_ISSUED.add(source)
        log.info("code_issued", portal_id=portal_id, reference=str(outcome.code.pk), source=source.value)
    return outcome


def _issue(request: _Request) -> "Issued | RateLimited":
    with pipelined_transaction() as statements:
        lock = send_lock(statements, portal_id=request.portal_id, contact_id=request.contact_id)
        answer = statements.send(_KNOWN, _about(request))
        guard = guard_of(lock)
        known = answer.fetchone()
        if known is None or not known.connected:
            raise NotConnected
        special = known.earlier or known.no_settings or known.portal_limit_minute
        if not special:
            return _make(statements, request, guard, known)
    return _issue_specially(request)


def _issue_specially(request: _Request) -> "Issued | RateLimited":
    """Do the same where a repeated request, a portal without settings or a portal-wide limit asks for more queries."""
    OTPSettings.objects.get_or_create(portal_id=request.portal_id)
    with transaction.atomic():
        guard = lock_contact(portal_id=request.portal_id, contact_id=request.contact_id)
        earlier = OneTimeCode.objects.filter(portal=request.portal_id, request_key=request.request_key).first()
        if earlier is not None:
            if earlier.contact_id != request.contact_id:
                raise RequestKeyTaken
            return _repeat(earlier, request.now)
        refusal = _over_the_portals_limit(request)
        with pipelined_transaction() as statements:
            known = statements.send(_KNOWN, _about(request)).fetchone()
            return _make(statements, request, guard, known, refusal)


# What an issue depends on. `made_at`: when the contact's codes of the last 24 hours were made, the newest first.
_KNOWN: Final = """
    SELECT portal.disconnected_at IS NULL AS connected,
           settings.portal_id IS NULL AS no_settings,
           'automation' = ANY (oauth.scopes) AS may_complete,
           earlier.id IS NOT NULL AS earlier,
           settings.code_type, settings.code_length, settings.expiry_minutes, settings.output_code,
           settings.store_in_property, settings.property_name, settings.send_email, settings.wait_until_delivered,
           settings.resend_policy, settings.contact_limit_10_minutes, settings.contact_limit_day,
           settings.resend_cooldown_seconds, settings.portal_limit_minute,
           made.made_at, made.any_live
    FROM hubspot_integration_portal AS portal
    LEFT JOIN hubspot_integration_oauthgrant AS oauth ON oauth.portal_id = portal.id
    LEFT JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
    LEFT JOIN otp_onetimecode AS earlier
           ON earlier.portal_id = portal.id AND earlier.request_key = %(request_key)s
    CROSS JOIN LATERAL (
        SELECT array_agg(code.created_at ORDER BY code.created_at DESC) AS made_at,
               bool_or(code.ended_at IS NULL AND code.expires_at > %(now)s) AS any_live
        FROM otp_onetimecode AS code
        WHERE code.portal_id = portal.id AND code.contact_id = %(contact_id)s AND code.created_at > %(day_ago)s
    ) AS made
    WHERE portal.id = %(portal_id)s
"""


def _about(request: _Request) -> dict[str, Any]:
    return {
        "portal_id": request.portal_id,
        "contact_id": request.contact_id,
        "request_key": request.request_key,
        "now": request.now,
        "day_ago": request.now - _DAY,
    }


def _make(
    statements: Statements, request: _Request, guard: ContactGuard, known: Any, refusal: RateLimited | None = None
) -> "Issued | RateLimited":
    """Queue the statements that write a new code, or the audit line that says why there is none."""
    address = checked_address(request.address)
    refusal = _over_the_contacts_limits(request, known) or refusal
    if refusal is not None:
        detail = {"limit": refusal.limit.value, "retry_at": refusal.retry_at.isoformat()}
        statements.send(audit.INSERT, _event(request, guard, Action.CODE_REFUSED, detail=detail))
        return refusal
    code = _new_code(request, address, known)
    deliveries = list(_deliveries(code, request, known))
    if known.any_live and known.resend_policy == ResendPolicy.REPLACE:
        statements.send(
            _SUPERSEDE, {"portal_id": request.portal_id, "contact_id": request.contact_id, "now": request.now}
        )
    event = _event(request, guard, request.action, reference=code.pk)
    statements.send(_INSERT, {**event, **_columns(code, address), **_columns_of_deliveries(deliveries)})
    return Issued(code, deliveries, repeated=False)


_SUPERSEDE: Final = """
    UPDATE otp_onetimecode SET ended_at = %(now)s, end_reason = 'superseded', code = NULL
    WHERE portal_id = %(portal_id)s AND contact_id = %(contact_id)s AND ended_at IS NULL AND expires_at > %(now)s
"""
# The code, its deliveries and the audit line, or none of them.
_INSERT: Final = f"""
    WITH code AS (
        INSERT INTO otp_onetimecode (
            id, portal_id, contact_id, request_key, source, workflow_id, address, address_digest, first_name, language,
            code, digest, code_type, code_length, expiry_minutes, outputs_code, created_at, expires_at)
        VALUES (
            %(id)s, %(portal_id)s, %(contact_id)s, %(request_key)s, %(source)s, %(workflow_id)s, %(address)s,
            %(address_digest)s, %(first_name)s, %(language)s, %(code)s, %(digest)s, %(code_type)s, %(code_length)s,
            %(expiry_minutes)s, %(outputs_code)s, %(created_at)s, %(expires_at)s)
    ), delivery AS (
        INSERT INTO otp_delivery (
            code_id, portal_id, channel, target, next_attempt_at, not_before, status, attempts, error)
        SELECT %(id)s, %(portal_id)s, channel, target, next_attempt_at, not_before, 'pending', 0, ''
        FROM unnest(%(channels)s::text[], %(targets)s::text[], %(due)s::timestamptz[], %(not_before)s::timestamptz[])
             AS wanted (channel, target, next_attempt_at, not_before)
    )
    {audit.INSERT}
"""  # noqa: S608 (another statement of ours)


def _new_code(request: _Request, address: str, known: Any) -> OneTimeCode:
    overrides = request.overrides
    code_type = CodeType(overrides.code_type or known.code_type)
    code_length = overrides.code_length or known.code_length
    expiry_minutes = overrides.expiry_minutes or known.expiry_minutes
    return OneTimeCode(
        id=new_reference(),
        portal_id=request.portal_id,
        contact_id=request.contact_id,
        request_key=request.request_key,
        source=request.source,
        workflow_id=request.workflow_id,
        address=address,
        first_name=request.first_name or None,
        language=request.language,
        code=codes.generate(code_type, code_length),
        code_type=code_type,
        code_length=code_length,
        expiry_minutes=expiry_minutes,
        outputs_code=known.output_code,
        created_at=request.now,
        expires_at=request.now + dt.timedelta(minutes=expiry_minutes),
    )


def _columns(code: OneTimeCode, address: str) -> dict[str, Any]:
    pepper, portal_id = django_settings.CODE_PEPPERS[0], code.portal_id
    plain = code.code or ""
    return {
        "id": code.pk,
        "portal_id": portal_id,
        "contact_id": code.contact_id,
        "request_key": code.request_key,
        "source": code.source,
        "workflow_id": code.workflow_id,
        "address": encrypt(address),
        "address_digest": codes.address_digests(peppers=(pepper,), portal_id=portal_id, address=address)[0],
        "first_name": encrypt(code.first_name) if code.first_name else None,
        "language": code.language,
        "code": encrypt(plain),
        "digest": codes.digest(
            pepper=pepper, portal_id=portal_id, contact_id=code.contact_id, address=address, code=plain
        ),
        "code_type": code.code_type,
        "code_length": code.code_length,
        "expiry_minutes": code.expiry_minutes,
        "outputs_code": code.outputs_code,
        "created_at": code.created_at,
        "expires_at": code.expires_at,
    }


def _deliveries(code: OneTimeCode, request: _Request, known: Any) -> Iterator[Delivery]:
    if known.store_in_property:
        yield _delivery(code, ChannelName.CONTACT_PROPERTY, known.property_name, request.now)
    if known.send_email:
        yield _delivery(code, ChannelName.EMAIL, "", request.now)
    anything = known.store_in_property or known.send_email
    if anything and request.callback_id and known.wait_until_delivered and known.may_complete:
        # Due when the others have settled (otp.delivery sees to it), at the latest when the code expires.
        completion = _delivery(code, ChannelName.WORKFLOW_COMPLETION, request.callback_id, code.expires_at)
        completion.not_before = request.now + COMPLETION_DELAY
        yield completion


def _delivery(code: OneTimeCode, channel: ChannelName, target: str, due: dt.datetime) -> Delivery:
    return Delivery(code=code, portal_id=code.portal_id, channel=channel, target=target, next_attempt_at=due)


def _columns_of_deliveries(deliveries: list[Delivery]) -> dict[str, Any]:
    return {
        "channels": [delivery.channel for delivery in deliveries],
        "targets": [delivery.target for delivery in deliveries],
        "due": [delivery.next_attempt_at for delivery in deliveries],
        "not_before": [delivery.not_before for delivery in deliveries],
    }


def _event(request: _Request, guard: ContactGuard, action: Action, **more: Any) -> dict[str, Any]:
    return audit.columns(
        portal_id=request.portal_id, at=request.now, actor=request.actor, action=action, contact=guard.pseudonym, **more
    )


def _over_the_contacts_limits(request: _Request, known: Any) -> RateLimited | None:
    """Return the limit that a code made now would break, the one that holds longest. The contact is locked by then."""
    limits = [
        (Limit.CONTACT_10_MINUTES, known.contact_limit_10_minutes, 10 * _MINUTE),
        (Limit.CONTACT_DAY, known.contact_limit_day, _DAY),
    ]
    if request.source is Source.CARD:
        limits.append((Limit.RESEND_COOLDOWN, 1, dt.timedelta(seconds=known.resend_cooldown_seconds)))
    made_at = known.made_at or []
    reached = [
        (made_at[allowed - 1] + period, limit)
        for limit, allowed, period in limits
        if len(made_at) >= allowed and made_at[allowed - 1] + period > request.now
    ]
    if not reached:
        return None
    retry_at, limit = max(reached)
    return RateLimited(limit, retry_at)


def _over_the_portals_limit(request: _Request) -> RateLimited | None:
    """Return the portal-wide limit, if it is reached.

    Only in a portal that has one do contacts wait for each other: it is counted exactly, or not at all.
    """
    settings = OTPSettings.objects.select_for_update(no_key=True).get(portal=request.portal_id)
    if settings.portal_limit_minute is None:
        return None
    last = settings.portal_limit_minute - 1
    crowd = OneTimeCode.objects.filter(portal=request.portal_id, created_at__gt=request.now - _MINUTE)
    created_at = crowd.order_by("-created_at").values_list("created_at", flat=True)[last : last + 1].first()
    return None if created_at is None else RateLimited(Limit.PORTAL_MINUTE, created_at + _MINUTE)


def _repeat(code: OneTimeCode, now: dt.datetime) -> Issued:
    """Answer a request again; a completion that is still to come waits for this answer too."""
    Delivery.objects.filter(code=code, channel=ChannelName.WORKFLOW_COMPLETION, status=DeliveryStatus.PENDING).update(
        not_before=now + COMPLETION_DELAY,
        next_attempt_at=Greatest(F("next_attempt_at"), Value(now + COMPLETION_DELAY)),
    )
    return Issued(code, list(code.deliveries.all()), repeated=True)


def _wake(portal_id: int, issued: Issued) -> None:
    channels = [one.channel for one in issued.deliveries if one.channel != ChannelName.WORKFLOW_COMPLETION]
    if not channels:
        return

    def wake() -> None:
        tasks.wake(portal_id, *channels)

    # A named function, not a partial: Django 5.2 formats the name of a robust callback that fails.
    transaction.on_commit(wake, robust=True)
