"""A browser in which a portal's admin is signed in."""

from typing import Any

from django.test import Client
from django.utils import timezone

from hubspot_integration import access
from hubspot_integration.models import Portal, PortalMember
from tests import factories


class AdminsBrowser(Client):
    """A client that posts to the settings what their pages post: the portal that they were drawn for."""

    portal: Portal

    def post(self, path: str, data: Any = None, *args: Any, **extra: Any) -> Any:  # type: ignore[override]  # handed on
        """Post a form."""
        if path.startswith("/settings/"):
            data = {access.FIELD: str(self.portal.id)} | (data or {})
        return super().post(path, data, *args, **extra)


def signed_in(portal: Portal, *, email: str = "admin@company.example", **options: Any) -> AdminsBrowser:
    """Return a client whose session is an admin's of this portal, who has just come from HubSpot."""
    client = AdminsBrowser(**options)
    client.portal = portal
    prove(client, factories.PortalMemberFactory.create(portal=portal, email=email))
    return client


def prove(client: Client, member: PortalMember, *, at: float | None = None) -> None:
    """Let a client's session choose a member, and prove it; what it has proven before stays."""
    session = client.session
    session[access._SESSION_KEY] = member.pk
    proven = session.get(access._PROVEN_KEY, {})
    proof = [member.session_epoch, timezone.now().timestamp() if at is None else at]
    session[access._PROVEN_KEY] = {**proven, str(member.pk): proof}
    session.save()
