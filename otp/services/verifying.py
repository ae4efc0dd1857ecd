"""Verifying what somebody submitted: one decision per request, every wrong answer counted, one success per code."""

import datetime as dt
import hmac
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings as django_settings
from django.db import IntegrityError

from opsagent.database import execute
from otp import audit, codes
from otp.audit import Action, Actor, Event
from otp.codes import REMEMBERED_FOR, CodeType
from otp.counts import VERIFICATIONS
from otp.models import ContactGuard, EndReason, OneTimeCode, OTPSettings, Source, Verification, VerificationReason
from otp.services.contact import (
    CLAIM,
    NotConnected,
    Overtaken,
    RequestKeyTaken,
    checked_address,
    claim,
    guard_as_read,
    read_decide_write,
)

log = structlog.get_logger(__name__)

MAXIMUM_WRONG_ATTEMPTS: Final = 5
# Longer than anybody types, separators included.
MAXIMUM_SUBMITTED_LENGTH: Final = 1000
_LONGEST_LIFE: Final = dt.timedelta(minutes=max(codes.EXPIRY_MINUTES))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    portal_id: int
    contact_id: int
    address: str
    submitted: str
    clear_property: bool
    request_key: str
    source: Source
    actor: Actor
    now: dt.datetime


def verify_code(
    *,
    portal_id: int,
    contact_id: int,
    address: str,
    submitted: str,
    clear_property: bool,
    request_key: str,
    source: Source,
    actor: Actor,
    now: dt.datetime,
) -> Verification:
    """Decide whether what somebody submitted is the contact's code, and write the decision down.

    A code belongs to the portal, the contact and the address it was made for; codes for another address do not exist
    here. The same `request_key` gives the first decision again, however often, simultaneously or late it comes. Of any
    number of simultaneous right answers one is `verified`; five wrong answers lock a code, and a portal's number of
    wrong answers since the last success (10) locks the contact for a while, whatever new codes are made.

    `attempts_remaining` counts the wrong answers that the newest live code and the contact still bear after this one;
    it is 0 when there is nothing left to guess, as after a success. With `clear_property` a success also asks for the
    contact property to be cleared: the request is recorded on every code that the success ends. The decision, and
    whatever it locked, stands in the audit log as `actor`'s deed.

    Costs one round trip to the database for the right answer; otherwise three, of which the last one writes.

    Raises NotConnected, MissingAddress, InvalidAddress, RequestKeyTaken; nothing has changed then.
    """
    request = _Request(
        portal_id=portal_id, contact_id=contact_id, address=address, submitted=submitted,
        clear_property=clear_property, request_key=request_key, source=source, actor=actor, now=now,
    )  # fmt: skip
    try:
        return read_decide_write(lambda: _verify(request), portal_id=portal_id, contact_id=contact_id)
    except IntegrityError as error:
        # As with codes: one contact's requests stand in line, so the key is in use for another one.
        if "one_verification_per_request" in str(error):
            raise RequestKeyTaken from None
        raise


def _verify(request: _Request) -> Verification:
    address = codes.normalise_address(request.address)
    verified = _verify_at_once(request, address)
    if verified is not None:
        return verified
    rows = execute(_READ, _parameters(request, address)).fetchall()
    if not rows or not rows[0].connected:
        raise NotConnected
    known = rows[0]
    if known.earlier is not None:
        earlier = Verification.objects.get(pk=known.earlier)
        if earlier.contact_id != request.contact_id:
            raise RequestKeyTaken
        return earlier
    checked_address(request.address)
    remembered = [
        OneTimeCode.from_db("default", _FIELDS, row[-len(_FIELDS) :]) for row in rows if row.code_id is not None
    ]
    return _check(request, address, known, remembered)


