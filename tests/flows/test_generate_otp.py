"""Generate OTP from HubSpot's enrolment to every place it reaches, through real processes."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from hubspot_integration.models import OAuthGrant, Portal
from otp.models import ChannelName, Delivery, DeliveryStatus, OneTimeCode
from sandbox.local import servers
from sandbox.local.system import System
from sandbox.local.waiting import PATIENCE, becomes, eventually
from tests.hubspot import HubSpot

pytestmark = pytest.mark.django_db(transaction=True)

EVERYTHING: dict[str, Any] = {
    "store_in_property": True,
    "property_name": "otp_code",
    "send_email": True,
    "wait_until_delivered": True,
}


def enrol(hubspot: HubSpot, portal: Portal, contact_ids: list[int], **more: Any) -> list[str]:
    """Enrol contacts in the portal's workflow; return the callback ids."""
    workflow = next(
        one for one in hubspot.get("/workflows", portalId=portal.id)["workflows"]
        if one["steps"][0]["actionUid"] == "opsagent_generate_otp"
    )  # fmt: skip
    answer = hubspot.post("/enrolments", workflowId=workflow["workflowId"], contactIds=contact_ids, **more)
    return [enrolment["callbackId"] for enrolment in answer["enrolments"]]


def finished(hubspot: HubSpot, callback_id: str) -> dict[str, Any]:
    """Wait for the end of an execution and return it."""
    return until(hubspot, callback_id, lambda execution: execution["finishedAt"])


