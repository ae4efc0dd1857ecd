"""Rows to measure with, written by the product's own models. Runs inside `manage.py shell`."""

import datetime as dt

from django.conf import settings
from django.utils import timezone

from hubspot_integration.models import Portal
from otp import codes
from otp.models import ChannelName, ContactGuard, Delivery, OneTimeCode, Source
from tests import factories

CODE = "482951"
_LIFE = dt.timedelta(minutes=60)
_BATCH = 5000
_FIRST_PORTAL = 60_000_001


def portal(**settings_of_it: object) -> int:
    """Connect a portal straight in the database, for figures that need no HubSpot; return its id.

    Without settings it stores, mails and waits, as portals do at most.
    """
    # Every call has a process of its own, in which the factories' numbers begin anew.
    connected = factories.PortalFactory.create(id=_FIRST_PORTAL + Portal.objects.count())
    factories.OAuthGrantFactory.create(portal=connected)
    values = settings_of_it or {
        "store_in_property": True,
        "property_name": "otp_code",
        "send_email": True,
        "wait_until_delivered": True,
    }
    factories.OTPSettingsFactory.create(portal=connected, **values)
    return connected.pk


def mailing_portals(count: int, mails: int) -> str:
    """Connect portals that only mail, each with so many mails to come; return their ids, separated by commas."""
    ids = [portal(send_email=True) for _ in range(count)]
    for portal_id in ids:
        live_codes(portal_id, 1, mails, mails=True)
    return ",".join(map(str, ids))


def live_codes(portal_id: int, first: int, count: int, *, mails: bool = False) -> int:
    """Write one live code, CODE, for each of so many contacts; with `mails` a delivery too, due when the codes end."""
    now = timezone.now()
    for start in range(first, first + count, _BATCH):
        made = [_code(portal_id, contact, now) for contact in range(start, min(start + _BATCH, first + count))]
        ContactGuard.objects.bulk_create(
            [ContactGuard(portal_id=portal_id, contact_id=code.contact_id) for code in made], ignore_conflicts=True
        )
        OneTimeCode.objects.bulk_create(made)
        if mails:
            Delivery.objects.bulk_create(
                Delivery(code=code, portal_id=portal_id, channel=ChannelName.EMAIL, next_attempt_at=code.expires_at)
                for code in made
            )
    return count


def _code(portal_id: int, contact_id: int, now: dt.datetime) -> OneTimeCode:
    address = f"contact{contact_id}@example.com"
    pepper = settings.CODE_PEPPERS[0]
    return OneTimeCode(
        portal_id=portal_id,
        contact_id=contact_id,
        request_key=f"bench:{contact_id}",
        source=Source.WORKFLOW,
        workflow_id="192814114",
        address=address,
        address_digest=codes.address_digests(peppers=(pepper,), portal_id=portal_id, address=address)[0],
        first_name="Ada",
        language="en",
        code=CODE,
        digest=codes.digest(pepper=pepper, portal_id=portal_id, contact_id=contact_id, address=address, code=CODE),
        code_type="numeric",
        code_length=len(CODE),
        expiry_minutes=60,
        created_at=now,
        expires_at=now + _LIFE,
    )
