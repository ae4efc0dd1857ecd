"""The delivery engine with its real neighbours: HubSpot's stand-in over HTTP, a mail server over SMTP, PostgreSQL."""

import datetime as dt
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hubspot_integration import client
from hubspot_integration.models import OAuthGrant, Portal, RefusedFeature
from opsagent import broker
from otp import tasks
from otp.audit import Actor, ActorKind
from otp.contact.issuing import issue_code
from otp.contact.order import COMPLETION_DELAY, Issued, Overrides
from otp.delivery import engine, queue
from otp.models import AuditEvent, ChannelName, ContactGuard, Delivery, DeliveryStatus, EndReason, OneTimeCode, Source
from sandbox.local.waiting import eventually
from tests.hubspot import HubSpot

pytestmark = pytest.mark.django_db(transaction=True)

BOTH: dict[str, Any] = {
    "store_in_property": True,
    "property_name": "otp_code",
    "send_email": True,
    "wait_until_delivered": True,
}


def issue(portal: Portal, contact_id: int, key: str = "", **changes: Any) -> Issued:
    """Issue a code as the workflow action does."""
    now = timezone.now()
    arguments: dict[str, Any] = {
        "portal_id": portal.id,
        "contact_id": contact_id,
        "address": f"contact{contact_id}@example.com",
        "first_name": "Ada",
        "language": "",
        "request_key": f"workflow:{key or contact_id}",
        "source": Source.WORKFLOW,
        "workflow_id": "1",
        "callback_id": f"ap-{key or contact_id}",
        "overrides": Overrides(),
        "actor": Actor(ActorKind.WORKFLOW, "workflow 1"),
        "now": now,
        **changes,
    }
    return issue_code(**arguments)


def issued_code(portal: Portal, contact_id: int, key: str = "", **changes: Any) -> OneTimeCode:
    """Issue a code and return its row."""
    return OneTimeCode.objects.get(pk=issue(portal, contact_id, key, **changes).code.id)


def drain(portal: Portal, channel: ChannelName) -> engine.Progress:
    """Make what is due, in this process."""
    return engine.drain(portal_id=portal.id, channel=channel, clock=timezone.now)


def rows(channel: ChannelName) -> list[Delivery]:
    """Return a channel's deliveries, oldest first."""
    return list(Delivery.objects.filter(channel=channel).order_by("id"))


def test_it_writes_many_codes_with_one_call(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contacts = hubspot.contacts(portal.id, 10)
    issued = {contact["contactId"]: issue(portal, contact["contactId"]) for contact in contacts}
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert len(hubspot.requests("contacts.batch_update")) == 1
    for contact_id, one in issued.items():
        assert hubspot.writes(portal.id, contact_id) == [one.code.code]
    assert {row.status for row in rows(ChannelName.CONTACT_PROPERTY)} == {DeliveryStatus.SENT}


def test_a_batch_costs_the_same_number_of_queries_however_many_codes_are_in_it(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**BOTH, "send_email": False})
    contacts = iter(hubspot.contacts(portal.id, 10))

    def queries(count: int) -> list[int]:
        start, counts = timezone.now(), []
        with time_machine.travel(start, tick=False):
            for contact in itertools.islice(contacts, count):
                issue(portal, contact["contactId"])
        for channel, seconds in (
            (ChannelName.CONTACT_PROPERTY, 1),
            (ChannelName.WORKFLOW_COMPLETION, 5),
            (ChannelName.WORKFLOW_CONFIRMATION, 70),
        ):
            with time_machine.travel(start + dt.timedelta(seconds=seconds)), CaptureQueriesContext(connection) as found:
                assert drain(portal, channel).worked_on == count
            counts.append(len(found))
        return counts

    assert queries(2) == queries(8)


