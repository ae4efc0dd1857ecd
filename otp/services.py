"""The use cases. Each is one function: keyword-only, told the time, raising what its caller must put into words."""

import datetime as dt
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
from otp import codes, tasks
from otp.codes import CodeType
from otp.models import (
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    EndReason,
    OneTimeCode,
    OTPSettings,
    Source,
)

log = structlog.get_logger(__name__)

# A completion that overtakes our own answer is lost (https://community.hubspot.com/t5/APIs-Integrations/
# Error-validating-callback-ID/m-p/1025725): HubSpot must have stored the BLOCK first.
COMPLETION_DELAY: Final = dt.timedelta(seconds=2)
COMPLETION_SCOPE: Final = "automation"
MAXIMUM_ADDRESS_LENGTH: Final = 254


class MissingAddress(Exception):
    """The contact has no e-mail address."""


class InvalidAddress(Exception):
    """What the contact has is no e-mail address."""


class RequestKeyTaken(Exception):
    """The same request key was used for another contact."""


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
    comes. The contact's older live codes are superseded. With `callback_id` a workflow step can be made to wait; it is
    then completed no sooner than two seconds after the latest call of this function for it.

    Raises MissingAddress, InvalidAddress, RequestKeyTaken; nothing has changed then.
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
    expiry_minutes = overrides.expiry_minutes or settings.expiry_minutes
    plain = codes.generate(
        CodeType(overrides.code_type or settings.code_type), overrides.code_length or settings.code_length
    )
    OneTimeCode.objects.live(now).filter(portal=portal, contact_id=contact_id).end(EndReason.SUPERSEDED, now)
    code = OneTimeCode.objects.create(
        portal=portal,
        contact_id=contact_id,
        request_key=request_key,
        source=source,
        workflow_id=workflow_id,
        address=address,
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


def lock_contact(*, portal_id: int, contact_id: int) -> None:
    """Wait until this transaction is the only one that concerns the contact's codes, and keep it so."""
    ContactGuard.objects.bulk_create([ContactGuard(portal_id=portal_id, contact_id=contact_id)], ignore_conflicts=True)
    ContactGuard.objects.select_for_update().get(portal_id=portal_id, contact_id=contact_id)


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
