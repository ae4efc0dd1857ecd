"""Issuing a code: once per request, within the limits, with everything that must be delivered written down."""

import datetime as dt
import enum
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import structlog
from django.conf import settings as django_settings
from django.db import IntegrityError, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from opsagent.database import execute
from opsagent.encryption import bound_to, encrypt
from otp import audit, codes, tasks
from otp.audit import Action, Actor, Event
from otp.codes import CodeType
from otp.counts import CODES_ISSUED
from otp.models import (
    ChannelName,
    Delivery,
    DeliveryStatus,
    OneTimeCode,
    OTPSettings,
    ResendPolicy,
    Source,
    new_reference,
)
from otp.services.contact import (
    CLAIM,
    InvalidAddress,
    MissingAddress,
    NotConnected,
    Overtaken,
    RequestKeyTaken,
    checked_address,
    claim_as_read,
    lock_contact,
    read_decide_write,
)

log = structlog.get_logger(__name__)

# A completion that overtakes our own answer is lost (https://community.hubspot.com/t5/APIs-Integrations/
# Error-validating-callback-ID/m-p/1025725): HubSpot must have stored the BLOCK first.
COMPLETION_DELAY: Final = dt.timedelta(seconds=2)
COMPLETION_SCOPE: Final = "automation"
_TABLE: Final = OneTimeCode._meta.db_table  # noqa: SLF001 (Django's public way to a table)
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


class PlannedDelivery(NamedTuple):
    """A delivery that was just written down."""

    channel: ChannelName
    target: str
    due: dt.datetime
    not_before: dt.datetime | None = None
    status: DeliveryStatus = DeliveryStatus.PENDING


@dataclass(frozen=True, slots=True)
class Issued:
    """A code with its deliveries. `repeated`: the request had been answered before; nothing new was made."""

    code: OneTimeCode
    deliveries: Sequence[Delivery | PlannedDelivery]
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

    Costs one round trip to the database for a contact's first code in 24 hours; two otherwise, one to read and one to
    write.

    Raises NotConnected, MissingAddress, InvalidAddress, RequestKeyTaken, after which nothing has changed, and
    RateLimited, which leaves a line in the audit log.
    """
    request = _Request(
        portal_id=portal_id, contact_id=contact_id, address=address, first_name=first_name, language=language,
        request_key=request_key, source=source, workflow_id=workflow_id, callback_id=callback_id,
        overrides=overrides, actor=actor, action=action, now=now,
    )  # fmt: skip

    try:
        outcome = read_decide_write(lambda: _issue(request), portal_id=portal_id, contact_id=contact_id)
    except IntegrityError as error:
        # Only a request key in use for another contact gets here: one contact's requests stand in line.
        if "one_code_per_request" in str(error):
            raise RequestKeyTaken from None
        raise
    if isinstance(outcome, RateLimited):
        log.info(
            "code_refused",
            portal_id=portal_id,
            source=source.value,
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
    as_remembered = _portals.get(request.portal_id)
    if as_remembered is not None:
        try:
            return _make(request, as_remembered, first_of_the_day=True)
        except (Overtaken, MissingAddress, InvalidAddress):
            pass  # it is not as simple as that, or not as remembered
    known = _read(request)
    if known is None or not known.connected:
        raise NotConnected
    if known.earlier is not None:
        return _repeat(request, known.earlier)
    if known.code_type is None:  # a portal that was connected without its settings being made
        OTPSettings.objects.get_or_create(portal_id=request.portal_id)
        raise Overtaken
    if known.portal_limit_minute is None:
        _remember(request.portal_id, known)
        return _make(request, known)
    _portals.pop(request.portal_id, None)
    with transaction.atomic():
        # Only in a portal with a ceiling do contacts wait for each other: it is counted exactly, or not at all. The contact
        # is locked first, as everywhere, so that nobody waits in a circle; what was read before may be history by now.
        lock_contact(portal_id=request.portal_id, contact_id=request.contact_id)
        OTPSettings.objects.select_for_update(no_key=True).get(portal=request.portal_id)
        known = _read(request)
        if known.earlier is not None:
            return _repeat(request, known.earlier)
        return _make(request, known, refusal=_over_the_portals_limit(request, known.portal_limit_minute))


# What an issue depends on. `made_at`: when the contact's codes of the last 24 hours were made, the newest first.
_READ: Final = """
    SELECT portal.disconnected_at IS NULL AS connected,
           %(completion_scope)s = ANY (oauth.scopes) AS may_complete,
           earlier.id AS earlier,
           settings.version AS settings_version,
           settings.code_type, settings.code_length, settings.expiry_minutes, settings.output_code,
           settings.store_in_property, settings.property_name, settings.send_email, settings.wait_until_delivered,
           settings.resend_policy, settings.contact_limit_10_minutes, settings.contact_limit_day,
           settings.resend_cooldown_seconds, settings.portal_limit_minute,
           guard.id AS guard_id, guard.version, guard.wrong_attempts, guard.lock_count, guard.locked_until,
           made.made_at
    FROM hubspot_integration_portal AS portal
    LEFT JOIN hubspot_integration_oauthgrant AS oauth ON oauth.portal_id = portal.id
    LEFT JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
    LEFT JOIN otp_contactguard AS guard ON guard.portal_id = portal.id AND guard.contact_id = %(contact_id)s
    LEFT JOIN otp_onetimecode AS earlier
           ON earlier.portal_id = portal.id AND earlier.request_key = %(request_key)s
    CROSS JOIN LATERAL (
        SELECT array_agg(code.created_at ORDER BY code.created_at DESC) AS made_at
        FROM otp_onetimecode AS code
        WHERE code.portal_id = portal.id AND code.contact_id = %(contact_id)s AND code.created_at > %(day_ago)s
    ) AS made
    WHERE portal.id = %(portal_id)s
