"""Verifying what somebody submitted: one decision per request, every wrong answer counted, one success per code."""

import datetime as dt
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings as django_settings
from django.db import IntegrityError

from opsagent.database import Statements, once_more_when_disconnected, pipelined_transaction
from otp import audit, codes
from otp.audit import Action, Actor
from otp.codes import REMEMBERED_FOR, CodeType
from otp.counts import VERIFICATIONS
from otp.models import ContactGuard, EndReason, OneTimeCode, OTPSettings, Source, Verification, VerificationReason
from otp.services.contact import NotConnected, RequestKeyTaken, checked_address, guard_of, send_lock

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

    Two round trips to the database: one that locks the contact and reads, one that writes and commits.

    Raises NotConnected, MissingAddress, InvalidAddress, RequestKeyTaken; nothing has changed then.
    """
    request = _Request(
        portal_id=portal_id, contact_id=contact_id, address=address, submitted=submitted,
        clear_property=clear_property, request_key=request_key, source=source, actor=actor, now=now,
    )  # fmt: skip
    try:
        # Safe to do twice: the request key finds what the first time has left.
        return once_more_when_disconnected(lambda: _verify(request))
    except IntegrityError as error:
        # As with codes: one contact's requests stand in line, so the key is in use for another one.
        if "one_verification_per_request" in str(error):
            raise RequestKeyTaken from None
        raise


def _verify(request: _Request) -> Verification:
    address = codes.normalise_address(request.address)
    with pipelined_transaction() as statements:
        lock = send_lock(statements, portal_id=request.portal_id, contact_id=request.contact_id)
        about_portal = statements.send(_PORTAL, {"portal_id": request.portal_id, "request_key": request.request_key})
        about_codes = statements.send(_REMEMBERED, _remembered(request, address))
        guard, known = guard_of(lock), about_portal.fetchone()
        if known is None or not known.connected:
            raise NotConnected
        if known.earlier is None:
            checked_address(request.address)
            remembered = [OneTimeCode.from_db("default", _FIELDS, row) for row in about_codes]
            settings = OTPSettings(portal_id=request.portal_id)
            if known.wrong_attempts_limit is not None:
                settings.wrong_attempts_limit = known.wrong_attempts_limit
                settings.lock_minutes = known.lock_minutes
                settings.longest_lock_minutes = known.longest_lock_minutes
            verification, inserted = _check(statements, request, address, guard, settings, remembered)
    if known.earlier is None:
        verification.pk = inserted.fetchone().id
        return verification
    earlier = Verification.objects.get(pk=known.earlier)
    if earlier.contact_id != request.contact_id:
        raise RequestKeyTaken
    return earlier


_PORTAL: Final = """
    SELECT portal.disconnected_at IS NULL AS connected, earlier.id AS earlier,
           settings.wrong_attempts_limit, settings.lock_minutes, settings.longest_lock_minutes
    FROM hubspot_integration_portal AS portal
    LEFT JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
    LEFT JOIN otp_verification AS earlier ON earlier.portal_id = portal.id AND earlier.request_key = %(request_key)s
    WHERE portal.id = %(portal_id)s
"""
_FIELDS: Final = (
    "id", "portal_id", "contact_id", "digest", "code_type", "code_length", "wrong_attempts", "created_at", "expires_at",
    "ended_at", "end_reason",
)  # fmt: skip
# The codes made for a contact and address that are live or can still be told apart, the newest first.
_REMEMBERED: Final = f"""
    SELECT {", ".join(_FIELDS)} FROM otp_onetimecode
    WHERE portal_id = %(portal_id)s AND contact_id = %(contact_id)s AND address_digest = ANY (%(address_digests)s)
      AND created_at > %(made_after)s AND expires_at > %(expired_after)s
    ORDER BY created_at DESC, id DESC
