"""A contact that HubSpot deleted leaves nothing behind but lines that nobody can tie to them."""

import datetime as dt
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.db.models import BinaryField
from django.db.models.functions import Cast
from django.utils import timezone

from hubspot_integration.models import Portal
from otp import audit, tasks
from otp.audit import Action, Actor, ActorKind
from otp.contact.order import COMPLETION_DELAY, Checked
from otp.contact.verifying import verify_code
from otp.hubspot import card
from otp.models import (
    AuditEvent,
    AuditNote,
    ChannelName,
    ContactGuard,
    Delivery,
    DeliveryStatus,
    EndReason,
    ErasureRequest,
    OneTimeCode,
    OTPSettings,
    Source,
    VerificationReason,
)
from otp.pages import activity
from otp.upkeep import erasure
from sandbox.local import servers
from tests import environment
from tests.hubspot import HubSpot
from tests.otp.test_delivery import BOTH, drain, issue
from tests.signing import post_signed

pytestmark = pytest.mark.django_db(transaction=True)

CONTACT = 904_904_904_904


def delete_contact(portal: Portal, contact_id: int = CONTACT) -> None:
    """Say what HubSpot says."""
    event = {"portalId": portal.id, "objectId": contact_id, "subscriptionType": "contact.privacyDeletion"}
    assert post_signed("/hubspot/webhooks", [event]).status_code == 200


def verify(portal: Portal, submitted: str, key: str, contact_id: int = CONTACT) -> Checked:
    return verify_code(
        portal_id=portal.id,
        contact_id=contact_id,
        address=f"contact{contact_id}@example.com",
        submitted=submitted,
        clear_property=False,
        request_key=key,
        source=Source.WORKFLOW,
        actor=Actor(ActorKind.WORKFLOW, "1"),
        now=timezone.now(),
    )


def reveal(portal: Portal, why: str, contact_id: int = CONTACT) -> None:
    OTPSettings.objects.update(code_visibility="reveal")
    card.reveal(
        agent=card.Agent(portal, "agent@company.example"), contact_id=contact_id, idempotency_key=f"look-{contact_id}",
        why=why, now=timezone.now(),
    )  # fmt: skip


def test_a_dump_of_the_database_shows_no_trace_of_an_erased_contact(portal: Portal, settings: Any) -> None:
    one = issue(portal, CONTACT, callback_id=None)
    issue(portal, CONTACT + 1, callback_id=None)
    verify(portal, "000000" if one.code.code != "000000" else "111111", "wrong")
    audit.record(
        portal=portal,
        at=timezone.now(),
        actor="agent@company.example",
        actor_kind=ActorKind.AGENT,
        action=Action.CODE_VIEWED,
        contact_id=CONTACT,
        reference=one.code.id,
    )
    reveal(portal, "Jane Doe, jane.doe@victim.example, called from +44 20 7946 0000")
    reveal(portal, "Somebody else", CONTACT + 1)
    reason = bytes(AuditNote.objects.filter(contact_id=CONTACT).values_list(Cast("typed", BinaryField()), flat=True)[0])
    pseudonym = ContactGuard.objects.get(contact_id=CONTACT).pseudonym
    stored = OneTimeCode.objects.get(contact_id=CONTACT)
    delete_contact(portal)
    tasks.erase_contacts()

    dump = servers.dump(environment.database_url(str(settings.DATABASES["default"]["NAME"])))
    assert str(CONTACT + 1) in dump
    assert str(CONTACT) not in dump.replace(str(CONTACT + 1), "")
    assert f"contact{CONTACT}@example.com" not in dump
    assert bytes(stored.digest).hex() not in dump
    assert reason.hex() not in dump
    assert "Jane" not in dump
    assert bytes(stored.address_digest).hex() not in dump
    assert not OneTimeCode.objects.filter(contact_id=CONTACT).exists()
    lines = AuditEvent.objects.filter(contact=pseudonym).values_list("action", flat=True)
    assert {Action.CODE_VIEWED, Action.CODE_REVEALED, Action.CONTACT_ERASED} <= set(lines)
    revealed = AuditEvent.objects.filter(action=Action.CODE_REVEALED).order_by("id")
    assert list(activity.reasons(revealed).values()) == [activity.ERASED, "Somebody else"]
    assert not ErasureRequest.objects.exists()
    assert OneTimeCode.objects.get().contact_id == CONTACT + 1


