"""A contact's first code of the day is made from what the process remembers of the portal: as if it had been read just now."""

import datetime as dt
import threading
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction

from hubspot_integration.models import OAuthGrant, Portal
from otp.contact import ledger
from otp.contact.ledger import lock_contact
from otp.models import ContactGuard, Delivery, OneTimeCode, OTPSettings
from tests import factories
from tests.concurrently import at_once, until_somebody_waits_for_a_lock
from tests.generating import error, execution, generate, limit, outputs

FIRST = iter(range(1000, 2000))


@pytest.fixture
def portal(db: None) -> Portal:
    """Return a portal that this process has made a code for: it is remembered."""
    return met(factories.OTPSettingsFactory.create(portal=factories.OAuthGrantFactory.create().portal).portal)


def met(portal: Portal) -> Portal:
    """Make a code for some contact of a portal."""
    assert error(generate(portal, contact_id=next(FIRST))) == ""
    return portal


def test_it_is_made_without_reading_first(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "read_for_order", lambda _: pytest.fail("It was read first."))
    assert error(generate(portal)) == ""
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=1, seconds=1)):
        assert error(generate(portal)) == ""
    assert [guard.version for guard in ContactGuard.objects.filter(contact_id=904)] == [1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"code_length": 8}, lambda code: code.code_length == 8),
        ({"output_code": False}, lambda code: code.outputs_code is False),
        ({"send_email": True}, lambda code: [one.channel for one in code.deliveries.all()] == ["email"]),
        ({"store_in_property": True, "property_name": "otp"}, lambda code: code.deliveries.get().target == "otp"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_changed_setting_holds_at_once(portal: Portal, change: dict[str, Any], expected: Any) -> None:
    OTPSettings.objects.filter(portal=portal).update(**change)
    generate(portal)
    assert expected(OneTimeCode.objects.get(contact_id=904))
    generate(portal, contact_id=905)
    assert expected(OneTimeCode.objects.get(contact_id=905))


def test_a_ceiling_of_the_portal_holds_at_once(portal: Portal) -> None:
    limit(portal, portal_limit_minute=2)
    assert [error(generate(portal, contact_id=number)) for number in (1, 2, 3)] == ["", "rate_limited", "rate_limited"]
    limit(portal, portal_limit_minute=None)
    assert error(generate(portal, contact_id=4)) == ""


def test_settings_made_anew_hold_at_once(portal: Portal) -> None:
    OTPSettings.objects.all().delete()
    factories.OTPSettingsFactory.create(portal=portal, code_length=8)
    assert len(generate(portal)["otp_code"]) == 8


def test_a_disconnected_portal_gets_none(portal: Portal) -> None:
    Portal.objects.update(disconnected_at=dt.datetime.now(dt.UTC))
    assert error(generate(portal)) == "not_connected"
    assert error(generate(portal, inputs={"email": ""})) == "not_connected"


def test_a_step_waits_as_long_as_the_portal_grants_its_completion(portal: Portal) -> None:
    OTPSettings.objects.update(store_in_property=True, property_name="otp", wait_until_delivered=True)
    states: list[str] = []
    for scopes in (["automation"], ["oauth"], ["automation"], None):
        if scopes is None:
            OAuthGrant.objects.all().delete()
        else:
            OAuthGrant.objects.update(scopes=scopes)
        states += [outputs(execution(met_anew(portal), callbackId=f"ap-x-{len(states)}"))["hs_execution_state"]]
    assert states == ["BLOCK", "SUCCESS", "BLOCK", "SUCCESS"]


def met_anew(portal: Portal) -> Portal:
    """Forget every contact, so that the next code is somebody's first again."""
    OneTimeCode.objects.all().delete()
    return portal


def test_a_second_code_obeys_the_limits(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1)
    assert [error(generate(portal)) for _ in range(2)] == ["", "rate_limited"]


def test_it_counts_as_a_request_that_was_answered(portal: Portal) -> None:
    first = generate(portal, callbackId="the-same")
    assert generate(portal, callbackId="the-same") == first
    assert generate(portal, callbackId="the-same", contact_id=905)["otp_error"] == "invalid_input"
    assert OneTimeCode.objects.filter(contact_id__in=(904, 905)).count() == 1


def test_a_request_is_known_again_after_days(portal: Portal) -> None:
    first = generate(portal, callbackId="the-same")
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(days=2)):
        again = generate(portal, callbackId="the-same")
    assert (again["otp_reference"], again["otp_error"]) == (first["otp_reference"], "expired")


def test_it_leaves_a_contacts_guess_budget_alone(portal: Portal) -> None:
    ContactGuard.objects.create(portal=portal, contact_id=904, wrong_attempts=3, lock_count=1)
    generate(portal)
    assert ContactGuard.objects.filter(wrong_attempts=3, lock_count=1, version=1).count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_execution_at_once_makes_one_code(portal: Portal) -> None:
    OTPSettings.objects.update(send_email=True)
    met(portal)
    answers = at_once([lambda: generate(portal, callbackId="the-same")] * 12)
    assert {(error(answer), answer["otp_reference"]) for answer in answers} == {("", answers[0]["otp_reference"])}
    code = OneTimeCode.objects.get(contact_id=904)
    assert Delivery.objects.filter(code=code).count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_executions_at_once_stay_within_the_limits(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=3)
    met(portal)
    answers = at_once([lambda: error(generate(portal))] * 12)
    assert sorted(answers) == [""] * 3 + ["rate_limited"] * 9
    assert OneTimeCode.objects.filter(contact_id=904, ended_at=None).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_known", [False, True])
def test_it_waits_for_whoever_was_first_and_counts_that_code(portal: Portal, *, is_known: bool) -> None:
    limit(portal, contact_limit_10_minutes=1)
    met(portal)
    if is_known:
        ContactGuard.objects.create(portal=portal, contact_id=904)
    answers: list[str] = []

    def ask() -> None:
        try:
            answers.append(error(generate(portal)))
        finally:
            connection.close()

    thread = threading.Thread(target=ask)
    with transaction.atomic():
        lock_contact(portal_id=portal.id, contact_id=904)
        factories.OneTimeCodeFactory.create(portal=portal, contact_id=904)
        thread.start()
        until_somebody_waits_for_a_lock()
    thread.join()
    assert answers == ["rate_limited"]
