"""What HubSpot refuses a portal, and when it is looked into again.

Only a scope that was not granted lasts until somebody connects the portal anew. Any other refusal may be a moment's: the
first call of a delivery after `probe_at` looks into it, one at a time whatever the number of workers, after 15 s, 30 s,
60 s and then every 100 s; deliveries wait meanwhile. What a person asks for is not held back: it is a look too.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from django.db.models import F, Q
from django.db.models.functions import Least
from django.utils import timezone

from hubspot_integration.models import RefusedFeature
from hubspot_integration.signals import feature_refused
from hubspot_integration.transport import HubSpotError

log = structlog.get_logger(__name__)

FIRST_STEP: Final = 15
LONGEST_STEP: Final = 100
"""Seconds: looked into again within two minutes, with what a sweep and a call take."""
TELL_AT_STEP: Final = 8
"""After so many looks in vain, some ten minutes, the admins hear of it."""
_MOST_STEPS: Final = 1000
_SOON: Final = 2.0


def look(portal_id: int, features: Sequence[str]) -> list[RefusedFeature]:
    """Return the refusals that stand in the way of a call and pass. Raises HubSpotError for one that lasts."""
    refused = list(
        RefusedFeature.objects.filter(portal_id=portal_id, feature__in=[RefusedFeature.EVERYTHING, *features])
    )
    for refusal in refused:
        if refusal.is_lasting:
            raise _still_refused(refusal, permanent=True)
    return refused


def begin_probe(refused: Iterable[RefusedFeature]) -> None:
    """Let this call, and no other at the same time, look into what is refused. Raises HubSpotError if it is too early.

    A property that HubSpot does not let us write is the admin's to mend: deliveries fail at once rather than wait for it.
    """
    now = timezone.now()
    for refusal in refused:
        is_due = Q(probe_at__isnull=True) | Q(probe_at__lte=now)
        mine = RefusedFeature.objects.filter(is_due, pk=refusal.pk, steps=refusal.steps).update(
            steps=Least(F("steps") + 1, _MOST_STEPS), probe_at=now + _step(refusal.steps + 1)
        )
        if not mine:
            raise _still_refused(refusal, permanent=refusal.is_of_a_property)


def passing(error: HubSpotError) -> HubSpotError:
    """Return a refusal that may be a moment's as what it is to a delivery: a reason to wait for the next look."""
    return HubSpotError(
        str(error),
        permanent=False,
        status=error.status,
        words=[error.reason.upper()],
        retry_after=FIRST_STEP,
    )


def put_probe_first(refused: Iterable[RefusedFeature]) -> None:
    """Let the same call look once more at once."""
    RefusedFeature.objects.filter(pk__in=[refusal.pk for refusal in refused]).update(probe_at=None)


def remember(portal_id: int, feature: str, reason: str) -> None:
    """Note that HubSpot refuses a portal something; tell of it once, when it lasts or has lasted."""
    now = timezone.now()
    refusal, is_new = RefusedFeature.objects.get_or_create(
        portal_id=portal_id,
        feature=feature,
        defaults={"reason": reason, "refused_at": now, "probe_at": now + _step(0)},
    )
    was_lasting = refusal.is_lasting and not is_new
    if not is_new and refusal.reason != reason:
        refusal.reason = reason
        refusal.save(update_fields=["reason"])
    if is_new:
        log.warning("feature_refused", portal_id=portal_id, feature=feature, reason=reason)
    if is_new and refusal.is_of_a_property:
        is_news = True
    elif refusal.is_lasting:
        is_news = not was_lasting
    else:
        # Whoever gets past the step tells of it.
        at_step = RefusedFeature.objects.filter(pk=refusal.pk, steps=TELL_AT_STEP)
        is_news = bool(at_step.update(steps=TELL_AT_STEP + 1))
    if is_news:
        feature_refused.send(sender=RefusedFeature, portal_id=portal_id, feature=feature)


def forget(refused: Iterable[RefusedFeature]) -> None:
    """Note that HubSpot takes the calls again."""
    for refusal in refused:
        refusal.delete()
        log.info("feature_allowed_again", portal_id=refusal.portal_id, feature=refusal.feature)


def _step(steps: int) -> dt.timedelta:
    return dt.timedelta(seconds=min(LONGEST_STEP, FIRST_STEP * 2 ** min(steps, 10)))


def _still_refused(refusal: RefusedFeature, *, permanent: bool) -> HubSpotError:
    wait = None
    if not permanent and refusal.probe_at is not None:
        wait = max(_SOON, (refusal.probe_at - timezone.now()).total_seconds())
    return HubSpotError(
        "HubSpot has refused this before", permanent=permanent, words=[refusal.reason.upper()], retry_after=wait
    )