_FIELDS: Final = (
    "id", "portal_id", "contact_id", "digest", "code_type", "code_length", "wrong_attempts", "created_at", "expires_at",
    "ended_at", "end_reason",
)  # fmt: skip
# One row for each code made for the contact and address that is live or can still be told apart, the newest first; one row
# without a code where there is none.
_READ: Final = f"""
    SELECT portal.disconnected_at IS NULL AS connected, earlier.id AS earlier,
           settings.wrong_attempts_limit AS settings_wrong_attempts_limit, settings.lock_minutes AS settings_lock_minutes,
           settings.longest_lock_minutes AS settings_longest_lock_minutes,
           guard.id AS guard_id, guard.version, guard.wrong_attempts, guard.lock_count, guard.locked_until,
           {", ".join(f"code.{name} AS code_{name}" for name in _FIELDS)}
    FROM hubspot_integration_portal AS portal
    LEFT JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
    LEFT JOIN otp_contactguard AS guard ON guard.portal_id = portal.id AND guard.contact_id = %(contact_id)s
    LEFT JOIN otp_verification AS earlier ON earlier.portal_id = portal.id AND earlier.request_key = %(request_key)s
    LEFT JOIN otp_onetimecode AS code
           ON code.portal_id = portal.id AND code.contact_id = %(contact_id)s
          AND code.address_digest = ANY (%(address_digests)s)
          AND code.created_at > %(made_after)s AND code.expires_at > %(expired_after)s
    WHERE portal.id = %(portal_id)s
    ORDER BY code.created_at DESC, code.id DESC
"""  # noqa: S608 (our own column names)


def _parameters(request: _Request, address: str) -> dict[str, Any]:
    return {
        "portal_id": request.portal_id,
        "contact_id": request.contact_id,
        "request_key": request.request_key,
        "address_digests": codes.address_digests(
            peppers=django_settings.CODE_PEPPERS, portal_id=request.portal_id, address=address
        ),
        "made_after": _earliest(request.now),
        "expired_after": request.now - REMEMBERED_FOR,
    }


def _earliest(now: dt.datetime) -> dt.datetime:
    """Return when a code that is remembered was made at the earliest: what the index can tell."""
    return now - REMEMBERED_FOR - _LONGEST_LIFE


def _verify_at_once(request: _Request, address: str) -> Verification | None:
    """Accept the contact's newest code in one statement, without reading first; None, and no change, for all else."""
    guess = _guess(request)
    if not codes.fits(guess):
        return None
    reason = VerificationReason.VERIFIED
    inserted = execute(
        _VERIFY_AT_ONCE,
        _decision(request, reason, attempts_remaining=0)
        | audit.columns_of_one(
            at=request.now, actor=request.actor, event=Event(Action.CODE_CHECKED, None, {"reason": reason.value})
        )
        | {
            "digests": _digests(request, address, guess),
            "made_after": _earliest(request.now),
            "clear_property": request.clear_property,
        },
    ).fetchone()
    return None if inserted is None else _written(inserted, request, reason, 0)


def _guess(request: _Request) -> str:
    return codes.normalise(request.submitted) if len(request.submitted) <= MAXIMUM_SUBMITTED_LENGTH else ""


def _digests(request: _Request, address: str, guess: str) -> list[bytes]:
    return codes.digests(
        peppers=django_settings.CODE_PEPPERS,
        portal_id=request.portal_id,
        contact_id=request.contact_id,
        address=address,
        code=guess,
    )


def _check(request: _Request, address: str, known: Any, remembered: list[OneTimeCode]) -> Verification:
    """Decide, and write the decision with its consequences. Raises Overtaken."""
    now = request.now
    guard = guard_as_read(request.portal_id, request.contact_id, known)
    settings = _limits(request.portal_id, known)
    guess = _guess(request)
    reason, code = _decide(guard, remembered, _equal_codes(remembered, request, address, guess), guess, now)
    live = [one for one in remembered if one.is_live(now)]
    events: list[Event] = []
    attempts_remaining = 0
    if reason is VerificationReason.VERIFIED:
        guard.refill()
    elif live:
        if reason is VerificationReason.WRONG_CODE:
            events = _count(guard, settings, live, now)
        attempts_remaining = min(
            MAXIMUM_WRONG_ATTEMPTS - live[0].wrong_attempts, guard.attempts_remaining(settings, now)
        )
    events.append(Event(Action.CODE_CHECKED, None if code is None else code.pk, {"reason": reason.value}))
    inserted = execute(
        _WRITE.get(reason, _WRITE_DECISION),
        claim(guard)
        | {"code_id": None if code is None else code.pk}
        | _decision(request, reason, attempts_remaining=attempts_remaining)
        | audit.columns(at=now, actor=request.actor, events=events)
        | _changes(request, reason, live),
    ).fetchone()
    return _written(inserted, request, reason, attempts_remaining)


