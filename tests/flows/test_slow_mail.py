"""Mail servers that are slow, or hang, in front of one real worker: they stall nothing but their own portals' mail."""

import time
from typing import Any

import pytest
from django.utils import timezone

from hubspot_integration.models import Portal
from otp.models import ChannelName, Delivery, DeliveryStatus, EndReason, OneTimeCode, OTPSettings
from sandbox.local.system import System
from sandbox.local.waiting import pace
from tests.hubspot import HubSpot, eventually
from tests.otp.test_delivery import issue

MAIL_ONLY: dict[str, Any] = {"send_email": True}
# On a quiet machine 0.3 s for the property, and for the mail two turns of the slow ones, of which eight go on at once;
# before there were lanes it was 40 s and 300 s for everything. A busy machine gets its time.
PROPERTY_SECONDS = 12.0
MAIL_SECONDS = 75.0


def portals_with_mail(portals: int, mails: int, domain: str) -> None:
    """Have portals with so many codes each that are to be mailed."""
    now = timezone.now()
    for number in range(1, portals + 1):
        portal = Portal.objects.create(id=number, installed_at=now)
        OTPSettings.objects.create(portal=portal, **MAIL_ONLY)
        for contact in range(1, mails + 1):
            issue(portal, contact, callback_id=None, address=f"p{number}c{contact}@{domain}")


def status(portal: Portal, channel: ChannelName) -> set[str]:
    return set(Delivery.objects.filter(portal=portal, channel=channel).values_list("status", flat=True))


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [(["smtp.rcpt"], 2), (["smtp.rcpt", "smtp.data", "smtp.after_data"], 4)],
    ids=["2 s a mail", "12 s a mail"],
)
def test_slow_mail_stalls_nobody_else(system: System, hubspot: HubSpot, steps: list[str], seconds: int) -> None:
    for step in steps:
        hubspot.fault(step, "slow", seconds=seconds, match="@slow.example")
    portals_with_mail(16, 25, "slow.example")
    stalled = Delivery.objects.filter(channel=ChannelName.EMAIL, attempts__gt=0)
    eventually(lambda: stalled.values("portal").distinct().count() >= 8)
    pace(3)  # the worker has met the slow server everywhere
    portal = hubspot.connect(store_in_property=True, property_name="otp_code", wait_until_delivered=True)
    contact = int(hubspot.contacts(portal.id)[0]["contactId"])
    issued_at = time.monotonic()
    issue(portal, contact)
    eventually(lambda: status(portal, ChannelName.CONTACT_PROPERTY) == {DeliveryStatus.SENT}, seconds=60)
    written = time.monotonic() - issued_at
    eventually(lambda: hubspot.get("/strays")["completions"], seconds=60)
    completed = time.monotonic() - issued_at
    OneTimeCode.objects.filter(portal_id=1).update(expires_at=timezone.now())
    eventually(lambda: OneTimeCode.objects.filter(portal_id=1, end_reason=EndReason.EXPIRED).exists(), seconds=60)
    OTPSettings.objects.filter(portal=portal).update(**MAIL_ONLY, store_in_property=False)
    issued_at = time.monotonic()
    issue(portal, contact + 1, callback_id=None, address="quick@quick.example")
    eventually(lambda: hubspot.mails("quick@quick.example"), seconds=120)
    mailed = time.monotonic() - issued_at
    assert written < PROPERTY_SECONDS
    assert completed < 2 * PROPERTY_SECONDS
    assert mailed < MAIL_SECONDS
