"""The Generate OTP action, spoken to as HubSpot speaks: signed requests, its JSON, the database afterwards."""

import copy
import datetime as dt
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.utils import timezone

from hubspot_integration.models import OAuthGrant, Portal
from otp import codes
from otp.models import ChannelName, Delivery, DeliveryStatus, OneTimeCode
from tests import factories
from tests.generating import PATH, execution, outputs
from tests.signing import post_signed


@pytest.fixture
def store(portal: Portal) -> Portal:
    """The portal writes codes to a property and mails them; it does not wait."""
    otp_settings = portal.otp_settings
    otp_settings.store_in_property, otp_settings.property_name, otp_settings.send_email = True, "otp_code", True
    otp_settings.save()
    return portal


@pytest.fixture
def waiting(store: Portal) -> Portal:
    """The same, waiting until delivered."""
    store.otp_settings.wait_until_delivered = True
    store.otp_settings.save()
    return store


def test_it_generates_a_code_with_the_portals_settings(portal: Portal) -> None:
    with time_machine.travel(dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC), tick=False):
        fields = outputs(execution(portal))
    assert fields["hs_execution_state"] == "SUCCESS"
    assert fields["otp_status"] == "success"
    assert fields["otp_error"] == fields["otp_error_message"] == ""
    assert len(fields["otp_code"]) == 6
    assert fields["otp_code"].isdigit()
    assert fields["otp_expires_at"] == str(int(dt.datetime(2026, 11, 23, 12, 10, tzinfo=dt.UTC).timestamp() * 1000))
    assert fields["otp_property_status"] == fields["otp_email_status"] == "off"
    code = OneTimeCode.objects.get()
    assert fields["otp_reference"] == str(code.id)
    assert (code.contact_id, code.address, code.first_name, code.source) == (904, "ada@example.com", None, "workflow")
    assert Delivery.objects.count() == 0


def test_it_stores_a_digest_and_ciphertext_only(portal: Portal) -> None:
    fields = outputs(execution(portal))
    row = OneTimeCode.objects.extra(select={"raw_code": "code", "raw_address": "address"}).get()
    stored = bytes(row.raw_code) + bytes(row.raw_address) + bytes(row.digest)  # type: ignore[attr-defined]
    assert fields["otp_code"].encode() not in stored
    assert b"ada@example.com" not in stored
    assert bytes(row.digest) == codes.digest(
        pepper=settings.CODE_PEPPERS[0],
        portal_id=portal.id,
        contact_id=904,
        address="ada@example.com",
        code=fields["otp_code"],
    )


@pytest.mark.parametrize(
    ("inputs", "length", "alphabet", "minutes"),
    [
        (
            {"code_length": "8", "expires_in_minutes": "60", "code_type": "alpha"},
            8,
            codes.ALPHABETS[codes.CodeType.ALPHA],
            60,
        ),
        ({"code_length": "4"}, 4, "0123456789", 10),
        ({"code_type": "alphanumeric", "code_length": ""}, 6, codes.ALPHABETS[codes.CodeType.ALPHANUMERIC], 10),
        ({"code_length": None, "expires_in_minutes": "5"}, 6, "0123456789", 5),
    ],
)
def test_it_lets_a_step_override_the_settings(
    portal: Portal, inputs: dict[str, str], length: int, alphabet: str, minutes: int
) -> None:
    fields = outputs(execution(portal, inputs={"override_settings": "true", **inputs}))
    assert len(fields["otp_code"]) == length
    assert set(fields["otp_code"]) <= set(alphabet)
    code = OneTimeCode.objects.get()
    assert code.expires_at - code.created_at == dt.timedelta(minutes=minutes)


@pytest.mark.parametrize("override", ["false", "", None])
def test_it_ignores_the_overrides_unless_they_are_switched_on(portal: Portal, override: str | None) -> None:
    inputs = {"override_settings": override, "code_length": "8", "code_type": "nonsense"}
    assert len(outputs(execution(portal, inputs=inputs))["otp_code"]) == 6


