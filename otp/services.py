"""The use cases. Each is one function: keyword-only, told the time, raising what its caller must put into words."""

import datetime as dt
import enum
import hmac
from dataclasses import dataclass
from typing import Final

import structlog
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from hubspot_integration.models import Portal
from otp import audit, codes, tasks
from otp.audit import Action, ActorKind
from otp.codes import CodeType
from otp.models import (
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    EndReason,
    OneTimeCode,
    OTPSettings,
    ResendPolicy,
    Source,
    Verification,
    VerificationReason,
)

log = structlog.get_logger(__name__)

# A completion that overtakes our own answer is lost (https://community.hubspot.com/t5/APIs-Integrations/
# Error-validating-callback-ID/m-p/1025725): HubSpot must have stored the BLOCK first.
COMPLETION_DELAY: Final = dt.timedelta(seconds=2)
COMPLETION_SCOPE: Final = "automation"
MAXIMUM_ADDRESS_LENGTH: Final = 254
MAXIMUM_WRONG_ATTEMPTS: Final = 5
# Longer than anybody types, separators included.
MAXIMUM_SUBMITTED_LENGTH: Final = 1000
# So long after its expiry a code can still be told apart from one that never was.
REMEMBERED_FOR: Final = dt.timedelta(hours=24)
_LONGEST_LIFE: Final = dt.timedelta(minutes=max(codes.EXPIRY_MINUTES))
_MINUTE: Final = dt.timedelta(minutes=1)
_DAY: Final = dt.timedelta(days=1)
# What is said of a submitted code that ended, and of any other text when the newest code ended.
_EQUAL_TO_AN_OLDER_CODE: Final[dict[EndReason | None, VerificationReason]] = {
    EndReason.SUPERSEDED: VerificationReason.SUPERSEDED,
    EndReason.USED: VerificationReason.ALREADY_USED,
    EndReason.EXPIRED: VerificationReason.EXPIRED,
}
_WITHOUT_A_LIVE_CODE: Final[dict[EndReason | None, VerificationReason]] = {
    EndReason.USED: VerificationReason.ALREADY_USED,
    EndReason.EXPIRED: VerificationReason.EXPIRED,
    EndReason.LOCKED: VerificationReason.LOCKED,
}


class MissingAddress(Exception):
    """The contact has no e-mail address."""


class InvalidAddress(Exception):
    """What the contact has is no e-mail address."""


class RequestKeyTaken(Exception):
    """The same request key was used for another contact."""


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


def issue_code(
    *,
    portal: Portal,
    contact_id: int,
    address: str,
    first_name: str,
    language: str,
    request_key: str,
    source: Source,
    workflow_id: str,
    callback_id: str | None,
    overrides: Overrides,
    now: dt.datetime,
) -> Issued:
    """Generate a code for a contact and write down what must be delivered.

    The same `request_key` gives the same code and no second delivery, however often and however simultaneously it
    comes, and is never limited. The contact's older live codes are superseded unless the portal keeps them. With
    `callback_id` a workflow step can be made to wait; it is then completed no sooner than two seconds after the latest
    call of this function for it.

    Raises MissingAddress, InvalidAddress, RateLimited, RequestKeyTaken; nothing has changed then.
    """
    try:
        with transaction.atomic():
            return _issue(
                portal=portal, contact_id=contact_id, address=address, first_name=first_name, language=language,
                request_key=request_key, source=source, workflow_id=workflow_id, callback_id=callback_id,
                overrides=overrides, now=now,
            )  # fmt: skip
    except IntegrityError as error:
        # Only a request key in use for another contact gets here: one contact's requests stand in line.
        if "one_code_per_request" in str(error):
            raise RequestKeyTaken from None
        raise