def test_it_mails_many_codes_over_one_connection(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    issued = [issue(portal, contact_id) for contact_id in range(1, 21)]
    drain(portal, ChannelName.EMAIL)
    mails = hubspot.mails()
    assert len({mail["connectionId"] for mail in mails}) == 1
    by_recipient = {mail["recipients"][0]: mail for mail in mails}
    assert len(mails) == len(by_recipient) == 20
    for contact_id, one in enumerate(issued, start=1):
        mail = by_recipient[f"contact{contact_id}@example.com"]
        assert one.code.code
        assert one.code.code in mail["text"]
        assert one.code.code in mail["html"]
        assert "10 minutes" in mail["text"]
        assert mail["subject"] == "Your Verification Code"


def test_it_completes_the_step_when_everything_has_settled(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        one = issue(portal, contact_id)
        drain(portal, ChannelName.CONTACT_PROPERTY)
        (completion,) = rows(ChannelName.WORKFLOW_COMPLETION)
        assert completion.next_attempt_at == one.code.expires_at
        progress = drain(portal, ChannelName.EMAIL)
        (completion,) = rows(ChannelName.WORKFLOW_COMPLETION)
        assert completion.next_attempt_at == start + COMPLETION_DELAY
        assert progress.due_later == {ChannelName.WORKFLOW_COMPLETION: start + COMPLETION_DELAY}
    with time_machine.travel(start + dt.timedelta(seconds=2.1)):
        drain(portal, ChannelName.WORKFLOW_COMPLETION)
    (stray,) = hubspot.get("/strays")["completions"]
    assert stray["callbackId"] == f"ap-{contact_id}"
    assert stray["outputFields"] == {
        "otp_status": "success",
        "otp_error": "",
        "otp_error_message": "",
        "otp_code": one.code.code,
        "otp_expires_at": str(int(one.code.expires_at.timestamp() * 1000)),
        "otp_property_status": "written",
        "otp_email_status": "sent",
        "otp_reference": str(one.code.id),
        "otp_delivery_status": "delivered",
        "hs_execution_state": "SUCCESS",
    }


def test_it_completes_the_step_as_failed_at_the_latest_when_the_code_expires(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    one = issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    with time_machine.travel(one.code.expires_at + dt.timedelta(seconds=1)):
        tasks.end_expired()
        for channel in ChannelName:
            drain(portal, channel)
    (stray,) = hubspot.get("/strays")["completions"]
    outputs = stray["outputFields"]
    assert (outputs["otp_status"], outputs["otp_error"], outputs["otp_code"]) == ("failed", "expired", "")
    assert (outputs["otp_property_status"], outputs["otp_email_status"]) == ("failed", "failed")
    assert outputs["hs_execution_state"] == "FAIL_CONTINUE"


@pytest.mark.parametrize("channel", [ChannelName.CONTACT_PROPERTY, ChannelName.EMAIL])
def test_it_never_delivers_an_expired_code(hubspot: HubSpot, channel: ChannelName) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    one = issue(portal, contact_id)
    with time_machine.travel(one.code.expires_at + dt.timedelta(seconds=1)):
        drain(portal, channel)
    (row,) = rows(channel)
    assert (row.status, row.error) == (DeliveryStatus.FAILED, "expired")
    assert hubspot.writes(portal.id, contact_id) == []
    assert hubspot.mails() == []


def test_it_does_not_deliver_a_superseded_code(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    issue(portal, contact_id, "first")
    second = issue(portal, contact_id, "second")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    drain(portal, ChannelName.EMAIL)
    assert hubspot.writes(portal.id, contact_id) == [second.code.code]
    assert [second.code.code in mail["text"] for mail in hubspot.mails()] == [True]
    assert [row.error for row in rows(ChannelName.EMAIL)] == ["superseded", ""]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "status", "status": 502}, None),
        ({"kind": "status", "status": 429, "retryAfter": "7"}, 7.0),
        ({"kind": "status", "status": 423}, 2.0),
        ({"kind": "status", "status": 477, "retryAfter": "120"}, 120.0),
        ({"kind": "drop"}, None),
    ],
)
def test_it_tries_again_when_hubspot_is_in_trouble(
    hubspot: HubSpot, fault: dict[str, Any], expected: float | None
) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    one = issue(portal, contact_id)
    hubspot.fault("contacts.batch_update", times=1, **fault)
    start = made_at(one) + dt.timedelta(seconds=1)
    with time_machine.travel(start, tick=False):
        progress = drain(portal, ChannelName.CONTACT_PROPERTY)
    (row,) = rows(ChannelName.CONTACT_PROPERTY)
    assert row.status == DeliveryStatus.PENDING
    assert row.next_attempt_at is not None
    wait = (row.next_attempt_at - start).total_seconds()
    assert wait == expected if expected is not None else 0 < wait <= 30
    assert progress.due_later[ChannelName.CONTACT_PROPERTY] == row.next_attempt_at
    broker.redis().flushdb()  # the pause that HubSpot asked for runs in real time
    with time_machine.travel(row.next_attempt_at):
        drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact_id) == [one.code.code]