"""


def _read(request: _Request) -> Any:
    return execute(
        _READ,
        {
            "portal_id": request.portal_id,
            "contact_id": request.contact_id,
            "request_key": request.request_key,
            "day_ago": request.now - _DAY,
            "completion_scope": COMPLETION_SCOPE,
        },
    ).fetchone()


# What this process last read of portals, without anything about a contact: enough to make a contact's first code of the
# day at once. The statement that writes it makes sure that nothing has changed since.
_portals: Final[dict[int, Any]] = {}
_PORTALS_REMEMBERED: Final = 1000


def _remember(portal_id: int, known: Any) -> None:
    if len(_portals) >= _PORTALS_REMEMBERED:
        _portals.clear()
    _portals[portal_id] = known._replace(
        guard_id=None, version=None, wrong_attempts=None, lock_count=None, locked_until=None, made_at=None
    )


def _make(
    request: _Request, known: Any, *, refusal: RateLimited | None = None, first_of_the_day: bool = False
) -> "Issued | RateLimited":
    """Write a new code, or the audit line that says why there is none. Raises Overtaken.

    With `first_of_the_day` nothing was read: it is the statement that makes sure that this is a new request of a contact
    who was given no code for a day, in a portal that is as `known` says.
    """
    address = checked_address(request.address)
    if first_of_the_day:
        claim = _claim_at_once(request, known)
    else:
        claim = claim_as_read(request.portal_id, request.contact_id, known)
    refusal = _over_the_contacts_limits(request, known) or refusal
    if refusal is not None:
        detail = {"limit": refusal.limit.value, "retry_at": refusal.retry_at.isoformat()}
        event = Event(Action.CODE_REFUSED, detail=detail)
        written = execute(_REFUSE, claim | _event_columns(request, event))
        if not written.rowcount:
            raise Overtaken
        return refusal
    code = _new_code(request, address, known)
    deliveries = list(_deliveries(code, request, known))
    written = execute(
        _writing(
            _CLAIM_AT_ONCE if first_of_the_day else CLAIM,
            supersedes=bool(known.made_at) and known.resend_policy == ResendPolicy.REPLACE,
            deliveries=len(deliveries),
        ),
        claim
        | _code_columns(code)
        | _delivery_columns(deliveries)
        | _event_columns(request, Event(request.action, code.pk)),
    )
    if not written.rowcount:
        raise Overtaken
    return Issued(code, deliveries, repeated=False)


# In place of CLAIM: what would have been read first is a condition here, and the guard's version is compared with the one
# that this very statement saw, so that of several at once one alone finds its row.
_CLAIM_AT_ONCE: Final = """
    seen AS (
        SELECT guard.id, guard.version
        FROM hubspot_integration_portal AS portal
        JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
        LEFT JOIN hubspot_integration_oauthgrant AS oauth ON oauth.portal_id = portal.id
        LEFT JOIN otp_contactguard AS guard ON guard.portal_id = portal.id AND guard.contact_id = %(contact_id)s
        WHERE portal.id = %(portal_id)s AND portal.disconnected_at IS NULL
          AND settings.version = %(settings_version)s
          AND (%(completion_scope)s = ANY (oauth.scopes)) IS NOT DISTINCT FROM %(may_complete)s::boolean
          AND NOT EXISTS (
              SELECT FROM otp_onetimecode
              WHERE portal_id = %(portal_id)s AND contact_id = %(contact_id)s AND created_at > %(day_ago)s)
          AND NOT EXISTS (
              SELECT FROM otp_onetimecode WHERE portal_id = %(portal_id)s AND request_key = %(request_key)s)
    ),
    guard AS (
        INSERT INTO otp_contactguard AS guard (portal_id, contact_id) SELECT %(portal_id)s, %(contact_id)s FROM seen
        ON CONFLICT (portal_id, contact_id) DO UPDATE SET version = guard.version + 1
        WHERE (guard.id, guard.version) = (SELECT id, version FROM seen)
        RETURNING guard.pseudonym
    )
