"""Who has access to a portal's settings, and taking it from them. Everything is recorded.

Access is given by HubSpot alone: whoever signs in with it, and may install apps there, is a member. So what is taken here
is what somebody has now; whoever still may at HubSpot can sign in again.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.db import transaction
from django.db.models import F

from hubspot_integration.models import Portal, PortalMember
from otp import audit
from otp.audit import Action, ActorKind


class NoAccess(Exception):
    """Whoever wanted it has no access any more: somebody else was faster in ending it."""


class UnknownMember(Exception):
    """There is no such member of the portal (any more)."""


class LastMember(Exception):
    """Nobody would be left who could be told that the connection is broken."""


def people(portal: Portal) -> list[PortalMember]:
    """Return who has access, whoever was seen last first."""
    return list(portal.members.order_by(F("last_seen_at").desc(nulls_last=True), "-signed_in_at", "pk"))


def end_sessions(*, by: PortalMember, member_id: int, now: dt.datetime) -> PortalMember:
    """End every session of a member of the same portal, in every browser, with the next request; return the member.

    The member stays one, and can sign in again. Raises NoAccess and UnknownMember, having changed nothing.
    """
    with _members(by) as members:
        member = _find(members, member_id)
        PortalMember.objects.filter(pk=member.pk).update(session_epoch=F("session_epoch") + 1)
        _record(by, member, Action.SESSIONS_ENDED, now)
    return member


def remove(*, by: PortalMember, member_id: int, now: dt.datetime) -> PortalMember:
    """Take a member of the same portal off the list, and with that every session; return who it was.

    Notices of the portal are not mailed to that person any more. Raises NoAccess, UnknownMember and LastMember, having
    changed nothing.
    """
    with _members(by) as members:
        member = _find(members, member_id)
        if len(members) == 1:
            raise LastMember
        _record(by, member, Action.MEMBER_REMOVED, now)
        PortalMember.objects.filter(pk=member.pk).delete()
    return member


@contextmanager
def _members(by: PortalMember) -> Iterator[Mapping[int, PortalMember]]:
    """Hold all of a portal's members, so that of two who end each other's access one is first. Raises NoAccess."""
    with transaction.atomic():
        locked = PortalMember.objects.select_for_update().filter(portal_id=by.portal_id).order_by("pk")
        members = {member.pk: member for member in locked}
        if by.pk not in members or members[by.pk].session_epoch != by.session_epoch:
            raise NoAccess
        yield members


def _find(members: Mapping[int, PortalMember], member_id: int) -> PortalMember:
    try:
        return members[member_id]
    except KeyError:
        raise UnknownMember from None


def _record(by: PortalMember, member: PortalMember, action: Action, now: dt.datetime) -> None:
    audit.record(
        portal=by.portal,
        at=now,
        actor=by.name,
        actor_kind=ActorKind.ADMIN,
        action=action,
        detail={"member": member.name},
    )
