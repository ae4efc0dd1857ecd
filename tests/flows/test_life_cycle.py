"""How contacts and portals leave, through real processes."""

import pytest
from django.conf import settings

from hubspot_integration.models import OAuthGrant, Portal
from otp.models import AuditEvent, ErasureRequest, OneTimeCode, OTPSettings
from sandbox.local import servers
from sandbox.local.system import System
from sandbox.local.waiting import becomes, eventually
from tests import environment, factories
from tests.flows.test_generate_otp import EVERYTHING, enrol, finished
from tests.hubspot import HubSpot

pytestmark = pytest.mark.django_db(transaction=True)


def dump() -> str:
    return servers.dump(environment.database_url(str(settings.DATABASES["default"]["NAME"])))


def test_a_contact_deleted_for_privacy_leaves_no_trace(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    # of an id that no other number in a dump contains
    made = hubspot.post(f"/portals/{portal.id}/contacts", count=2000)
    contact = hubspot.get(f"/portals/{portal.id}/contacts/{made['lastId']}")
    other = hubspot.contacts(portal.id)[0]
    callbacks = enrol(hubspot, portal, [contact["contactId"], other["contactId"]])
    assert {finished(hubspot, callback_id)["state"] for callback_id in callbacks} == {"SUCCESS"}
    row = OneTimeCode.objects.get(contact_id=contact["contactId"])
    traces = [
        f" {contact['contactId']},",
        contact["properties"]["email"],
        str(bytes(row.digest).hex()),
        str(bytes(row.address_digest).hex()),
        callbacks[0],
    ]
    assert all(trace in dump() for trace in traces if "@" not in trace)
    hubspot.delete(f"/portals/{portal.id}/contacts/{contact['contactId']}", privacy=True)
    eventually(lambda: not OneTimeCode.objects.filter(contact_id=contact["contactId"]).exists())
    eventually(lambda: not ErasureRequest.objects.exists())
    assert [trace for trace in traces if trace in dump()] == []
    assert OneTimeCode.objects.get().contact_id == other["contactId"]
    becomes(lambda: {attempt["status"] for attempt in hubspot.get("/webhooks")["deliveries"]}, {200})


def test_a_step_that_waits_for_a_deleted_contact_is_completed_as_failed(system: System, hubspot: HubSpot) -> None:
    portal = hubspot.connect(**EVERYTHING)
    contact = hubspot.contacts(portal.id)[0]
    held = hubspot.fault("smtp.rcpt", "hold")
    (callback_id,) = enrol(hubspot, portal, [contact["contactId"]])
    eventually(lambda: hubspot.fired(held))
    hubspot.delete(f"/portals/{portal.id}/contacts/{contact['contactId']}", privacy=True)
    execution = finished(hubspot, callback_id)
    assert execution["state"] == "FAIL_CONTINUE"
    assert execution["outputFields"]["otp_error"] == "expired"
    hubspot.release(held)
    eventually(lambda: not OneTimeCode.objects.exists())


def test_an_uninstall_in_hubspot_is_noticed_and_an_install_brings_everything_back(
    system: System, hubspot: HubSpot
) -> None:
    portal = hubspot.connect(**EVERYTHING, code_length=8)
    factories.PortalMemberFactory.create(portal=portal, email="admin@acme.example")
    first, second, third = hubspot.contacts(portal.id, 3)
    hubspot.delete(f"/portals/{portal.id}/install")
    enrol(hubspot, portal, [first["contactId"]])
    eventually(lambda: not Portal.objects.get().is_connected)
    assert not OAuthGrant.objects.exists()

    (callback_id,) = enrol(hubspot, portal, [second["contactId"]])
    outputs = finished(hubspot, callback_id)["outputFields"]
    assert (outputs["otp_status"], outputs["otp_error"]) == ("failed", "not_connected")
    (mail,) = eventually(lambda: hubspot.mails("admin@acme.example"))
    assert "no longer connected" in mail["text"]
    assert AuditEvent.objects.filter(action="portal_disconnected").count() == 1

    portal = hubspot.connect()
    assert OTPSettings.objects.get().code_length == 8
    (callback_id,) = enrol(hubspot, portal, [third["contactId"]])
    assert len(finished(hubspot, callback_id)["outputFields"]["otp_code"]) == 8