"""


def _claim_at_once(request: _Request, known: Any) -> dict[str, Any]:
    return {
        "settings_version": known.settings_version,
        "may_complete": known.may_complete,
        "completion_scope": COMPLETION_SCOPE,
        "day_ago": request.now - _DAY,
    }


@functools.cache
def _writing(claim: str, *, supersedes: bool, deliveries: int) -> str:
    """Return the statement that writes a code, its deliveries and the audit line, or none of them.

    One statement per number of deliveries: single values are bound in a fraction of the time that arrays take.
    """
    superseded = f"superseded AS ({_SUPERSEDE})," if supersedes else ""
    rows = ", ".join(
        f"(%(channel_{n})s, %(target_{n})s, %(due_{n})s::timestamptz, %(not_before_{n})s::timestamptz)"
        for n in range(deliveries)
    )
    delivery = f"delivery AS ({_DELIVER.format(rows=rows)})," if deliveries else ""
    return f"WITH {claim}, {superseded} {delivery} code AS ({_INSERT}) {audit.insert_one()}"


_SUPERSEDE: Final = """
    UPDATE otp_onetimecode
    SET ended_at = %(created_at)s, end_reason = 'superseded', code = NULL, first_name = NULL
    FROM guard
    WHERE portal_id = %(portal_id)s AND contact_id = %(contact_id)s AND ended_at IS NULL AND expires_at > %(created_at)s
"""
_INSERT: Final = """
    INSERT INTO otp_onetimecode (
        id, portal_id, contact_id, request_key, source, workflow_id, address, address_digest, first_name, language,
        code, digest, code_type, code_length, expiry_minutes, outputs_code, created_at, expires_at)
    SELECT
        %(reference)s, %(portal_id)s, %(contact_id)s, %(request_key)s, %(source)s, %(workflow_id)s, %(address)s,
        %(address_digest)s, %(first_name)s, %(language)s, %(code)s, %(digest)s, %(code_type)s, %(code_length)s,
        %(expiry_minutes)s, %(outputs_code)s, %(created_at)s, %(expires_at)s
    FROM guard
"""
_DELIVER: Final = """
    INSERT INTO otp_delivery (
        code_id, portal_id, channel, target, next_attempt_at, not_before, status, attempts, error)
    SELECT %(reference)s, %(portal_id)s, wanted.*, 'pending', 0, ''
    FROM guard, (VALUES {rows}) AS wanted (channel, target, next_attempt_at, not_before)