def _issue(
    *,
    portal: Portal,
    contact_id: int,
    address: str,
    first_name: str,
    language: str,
    request_key: str,
    source: Source,
    workflow_id: str,
    callback_id: str | None,
    overrides: Overrides,
    now: dt.datetime,
) -> Issued:
    lock_contact(portal_id=portal.id, contact_id=contact_id)
    earlier = OneTimeCode.objects.filter(portal=portal, request_key=request_key).first()
    if earlier is not None:
        if earlier.contact_id != contact_id:
            raise RequestKeyTaken
        return _repeat(earlier, now)
    address = _checked_address(address)
    settings = OTPSettings.objects.get_or_create(portal=portal)[0]
    made_at = _made_at(portal, contact_id, settings, now)
    _check_limits(settings, made_at, source, now)
    expiry_minutes = overrides.expiry_minutes or settings.expiry_minutes
    code_type = CodeType(overrides.code_type or settings.code_type)
    code_length = overrides.code_length or settings.code_length
    plain = codes.generate(code_type, code_length)
    if made_at and settings.resend_policy == ResendPolicy.REPLACE:
        OneTimeCode.objects.live(now).filter(portal=portal, contact_id=contact_id).end(EndReason.SUPERSEDED, now)
    code = OneTimeCode.objects.create(
        portal=portal,
        contact_id=contact_id,
        request_key=request_key,
        source=source,
        workflow_id=workflow_id,
        address=address,
        address_digest=codes.address_digests(
            peppers=django_settings.CODE_PEPPERS[:1], portal_id=portal.id, address=address
        )[0],
        first_name=first_name or None,
        language=language,
        code=plain,
        digest=codes.digest(
            pepper=django_settings.CODE_PEPPERS[0],
            portal_id=portal.id,
            contact_id=contact_id,
            address=address,
            code=plain,
        ),
        code_type=code_type,
        code_length=code_length,
        expiry_minutes=expiry_minutes,
        outputs_code=settings.output_code,
        created_at=now,
        expires_at=now + dt.timedelta(minutes=expiry_minutes),
    )
    deliveries = Delivery.objects.bulk_create(_deliveries(code, settings, callback_id, now))
    portal_id, channels = (
        portal.id,
        [delivery.channel for delivery in deliveries if delivery.channel != ChannelName.WORKFLOW_COMPLETION],
    )

    def wake() -> None:
        for channel in channels:
            tasks.wake(portal_id, channel)

    # A named function, not a partial: Django 5.2 formats the name of a robust callback that fails.
    transaction.on_commit(wake, robust=True)
    log.info("code_issued", portal_id=portal.id, reference=str(code.id), source=source)
    return Issued(code, deliveries, repeated=False)


def lock_contact(*, portal_id: int, contact_id: int) -> ContactGuard:
    """Wait until this transaction is the only one that concerns the contact's codes, and keep it so."""
    # One statement, for new and known contacts alike: whoever meets the conflict waits until the other transaction ends,
    # and gets the row as that one left it.
    return ContactGuard.objects.raw(
        "INSERT INTO otp_contactguard (portal_id, contact_id) VALUES (%s, %s) "
        "ON CONFLICT (portal_id, contact_id) DO UPDATE SET wrong_attempts = otp_contactguard.wrong_attempts "
        "RETURNING *",
        [portal_id, contact_id],
    )[0]


def _made_at(portal: Portal, contact_id: int, settings: OTPSettings, now: dt.datetime) -> list[dt.datetime]:
    """Return when the contact's latest codes of the last 24 hours were made, the newest first: as many as can matter."""
    enough = max(settings.contact_limit_10_minutes, settings.contact_limit_day)
    made = OneTimeCode.objects.filter(portal=portal, contact_id=contact_id, created_at__gt=now - _DAY)
    return list(made.order_by("-created_at").values_list("created_at", flat=True)[:enough])


def _check_limits(settings: OTPSettings, made_at: list[dt.datetime], source: Source, now: dt.datetime) -> None:
    """Raise RateLimited when a code made at `now` would be one too many. The contact is locked by then."""
    limits = [
        (Limit.CONTACT_10_MINUTES, settings.contact_limit_10_minutes, 10 * _MINUTE),
        (Limit.CONTACT_DAY, settings.contact_limit_day, _DAY),
    ]
    if source is Source.CARD:
        limits.append((Limit.RESEND_COOLDOWN, 1, dt.timedelta(seconds=settings.resend_cooldown_seconds)))
    reached = [
        (made_at[allowed - 1] + period, limit)
        for limit, allowed, period in limits
        if len(made_at) >= allowed and made_at[allowed - 1] + period > now
    ]
    if not reached and settings.portal_limit_minute is not None:
        # Only now, and only in a portal with a ceiling, contacts wait for each other: counted exactly, or not at all.
        OTPSettings.objects.select_for_update(no_key=True).get(portal=settings.portal_id)
        last = settings.portal_limit_minute - 1
        crowd = OneTimeCode.objects.filter(portal=settings.portal_id, created_at__gt=now - _MINUTE)
        reached = [
            (created_at + _MINUTE, Limit.PORTAL_MINUTE)
            for created_at in crowd.order_by("-created_at").values_list("created_at", flat=True)[last : last + 1]
        ]
    if reached:
        retry_at, limit = max(reached)
        log.info("code_refused", portal_id=settings.portal_id, source=source, limit=limit.value, retry_at=str(retry_at))
        raise RateLimited(limit, retry_at)


def _repeat(code: OneTimeCode, now: dt.datetime) -> Issued:
    """Answer a request again; a completion that is still to come waits for this answer too."""
    Delivery.objects.filter(code=code, channel=ChannelName.WORKFLOW_COMPLETION, status=DeliveryStatus.PENDING).update(
        not_before=now + COMPLETION_DELAY,
        next_attempt_at=Greatest(F("next_attempt_at"), Value(now + COMPLETION_DELAY)),
    )
    return Issued(code, list(code.deliveries.all()), repeated=True)


