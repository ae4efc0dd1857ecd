"""Rows for tests."""

import datetime as dt

from django.conf import settings
from django.utils import timezone
from factory.declarations import LazyAttribute, LazyFunction, Sequence, SubFactory
from factory.django import DjangoModelFactory

from hubspot_integration.installing import OPTIONAL_SCOPES, REQUIRED_SCOPES
from hubspot_integration.models import OAuthGrant, Portal, PortalMember
from otp import codes
from otp.models import ChannelName, ContactGuard, Delivery, DeliveryStatus, OneTimeCode, OTPSettings, Source


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
    last_seen_at = LazyFunction(timezone.now)


class OTPSettingsFactory(DjangoModelFactory[OTPSettings]):
    """The defaults."""

    class Meta:
        model = OTPSettings

    portal = SubFactory(PortalFactory)


class OneTimeCodeFactory(DjangoModelFactory[OneTimeCode]):
    """A live code for ann@example.com, as a workflow asks for it."""

    class Meta:
        model = OneTimeCode

    portal = SubFactory(PortalFactory)
    contact_id = 501
    request_key = Sequence(lambda number: f"workflow:test-{number}")
    source = Source.WORKFLOW
    workflow_id = "77"
    address = "ann@example.com"
    address_digest = LazyAttribute(
        lambda code: codes.address_digests(
            peppers=settings.CODE_PEPPERS[:1], portal_id=code.portal.id, address=code.address
        )[0]
    )
    code = "482951"
    digest = LazyAttribute(
        lambda code: codes.digest(
            pepper=settings.CODE_PEPPERS[0],
            portal_id=code.portal.id,
            contact_id=code.contact_id,
            address=code.address,
            code="482951",
        )
    )
    code_type = "numeric"
    code_length = 6
    expiry_minutes = 10
    created_at = LazyFunction(timezone.now)
    expires_at = LazyAttribute(lambda code: code.created_at + dt.timedelta(minutes=code.expiry_minutes))


class DeliveryFactory(DjangoModelFactory[Delivery]):
    """A mail that is due."""

    class Meta:
        model = Delivery

    code = SubFactory(OneTimeCodeFactory)
    portal = LazyAttribute(lambda delivery: delivery.code.portal)
    channel = ChannelName.EMAIL
    status = DeliveryStatus.PENDING
    next_attempt_at = LazyAttribute(
        lambda delivery: timezone.now() if delivery.status == DeliveryStatus.PENDING else None
    )
    settled_at = LazyAttribute(lambda delivery: None if delivery.status == DeliveryStatus.PENDING else timezone.now())


class ContactGuardFactory(DjangoModelFactory[ContactGuard]):
    """A contact with its whole budget."""

    class Meta:
        model = ContactGuard

    portal = SubFactory(PortalFactory)
    contact_id = 501