@pytest.mark.parametrize(
    ("inputs", "error", "named"),
    [
        ({"email": ""}, "missing_email", "Email Property"),
        ({"email": None}, "missing_email", "Email Property"),
        ({"email": "  "}, "missing_email", "Email Property"),
        ({"email": "not an address"}, "invalid_input", "Email Property"),
        ({"email": "a@b.example\r\nBcc: x@y.example"}, "invalid_input", "Email Property"),
        ({"email": "a" * 300 + "@b.example"}, "invalid_input", "Email Property"),
        ({"email": "\0@b.example"}, "invalid_input", "Email Property"),
        ({"email": "ada@i❤.ws"}, "invalid_input", "Email Property"),
        ({"email": "ada@xn--a.example"}, "invalid_input", "Email Property"),
        ({"email": "ada@example.com."}, "invalid_input", "Email Property"),
        ({"email": "ådå@example.com"}, "invalid_input", "Email Property"),
        ({"email": "ada＠example.com"}, "invalid_input", "Email Property"),
        ({"email": "=?utf-8?q?ada?=@example.com"}, "invalid_input", "Email Property"),
        ({"email": "ada@" + "ß" * 64 + ".example"}, "invalid_input", "Email Property"),
        ({"email": 5}, "invalid_input", "Email Property"),
        ({"email": ["a@b.example"]}, "invalid_input", "Email Property"),
        ({"language": {}}, "invalid_input", "Preferred Language Property"),
        ({"override_settings": "yes"}, "invalid_input", "Override App Settings"),
        ({"override_settings": "true", "code_length": "5"}, "invalid_input", "Code Length"),
        ({"override_settings": "true", "code_length": 6}, "invalid_input", "Code Length"),
        ({"override_settings": "true", "expires_in_minutes": "7"}, "invalid_input", "Expires In (Minutes)"),
        ({"override_settings": "true", "code_type": "NUMERIC"}, "invalid_input", "Code Type"),
        ({"override_settings": "true", "code_type": {}}, "invalid_input", "Code Type"),
    ],
)
def test_it_answers_a_customers_mistake_with_a_branch_and_a_sentence(
    portal: Portal, inputs: dict[str, Any], error: str, named: str
) -> None:
    fields = outputs(execution(portal, inputs=inputs))
    assert fields["hs_execution_state"] == "FAIL_CONTINUE"
    assert (fields["otp_status"], fields["otp_error"]) == ("failed", error)
    assert named in fields["otp_error_message"]
    assert fields["otp_code"] == fields["otp_reference"] == fields["otp_expires_at"] == ""
    assert OneTimeCode.objects.count() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"context": {"source": "AGENTS"}},
        {"context": {"source": "COPILOT"}},
        {"context": {}},
        {"context": None},
        {"object": {"objectId": 904, "objectType": "DEAL"}},
    ],
)
def test_it_generates_for_contact_workflows_only(portal: Portal, changes: dict[str, Any]) -> None:
    fields = outputs(execution(portal, **changes))
    assert (fields["hs_execution_state"], fields["otp_error"]) == ("FAIL_CONTINUE", "invalid_input")


def test_it_marks_a_test_as_such(portal: Portal) -> None:
    outputs(execution(portal, context={"source": "TEST"}))
    assert OneTimeCode.objects.get().source == "test"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"callbackId": None}, "callbackId"),
        ({"callbackId": ""}, "callbackId"),
        ({"callbackId": 7}, "callbackId"),
        ({"callbackId": "x" * 256}, "callbackId"),
        ({"callbackId": "a\0b"}, "callbackId"),
        ({"origin": {}}, "origin.portalId"),
        ({"origin": {"portalId": "one"}}, "origin.portalId"),
        ({"origin": {"portalId": True}}, "origin.portalId"),
        ({"origin": {"portalId": 2**63}}, "origin.portalId"),
        ({"origin": []}, "origin.portalId"),
        ({"object": {}}, "object.objectId"),
        ({"object": {"objectId": -1}}, "object.objectId"),
        ({"object": {"objectId": 1.5}}, "object.objectId"),
        ({"object": "904"}, "object.objectId"),
    ],
)
def test_it_refuses_an_envelope_that_cannot_be_answered(portal: Portal, change: dict[str, Any], named: str) -> None:
    response = post_signed(PATH, execution(portal, **change))
    assert response.status_code == 400
    assert named in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b'{"callbackId": NaN}', b"\xff\xfe", b'{"a":"\\ud800"}', b"[" * 100_000],
)
def test_it_refuses_what_is_no_json_object(portal: Portal, body: bytes) -> None:
    response = post_signed(PATH, body)
    assert response.status_code == 400
    assert "JSON" in response.json()["error"]["message"]