def test_what_no_key_can_read_any_more_goes_too(portal: Portal, settings: Any) -> None:
    issue(portal, CONTACT, callback_id=None)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    delete_contact(portal)
    tasks.erase_contacts()
    assert not OneTimeCode.objects.exists()


def test_its_codes_are_worth_nothing_from_the_moment_hubspot_is_answered(portal: Portal) -> None:
    one = issue(portal, CONTACT)
    before = ContactGuard.objects.get().version
    delete_contact(portal)
    assert ContactGuard.objects.get().version > before  # what somebody decides on at this moment is decided again
    code = OneTimeCode.objects.get()
    assert (code.end_reason, code.code) == (EndReason.ERASED, None)
    assert one.code.code is not None
    assert verify(portal, one.code.code, "late").reason == VerificationReason.NOT_FOUND


def test_a_step_that_waits_is_completed_as_failed_before_the_rows_go(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        issue(portal, CONTACT)
        delete_contact(portal)
        assert dict(Delivery.objects.values_list("channel", "status")) == {
            ChannelName.CONTACT_PROPERTY: DeliveryStatus.FAILED,
            ChannelName.EMAIL: DeliveryStatus.FAILED,
            ChannelName.WORKFLOW_COMPLETION: DeliveryStatus.PENDING,
        }
        tasks.erase_contacts()
        assert OneTimeCode.objects.exists()
    with time_machine.travel(start + COMPLETION_DELAY):
        drain(portal, ChannelName.WORKFLOW_COMPLETION)
        tasks.erase_contacts()
    (stray,) = hubspot.get("/strays")["completions"]
    outputs = stray["outputFields"]
    assert (outputs["otp_status"], outputs["otp_error"], outputs["otp_code"]) == ("failed", "expired", "")
    assert outputs["hs_execution_state"] == "FAIL_CONTINUE"
    with time_machine.travel(start + COMPLETION_DELAY + 2 * erasure.SETTLING):
        tasks.erase_contacts()
    assert not OneTimeCode.objects.exists()
    assert not Delivery.objects.exists()
    assert hubspot.mails() == []


def test_it_waits_for_a_step_for_minutes_only(portal: Portal) -> None:
    OTPSettings.objects.update(**BOTH)
    issue(portal, CONTACT)
    delete_contact(portal)
    with time_machine.travel(timezone.now() + erasure.PATIENCE - dt.timedelta(seconds=5)):
        tasks.erase_contacts()
        assert OneTimeCode.objects.exists()
    with time_machine.travel(timezone.now() + erasure.PATIENCE + dt.timedelta(seconds=1)):
        tasks.erase_contacts()
    assert not OneTimeCode.objects.exists()
    assert not ErasureRequest.objects.exists()


def test_a_contact_that_comes_back_is_a_new_one(portal: Portal) -> None:
    issue(portal, CONTACT, "before", callback_id=None)
    before = ContactGuard.objects.get().pseudonym
    delete_contact(portal)
    again = issue(portal, CONTACT, "restored", callback_id=None, now=timezone.now() + dt.timedelta(seconds=1))
    tasks.erase_contacts()
    assert OneTimeCode.objects.get().id == again.code.id
    assert again.code.code is not None
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=2)):
        assert verify(portal, again.code.code, "right").reason == VerificationReason.VERIFIED
    assert ContactGuard.objects.get().pseudonym != before


def test_deleting_a_contact_we_never_met_leaves_no_line(portal: Portal) -> None:
    delete_contact(portal)
    delete_contact(portal)
    tasks.erase_contacts()
    assert not ErasureRequest.objects.exists()
    assert not AuditEvent.objects.exists()


def test_other_portals_contacts_with_the_same_id_stay(hubspot: HubSpot) -> None:
    first, second = hubspot.connect(0), hubspot.connect(1)
    issue(first, CONTACT, callback_id=None)
    issue(second, CONTACT, callback_id=None)
    delete_contact(first)
    tasks.erase_contacts()
    assert OneTimeCode.objects.get().portal == second
    assert ContactGuard.objects.get().portal == second
