"""Forgetting contacts that HubSpot deleted: their codes end at once, their rows go as soon as no step waits for them.

The request is a row, written in the transaction that answers HubSpot: neither a dead broker nor a dead worker loses it.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Coalesce, Greatest

from otp import audit
from otp.audit import Action, ActorKind
from otp.models import (
    AuditNote,
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    EndReason,
    ErasureRequest,
    OneTimeCode,
    Verification,
)

PATIENCE: Final = dt.timedelta(minutes=2)
"""So long a workflow step that waits for the contact's code may take to be completed; then the rows go all the same."""
SETTLING: Final = dt.timedelta(seconds=3)
"""So long after a completion its worker may still be writing down what follows from it."""
STEP: Final = 100

Contact = tuple[int, int]


def request(*, contacts: Sequence[Contact], now: dt.datetime) -> None:
    """End the codes of contacts (pairs of portal id and contact id) and note that their rows are to go.

    Nothing is delivered any more; a workflow step that waits for such a code is due to be completed as failed. The
    same request again changes nothing.
    """
    for start in range(0, len(contacts), STEP):
        with transaction.atomic():
            _request(contacts[start : start + STEP], now)


def _request(contacts: Sequence[Contact], now: dt.datetime) -> None:
    ErasureRequest.objects.bulk_create(
        [ErasureRequest(portal_id=portal_id, contact_id=contact, requested_at=now) for portal_id, contact in contacts],
        update_conflicts=True,
        unique_fields=["portal", "contact_id"],
        update_fields=["requested_at"],
    )
    # Locked first, as by everything that concerns a contact's codes; in one order, so that nobody waits in a circle.
    guards = ContactGuard.objects.filter(_of(contacts)).order_by("portal_id", "contact_id").select_for_update()
    # Whoever read the codes before this begins again (otp.contact.ledger).
    ContactGuard.objects.filter(id__in=[guard.pk for guard in guards]).update(version=F("version") + 1)
    # What somebody holds at this moment is skipped rather than waited for: the sweep that ends it, or the worker that
    # writes down its outcome, and finds the code ended when it looks again.
    live = OneTimeCode.objects.filter(_of(contacts), ended_at__isnull=True).select_for_update(skip_locked=True)
    OneTimeCode.objects.filter(id__in=list(live.values_list("id", flat=True))).end(EndReason.ERASED, now)
    codes = OneTimeCode.objects.filter(_of(contacts)).values("id")
    pending = Delivery.objects.filter(code__in=codes, status=DeliveryStatus.PENDING).select_for_update(
        skip_locked=True, of=("self",)
    )
    found = list(pending.values_list("id", "channel"))
    completions = [pk for pk, channel in found if channel == ChannelName.WORKFLOW_COMPLETION]
    others = [pk for pk, channel in found if channel != ChannelName.WORKFLOW_COMPLETION]
    Delivery.objects.filter(id__in=others).update(
        status=DeliveryStatus.FAILED, error="contact_deleted", next_attempt_at=None, settled_at=now
    )
    Delivery.objects.filter(id__in=completions).update(
        next_attempt_at=Greatest(Coalesce("not_before", Value(now)), Value(now))
    )


def erase_due(*, now: dt.datetime) -> int:
    """Erase contacts that nothing waits for; return how many. One step that blocks nobody: call it until it returns 0."""
    with transaction.atomic():
        requests = list(
            ErasureRequest.objects.filter(~_awaited(now) | Q(requested_at__lte=now - PATIENCE))
            .order_by("id")
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("portal")[:STEP]
        )
        if not requests:
            return 0
        contacts = sorted((one.portal_id, one.contact_id) for one in requests)
        guards = {
            (guard.portal_id, guard.contact_id): guard
            for guard in ContactGuard.objects.filter(_of(contacts))
            .order_by("portal_id", "contact_id")
            .select_for_update()
        }
        for one in requests:
            _erase(one, guards.get((one.portal_id, one.contact_id)), now)
    return len(requests)


def _awaited(now: dt.datetime) -> Exists:
    """Whether a workflow step of the contact is still to be completed, or has been a moment ago."""
    return Exists(
        Delivery.objects.filter(
            Q(status=DeliveryStatus.PENDING) | Q(settled_at__gt=now - SETTLING),
            channel=ChannelName.WORKFLOW_COMPLETION,
            code__portal_id=OuterRef("portal_id"),
            code__contact_id=OuterRef("contact_id"),
            code__created_at__lte=OuterRef("requested_at"),
        )
    )


def _erase(one: ErasureRequest, guard: ContactGuard | None, now: dt.datetime) -> None:
    """Delete everything about a contact, and the request last. The log keeps its lines, under a name without a bearer."""
    theirs = Q(portal_id=one.portal_id, contact_id=one.contact_id, created_at__lte=one.requested_at)
    if guard is not None:
        audit.record(
            portal=one.portal,
            at=now,
            actor="HubSpot",
            actor_kind=ActorKind.SYSTEM,
            action=Action.CONTACT_ERASED,
            contact_id=one.contact_id,
        )
    # With its deliveries and verifications. Only the keys are loaded: nothing needs to be readable to be deleted.
    OneTimeCode.objects.filter(theirs).only("id").delete()
    Verification.objects.filter(theirs).delete()
    AuditNote.objects.filter(theirs).only("id").delete()
    if guard is not None:
        guard.delete()
    one.delete()


def _of(contacts: Sequence[Contact]) -> Q:
    by_portal: dict[int, list[int]] = defaultdict(list)
    for portal_id, contact_id in contacts:
        by_portal[portal_id].append(contact_id)
    found = Q(pk__in=[])
    for portal_id, contact_ids in by_portal.items():
        found |= Q(portal_id=portal_id, contact_id__in=contact_ids)
    return found