def test_it_refuses_a_body_beyond_a_megabyte(portal: Portal) -> None:
    assert post_signed(PATH, b" " * 1_100_000).status_code == 413


@pytest.mark.parametrize(
    "options",
    [
        {"secret": "another secret"},
        {"base_url": "https://evil.example"},
        {"base_url": "http://otp.example.com"},
        {"versions": ()},
        {"timestamp": "1"},
        {"timestamp": "1000000000000"},
        {"timestamp": "9999999999999"},
        {"versions": ("v2",), "secret": "another secret"},
    ],
)
def test_it_refuses_what_hubspot_did_not_sign(portal: Portal, options: dict[str, Any]) -> None:
    response = post_signed(PATH, execution(portal), **options)
    assert response.status_code == 401
    assert set(response.json()) == {"error"}
    assert OneTimeCode.objects.count() == 0


@pytest.mark.parametrize("versions", [("v2",), ("v3",), ("v2", "v3")])
def test_it_accepts_either_signature(portal: Portal, versions: tuple[str, ...]) -> None:
    assert outputs(execution(portal), versions=versions)["otp_status"] == "success"


def test_it_accepts_an_older_client_secret(portal: Portal, settings: Any) -> None:
    settings.HUBSPOT_CLIENT_SECRETS = ["the new secret", "the old secret"]
    assert outputs(execution(portal), secret="the old secret")["otp_status"] == "success"


def test_it_tells_an_unknown_portal_that_it_is_not_connected(portal: Portal) -> None:
    fields = outputs(execution(portal, origin={"portalId": 999}))
    assert (fields["hs_execution_state"], fields["otp_error"]) == ("FAIL_CONTINUE", "not_connected")


def test_it_tells_a_disconnected_portal_the_same(portal: Portal) -> None:
    Portal.objects.filter(id=portal.id).update(disconnected_at=timezone.now())
    assert outputs(execution(portal))["otp_error"] == "not_connected"
    assert OneTimeCode.objects.count() == 0


def test_it_gives_the_same_code_to_a_repeated_execution(store: Portal) -> None:
    first = outputs(execution(store))
    assert outputs(execution(store)) == first
    assert OneTimeCode.objects.count() == 1
    assert Delivery.objects.count() == 2


def test_it_keeps_the_same_callback_of_two_portals_apart(portal: Portal) -> None:
    other = factories.OAuthGrantFactory.create().portal
    first, second = outputs(execution(portal)), outputs(execution(other))
    assert first["otp_reference"] != second["otp_reference"]


def test_it_refuses_a_callback_that_was_used_for_another_contact(portal: Portal) -> None:
    outputs(execution(portal))
    fields = outputs(execution(portal, object={"objectId": 905, "objectType": "CONTACT"}))
    assert fields["otp_error"] == "invalid_input"
    assert OneTimeCode.objects.count() == 1


def test_it_supersedes_the_contacts_older_codes_and_wipes_them(portal: Portal) -> None:
    first = outputs(execution(portal))
    outputs(execution(portal, callbackId="ap-2"))
    old = OneTimeCode.objects.get(id=first["otp_reference"])
    assert (old.end_reason, old.code) == ("superseded", None)
    assert OneTimeCode.objects.live(timezone.now()).count() == 1


def test_it_writes_the_deliveries_with_the_code(store: Portal) -> None:
    fields = outputs(execution(store))
    assert (fields["otp_property_status"], fields["otp_email_status"]) == ("pending", "pending")
    assert fields["hs_execution_state"] == "SUCCESS"
    assert dict(Delivery.objects.values_list("channel", "target")) == {
        ChannelName.CONTACT_PROPERTY: "otp_code",
        ChannelName.EMAIL: "",
    }