def test_it_finds_the_one_contact_that_hubspot_refuses(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_ids = [contact["contactId"] for contact in hubspot.contacts(portal.id, 7)]
    for contact_id in contact_ids:
        issue(portal, contact_id)
    gone = contact_ids[3]
    hubspot.delete(f"/portals/{portal.id}/contacts/{gone}")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    for contact_id in contact_ids:
        if contact_id != gone:
            assert len(hubspot.writes(portal.id, contact_id)) == 1
    failed = Delivery.objects.get(status=DeliveryStatus.FAILED)
    assert failed.code.contact_id == gone


def test_it_fails_for_good_when_the_property_is_gone(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**BOTH, "property_name": "no_such_property"})
    issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    drain(portal, ChannelName.CONTACT_PROPERTY)
    (row,) = rows(ChannelName.CONTACT_PROPERTY)
    assert (row.status, row.error) == (DeliveryStatus.FAILED, "property_doesnt_exist")


def test_it_refreshes_a_token_that_hubspot_ended_early(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    one = issue(portal, contact_id)
    hubspot.post(f"/portals/{portal.id}/expire-tokens")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact_id) == [one.code.code]
    assert len(hubspot.requests("oauth.token")) == 1


def test_it_notices_that_the_app_was_uninstalled(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    hubspot.delete(f"/portals/{portal.id}/install")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    portal.refresh_from_db()
    assert not portal.is_connected
    assert not OAuthGrant.objects.exists()
    (row,) = rows(ChannelName.CONTACT_PROPERTY)
    assert row.status == DeliveryStatus.FAILED


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"route": "smtp.rcpt", "kind": "refuse", "code": 550, "text": "no such user"}, DeliveryStatus.FAILED),
        ({"route": "smtp.rcpt", "kind": "refuse", "code": 451, "text": "try later"}, DeliveryStatus.PENDING),
    ],
)
def test_it_tells_the_refused_recipient_from_the_others(
    hubspot: HubSpot, fault: dict[str, Any], status: DeliveryStatus
) -> None:
    portal = hubspot.connect(**BOTH)
    for contact_id in range(1, 6):
        issue(portal, contact_id)
    hubspot.fault(match="contact3@", **fault)
    drain(portal, ChannelName.EMAIL)
    assert len(hubspot.mails()) == 4
    assert [row.status for row in rows(ChannelName.EMAIL)] == ["sent", "sent", status, "sent", "sent"]


