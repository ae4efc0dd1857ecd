"""Rows to measure with, written by the product's own models. Runs inside `manage.py shell`."""

import datetime as dt

from django.conf import settings
from django.utils import timezone

from otp import codes
from otp.models import ChannelName, Delivery, OneTimeCode, OTPSettings, Source
from tests import factories

CODE = "482951"
_LIFE = dt.timedelta(minutes=60)
_BATCH = 5000


def portal(**settings_of_it: object) -> int:
    """Connect a portal straight in the database, for figures that need no HubSpot; return its id.

    Without settings it stores, mails and waits, as portals do at most.
    """
    grant = factories.OAuthGrantFactory.create()
    values = settings_of_it or {
        "store_in_property": True,
        "property_name": "otp_code",
        "send_email": True,
        "wait_until_delivered": True,
    }
    factories.OTPSettingsFactory.create(portal=grant.portal, **values)
    return grant.portal.pk


def live_codes(portal_id: int, first: int, count: int, *, mails: bool = False) -> int:
    """Write one live code, CODE, for each of so many contacts; with `mails` a delivery too, due when the codes end."""
    now = timezone.now()
    for start in range(first, first + count, _BATCH):
        made = [_code(portal_id, contact, now) for contact in range(start, min(start + _BATCH, first + count))]
        OneTimeCode.objects.bulk_create(made)
        if mails:
            Delivery.objects.bulk_create(
                Delivery(code=code, portal_id=portal_id, channel=ChannelName.EMAIL, next_attempt_at=code.expires_at)
                for code in made
            )
    return count


def mail_only(portal_id: int) -> int:
    """Let a portal do nothing but mail, without anybody waiting; return its id."""
    OTPSettings.objects.filter(portal=portal_id).update(
        store_in_property=False, property_name="", send_email=True, wait_until_delivered=False
    )
    return portal_id


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