"""  # noqa: S608 (our own column names)


def _remembered(request: _Request, address: str) -> dict[str, Any]:
    return {
        "portal_id": request.portal_id,
        "contact_id": request.contact_id,
        "address_digests": codes.address_digests(
            peppers=django_settings.CODE_PEPPERS, portal_id=request.portal_id, address=address
        ),
        "made_after": request.now - REMEMBERED_FOR - _LONGEST_LIFE,  # what the index can tell
        "expired_after": request.now - REMEMBERED_FOR,
    }


def _check(
    statements: Statements,
    request: _Request,
    address: str,
    guard: ContactGuard,
    settings: OTPSettings,
    remembered: list[OneTimeCode],
) -> tuple[Verification, Any]:
    """Decide, and queue the statements that write the decision and its consequences."""
    now = request.now
    guess = codes.normalise(request.submitted) if len(request.submitted) <= MAXIMUM_SUBMITTED_LENGTH else ""
    reason, code = _decide(guard, remembered, _equal_codes(remembered, request, address, guess), guess, now)
    live = [one for one in remembered if one.is_live(now)]
    attempts_remaining = 0
    if reason is VerificationReason.VERIFIED:
        statements.send(_USE, _about(request) | {"clear_property": request.clear_property})
        if guard.refill():
            statements.send(_SAVE_BUDGET, _budget(guard))
    elif live:
        if reason is VerificationReason.WRONG_CODE:
            _count(statements, request, guard, settings, live)
        attempts_remaining = min(
            MAXIMUM_WRONG_ATTEMPTS - live[0].wrong_attempts, guard.attempts_remaining(settings, now)
        )
    verification = Verification(
        portal_id=request.portal_id,
        contact_id=request.contact_id,
        request_key=request.request_key,
        source=request.source,
        code_id=None if code is None else code.pk,
        result=reason.result,
        reason=reason,
        attempts_remaining=attempts_remaining,
        verified_at=now if reason is VerificationReason.VERIFIED else None,
        created_at=now,
    )
    event = _event(request, guard, Action.CODE_CHECKED, reference=verification.code_id, detail={"reason": reason.value})
    inserted = statements.send(_INSERT, event | {name: getattr(verification, name) for name in _COLUMNS})
    VERIFICATIONS.add(request.source, reason)
    log.info(
        "code_checked",
        portal_id=request.portal_id,
        reference=None if code is None else str(code.pk),
        source=request.source.value,
        reason=reason.value,
    )
    return verification, inserted


# Every live code of the contact falls with a success. `ended_at` may have been set by the sweep a moment ago, by a clock
# that was ahead of `now`; at `now`, when the customer answered, the code was live.
_USE: Final = """
    UPDATE otp_onetimecode
    SET ended_at = %(now)s, end_reason = 'used', code = NULL, clears_property_on_success = %(clear_property)s
    WHERE portal_id = %(portal_id)s AND contact_id = %(contact_id)s AND expires_at > %(now)s
      AND (ended_at IS NULL OR end_reason = 'expired')
"""
_COUNT: Final = """
    UPDATE otp_onetimecode SET wrong_attempts = wrong_attempts + 1 WHERE id = ANY (%(ids)s)
"""
_LOCK_CODES: Final = """
    UPDATE otp_onetimecode SET ended_at = %(now)s, end_reason = 'locked', code = NULL
    WHERE id = ANY (%(ids)s) AND (ended_at IS NULL OR end_reason = 'expired')
"""
_SAVE_BUDGET: Final = """
    UPDATE otp_contactguard
    SET wrong_attempts = %(wrong_attempts)s, lock_count = %(lock_count)s, locked_until = %(locked_until)s
    WHERE id = %(id)s
"""
_COLUMNS: Final = (
    "portal_id", "contact_id", "request_key", "source", "code_id", "result", "reason", "attempts_remaining",
    "verified_at", "created_at",
)  # fmt: skip
_INSERT: Final = f"""
    WITH event AS ({audit.INSERT})
    INSERT INTO otp_verification ({", ".join(_COLUMNS)})
    VALUES ({", ".join(f"%({name})s" for name in _COLUMNS)})
    RETURNING id
"""  # noqa: S608 (our own column names)


def _about(request: _Request) -> dict[str, Any]:
    return {"portal_id": request.portal_id, "contact_id": request.contact_id, "now": request.now}


def _budget(guard: ContactGuard) -> dict[str, Any]:
    return {name: getattr(guard, name) for name in ("id", "wrong_attempts", "lock_count", "locked_until")}


def _event(request: _Request, guard: ContactGuard, action: Action, **more: Any) -> dict[str, Any]:
    return audit.columns(
        portal_id=request.portal_id, at=request.now, actor=request.actor, action=action, contact=guard.pseudonym, **more
    )


def _count(
    statements: Statements, request: _Request, guard: ContactGuard, settings: OTPSettings, live: Iterable[OneTimeCode]
) -> None:
    """Count a wrong answer against every code it could have been, and against the contact; lock what that ends."""
    statements.send(_COUNT, {"ids": [code.pk for code in live]})
    locked = []
    for code in live:
        code.wrong_attempts += 1
        if code.wrong_attempts >= MAXIMUM_WRONG_ATTEMPTS:
            locked.append(code.pk)
    if locked:
        statements.send(_LOCK_CODES, {"ids": locked, "now": request.now})
    for reference in locked:
        statements.send(audit.INSERT, _event(request, guard, Action.CODE_LOCKED, reference=reference))
    if guard.count_wrong_attempt(settings, request.now) and guard.locked_until is not None:
        detail = {"until": guard.locked_until.isoformat()}
        statements.send(audit.INSERT, _event(request, guard, Action.CONTACT_LOCKED, detail=detail))
    statements.send(_SAVE_BUDGET, _budget(guard))


def _equal_codes(remembered: list[OneTimeCode], request: _Request, address: str, guess: str) -> list[OneTimeCode]:
    """Return the codes that a normalised guess equals, by their digests under any of the peppers."""
    if not codes.fits(guess):
        return []
    digests = codes.digests(
        peppers=django_settings.CODE_PEPPERS,
        portal_id=request.portal_id,
        contact_id=request.contact_id,
        address=address,
        code=guess,
    )
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
