"""What stands in a contact property, and what should: shared by those who clear it and those who look at it again."""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from django.conf import settings
from django.db.models import Q

from hubspot_integration.client import Batches
from hubspot_integration.transport import HubSpotError
from otp import codes
from otp.models import ChannelName, Delivery, DeliveryStatus, OneTimeCode

Place = tuple[int, str]
"""A contact's id and a property's name."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What HubSpot says stands in properties, and the contacts it would not tell about, each with its reason."""

    values: dict[Place, str]
    unread: dict[int, HubSpotError]


def place_of(delivery: Delivery) -> Place:
    """Return the property that a delivery writes, clears or looks at."""
    return delivery.code.contact_id, delivery.target


def read(hubspot: Batches, places: Collection[Place]) -> Standing:
    """Ask HubSpot, in one call; a contact that is gone holds nothing. Raises HubSpotError."""
    contacts = sorted({contact for contact, _ in places})
    try:
        values, unread = hubspot.contact_values(contacts, sorted({name for _, name in places}))
    except HubSpotError as error:
        if error.status != HTTPStatus.NOT_FOUND or len(contacts) > 1:
            raise
        values, unread = {}, {}
    return Standing({(contact, name): values.get(contact, {}).get(name, "") for contact, name in places}, unread)


def expected(portal_id: int, contacts: Iterable[int], now: dt.datetime) -> dict[Place, Delivery]:
    """Return, for each property, the writing of the newest live code: of the one that should stand there.

    Of codes whose writing failed only those count that made room for a newer one: it may have ended since.
    """
    made_room = Q(status=DeliveryStatus.FAILED, error="replaced_by_newer_code")
    writings = (
        Delivery.objects.filter(
            Q(status__in=(DeliveryStatus.PENDING, DeliveryStatus.SENT)) | made_room,
            channel=ChannelName.CONTACT_PROPERTY,
            code__in=OneTimeCode.objects.live(now).filter(portal_id=portal_id, contact_id__in=list(contacts)),
        )
        .select_related("code")
        .defer("code__address", "code__first_name")
        .order_by("code__created_at", "code__id")
    )
    return {place_of(delivery): delivery for delivery in writings}


def known_codes(portal_id: int, contacts: Iterable[int]) -> dict[int, list[OneTimeCode]]:
    """Return the codes of contacts that can still be recognised, live and ended ones."""
    found: dict[int, list[OneTimeCode]] = defaultdict(list)
    for code in OneTimeCode.objects.filter(portal_id=portal_id, contact_id__in=list(contacts)).exclude(digest=b""):
        found[code.contact_id].append(code)
    return found


def is_code(value: str, code: OneTimeCode) -> bool:
    """Whether a property's value is the code, which may be known by its keyed digest alone."""
    return bool(value) and bytes(code.digest) in codes.digests(
        peppers=settings.CODE_PEPPERS,
        portal_id=code.portal_id,
        contact_id=code.contact_id,
        address=code.address,
        code=codes.normalise(value),
    )


def write_again(writings: Sequence[Delivery], now: dt.datetime) -> None:
    """Make codes due to be written once more: something else stands in their place."""
    settled = Delivery.objects.filter(id__in=[delivery.id for delivery in writings]).exclude(
        status=DeliveryStatus.PENDING
    )
    settled.update(status=DeliveryStatus.PENDING, error="another_value_found", next_attempt_at=now, settled_at=None)


def clear_again(ended: Sequence[OneTimeCode], now: dt.datetime) -> None:
    """Make the clearing of codes due once more: they stand where they were cleared, or were to be."""
    settled = Delivery.objects.filter(code__in=ended, channel=ChannelName.PROPERTY_CLEARING).exclude(
        status=DeliveryStatus.PENDING
    )
    settled.update(status=DeliveryStatus.PENDING, error="another_value_found", next_attempt_at=now, settled_at=None)