def _written(inserted: Any, request: _Request, reason: VerificationReason, attempts_remaining: int) -> Verification:
    """Return the decision that was written, and tell of it. Raises Overtaken if none was."""
    if inserted is None:
        raise Overtaken
    VERIFICATIONS.add(request.source, reason)
    log.info(
        "code_checked",
        portal_id=request.portal_id,
        reference=None if inserted.code_id is None else str(inserted.code_id),
        source=request.source.value,
        reason=reason.value,
    )
    return Verification(
        id=inserted.id,
        portal_id=request.portal_id,
        contact_id=request.contact_id,
        request_key=request.request_key,
        source=request.source,
        code_id=inserted.code_id,
        result=reason.result,
        reason=reason,
        attempts_remaining=attempts_remaining,
        verified_at=request.now if reason is VerificationReason.VERIFIED else None,
        created_at=request.now,
    )


def _limits(portal_id: int, known: Any) -> OTPSettings:
    names = ("wrong_attempts_limit", "lock_minutes", "longest_lock_minutes")
    chosen = {name: getattr(known, f"settings_{name}") for name in names}
    return OTPSettings(portal_id=portal_id, **{name: value for name, value in chosen.items() if value is not None})


def _changes(request: _Request, reason: VerificationReason, live: list[OneTimeCode]) -> dict[str, Any]:
    if reason is VerificationReason.VERIFIED:
        return {"clear_property": request.clear_property}
    if reason is VerificationReason.WRONG_CODE:
        return {"ids": [code.pk for code in live], "allowed": MAXIMUM_WRONG_ATTEMPTS}
    return {}


_INSERT: Final = """
    INSERT INTO otp_verification (
        portal_id, contact_id, request_key, source, code_id, result, reason, attempts_remaining, verified_at, created_at)
    SELECT %(portal_id)s, %(contact_id)s, %(request_key)s, %(source)s, {code}, %(result)s, %(reason)s,
           %(attempts_remaining)s, %(verified_at)s, %(created_at)s
    FROM guard
    RETURNING id, code_id
"""
_DECISION: Final = f"event AS ({audit.INSERT}) {_INSERT.format(code='%(code_id)s')}"


def _decision(request: _Request, reason: VerificationReason, *, attempts_remaining: int) -> dict[str, Any]:
    return {
        "portal_id": request.portal_id,
        "contact_id": request.contact_id,
        "request_key": request.request_key,
        "source": request.source.value,
        "result": reason.result.value,
        "reason": reason.value,
        "attempts_remaining": attempts_remaining,
        "verified_at": request.now if reason is VerificationReason.VERIFIED else None,
        "created_at": request.now,
    }


