"""What a support agent can do from the contact record: see, generate, resend, check, reveal. One function each."""

import datetime as dt
import math
from dataclasses import dataclass, replace
from typing import Final

from django.db import transaction

from hubspot_integration import client
from hubspot_integration.models import ContactPropertyList, Portal
from hubspot_integration.transport import HubSpotError
from otp import audit, words
from otp.audit import Action, Actor, ActorKind
from otp.contact import verdicts
from otp.contact.issuing import issue_code
from otp.contact.order import (
    Checked,
    IssuedCode,
    Overrides,
    RateLimited,
)
from otp.contact.verifying import verify_code
from otp.models import (
    CodeVisibility,
    ContactGuard,
    Delivery,
    OneTimeCode,
    OTPSettings,
    Source,
    Verification,
    VerificationReason,
)
from otp.words import Reason
from otp.workflow_outputs import outputs_of

CONTACT_TIMEOUT: Final = 2.8
"""Seconds that an agent waits for HubSpot's answer about a contact: with the connection at most three."""
HINT_TIMEOUT: Final = 1.0
"""Seconds that the card's first look waits for HubSpot: what it learns spares a click, no more."""

_LANGUAGE, _FIRST_NAME = "hs_language", "firstname"
# They say something about what was typed or how often, nothing about the contact.
_NO_CHECKS: Final = (VerificationReason.MALFORMED, VerificationReason.RATE_LIMITED)


