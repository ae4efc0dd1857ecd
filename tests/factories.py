"""Rows for tests."""

import datetime as dt

import factory
from django.utils import timezone

from hubspot_integration.models import OAuthGrant, Portal, PortalMember
from hubspot_integration.oauth import OPTIONAL_SCOPES, REQUIRED_SCOPES
from otp.models import OTPSettings


class PortalFactory(factory.django.DjangoModelFactory[Portal]):
    """A connected HubSpot account."""

    class Meta:
        model = Portal

    id = factory.Sequence(lambda number: 10_000_001 + number)
    hub_domain = factory.LazyAttribute(lambda portal: f"company{portal.id}.example")
    installed_at = factory.LazyFunction(timezone.now)


class OAuthGrantFactory(factory.django.DjangoModelFactory[OAuthGrant]):
    """Tokens that are fresh, with every scope."""

    class Meta:
        model = OAuthGrant

    portal = factory.SubFactory(PortalFactory)
    access_token = factory.Sequence(lambda number: f"test-access-token-{number}")
    refresh_token = factory.Sequence(lambda number: f"test-refresh-token-{number}")
    scopes = [*REQUIRED_SCOPES, *OPTIONAL_SCOPES]
    refreshed_at = factory.LazyFunction(timezone.now)
    expires_at = factory.LazyFunction(lambda: timezone.now() + dt.timedelta(minutes=30))


class PortalMemberFactory(factory.django.DjangoModelFactory[PortalMember]):
    """A portal's admin."""

    class Meta:
        model = PortalMember

    portal = factory.SubFactory(PortalFactory)
    hubspot_user_id = factory.Sequence(lambda number: 700 + number)
    email = factory.LazyAttribute(lambda member: f"admin{member.hubspot_user_id}@company.example")
    signed_in_at = factory.LazyFunction(timezone.now)


class OTPSettingsFactory(factory.django.DjangoModelFactory[OTPSettings]):
    """The defaults."""

    class Meta:
        model = OTPSettings

    portal = factory.SubFactory(PortalFactory)