# Every live code of the contact falls with a success. `ended_at` may have been set by the sweep a moment ago, by a clock
# that was ahead of ours; when the customer answered, the code was live.
_USE: Final = """
    used AS (
        UPDATE otp_onetimecode
        SET ended_at = %(created_at)s, end_reason = 'used', code = NULL, first_name = NULL,
            clears_property_on_success = %(clear_property)s
        FROM guard
        WHERE portal_id = %(portal_id)s AND contact_id = %(contact_id)s AND expires_at > %(created_at)s
          AND (ended_at IS NULL OR end_reason = 'expired')
    )
"""
_COUNT: Final = """
    counted AS (
        UPDATE otp_onetimecode SET
            wrong_attempts = wrong_attempts + 1,
            ended_at = CASE WHEN wrong_attempts + 1 >= %(allowed)s THEN %(created_at)s ELSE ended_at END,
            end_reason = CASE WHEN wrong_attempts + 1 >= %(allowed)s THEN 'locked' ELSE end_reason END,
            code = CASE WHEN wrong_attempts + 1 >= %(allowed)s THEN NULL ELSE code END,
            first_name = CASE WHEN wrong_attempts + 1 >= %(allowed)s THEN NULL ELSE first_name END
        FROM guard
        WHERE id = ANY (%(ids)s)
    )
"""
# For the right answer: everything that would have been read first is a condition here, and the guard's version is compared
# with the one that this very statement saw. A digest stands for code and address. How long comparing it takes tells nothing
# to whom the pepper is unknown.
_VERIFY_AT_ONCE: Final = f"""
    WITH seen AS (
        SELECT newest.id AS code_id, guard.id AS guard_id, guard.version
        FROM hubspot_integration_portal AS portal
        JOIN otp_contactguard AS guard ON guard.portal_id = portal.id AND guard.contact_id = %(contact_id)s
        CROSS JOIN LATERAL (
            SELECT id, digest, ended_at, expires_at FROM otp_onetimecode
            WHERE portal_id = %(portal_id)s AND contact_id = %(contact_id)s AND created_at > %(made_after)s
            ORDER BY created_at DESC, id DESC LIMIT 1
        ) AS newest
        WHERE portal.id = %(portal_id)s AND portal.disconnected_at IS NULL
          AND (guard.locked_until IS NULL OR guard.locked_until <= %(created_at)s)
          AND newest.digest = ANY (%(digests)s) AND newest.ended_at IS NULL AND newest.expires_at > %(created_at)s
          AND NOT EXISTS (
              SELECT FROM otp_verification WHERE portal_id = %(portal_id)s AND request_key = %(request_key)s)
    ),
    guard AS (
        UPDATE otp_contactguard AS guard
        SET version = guard.version + 1, wrong_attempts = 0, lock_count = 0, locked_until = NULL
        FROM seen WHERE guard.id = seen.guard_id AND guard.version = seen.version
        RETURNING guard.pseudonym, seen.code_id
    ),
    {_USE},
    event AS ({audit.insert_one("guard.code_id")})
    {_INSERT.format(code="guard.code_id")}
"""  # noqa: S608 (statements of ours)
_WRITE_DECISION: Final = f"WITH {CLAIM}, {_DECISION}"
_WRITE: Final = {
    VerificationReason.VERIFIED: f"WITH {CLAIM}, {_USE}, {_DECISION}",
    VerificationReason.WRONG_CODE: f"WITH {CLAIM}, {_COUNT}, {_DECISION}",
}


def _count(guard: ContactGuard, settings: OTPSettings, live: list[OneTimeCode], now: dt.datetime) -> list[Event]:
    """Count a wrong answer against every code it could have been and against the contact; say what that locks."""
    events = []
    for code in live:
        code.wrong_attempts += 1
        if code.wrong_attempts >= MAXIMUM_WRONG_ATTEMPTS:
            events.append(Event(Action.CODE_LOCKED, code.pk))
    if guard.count_wrong_attempt(settings, now) and guard.locked_until is not None:
        events.append(Event(Action.CONTACT_LOCKED, detail={"until": guard.locked_until.isoformat()}))
    return events


def _equal_codes(remembered: list[OneTimeCode], request: _Request, address: str, guess: str) -> list[OneTimeCode]:
    """Return the codes that a normalised guess equals, by their digests under any of the peppers."""
    if not codes.fits(guess):
        return []
    digests = _digests(request, address, guess)
    # Every pair is compared, each in constant time: how long it takes tells nothing.
    return [code for code in remembered if sum(hmac.compare_digest(code.digest, digest) for digest in digests)]


def _decide(  # noqa: PLR0911 (one return per line of the table)
    guard: ContactGuard, remembered: list[OneTimeCode], equal: list[OneTimeCode], guess: str, now: dt.datetime
) -> tuple[VerificationReason, OneTimeCode | None]:
    """Return what is said about a normalised guess, and of which code. `remembered` and `equal` begin with the newest.

    The order matters: nothing but a guess at a live code can cost an attempt.
    """
    if guard.is_locked(now):
        return VerificationReason.RATE_LIMITED, None
    newest = remembered[0] if remembered else None
    is_locked = newest is not None and newest.end_reason == EndReason.LOCKED and newest.expires_at > now
    live = [code for code in remembered if code.is_live(now)]
    if not _has_a_shape_of(remembered[:1] if is_locked else live, guess):
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
