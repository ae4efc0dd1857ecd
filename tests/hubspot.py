"""The sandbox as tests see it: its control API, and portals that are connected to the product's database."""

import datetime as dt
from typing import Any

from django.utils import timezone

from hubspot_integration.models import OAuthGrant, Portal
from otp.models import OTPSettings
from sandbox.local.control import Control
from sandbox.local.waiting import becomes, eventually

__all__ = ["HubSpot", "becomes", "eventually"]


class HubSpot(Control):
    """HubSpot behind the scenes, and what it gave the product."""

    def connect(self, index: int = 0, *, scopes: list[str] | None = None, **settings: Any) -> Portal:
        """Install the app in a portal behind the browser's back, with real tokens; `settings` are OTPSettings."""
        portal_id = self.portal_ids()[index]
        token = self.post(f"/portals/{portal_id}/tokens", **({} if scopes is None else {"scopes": scopes}))
        now = timezone.now()
        portal, _ = Portal.objects.update_or_create(
            id=portal_id, defaults={"installed_at": now, "disconnected_at": None, "hub_domain": "acme.example"}
        )
        OAuthGrant.objects.update_or_create(
            portal=portal,
            defaults={
                "access_token": token["access_token"],
                "refresh_token": token["refresh_token"],
                "expires_at": now + dt.timedelta(seconds=token["expires_in"]),
                "scopes": token["scopes"],
                "refreshed_at": now,
            },
        )
        OTPSettings.objects.update_or_create(portal=portal, defaults=settings)
        return portal
