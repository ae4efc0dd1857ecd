"""What support staff do: find, see, retry, disconnect. One function each; everything is recorded."""

import datetime as dt
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from django.conf import settings as django_settings
from django.db import connection, transaction
from django.db.models import QuerySet

from hubspot_integration import disconnecting, identifiers
from hubspot_integration.models import Portal
from opsagent.encryption import DecryptionError, bound_to, decrypt, encrypt
from otp import audit, codes
from otp.audit import Action, ActorKind
from otp.delivery import waking
from otp.models import (
    AuditChain,
    AuditEvent,
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    OneTimeCode,
    OneTimeCodeQuerySet,
)

FOUND_LIMIT: Final = 1000
"""How many codes, the latest, a search goes through to what belongs to them."""
_IN_A_URL: Final = bound_to("admin", "search", "")
"""The place of an address that staff search for: the admin's address bar."""


@dataclass(slots=True)
class Search:
    """What staff typed: a portal id, a contact id, an e-mail address, a reference, or several of them.

    A number is a portal's id if there is such a portal; `contact:123` says that it is not. What cannot be understood
    finds nothing, and so does an e-mail address that is not sealed.
    """

    portal_id: int | None = None
    contact_id: int | None = None
    reference: UUID | None = None
    address: str = ""
    is_understood: bool = field(default=True)

    @classmethod
    def parse(cls, text: str) -> "Search":
        """Understand what was typed, as far as possible."""
        search = cls()
        for word in text.split():
            kind, separator, value = word.partition(":")
            if not separator:
                kind, value = "", word
            if kind == "address":
                try:
                    search.address = codes.normalise_address(_opened(value))
                except (DecryptionError, ValueError):
                    search.is_understood = False
            elif (number := identifiers.read(value)) is not None:
                if kind != "contact" and search.portal_id is None and _is_a_portals(number):
                    search.portal_id = number
                else:
                    search.contact_id = number
            else:
                try:
                    search.reference = UUID(value)
                except ValueError:
                    search.is_understood = False
        return search

    @staticmethod
    def sealed(text: str) -> str:
        """Return what was typed as it may stand in a URL: e-mail addresses in it are encrypted."""
        return " ".join(f"address:{_sealed(word)}" if "@" in word else word for word in text.split())

    def codes(self, found: OneTimeCodeQuerySet | None = None) -> OneTimeCodeQuerySet:
        """Return the codes that fit, through their indexes."""
        found = OneTimeCode.objects.all() if found is None else found
        if not self.is_understood:
            return found.none()
        if self.reference is not None:
            found = found.filter(id=self.reference)
        if self.portal_id is not None:
            found = found.filter(portal_id=self.portal_id)
        if self.contact_id is not None:
            found = found.filter(portal_id__in=self._portals(), contact_id=self.contact_id)
        if self.address:
            found = found.filter(id__in=self._ids_of_address())
        return found

    def deliveries(self, found: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Return the deliveries of the latest codes that fit."""
        return found.filter(code_id__in=self._latest_codes())

    def contacts(self, found: QuerySet[ContactGuard]) -> QuerySet[ContactGuard]:
        """Return the contacts that fit, by their own numbers or by their codes."""
        if not self.is_understood:
            return found.none()
        if self.reference is not None or self.address:
            of_codes = list(
                OneTimeCode.objects.filter(id__in=self._latest_codes()).values_list("portal_id", "contact_id")
            )
            found = found.filter(
                portal_id__in={portal for portal, _ in of_codes}, contact_id__in={contact for _, contact in of_codes}
            )
        if self.portal_id is not None:
            found = found.filter(portal_id=self.portal_id)
        if self.contact_id is not None:
            found = found.filter(portal_id__in=self._portals(), contact_id=self.contact_id)
        return found

    def events(self, found: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        """Return the audit lines that fit."""
        if not self.is_understood:
            return found.none()
        if self.portal_id is not None:
            found = found.filter(portal_id=self.portal_id)
        if self.contact_id is not None or self.address or self.reference is not None:
            guards = list(self.contacts(ContactGuard.objects.all())[:FOUND_LIMIT])
            found = found.filter(
                portal_id__in={guard.portal_id for guard in guards}, contact__in={guard.pseudonym for guard in guards}
            )
        if self.reference is not None:
            found = found.filter(reference=self.reference)
        return found

    def _latest_codes(self) -> list[UUID]:
        return list(self.codes().order_by("-created_at").values_list("id", flat=True)[:FOUND_LIMIT])

    def _portals(self) -> list[int]:
        """Return the portals to look in. Their ids lead the index, so that it is used without a portal as well."""
        if self.portal_id is not None:
            return [self.portal_id]
        return list(Portal.objects.order_by().values_list("id", flat=True))

    def _ids_of_address(self) -> list[UUID]:
        """Return the latest codes made for the address: every portal has its own digest of it."""
        pairs = [
            (portal_id, digest)
            for portal_id in self._portals()
            for digest in codes.address_digests(
                peppers=django_settings.CODE_PEPPERS, portal_id=portal_id, address=self.address
            )
        ]
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT code.id FROM unnest(%s::bigint[], %s::bytea[]) AS wanted (portal_id, digest)
                CROSS JOIN LATERAL (
                    SELECT id, created_at FROM otp_onetimecode
                    WHERE portal_id = wanted.portal_id AND address_digest = wanted.digest
                    ORDER BY created_at DESC LIMIT %s
                ) AS code ORDER BY code.created_at DESC LIMIT %s
                """,
                [[portal for portal, _ in pairs], [digest for _, digest in pairs], FOUND_LIMIT, FOUND_LIMIT],
            )
            return [row[0] for row in cursor.fetchall()]