class Refused(Exception):
    """What the agent wanted was not done. The message is a sentence with the next step; `retry_after` is in seconds."""

    def __init__(self, reason: Reason, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Agent:
    """A HubSpot user on a contact's record, as HubSpot vouches for: their portal and e-mail address."""

    portal: Portal
    email: str
    kind: ActorKind = ActorKind.AGENT

    @property
    def actor(self) -> Actor:
        """Whom the audit log names."""
        return Actor(self.kind, self.email)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveCode:
    """The code that would be accepted now. `code` is None where the portal hides it from this agent."""

    code: str | None
    expires_at: dt.datetime
    recipient: str
    reference: str
    email_status: str
    property_status: str
    delivery_status: str
    attempts_remaining: int
    resend_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the card shows. `locked_until`: no code of the contact is accepted before. `missing_address`: HubSpot says so."""

    active: ActiveCode | None
    last_verification: Verification | None
    settings: OTPSettings
    property_label: str
    at: dt.datetime
    locked_until: dt.datetime | None = None
    missing_address: bool = False


def portal_settings(*, agent: Agent, now: dt.datetime) -> Overview:
    """Return the portal's settings, about no contact in particular."""
    settings = OTPSettings.of(agent.portal)
    return Overview(
        active=None,
        last_verification=None,
        settings=settings,
        property_label=_property_label(settings),
        at=now,
    )


def overview(*, agent: Agent, contact_id: int, now: dt.datetime) -> Overview:
    """Return what is true of a contact now. That the agent sees a code is recorded, once per code.

    Where there is no code yet, HubSpot is asked whether the contact has an address, for a second at most.
    """
    found = _overview(agent, contact_id, now)
    if found.active is not None or found.locked_until is not None:
        return found
    return replace(found, missing_address=_has_no_address(agent.portal, contact_id))


def generate(*, agent: Agent, contact_id: int, idempotency_key: str, now: dt.datetime) -> Overview:
    """Issue a code as the workflow action does. The same key issues one code, however often it comes. Raises Refused."""
    _issue(agent, contact_id, idempotency_key, Action.CODE_ISSUED, now)
    return _overview(agent, contact_id, now)


def resend(*, agent: Agent, contact_id: int, idempotency_key: str, now: dt.datetime) -> Overview:
    """Issue and mail a new code, where mail is on. The same key issues one code. Raises Refused."""
    send_again(agent=agent, contact_id=contact_id, idempotency_key=idempotency_key, now=now)
    return _overview(agent, contact_id, now)


def sends_mail(portal: Portal) -> bool:
    """Whether the portal mails its codes, so that one can be sent again."""
    return OTPSettings.of(portal).send_email


def send_again(*, agent: Agent, contact_id: int, idempotency_key: str, now: dt.datetime) -> IssuedCode:
    """Do as `resend` does for somebody who is shown nothing of the code; return it. Raises Refused."""
    if not sends_mail(agent.portal):
        raise Refused(Reason.EMAIL_OFF, words.EMAIL_OFF)
    return _issue(agent, contact_id, idempotency_key, Action.CODE_RESENT, now)


def verify(
    *, agent: Agent, contact_id: int, idempotency_key: str, submitted: str, now: dt.datetime
) -> tuple[Checked, Overview]:
    """Check what the customer reads out; the same key is one attempt. Raises Refused.

    The code counts only for the address that the contact has at this moment.
    """
    request_key = _request_key(idempotency_key)
    earlier = Verification.objects.filter(portal=agent.portal, request_key=request_key).first()
    # A repeated check is answered from memory, whether HubSpot answers or not.
    address = _read_contact(agent.portal, contact_id).address if earlier is None else ""
    try:
        checked = verify_code(
            portal_id=agent.portal.id,
            contact_id=contact_id,
            address=address,
            submitted=submitted,
            clear_property=False,
            request_key=request_key,
            source=Source.CARD,
            actor=agent.actor,
            now=now,
        )
    except words.CARD_FAILURES as error:
        raise _refused(error, now) from None
    return checked, _overview(agent, contact_id, now)


def locked_for(*, agent: Agent, contact_id: int, now: dt.datetime) -> int:
    """Return how many seconds the contact's guess budget stays locked; 0 when it is not."""
    locked_until = _locked_until(agent.portal, contact_id, now)
    return _seconds(locked_until, now) if locked_until else 0


def _locked_until(portal: Portal, contact_id: int, now: dt.datetime) -> dt.datetime | None:
    guard = ContactGuard.objects.filter(portal=portal, contact_id=contact_id).first()
    return guard.locked_until if guard and guard.is_locked(now) else None


def _has_no_address(portal: Portal, contact_id: int) -> bool:
    """Whether HubSpot answers within a second that a contact has no address; anything else is for Generate to say."""
    email = OTPSettings.of(portal).email_property
    try:
        values = client.contact(portal.id, contact_id, [email], timeout=HINT_TIMEOUT)
    except HubSpotError:
        return False
    return values is not None and not values[email].strip()


def reveal(*, agent: Agent, contact_id: int, idempotency_key: str, why: str, now: dt.datetime) -> Overview:
    """Show the active code for a reason, which is recorded, once for the same agent, code and key. Raises Refused.

    The reason may speak of the contact: it is kept apart from the audit line, so that it can be erased.
    """
    settings = OTPSettings.of(agent.portal)
    if settings.code_visibility == CodeVisibility.NEVER:
        raise Refused(Reason.NOT_ALLOWED, words.CODES_ARE_HIDDEN)
    code = _active(agent.portal, contact_id, now)
    if code is None:
        raise Refused(Reason.NO_ACTIVE_CODE, words.NO_ACTIVE_CODE)
    with transaction.atomic():
        note = audit.note_once(
            portal=agent.portal,
            at=now,
            typed={"why": why},
            contact_id=contact_id,
            deed=(str(code.id), agent.email, _request_key(idempotency_key)),
        )
        if note is not None:
            audit.record(
                portal=agent.portal,
                at=now,
                actor=agent.email,
                actor_kind=agent.kind,
                action=Action.CODE_REVEALED,
                contact_id=contact_id,
                reference=code.id,
                detail={"note": str(note)},
            )
    return _overview(agent, contact_id, now, revealed=code)


def _issue(agent: Agent, contact_id: int, idempotency_key: str, action: Action, now: dt.datetime) -> IssuedCode:
    request_key = _request_key(idempotency_key)
    # A repeated request is answered from memory, whether HubSpot answers or not.
    is_known = OneTimeCode.objects.filter(portal=agent.portal, request_key=request_key).exists()
    locked_until = None if is_known else _locked_until(agent.portal, contact_id, now)
    if locked_until is not None:
        raise Refused(Reason.RATE_LIMITED, words.LOCKED_FOR_NEW_CODES, retry_after=_seconds(locked_until, now))
    contact = _Contact() if is_known else _read_contact(agent.portal, contact_id)
    try:
        issued = issue_code(
            portal_id=agent.portal.id,
            contact_id=contact_id,
            address=contact.address,
            first_name=contact.first_name,
            language=contact.language,
            request_key=request_key,
            source=Source.CARD,
            workflow_id="",
            callback_id=None,
            overrides=Overrides(),
            actor=agent.actor,
            action=action,
            now=now,
        )
    except words.CARD_FAILURES as error:
        raise _refused(error, now) from None
    return issued.code


def _refused(error: words.CardFailure, now: dt.datetime) -> Refused:
    seconds = _seconds(error.retry_at, now) if isinstance(error, RateLimited) else None
    return Refused(*words.to_an_agent(error, seconds or 0), retry_after=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contact:
    address: str = ""
    first_name: str = ""
    language: str = ""


def _read_contact(portal: Portal, contact_id: int) -> _Contact:
    """Ask HubSpot, now: what the browser says of a contact counts for nothing. Raises Refused."""
    email = OTPSettings.of(portal).email_property
    try:
        values = client.contact(portal.id, contact_id, [email, _FIRST_NAME, _LANGUAGE], timeout=CONTACT_TIMEOUT)
    except HubSpotError as error:
        retry_after = None if error.permanent or not error.retry_after else math.ceil(error.retry_after)
        raise Refused(*words.of_reading_a_contact(error), retry_after=retry_after) from None
    if values is None:
        raise Refused(Reason.NOT_FOUND, words.UNKNOWN_CONTACT)
    return _Contact(
        address=values[email].replace("\0", ""),
        first_name=values[_FIRST_NAME].replace("\0", "")[:200],
        language=values[_LANGUAGE].replace("\0", "").strip()[:20],
    )


def _overview(agent: Agent, contact_id: int, now: dt.datetime, *, revealed: OneTimeCode | None = None) -> Overview:
    settings = OTPSettings.of(agent.portal)
    code = _active(agent.portal, contact_id, now)
    is_shown = settings.code_visibility == CodeVisibility.ALWAYS or (revealed is not None and code == revealed)
    if code is not None and is_shown and not audit.has_seen(portal=agent.portal, actor=agent.email, reference=code.id):
        audit.record(
            portal=agent.portal,
            at=now,
            actor=agent.email,
            actor_kind=agent.kind,
            action=Action.CODE_VIEWED,
            contact_id=contact_id,
            reference=code.id,
        )
    checks = Verification.objects.filter(portal=agent.portal, contact_id=contact_id)
    return Overview(
        active=None if code is None else _describe(code, settings, now, is_shown=is_shown),
        last_verification=checks.exclude(reason__in=_NO_CHECKS).order_by("-created_at", "-id").first(),
        settings=settings,
        property_label=_property_label(settings),
        at=now,
        locked_until=_locked_until(agent.portal, contact_id, now),
    )


def _describe(code: OneTimeCode, settings: OTPSettings, now: dt.datetime, *, is_shown: bool) -> ActiveCode:
    deliveries: list[Delivery] = list(code.deliveries.all())
    outputs = outputs_of(code, deliveries, now)
    guard = ContactGuard.objects.filter(portal_id=code.portal_id, contact_id=code.contact_id).first() or ContactGuard()
    return ActiveCode(
        code=code.code if is_shown else None,
        expires_at=code.expires_at,
        recipient=code.recipient,
        reference=str(code.id),
        email_status=outputs["otp_email_status"],
        property_status=outputs["otp_property_status"],
        delivery_status=outputs["otp_delivery_status"],
        resend_at=code.created_at + dt.timedelta(seconds=settings.resend_cooldown_seconds),
        attempts_remaining=verdicts.attempts_remaining(
            code.wrong_attempts, of_the_contact=guard.attempts_remaining(settings.wrong_attempts_limit, now)
        ),
    )


def _active(portal: Portal, contact_id: int, now: dt.datetime) -> OneTimeCode | None:
    live = OneTimeCode.objects.live(now).filter(portal=portal, contact_id=contact_id)
    return live.order_by("-created_at", "-id").first()


def _property_label(settings: OTPSettings) -> str:
    """Return what the portal calls the property that codes are stored in; empty when they are not."""
    if not settings.store_in_property:
        return ""
    known = ContactPropertyList.objects.filter(portal=settings.portal_id).first()
    labels = {item.get("name"): item.get("label") for item in known.properties} if known else {}
    return labels.get(settings.property_name) or settings.property_name


def _request_key(idempotency_key: str) -> str:
    return f"card:{idempotency_key}"


def _seconds(until: dt.datetime, now: dt.datetime) -> int:
    return max(0, math.ceil((until - now).total_seconds()))