"""
_REFUSE: Final = f"WITH {CLAIM} {audit.insert_one()}"


def _new_code(request: _Request, address: str, known: Any) -> OneTimeCode:
    overrides, pepper = request.overrides, django_settings.CODE_PEPPERS[0]
    code_type = CodeType(overrides.code_type or known.code_type)
    code_length = overrides.code_length or known.code_length
    expiry_minutes = overrides.expiry_minutes or known.expiry_minutes
    code = codes.generate(code_type, code_length)
    return OneTimeCode(
        id=new_reference(),
        portal_id=request.portal_id,
        contact_id=request.contact_id,
        request_key=request.request_key,
        source=request.source,
        workflow_id=request.workflow_id,
        address=address,
        address_digest=codes.address_digests(peppers=(pepper,), portal_id=request.portal_id, address=address)[0],
        first_name=(request.first_name or None) if known.send_email else None,  # nothing else greets by name
        language=request.language,
        code=code,
        digest=codes.digest(
            pepper=pepper, portal_id=request.portal_id, contact_id=request.contact_id, address=address, code=code
        ),
        code_type=code_type,
        code_length=code_length,
        wrong_attempts=0,
        expiry_minutes=expiry_minutes,
        outputs_code=known.output_code,
        created_at=request.now,
        expires_at=request.now + dt.timedelta(minutes=expiry_minutes),
        clears_property_on_success=False,
    )


def _code_columns(code: OneTimeCode) -> dict[str, Any]:
    return {
        "portal_id": code.portal_id,
        "contact_id": code.contact_id,
        "request_key": code.request_key,
        "source": code.source,
        "workflow_id": code.workflow_id,
        "address": encrypt(code.address, bound_to(_TABLE, "address", code.id)),
        "address_digest": code.address_digest,
        "first_name": encrypt(code.first_name, bound_to(_TABLE, "first_name", code.id)) if code.first_name else None,
        "language": code.language,
        "code": encrypt(code.code or "", bound_to(_TABLE, "code", code.id)),
        "digest": code.digest,
        "code_type": code.code_type,
        "code_length": code.code_length,
        "expiry_minutes": code.expiry_minutes,
        "outputs_code": code.outputs_code,
        "created_at": code.created_at,
        "expires_at": code.expires_at,
    }


def _deliveries(code: OneTimeCode, request: _Request, known: Any) -> Iterator[PlannedDelivery]:
    if known.store_in_property:
        yield PlannedDelivery(ChannelName.CONTACT_PROPERTY, known.property_name, request.now)
    if known.send_email:
        yield PlannedDelivery(ChannelName.EMAIL, "", request.now)
    anything = known.store_in_property or known.send_email
    if anything and request.callback_id and known.wait_until_delivered and known.may_complete:
        # Due when the others have settled (otp.delivery sees to it), at the latest when the code expires.
        yield PlannedDelivery(
            ChannelName.WORKFLOW_COMPLETION, request.callback_id, code.expires_at, request.now + COMPLETION_DELAY
        )


def _delivery_columns(deliveries: list[PlannedDelivery]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for number, delivery in enumerate(deliveries):
        columns |= {
            f"channel_{number}": delivery.channel.value,
            f"target_{number}": delivery.target,
            f"due_{number}": delivery.due,
            f"not_before_{number}": delivery.not_before,
        }
    return columns


def _event_columns(request: _Request, event: Event) -> dict[str, Any]:
    return audit.columns_of_one(at=request.now, actor=request.actor, event=event)


def _over_the_contacts_limits(request: _Request, known: Any) -> RateLimited | None:
    """Return the limit that a code made now would break, the one that holds longest."""
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


def _over_the_portals_limit(request: _Request, allowed: int | None) -> RateLimited | None:
    if allowed is None:
        return None
    crowd = OneTimeCode.objects.filter(portal=request.portal_id, created_at__gt=request.now - _MINUTE)
    made_at = crowd.order_by("-created_at").values_list("created_at", flat=True)[allowed - 1 : allowed].first()
    return None if made_at is None else RateLimited(Limit.PORTAL_MINUTE, made_at + _MINUTE)


def _repeat(request: _Request, earlier: UUID) -> Issued:
    """Answer a request again; a completion that is still to come waits for this answer too."""
    code = OneTimeCode.objects.get(pk=earlier)
    if code.contact_id != request.contact_id:
        raise RequestKeyTaken
    due = request.now + COMPLETION_DELAY
    Delivery.objects.filter(code=code, channel=ChannelName.WORKFLOW_COMPLETION, status=DeliveryStatus.PENDING).update(
        not_before=due, next_attempt_at=Greatest(F("next_attempt_at"), Value(due))
    )
    return Issued(code, list(code.deliveries.all()), repeated=True)


def _wake(portal_id: int, issued: Issued) -> None:
    channels = [one.channel for one in issued.deliveries if one.channel != ChannelName.WORKFLOW_COMPLETION]
    if not channels:
        return

    def wake() -> None:
        tasks.wake_in_background(portal_id, *channels)

    # A named function, not a partial: Django 5.2 formats the name of a robust callback that fails.
    transaction.on_commit(wake, robust=True)
