"""What happens while a delivery is on its way is looked at right before it is handed over."""

import datetime as dt
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from hubspot_integration import tokens
from hubspot_integration.models import OAuthGrant, Portal
from otp.models import ChannelName, Delivery, DeliveryStatus, OneTimeCode
from otp.upkeep import erasure
from tests.hubspot import HubSpot, eventually
from tests.otp.test_delivery import BOTH, drain, issue, issued_code, rows
from tests.otp.test_property_clearing import verify

pytestmark = pytest.mark.django_db(transaction=True)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Do something as another worker does, on a connection of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def use(portal: Portal, code: OneTimeCode) -> None:
    verify(portal, code.contact_id, code)


def erase(portal: Portal, code: OneTimeCode) -> None:
    erasure.request(contacts=[(portal.id, code.contact_id)], now=timezone.now())


def erase_and_forget(portal: Portal, code: OneTimeCode) -> None:
    erase(portal, code)
    OneTimeCode.objects.filter(pk=code.pk).only("id").delete()


def supersede(portal: Portal, code: OneTimeCode) -> None:
    issue(portal, code.contact_id, f"newer-{code.contact_id}")


def disconnect(portal: Portal, code: OneTimeCode) -> None:
    tokens.mark_disconnected(portal.id)


ENDS: list[Callable[[Portal, OneTimeCode], None]] = [use, erase, erase_and_forget, supersede, disconnect]


@pytest.mark.parametrize("end", ENDS)
def test_it_does_not_mail_what_ended_while_its_batch_was_on_its_way(
    hubspot: HubSpot, end: Callable[[Portal, OneTimeCode], None]
) -> None:
    portal = hubspot.connect(**BOTH)
    first, second = (issued_code(portal, contact) for contact in (1, 2))
    held = hubspot.fault("smtp.rcpt", "hold", match="contact1@")
    worker = in_thread(lambda: drain(portal, ChannelName.EMAIL))
    eventually(lambda: hubspot.fired(held))
    end(portal, second)
    hubspot.release(held)
    worker.join()
    mails = hubspot.mails()
    assert [first.code in mail["text"] for mail in mails] == [True] + [False] * (len(mails) - 1)
    assert not any(str(second.code) in mail["text"] for mail in mails)
    row = Delivery.objects.filter(code=second.pk, channel=ChannelName.EMAIL).first()
    assert row is None or row.status == DeliveryStatus.FAILED


def test_it_does_not_mail_an_address_that_bounced_meanwhile(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**BOTH, "resend_policy": "keep_both"})
    earlier = issued_code(portal, 2, "earlier")
    drain(portal, ChannelName.EMAIL)
    issue(portal, 1)
    issue(portal, 2)
    held = hubspot.fault("smtp.rcpt", "hold", match="contact1@")
    worker = in_thread(lambda: drain(portal, ChannelName.EMAIL))
    eventually(lambda: hubspot.fired(held))
    Delivery.objects.filter(code=earlier, channel=ChannelName.EMAIL).update(
        status=DeliveryStatus.BOUNCED, provider_status="bounced", provider_status_at=timezone.now()
    )
    hubspot.release(held)
    worker.join()
    assert [row.status for row in rows(ChannelName.EMAIL)] == ["bounced", "sent", "bounced"]
    assert len(hubspot.mails("contact2@")) == 1


def wait_for_a_token(hubspot: HubSpot, portal: Portal, *, early: bool) -> int:
    """Have the next call of the portal wait for a refresh, before it is made or (`early`) after HubSpot's 401."""
    if early:
        hubspot.post(f"/portals/{portal.id}/expire-tokens")
    else:
        OAuthGrant.objects.update(expires_at=timezone.now())
    return hubspot.fault("oauth.token", "hold")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_it_does_not_write_what_ended_while_the_token_was_refreshed(
    hubspot: HubSpot, end: Callable[[Portal, OneTimeCode], None], early: bool
) -> None:
    portal = hubspot.connect(**BOTH)
    contacts = [contact["contactId"] for contact in hubspot.contacts(portal.id, 2)]
    first, second = (issued_code(portal, contact) for contact in contacts)
    held = wait_for_a_token(hubspot, portal, early=early)
    worker = in_thread(lambda: drain(portal, ChannelName.CONTACT_PROPERTY))
    eventually(lambda: hubspot.fired(held))
    end(portal, second)
    hubspot.release(held)
    worker.join()
    assert second.code not in hubspot.writes(portal.id, contacts[1])
    assert hubspot.writes(portal.id, contacts[0]) == ([] if end is disconnect else [first.code])


def test_it_does_not_write_what_ended_before_the_call_on_the_lenient_version(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    code = issued_code(portal, contact)
    body = {"status": "error", "category": "VALIDATION_ERROR", "message": "Lead status is required"}
    held = hubspot.fault("contacts.batch_update", "hold", match="2026-09")
    hubspot.fault("contacts.batch_update", "status", status=400, body=json.dumps(body), match="2026-09")
    worker = in_thread(lambda: drain(portal, ChannelName.CONTACT_PROPERTY))
    eventually(lambda: hubspot.fired(held))
    use(portal, code)
    hubspot.release(held)
    worker.join()
    assert hubspot.writes(portal.id, contact) == []


@pytest.mark.parametrize("early", [False, True])
def test_it_gives_no_code_that_ended_while_the_token_was_refreshed_to_a_workflow(hubspot: HubSpot, early: bool) -> None:
    portal = hubspot.connect(**{**BOTH, "store_in_property": False})
    code = issued_code(portal, 1)
    drain(portal, ChannelName.EMAIL)
    held = wait_for_a_token(hubspot, portal, early=early)
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=3)):
        worker = in_thread(lambda: drain(portal, ChannelName.WORKFLOW_COMPLETION))
        eventually(lambda: hubspot.fired(held))
        use(portal, code)
        hubspot.release(held)
        worker.join()
    (stray,) = hubspot.get("/strays")["completions"]
    outputs: dict[str, Any] = stray["outputFields"]
    assert (outputs["otp_code"], outputs["otp_status"], outputs["otp_error"]) == ("", "failed", "expired")


def test_it_confirms_without_a_code_that_ended_while_the_token_was_refreshed(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**BOTH, "store_in_property": False})
    code = issued_code(portal, 1)
    drain(portal, ChannelName.EMAIL)
    start = timezone.now()
    with time_machine.travel(start + dt.timedelta(seconds=3)):
        drain(portal, ChannelName.WORKFLOW_COMPLETION)
    held = wait_for_a_token(hubspot, portal, early=True)
    with time_machine.travel(start + dt.timedelta(seconds=70)):
        worker = in_thread(lambda: drain(portal, ChannelName.WORKFLOW_CONFIRMATION))
        eventually(lambda: hubspot.fired(held))
        use(portal, code)
        hubspot.release(held)
        worker.join()
    first, second = (stray["outputFields"] for stray in hubspot.get("/strays")["completions"])
    assert first["otp_code"] == code.code
    assert second == {**first, "otp_code": ""}