def test_it_commits_each_accepted_mail_before_the_next(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    for contact_id in range(1, 6):
        issue(portal, contact_id)
    held = hubspot.fault("smtp.rcpt", "hold", match="contact4@")
    worker = _in_thread(lambda: drain(portal, ChannelName.EMAIL))
    eventually(lambda: hubspot.fired(held))
    assert [row.status for row in rows(ChannelName.EMAIL)] == ["sent"] * 3 + ["pending"] * 2
    hubspot.release(held)
    worker.join()
    assert {row.status for row in rows(ChannelName.EMAIL)} == {"sent"}


def test_it_lets_one_worker_at_a_time_serve_a_channel(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    issue(portal, 1)
    held = hubspot.fault("smtp.rcpt", "hold")
    worker = _in_thread(lambda: drain(portal, ChannelName.EMAIL))
    eventually(lambda: hubspot.fired(held))
    issue(portal, 2)
    assert drain(portal, ChannelName.EMAIL) == engine.Progress(more_is_due=False)
    assert [row.attempts for row in rows(ChannelName.EMAIL)] == [1, 0]
    hubspot.release(held)
    worker.join()
    assert [row.status for row in rows(ChannelName.EMAIL)] == ["sent", "sent"]


def test_it_makes_a_dead_workers_delivery_again_after_its_lease(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    one = issue(portal, contact_id)
    claimed = queue.claim(portal.id, ChannelName.CONTACT_PROPERTY, timezone.now()).deliveries
    assert len(claimed) == 1
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact_id) == []
    with time_machine.travel(timezone.now() + queue.LEASE + dt.timedelta(seconds=1)):
        drain(portal, ChannelName.CONTACT_PROPERTY)
    assert hubspot.writes(portal.id, contact_id) == [one.code.code]


def test_it_completes_once_when_both_siblings_settle_at_the_same_moment(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_ids = [contact["contactId"] for contact in hubspot.contacts(portal.id, 10)]
    for contact_id in contact_ids:
        issue(portal, contact_id)
    workers = [
        _in_thread(lambda channel=channel: drain(portal, channel))  # type: ignore[misc]
        for channel in (ChannelName.CONTACT_PROPERTY, ChannelName.EMAIL)
    ]
    for worker in workers:
        worker.join()
    soon = timezone.now() + dt.timedelta(seconds=3)
    assert Delivery.objects.due(soon).filter(channel=ChannelName.WORKFLOW_COMPLETION).count() == 10


def made_at(one: Issued) -> dt.datetime:
    """Return when a code was made."""
    return OneTimeCode.objects.get(id=one.code.id).created_at


def confirm(portal: Portal, one: Issued, *, later: dt.timedelta) -> None:
    """Complete a code's step, then confirm it `later`."""
    with time_machine.travel(made_at(one), tick=False) as clock:
        for channel in (ChannelName.CONTACT_PROPERTY, ChannelName.EMAIL):
            drain(portal, channel)
        clock.shift(dt.timedelta(seconds=3))
        drain(portal, ChannelName.WORKFLOW_COMPLETION)
    (confirmation,) = rows(ChannelName.WORKFLOW_CONFIRMATION)
    assert confirmation.next_attempt_at is not None
    assert 55 < (confirmation.next_attempt_at - made_at(one)).total_seconds() < 70
    with time_machine.travel(made_at(one) + later):
        tasks.end_expired()
        drain(portal, ChannelName.WORKFLOW_CONFIRMATION)
    (confirmation,) = rows(ChannelName.WORKFLOW_CONFIRMATION)
    assert confirmation.status == DeliveryStatus.SENT


def test_it_completes_a_step_once_more_a_minute_later_with_the_same_outputs(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    one = issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    confirm(portal, one, later=dt.timedelta(seconds=75))
    first, second = (stray["outputFields"] for stray in hubspot.get("/strays")["completions"])
    assert first == second
    assert first["otp_code"] == one.code.code


def test_it_confirms_after_the_end_without_the_code(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    one = issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    confirm(portal, one, later=dt.timedelta(minutes=11))
    first, second = (stray["outputFields"] for stray in hubspot.get("/strays")["completions"])
    assert second == {**first, "otp_code": ""}
    assert second["otp_status"] == "success"


def test_it_writes_on_the_lenient_version_when_the_portals_own_rules_stand_in_the_way(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contacts = hubspot.contacts(portal.id, 3)
    for contact in contacts:
        issue(portal, contact["contactId"])
    body = {
        "status": "error",
        "category": "VALIDATION_ERROR",
        "message": "Lead status is required when the lifecycle stage is Lead",
        "errors": [{"code": "REQUIRED_PROPERTY", "context": {"propertyName": ["hs_lead_status"]}}],
    }
    hubspot.fault("contacts.batch_update", "status", status=400, body=json.dumps(body), match="2026-09")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    assert {row.status for row in rows(ChannelName.CONTACT_PROPERTY)} == {DeliveryStatus.SENT}
    assert ["2026-03" in call["path"] for call in hubspot.requests("contacts.batch_update")] == [False, True]


def test_it_asks_no_more_for_a_property_that_is_gone_until_it_is_back(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    hubspot.delete(f"/portals/{portal.id}/properties/otp_code")
    for key in ("one", "two"):
        issue(portal, contact_id, key)
        drain(portal, ChannelName.CONTACT_PROPERTY)
    assert [row.error for row in rows(ChannelName.CONTACT_PROPERTY)] == ["property_doesnt_exist"] * 2
    assert len(hubspot.requests("contacts.batch_update")) == 1
    assert RefusedFeature.objects.get().feature == "property:otp_code"
    hubspot.reset()
    again = hubspot.connect(**BOTH)
    client.contact_properties(again.id)
    assert not RefusedFeature.objects.exists()


def test_it_stops_calling_for_what_the_portal_did_not_grant(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH, scopes=["oauth", "crm.objects.contacts.read"])
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    for key in ("one", "two", "three"):
        issue(portal, contact_id, key)
        drain(portal, ChannelName.CONTACT_PROPERTY)
    assert [row.error for row in rows(ChannelName.CONTACT_PROPERTY)] == ["missing_scopes"] * 3
    assert len(hubspot.requests("contacts.batch_update")) == 1


def test_it_stops_calling_a_portal_that_answers_401_whatever_the_token(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    hubspot.fault("contacts", "status", status=401)
    for key in ("one", "two"):
        issue(portal, contact_id, key)
        drain(portal, ChannelName.CONTACT_PROPERTY)
    assert len(hubspot.requests("contacts.batch_update")) == 2  # the first, and its one repetition
    portal.refresh_from_db()
    assert portal.is_connected


def test_it_gives_back_what_it_has_not_begun_when_it_is_told_to_stop(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    for contact_id in range(1, 6):
        issue(portal, contact_id)
    sent = 0

    def stopping() -> bool:
        nonlocal sent
        sent = Delivery.objects.filter(channel=ChannelName.EMAIL, status=DeliveryStatus.SENT).count()
        return sent >= 2

    engine.drain(portal_id=portal.id, channel=ChannelName.EMAIL, clock=timezone.now, stopping=stopping)
    assert len(hubspot.mails()) == 2
    assert Delivery.objects.due(timezone.now()).filter(channel=ChannelName.EMAIL).count() == 3
    assert [row.attempts for row in rows(ChannelName.EMAIL)] == [1, 1, 0, 0, 0]
    drain(portal, ChannelName.EMAIL)
    assert len(hubspot.mails()) == 5


def test_a_turn_ends_with_the_mail_that_exceeds_it_and_gives_the_rest_back(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    for contact_id in range(1, 6):
        issue(portal, contact_id)
    hubspot.fault("smtp.rcpt", "slow", seconds=2.2)
    progress = drain(portal, ChannelName.EMAIL)
    assert len(hubspot.mails()) == 1
    assert progress.more_is_due
    assert [row.attempts for row in rows(ChannelName.EMAIL)] == [1, 0, 0, 0, 0]
    assert Delivery.objects.due(timezone.now()).filter(channel=ChannelName.EMAIL).count() == 4


def test_a_server_that_is_silent_twice_is_left_alone_for_now(hubspot: HubSpot, settings: Any) -> None:
    settings.EMAIL_TIMEOUT = 2.1
    portal = hubspot.connect(**BOTH)
    for contact_id in range(1, 6):
        issue(portal, contact_id)
    silent = hubspot.fault("smtp.rcpt", "hold")
    progress = drain(portal, ChannelName.EMAIL)
    assert hubspot.fired(silent) == 2
    assert not progress.more_is_due
    assert {(row.status, row.error, row.attempts) for row in rows(ChannelName.EMAIL)} == {("pending", "timed_out", 1)}


def test_a_message_that_gets_no_answer_does_not_stop_the_others(hubspot: HubSpot, settings: Any) -> None:
    settings.EMAIL_TIMEOUT = 2.1
    portal = hubspot.connect(**BOTH)
    for contact_id in range(1, 4):
        issue(portal, contact_id)
    hubspot.fault("smtp.rcpt", "hold", match="contact1@")
    for _ in range(2):
        drain(portal, ChannelName.EMAIL)
    assert [row.status for row in rows(ChannelName.EMAIL)] == ["pending", "sent", "sent"]


def test_it_does_not_mail_a_code_that_expires_while_its_batch_is_sent(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    issued = [issue(portal, contact_id) for contact_id in (1, 2)]
    OneTimeCode.objects.filter(pk=issued[1].code.id).update(expires_at=timezone.now() + dt.timedelta(seconds=1))
    hubspot.fault("smtp.rcpt", "slow", seconds=1.5, match="contact1@")
    drain(portal, ChannelName.EMAIL)
    assert [(row.status, row.error) for row in rows(ChannelName.EMAIL)] == [("sent", ""), ("failed", "expired")]
    assert len(hubspot.mails()) == 1


def test_it_looks_again_no_later_than_the_codes_end(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    one = issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    hubspot.fault("contacts.batch_update", "status", status=477, retryAfter="86000")
    drain(portal, ChannelName.CONTACT_PROPERTY)
    (row,) = rows(ChannelName.CONTACT_PROPERTY)
    assert row.next_attempt_at == one.code.expires_at


def test_it_ends_expired_codes_and_wipes_them(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    issued = [issue(portal, contact_id) for contact_id in range(1, 4)]
    with time_machine.travel(issued[0].code.expires_at + dt.timedelta(seconds=1)):
        tasks.end_expired()
    assert set(OneTimeCode.objects.values_list("end_reason", "code")) == {(EndReason.EXPIRED, None)}


def _in_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_it_finds_a_completion_that_a_dead_worker_did_not_make_due(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    one = issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    # as if the worker had died after recording the siblings
    now = timezone.now()
    Delivery.objects.exclude(channel=ChannelName.WORKFLOW_COMPLETION).update(
        status=DeliveryStatus.SENT, next_attempt_at=None, settled_at=now
    )
    assert queue.make_forgotten_completions_due(now) == 0
    later = now + dt.timedelta(minutes=1)
    assert queue.make_forgotten_completions_due(later) == 1
    assert Delivery.objects.due(later).get().code_id == one.code.id


def test_it_writes_what_became_of_every_delivery_into_the_audit_log(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    contact_id = hubspot.contacts(portal.id)[0]["contactId"]
    one, lost = issue(portal, contact_id), issue(portal, 999_999)
    for channel in (ChannelName.CONTACT_PROPERTY, ChannelName.EMAIL):
        drain(portal, channel)
    events = AuditEvent.objects.filter(action="delivery_settled")
    assert {(event.reference, event.detail["channel"], event.detail["outcome"]) for event in events} == {
        (one.code.id, "contact_property", "sent"),
        (one.code.id, "email", "sent"),
        (lost.code.id, "contact_property", "failed"),
        (lost.code.id, "email", "sent"),
    }
    guard = ContactGuard.objects.get(portal=portal, contact_id=contact_id)
    assert {event.contact for event in events.filter(reference=one.code.id)} == {guard.pseudonym}
