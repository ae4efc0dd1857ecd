"""A worker's connection to the database is cut in the middle of a delivery, and with it the lock of its turn."""

import datetime as dt
from collections.abc import Callable

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from hubspot_integration.models import Portal
from otp.models import ChannelName, Delivery, DeliveryStatus
from tests.hubspot import HubSpot, eventually
from tests.otp.test_delivery import BOTH, drain, issue, rows
from tests.otp.test_fresh_look import in_thread
from tests.otp.test_last_writer import KEEP_BOTH, make, settle, stands

pytestmark = pytest.mark.django_db(transaction=True)


def drain_and_cut(
    hubspot: HubSpot, portal: Portal, channel: ChannelName, held: int, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Drain in a thread; cut its connection while `held` holds the destination's answer; then let that come."""
    pids: list[int] = []

    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.extend(cursor.fetchone())
        drain(portal, channel)

    worker = in_thread(work)
    eventually(lambda: hubspot.fired(held))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", pids)
    meanwhile()
    hubspot.release(held)
    worker.join()


def after_the_lease(portal: Portal, channel: ChannelName) -> None:
    with time_machine.travel(timezone.now() + dt.timedelta(seconds=31)):
        drain(portal, channel)


def test_no_mail_leaves_twice(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    for contact in (1, 2, 3):
        issue(portal, contact)
    held = hubspot.fault("smtp.answer", "hold", match="contact1@", times=1)
    drain_and_cut(hubspot, portal, ChannelName.EMAIL, held)
    assert [row.status for row in rows(ChannelName.EMAIL)] == ["sent", "pending", "pending"]
    after_the_lease(portal, ChannelName.EMAIL)
    assert sorted(mail["recipients"][0] for mail in hubspot.mails()) == [f"contact{n}@example.com" for n in (1, 2, 3)]


def test_nothing_more_leaves_without_the_lock(hubspot: HubSpot) -> None:
    """Another worker takes the turn while the first one still hangs on to its mail."""
    portal = hubspot.connect(**BOTH)
    for contact in (1, 2, 3):
        issue(portal, contact)
    held = hubspot.fault("smtp.answer", "hold", match="contact1@", times=1)

    def another_worker() -> None:
        issue(portal, 4)
        drain(portal, ChannelName.EMAIL)

    drain_and_cut(hubspot, portal, ChannelName.EMAIL, held, another_worker)
    assert [row.status for row in rows(ChannelName.EMAIL)] == ["sent", "pending", "pending", "sent"]
    drain(portal, ChannelName.EMAIL)  # given back, so that nobody waits for the lease
    assert len(hubspot.mails()) == 4


def test_an_outcome_is_not_written_over_that_of_whoever_took_the_row(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**BOTH)
    issue(portal, 1)
    held = hubspot.fault("smtp.rcpt", "hold", times=1)
    hubspot.fault("smtp.rcpt", "refuse", code=550, text="no such user", times=1)

    def another_worker() -> None:
        with time_machine.travel(timezone.now() + dt.timedelta(seconds=31)):
            drain(portal, ChannelName.EMAIL)

    drain_and_cut(hubspot, portal, ChannelName.EMAIL, held, another_worker)
    assert [row.status for row in rows(ChannelName.EMAIL)] == [DeliveryStatus.FAILED]


def test_a_completion_is_made_once(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**{**BOTH, "store_in_property": False})
    issue(portal, 1)
    drain(portal, ChannelName.EMAIL)
    Delivery.objects.filter(channel=ChannelName.WORKFLOW_COMPLETION).update(next_attempt_at=timezone.now())
    held = hubspot.fault("callbacks.complete_batch", "hold", times=1)
    drain_and_cut(hubspot, portal, ChannelName.WORKFLOW_COMPLETION, held)
    assert [row.status for row in rows(ChannelName.WORKFLOW_COMPLETION)] == ["sent"]
    assert len(rows(ChannelName.WORKFLOW_CONFIRMATION)) == 1
    after_the_lease(portal, ChannelName.WORKFLOW_COMPLETION)
    assert len(hubspot.requests("callbacks.complete_batch")) == 1


def test_the_newest_code_stands_there_in_the_end(hubspot: HubSpot) -> None:
    portal = hubspot.connect(**KEEP_BOTH)
    contact = int(hubspot.contacts(portal.id)[0]["contactId"])
    older = make(portal, contact, "older")
    held = hubspot.fault("contacts.batch_update", "hold", times=1)
    newer = []

    def another_worker() -> None:
        newer.append(make(portal, contact, "newer"))
        drain(portal, ChannelName.CONTACT_PROPERTY)
        assert stands(hubspot, portal, contact) == newer[0].code

    drain_and_cut(hubspot, portal, ChannelName.CONTACT_PROPERTY, held, another_worker)
    assert stands(hubspot, portal, contact) == older.code
    settle(portal, seconds=100)
    assert stands(hubspot, portal, contact) == newer[0].code