def _deliveries(code: OneTimeCode, settings: OTPSettings, callback_id: str | None, now: dt.datetime) -> list[Delivery]:
    deliveries = []
    if settings.store_in_property:
        deliveries.append(_delivery(code, ChannelName.CONTACT_PROPERTY, settings.property_name, now))
    if settings.send_email:
        deliveries.append(_delivery(code, ChannelName.EMAIL, "", now))
    if deliveries and callback_id and settings.wait_until_delivered and _may_complete(code.portal):
        # Due when the others have settled (otp.delivery sees to it), at the latest when the code expires.
        completion = _delivery(code, ChannelName.WORKFLOW_COMPLETION, callback_id, code.expires_at)
        completion.not_before = now + COMPLETION_DELAY
        deliveries.append(completion)
    return deliveries


def _delivery(code: OneTimeCode, channel: ChannelName, target: str, due: dt.datetime) -> Delivery:
    return Delivery(code=code, portal_id=code.portal_id, channel=channel, target=target, next_attempt_at=due)


def _may_complete(portal: Portal) -> bool:
    grant = getattr(portal, "grant", None)
    return grant is not None and COMPLETION_SCOPE in grant.scopes


def _checked_address(address: str) -> str:
    address = codes.normalise_address(address)
    if not address:
        raise MissingAddress
    try:
        validate_email(address)
    except ValidationError:
        raise InvalidAddress from None
    if len(address) > MAXIMUM_ADDRESS_LENGTH:
        raise InvalidAddress
    return address


def verify_code(
    *,
    portal: Portal,
    contact_id: int,
    address: str,
    submitted: str,
    clear_property: bool,
    request_key: str,
    source: Source,
    now: dt.datetime,
) -> Verification:
    """Decide whether what somebody submitted is the contact's code, and write the decision down.

    A code belongs to the portal, the contact and the address it was made for; codes for another address do not exist
    here. The same `request_key` gives the first decision again, however often, simultaneously or late it comes. Of any
    number of simultaneous right answers one is `verified`; five wrong answers lock a code, and a portal's number of
    wrong answers since the last success (10) locks the contact for a while, whatever new codes are made.

    `attempts_remaining` counts the wrong answers that the newest live code and the contact still bear after this one;
    it is 0 when there is nothing left to guess, as after a success. With `clear_property` a success also asks for the
    contact property to be cleared: the request is recorded on every code that the success ends.

    Raises MissingAddress, InvalidAddress, RequestKeyTaken; nothing has changed then.
    """
    try:
        with transaction.atomic():
            return _verify(
                portal=portal, contact_id=contact_id, address=address, submitted=submitted,
                clear_property=clear_property, request_key=request_key, source=source, now=now,
            )  # fmt: skip
    except IntegrityError as error:
        # As with codes: one contact's requests stand in line, so the key is in use for another one.
        if "one_verification_per_request" in str(error):
            raise RequestKeyTaken from None
        raise


def _verify(
    *,
    portal: Portal,
    contact_id: int,
    address: str,
    submitted: str,
    clear_property: bool,
    request_key: str,
    source: Source,
    now: dt.datetime,
) -> Verification:
    guard = lock_contact(portal_id=portal.id, contact_id=contact_id)
    earlier = Verification.objects.filter(portal=portal, request_key=request_key).first()
    if earlier is not None:
        if earlier.contact_id != contact_id:
            raise RequestKeyTaken
        return earlier
    address = _checked_address(address)
    known = _remembered_codes(portal, contact_id, address, now)
    guess = codes.normalise(submitted) if len(submitted) <= MAXIMUM_SUBMITTED_LENGTH else ""
    reason, code = _decide(guard, known, _equal_codes(known, portal, contact_id, address, guess), guess, now)
    live = [one for one in known if one.is_live(now)]
    attempts_remaining = 0
    if reason is VerificationReason.VERIFIED:
        ended = OneTimeCode.objects.live(now).filter(portal=portal, contact_id=contact_id)
        if ended.end(EndReason.USED, now, clear_property=clear_property):
            guard.refill()
        else:
            # While this call stood in line the code's time ran out, and the sweep has ended it.
            reason = VerificationReason.EXPIRED
    elif live:
        settings = OTPSettings.objects.get_or_create(portal=portal)[0]
        if reason is VerificationReason.WRONG_CODE:
            _count_wrong_attempt(live, now)
            guard.count_wrong_attempt(settings, now)
        attempts_remaining = min(
            MAXIMUM_WRONG_ATTEMPTS - live[0].wrong_attempts, guard.attempts_remaining(settings, now)
        )
    log.info(
        "code_checked",
        portal_id=portal.id,
        reference=None if code is None else str(code.id),
        source=source,
        reason=reason.value,
    )
    return Verification.objects.create(
        portal=portal,
        contact_id=contact_id,
        request_key=request_key,
        source=source,
        code=code,
        result=reason.result,
        reason=reason,
        attempts_remaining=attempts_remaining,
        verified_at=now if reason is VerificationReason.VERIFIED else None,
        created_at=now,
    )