def record_address_view(*, code: OneTimeCode, staff: str, now: dt.datetime) -> None:
    """Write down that somebody in staff saw the whole address of a code."""
    _record(code.portal, Action.ADDRESS_VIEWED, staff, now, contact_id=code.contact_id, reference=code.id)


def record_export(*, guard: ContactGuard, staff: str, now: dt.datetime) -> None:
    """Write down that somebody in staff took a contact's audit trail away."""
    _record(guard.portal, Action.AUDIT_EXPORTED, staff, now, contact_id=guard.contact_id)


def record_export_of_all(*, portal: Portal, staff: str, now: dt.datetime) -> None:
    """Write down that somebody in staff took a portal's audit log away."""
    _record(portal, Action.AUDIT_EXPORTED, staff, now)


def retry_delivery(*, delivery_id: int, staff: str, now: dt.datetime) -> bool:
    """Make a failed delivery due again, with all its tries, and record who wanted it; return whether it was possible.

    It is while the code is live and its portal is connected: nothing delivers a code that has ended. Clearing the
    contact property, and looking at it again, are the exceptions: they come after the end.
    """
    with transaction.atomic():
        delivery = Delivery.objects.select_for_update(of=("self",)).select_related("code", "portal").get(id=delivery_id)
        code, portal = delivery.code, delivery.portal
        comes_after_the_end = delivery.channel in {ChannelName.PROPERTY_CLEARING, ChannelName.PROPERTY_CHECK}
        is_too_late = not comes_after_the_end and not code.is_live(now)
        if delivery.status != DeliveryStatus.FAILED or is_too_late or not portal.is_connected:
            return False
        delivery.status, delivery.error, delivery.attempts = DeliveryStatus.PENDING, "", 0
        delivery.next_attempt_at, delivery.settled_at = now, None
        delivery.save(update_fields=["status", "error", "attempts", "next_attempt_at", "settled_at"])
        detail = {"channel": delivery.channel}
        _record(portal, Action.DELIVERY_RETRIED, staff, now, code.contact_id, code.id, detail)
        channel = delivery.channel

        def wake() -> None:
            waking.wake(portal.id, channel)

        transaction.on_commit(wake, robust=True)
    return True


def disconnect(*, portal: Portal, staff: str) -> bool:
    """End the connection to a portal, on both sides where HubSpot lets us; return whether there was one.

    That it ended, and who wanted it, is recorded by whoever hears of it (otp.hubspot.receivers).
    """
    if not portal.is_connected:
        return False
    disconnecting.disconnect(portal.id, asked_by=staff, by_staff=True)
    return True


def _record(
    portal: Portal,
    action: Action,
    staff: str,
    now: dt.datetime,
    contact_id: int | None = None,
    reference: UUID | None = None,
    detail: dict[str, str] | None = None,
) -> None:
    audit.record(
        portal=portal,
        at=now,
        actor=staff,
        actor_kind=ActorKind.STAFF,
        action=action,
        contact_id=contact_id,
        reference=reference,
        detail=detail,
    )


def _sealed(address: str) -> str:
    return urlsafe_b64encode(encrypt(address, _IN_A_URL)).decode()


def _opened(sealed: str) -> str:
    """Raises DecryptionError, and ValueError for what is no base64 at all."""
    return decrypt(urlsafe_b64decode(sealed.encode()), _IN_A_URL)


def _is_a_portals(number: int) -> bool:
    """Whether a number is a portal's, or was: the audit lines of one that is deleted are kept until their time is over."""
    return any(model.objects.filter(pk=number).exists() for model in (Portal, AuditChain))
