"""Celery's tasks: who works when. Arguments are ids; what there is to do stands in the database."""

import threading
from typing import Any, Final

import structlog
from celery import shared_task
from celery.signals import celeryd_after_setup, worker_shutting_down
from django.utils import timezone

from hubspot_integration import attempts, disconnecting
from opsagent import sessions
from otp.delivery import queue, waking
from otp.delivery.channels import CHANNELS
from otp.delivery.lanes import Lanes
from otp.mails import to_admins
from otp.models import ChannelName
from otp.upkeep import audit_chain, erasure, retention

log = structlog.get_logger(__name__)

SESSIONS_STEP: Final = 1000
_stopping = threading.Event()
_mail_lanes = Lanes(_stopping)


@shared_task
def drain(portal_id: int, channel: str) -> None:
    """Make the due deliveries of one portal and channel, for a while; then let others have their turn."""

    def take_turn() -> None:
        waking.take_turn(portal_id, channel, stopping=_stopping.is_set)

    waking.forget_wake(portal_id, channel)
    if CHANNELS[ChannelName(channel)].takes_a_lane:
        _mail_lanes.enter((portal_id, channel), take_turn)
    else:
        take_turn()


@shared_task
def requeue_due() -> None:
    """Wake whoever has due deliveries: what Redis forgot, what a dead worker left, what has waited its back-off."""
    waking.wake_for_due(timezone.now())


@shared_task
def end_expired() -> None:
    """End codes whose time is over and wipe their encrypted values, in steps that block nobody."""
    now = timezone.now()
    queue.make_clearings_due(now)
    while ended := retention.end_expired(now=now):
        log.info("codes_expired", count=ended)


@shared_task
def erase_contacts() -> None:
    """Erase contacts that HubSpot deleted, in steps that block nobody."""
    while erased := erasure.erase_due(now=timezone.now()):
        log.info("contacts_erased", count=erased)


@shared_task
def notice_uninstalls() -> None:
    """Find out in which portals the app was uninstalled."""
    disconnecting.notice_uninstalls(now=timezone.now())


@shared_task
def forget_codes() -> None:
    """Wipe what recognises codes that expired a day ago, in steps that block nobody."""
    while forgotten := retention.forget_codes(now=timezone.now()):
        log.info("codes_forgotten", count=forgotten)


@shared_task
def delete_ended_sessions() -> None:
    """Delete browser sessions that have ended, and attempts to sign in that nobody can finish, in steps that block nobody."""
    now = timezone.now()
    for delete, what in ((sessions.delete_ended, "sessions"), (attempts.delete_expired, "attempts")):
        while not _stopping.is_set() and (deleted := delete(now=now, limit=SESSIONS_STEP)):
            log.info("ended_deleted", what=what, count=deleted)


@shared_task
def delete_old_records() -> None:
    """Delete what is older than its portal's retention period, in steps that block nobody."""
    for term in retention.terms(now=timezone.now()):
        deleted = 0
        while not _stopping.is_set() and (step := retention.delete_records(term=term)):
            deleted += step
        if _stopping.is_set():
            return
        _shorten_chain(term.portal.id)
        retention.finish(term=term, deleted=deleted, now=timezone.now())
        if deleted or term.ends:
            log.info("records_deleted", portal_id=term.portal.id, count=deleted, ends=term.ends)
    for portal_id in retention.portals_that_are_gone():
        while not _stopping.is_set() and retention.delete_lines_of_a_portal_that_is_gone(portal_id=portal_id):
            pass
        _shorten_chain(portal_id)


@shared_task
def chain_audit_lines() -> None:
    """Chain the audit lines whose turn has come, in steps that block nobody."""
    while not _stopping.is_set() and audit_chain.chain():
        pass


@shared_task
def tell_admins(portal_id: int, subject: str) -> None:
    """Mail a portal's admins about something that only they can mend."""
    _mail_lanes.enter((portal_id, subject), lambda: to_admins.tell_admins(portal_id, subject))


@celeryd_after_setup.connect
def share_threads(*, instance: Any, **_: Any) -> None:
    """Keep half of this worker's threads free of mail: servers of mail are slow at times, and everything else is not."""
    _mail_lanes.widen(max(1, instance.concurrency // 2))


@worker_shutting_down.connect
def stop(**_: Any) -> None:
    """Let drains end after the delivery they are at, and give the rest of their claim back."""
    _stopping.set()


def _shorten_chain(portal_id: int) -> None:
    while not _stopping.is_set() and audit_chain.shorten(portal_id=portal_id):
        pass