def lift_lock(*, portal: Portal, contact_id: int, lifted_by: str, now: dt.datetime) -> bool:
    """Let a contact that is locked verify again at once, with a full budget; record who allowed it, and when.

    `lifted_by` names a person in staff. Codes that are locked themselves stay so. Returns whether there was a lock.
    """
    with transaction.atomic():
        guard = lock_contact(portal_id=portal.id, contact_id=contact_id)
        if not guard.is_locked(now):
            return False
        guard.refill()
        audit.record(
            portal=portal,
            at=now,
            actor=lifted_by,
            actor_kind=ActorKind.STAFF,
            action=Action.LOCK_LIFTED,
            contact_id=contact_id,
        )
    return True


def _remembered_codes(portal: Portal, contact_id: int, address: str, now: dt.datetime) -> list[OneTimeCode]:
    """Return the codes made for a contact and address that are live or can still be told apart, the newest first."""
    return [
        code
        for code in OneTimeCode.objects.filter(
            portal=portal,
            contact_id=contact_id,
            created_at__gt=now - REMEMBERED_FOR - _LONGEST_LIFE,  # what the index can tell
            expires_at__gt=now - REMEMBERED_FOR,
        )
        .order_by("-created_at", "-id")
        .defer("code", "first_name")
        if code.address == address
    ]


def _equal_codes(
    known: list[OneTimeCode], portal: Portal, contact_id: int, address: str, guess: str
) -> list[OneTimeCode]:
    """Return the codes that a normalised guess equals, by their digests under any of the peppers."""
    if not codes.fits(guess):
        return []
    digests = codes.digests(
        peppers=django_settings.CODE_PEPPERS, portal_id=portal.id, contact_id=contact_id, address=address, code=guess
    )
    # Every pair is compared, each in constant time: how long it takes tells nothing.
    return [code for code in known if sum(hmac.compare_digest(code.digest, digest) for digest in digests)]


def _decide(  # noqa: PLR0911 (one return per line of the table)
    guard: ContactGuard, known: list[OneTimeCode], equal: list[OneTimeCode], guess: str, now: dt.datetime
) -> tuple[VerificationReason, OneTimeCode | None]:
    """Return what is said about a normalised guess, and of which code. `known` and `equal` begin with the newest.

    The order matters: nothing but a guess at a live code can cost an attempt.
    """
    if guard.is_locked(now):
        return VerificationReason.RATE_LIMITED, None
    newest = known[0] if known else None
    is_locked = newest is not None and newest.end_reason == EndReason.LOCKED and newest.expires_at > now
    live = [code for code in known if code.is_live(now)]
    if not _has_a_shape_of(known[:1] if is_locked else live, guess):
        return VerificationReason.MALFORMED, None
    if is_locked:
        return VerificationReason.LOCKED, newest
    for code in equal:
        if code in live:
            return VerificationReason.VERIFIED, code
    for code in equal:
        reason = _EQUAL_TO_AN_OLDER_CODE.get(code.end_reason_at(now))
        if reason is not None:
            return reason, code
    if live:
        return VerificationReason.WRONG_CODE, live[0]
    reason = None if newest is None else _WITHOUT_A_LIVE_CODE.get(newest.end_reason_at(now))
    return (VerificationReason.NOT_FOUND, None) if reason is None else (reason, newest)


def _has_a_shape_of(expected: list[OneTimeCode], guess: str) -> bool:
    """Whether a guess could be one of the expected codes, or any code at all when none is expected."""
    if not expected:
        return codes.fits(guess)
    return any(
        codes.fits(guess, code_type=CodeType(code.code_type) if code.code_type else None, length=code.code_length)
        for code in expected
    )


def _count_wrong_attempt(live: list[OneTimeCode], now: dt.datetime) -> None:
    """Count a wrong answer against every code it could have been; lock those it was the last one for."""
    OneTimeCode.objects.filter(pk__in=[code.pk for code in live]).update(wrong_attempts=F("wrong_attempts") + 1)
    for code in live:
        code.wrong_attempts += 1
    locked = [code.pk for code in live if code.wrong_attempts >= MAXIMUM_WRONG_ATTEMPTS]
    if locked:
        OneTimeCode.objects.filter(pk__in=locked).end(EndReason.LOCKED, now)
