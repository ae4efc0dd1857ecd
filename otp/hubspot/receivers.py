"""What the product does when the platform apps have news."""

import datetime as dt
from typing import Any
from uuid import UUID

import structlog
from django.dispatch import receiver
from django.utils import timezone

from emails.signals import status_changed
from emails.tracking import MailStatus
from hubspot_integration import client
from hubspot_integration.models import Portal, PortalMember
from hubspot_integration.signals import contacts_deleted, feature_refused, portal_connected, portal_disconnected
from hubspot_integration.transport import HubSpotError
from otp import audit, tasks
from otp.audit import Action, ActorKind
from otp.contact.order import COMPLETION_SCOPE
from otp.delivery import queue, reports
from otp.mails import to_admins
from otp.models import OTPSettings
from otp.upkeep import erasure

log = structlog.get_logger(__name__)


@receiver(portal_connected)
def prepare_portal(*, portal: Portal, scopes: set[str], member: PortalMember, **_: Any) -> None:
    """Give a new portal its settings (a returning one keeps its own) and fetch its contact properties."""
    OTPSettings.objects.get_or_create(portal=portal, defaults={"wait_until_delivered": COMPLETION_SCOPE in scopes})
    audit.record(
        portal=portal,
        at=timezone.now(),
        actor=member.email,
        actor_kind=ActorKind.ADMIN,
        action=Action.PORTAL_CONNECTED,
        detail={"scopes": " ".join(sorted(scopes))},
    )
    try:
        client.contact_properties(portal.id, timeout=3.0)
    except HubSpotError as error:  # the settings page fetches it again
        log.info("properties_not_fetched", portal_id=portal.id, status=error.status)


@receiver(portal_disconnected)
def tell_of_the_end(*, portal: Portal, asked_by: str, by_staff: bool, **_: Any) -> None:
    """Write down that the connection is gone, give up what cannot be delivered any more, and mail the admins."""
    if by_staff:
        kind, subject = ActorKind.STAFF, to_admins.DISCONNECTED_BY_STAFF
    elif asked_by:
        kind, subject = ActorKind.ADMIN, to_admins.DISCONNECTED_BY_ADMIN
    else:
        kind, subject = ActorKind.SYSTEM, to_admins.DISCONNECTED
    audit.record(
        portal=portal,
        at=timezone.now(),
        actor=asked_by or "HubSpot",
        actor_kind=kind,
        action=Action.PORTAL_DISCONNECTED,
    )
    queue.give_up(portal_id=portal.id, now=timezone.now())
    _tell(portal.id, subject)


@receiver(feature_refused)
def tell_of_the_refusal(*, portal_id: int, feature: str, **_: Any) -> None:
    """Mail the admins what HubSpot refuses; it comes once, when the refusal is new."""
    _tell(portal_id, feature)


@receiver(contacts_deleted)
def forget_contacts(*, contacts: list[tuple[int, int]], **_: Any) -> None:
    """Have everything erased that is kept about contacts that HubSpot deleted."""
    erasure.request(contacts=contacts, now=timezone.now())
    try:
        tasks.erase_contacts.delay()
    except Exception as error:  # noqa: BLE001 (the request is a row: the next sweep finds it)
        log.warning("erasure_not_woken", reason=type(error).__name__)


@receiver(status_changed)
def note_mail_status(
    *, message_id: str, reference: UUID | None, status: MailStatus, at: dt.datetime | None, **_: Any
) -> None:
    """Write on the delivery what the mail provider reports."""
    reports.note(message_id=message_id, reference=reference, status=status, at=at, now=timezone.now())


def _tell(portal_id: int, subject: str) -> None:
    try:
        tasks.tell_admins.delay(portal_id, subject)
    except Exception as error:  # noqa: BLE001 (the settings page says the same; no call fails for a missing broker)
        log.warning("admins_not_told", portal_id=portal_id, about=subject, reason=type(error).__name__)