def test_it_blocks_while_deliveries_are_pending(waiting: Portal) -> None:
    fields = outputs(execution(waiting))
    assert fields == {"hs_execution_state": "BLOCK", "hs_expiration_duration": "PT900S"}
    completion = Delivery.objects.get(channel=ChannelName.WORKFLOW_COMPLETION)
    assert completion.target == "ap-102670506-56776413549-7-0"
    assert completion.next_attempt_at == completion.code.expires_at


def test_it_blocks_again_for_a_repeated_execution_and_delays_the_completion(waiting: Portal) -> None:
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        outputs(execution(waiting))
    Delivery.objects.filter(channel=ChannelName.WORKFLOW_COMPLETION).update(next_attempt_at=start)
    with time_machine.travel(start + dt.timedelta(seconds=30), tick=False):
        assert outputs(execution(waiting))["hs_execution_state"] == "BLOCK"
    completion = Delivery.objects.get(channel=ChannelName.WORKFLOW_COMPLETION)
    assert completion.not_before == completion.next_attempt_at == start + dt.timedelta(seconds=32)


def test_it_gives_the_final_outputs_once_everything_has_settled(waiting: Portal) -> None:
    outputs(execution(waiting))
    Delivery.objects.update(status=DeliveryStatus.SENT, next_attempt_at=None, settled_at=timezone.now())
    Delivery.objects.filter(channel=ChannelName.EMAIL).update(status=DeliveryStatus.FAILED)
    fields = outputs(execution(waiting))
    assert fields["hs_execution_state"] == "SUCCESS"
    assert (fields["otp_property_status"], fields["otp_email_status"]) == ("written", "failed")
    assert len(fields["otp_code"]) == 6


def test_it_says_expired_when_a_repeated_execution_comes_too_late(store: Portal) -> None:
    outputs(execution(store))
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=11)):
        fields = outputs(execution(store))
    assert fields["hs_execution_state"] == "FAIL_CONTINUE"
    assert (fields["otp_status"], fields["otp_error"], fields["otp_code"]) == ("failed", "expired", "")
    assert OneTimeCode.objects.count() == 1


def test_it_does_not_wait_without_the_scope_to_complete(waiting: Portal) -> None:
    OAuthGrant.objects.update(scopes=["oauth"])
    assert outputs(execution(waiting))["hs_execution_state"] == "SUCCESS"
    assert not Delivery.objects.filter(channel=ChannelName.WORKFLOW_COMPLETION).exists()


def test_it_does_not_wait_when_there_is_nothing_to_deliver(portal: Portal) -> None:
    portal.otp_settings.wait_until_delivered = True
    portal.otp_settings.save()
    assert outputs(execution(portal))["hs_execution_state"] == "SUCCESS"


def test_it_keeps_the_code_to_itself_when_the_output_is_switched_off(portal: Portal) -> None:
    portal.otp_settings.output_code = False
    portal.otp_settings.save()
    fields = outputs(execution(portal))
    assert (fields["otp_status"], fields["otp_code"]) == ("success", "")


def test_it_ignores_keys_it_does_not_know(portal: Portal) -> None:
    payload = copy.deepcopy(execution(portal, inputs={"surprise": "yes"}))
    payload["object"]["properties"] = {"firstname": 5, "other": None}
    payload["new"] = [1]
    assert outputs(payload)["otp_status"] == "success"
    assert OneTimeCode.objects.get().first_name is None


@pytest.mark.django_db(transaction=True)
def test_it_reconnects_when_the_database_has_closed_the_kept_connection(portal: Portal) -> None:
    assert outputs(execution(portal))["otp_status"] == "success"
    pid = connection.connection.info.backend_pid
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    other.close()
    assert outputs(execution(portal, callbackId="ap-after"))["otp_status"] == "success"
    assert OneTimeCode.objects.count() == 2


@pytest.mark.django_db
def test_it_keeps_the_first_name_only_for_a_mail_that_greets_with_it(store: Portal) -> None:
    outputs(execution(store))
    assert OneTimeCode.objects.get().first_name == "Ada"