def until(hubspot: HubSpot, callback_id: str, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Wait until an execution is as wanted and return it."""
    return eventually(lambda: hubspot.get(f"/executions/{callback_id}"), wanted)


def statuses() -> dict[str, str]:
    """Return the status of every channel's delivery. The worker writes one down after HubSpot or the mailbox has it."""
    return dict(Delivery.objects.values_list("channel", "status"))


def test_it_brings_one_code_to_every_place(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contact = hubspot.contacts(portal.id)[0]
    (callback_id,) = enrol(hubspot, portal, [contact["contactId"]])
    execution = finished(hubspot, callback_id)

    assert execution["state"] == "SUCCESS"
    assert execution["violations"] == []
    assert execution["lostCompletions"] == 0
    (attempt,) = execution["attempts"]
    assert attempt["outputFields"] == {"hs_execution_state": "BLOCK", "hs_expiration_duration": "PT900S"}
    outputs = execution["outputFields"]
    code = outputs["otp_code"]
    assert len(code) == 6
    assert (outputs["otp_status"], outputs["otp_error"]) == ("success", "")
    assert (outputs["otp_property_status"], outputs["otp_email_status"]) == ("written", "sent")
    assert code not in execution["message"]
    assert outputs["otp_reference"] in execution["message"]

    assert hubspot.writes(portal.id, contact["contactId"]) == [code]
    (mail,) = hubspot.mails(contact["properties"]["email"])
    assert code in mail["text"]
    assert code in mail["html"]
    assert mail["messageId"].strip("<>").startswith(outputs["otp_reference"])

    row = OneTimeCode.objects.get()
    assert (str(row.id), row.code, row.contact_id) == (outputs["otp_reference"], code, contact["contactId"])
    becomes(
        statuses,
        {
            ChannelName.CONTACT_PROPERTY: DeliveryStatus.SENT,
            ChannelName.EMAIL: DeliveryStatus.SENT,
            ChannelName.WORKFLOW_COMPLETION: DeliveryStatus.SENT,
            ChannelName.WORKFLOW_CONFIRMATION: DeliveryStatus.PENDING,  # due in a minute
            ChannelName.PROPERTY_CLEARING: DeliveryStatus.PENDING,  # due when the code ends
        },
    )


def test_it_completes_no_sooner_than_two_seconds_after_it_was_asked(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    (callback_id,) = enrol(hubspot, portal, [hubspot.contacts(portal.id)[0]["contactId"]])
    execution = finished(hubspot, callback_id)
    assert execution["completions"][0]["at"] - execution["attempts"][0]["startedAt"] >= 2_000


def test_it_answers_24_simultaneous_deliveries_of_one_execution_with_one_code(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contact = hubspot.contacts(portal.id)[0]
    held = hubspot.fault("smtp.rcpt", "hold")  # so that nothing is settled before the last copy is answered
    (callback_id,) = enrol(hubspot, portal, [contact["contactId"]], copies=24)
    answered = until(hubspot, callback_id, lambda one: [attempt["status"] for attempt in one["attempts"]] == [200] * 24)
    assert {attempt["outputFields"]["hs_execution_state"] for attempt in answered["attempts"]} == {"BLOCK"}
    hubspot.release(held)
    execution = finished(hubspot, callback_id)

    late = hubspot.post("/duplicates", callbackId=callback_id, times=24)["attempts"]
    final = {**execution["outputFields"], "hs_execution_state": "SUCCESS"}
    assert [attempt["outputFields"] for attempt in late] == [final] * 24

    code = OneTimeCode.objects.get()
    assert execution["outputFields"]["otp_code"] == code.code
    assert hubspot.writes(portal.id, contact["contactId"]) == [code.code]
    assert len(hubspot.mails()) == 1
    becomes(Delivery.objects.count, 5)  # property and its clearing, mail, completion and its confirmation


def test_it_answers_without_waiting_for_hubspot_or_the_mail_server(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    held = [hubspot.fault(route, "hold") for route in ("contacts.batch_update", "smtp.rcpt")]
    (callback_id,) = enrol(hubspot, portal, [hubspot.contacts(portal.id)[0]["contactId"]])
    answered = until(hubspot, callback_id, lambda execution: execution["answeredAt"])  # while nobody answers us
    assert answered["state"] == "BLOCKED"
    for fault in held:
        hubspot.release(fault)
    assert finished(hubspot, callback_id)["state"] == "SUCCESS"


@pytest.mark.parametrize("route", ["contacts.batch_update", "smtp.rcpt", "callbacks.complete"])
def test_it_delivers_everything_once_although_a_worker_is_killed_in_the_middle(
    system: System, hubspot: HubSpot, route: str
) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contacts = hubspot.contacts(portal.id, 12)
    match = {"match": contacts[5]["properties"]["email"]} if route == "smtp.rcpt" else {}
    held = hubspot.fault(route, "hold", **match)
    callbacks = enrol(hubspot, portal, [contact["contactId"] for contact in contacts])
    eventually(lambda: hubspot.fired(held))
    if route != "smtp.rcpt":  # or the kill may meet a mail between the server's OK and our record: that one comes twice
        becomes(Delivery.objects.filter(channel=ChannelName.EMAIL, status=DeliveryStatus.SENT).count, len(contacts))
    system.kill("worker")
    hubspot.release(held)
    system.start("worker")

    executions = [finished(hubspot, callback_id) for callback_id in callbacks]
    assert {execution["state"] for execution in executions} == {"SUCCESS"}
    for contact, execution in zip(contacts, executions, strict=True):
        code = execution["outputFields"]["otp_code"]
        assert set(hubspot.writes(portal.id, contact["contactId"])) == {code}
        (mail,) = hubspot.mails(contact["properties"]["email"])
        assert code in mail["text"]


def test_it_delivers_what_redis_forgot(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contacts = hubspot.contacts(portal.id, 5)
    system.kill("worker")
    callbacks = enrol(hubspot, portal, [contact["contactId"] for contact in contacts])
    for callback_id in callbacks:
        until(hubspot, callback_id, lambda execution: execution["answeredAt"])
    with Redis.from_url(system.redis_url) as redis:
        redis.flushdb()
    system.start("worker")
    assert {finished(hubspot, callback_id)["state"] for callback_id in callbacks} == {"SUCCESS"}


def test_it_leaves_no_code_token_or_address_where_it_must_not_be(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contacts = hubspot.contacts(portal.id, 8)
    seen = _watch_redis(system)
    # failures put values into exception messages, if anything does
    hubspot.fault("contacts.batch_update", "status", status=500, times=1)
    hubspot.fault("smtp.rcpt", "refuse", code=451, text="later", times=2)
    callbacks = enrol(hubspot, portal, [contact["contactId"] for contact in contacts])
    executions = [finished(hubspot, callback_id) for callback_id in callbacks]
    codes = [execution["outputFields"]["otp_code"] for execution in executions]
    assert all(codes)
    addresses = [contact["properties"]["email"] for contact in contacts]
    grant = OAuthGrant.objects.get()
    tokens = [grant.access_token, grant.refresh_token]

    logs = "".join(system.log(name) for name in ("web", "worker", "beat"))
    assert "code_issued" in logs
    dump = servers.dump(system.database_url)
    assert str(OneTimeCode.objects.first()) in dump
    redis = seen()
    assert "otp.tasks.drain" in redis
    for place, text in {"logs": logs, "dump": dump, "redis": redis}.items():
        for secret in [*addresses, *tokens]:
            assert secret not in text, place
        for code in codes:
            # six digits also occur inside identifiers and timestamps: look for the code standing alone
            assert not _stands_alone(code, text), place


def _stands_alone(code: str, text: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(code)}(?![\w.-])", text) is not None


def _watch_redis(system: System) -> Callable[[], str]:
    """Record every command that Redis is sent from now on; return a function that ends it and gives the text."""
    end = "that-was-all-for-this-test"
    lines: list[str] = []
    listening = threading.Event()

    def listen() -> None:
        with Redis.from_url(system.redis_url, socket_timeout=PATIENCE) as redis, redis.monitor() as monitor:
            listening.set()
            while not lines or end not in lines[-1]:
                lines.append(str(monitor.next_command()))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert listening.wait(PATIENCE)

    def finish() -> str:
        with Redis.from_url(system.redis_url) as redis:
            redis.echo(end)
        thread.join(PATIENCE)
        assert end in lines[-1], "Redis was not listened to until the end"
        return "\n".join(lines)

    return finish
