"""Rows for tests."""

import datetime as dt

from django.utils import timezone
from factory.declarations import LazyAttribute, LazyFunction, Sequence, SubFactory
from factory.django import DjangoModelFactory

from hubspot_integration.models import OAuthGrant, Portal, PortalMember
from hubspot_integration.oauth import OPTIONAL_SCOPES, REQUIRED_SCOPES
from otp.models import OTPSettings


class PortalFactory(DjangoModelFactory[Portal]):
    """A connected HubSpot account."""

    class Meta:
        model = Portal

    id = Sequence(lambda number: 10_000_001 + number)
    hub_domain = LazyAttribute(lambda portal: f"company{portal.id}.example")
    installed_at = LazyFunction(timezone.now)


class OAuthGrantFactory(DjangoModelFactory[OAuthGrant]):
    """Tokens that are fresh, with every scope."""

    class Meta:
        model = OAuthGrant

    portal = SubFactory(PortalFactory)
    access_token = Sequence(lambda number: f"test-access-token-{number}")
    refresh_token = Sequence(lambda number: f"test-refresh-token-{number}")
    scopes = [*REQUIRED_SCOPES, *OPTIONAL_SCOPES]
    refreshed_at = LazyFunction(timezone.now)
    expires_at = LazyFunction(lambda: timezone.now() + dt.timedelta(minutes=30))


class PortalMemberFactory(DjangoModelFactory[PortalMember]):
    """A portal's admin."""

    class Meta:
        model = PortalMember

    portal = SubFactory(PortalFactory)
    hubspot_user_id = Sequence(lambda number: 700 + number)
    email = LazyAttribute(lambda member: f"admin{member.hubspot_user_id}@company.example")
    signed_in_at = LazyFunction(timezone.now)


class OTPSettingsFactory(DjangoModelFactory[OTPSettings]):
    """The defaults."""

    class Meta:
        model = OTPSettings

    portal = SubFactory(PortalFactory)
