"""How many codes can be had: per contact, per portal, on the card; counted exactly, and said in words."""

import datetime as dt
import itertools
from collections import Counter
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone

from hubspot_integration.models import Portal
from otp.audit import Actor, ActorKind
from otp.contact.issuing import issue_code
from otp.contact.order import Issued, Limit, Overrides, RateLimited
from otp.models import EndReason, OneTimeCode, OTPSettings, Source
from otp.words import wait
from tests import factories
from tests.concurrently import at_once
from tests.generating import PATH, error, execution, generate, limit
from tests.signing import post_signed

START = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
_numbers = itertools.count()


def issue(portal: Portal, now: dt.datetime, *, source: Source = Source.CARD, contact_id: int = 904) -> Issued:
    """Issue a code as the card does."""
    return issue_code(
        portal_id=portal.id,
        contact_id=contact_id,
        address="ada@example.com",
        first_name="",
        language="",
        request_key=f"{source}:{next(_numbers)}",
        source=source,
        workflow_id="",
        callback_id=None,
        overrides=Overrides(),
        actor=Actor(ActorKind.AGENT, "grace@company.example"),
        now=now,
    )


def test_it_gives_a_contact_five_codes_in_ten_minutes(portal: Portal) -> None:
    with time_machine.travel(START, tick=False) as clock:
        for _ in range(5):
            assert error(generate(portal)) == ""
            clock.shift(dt.timedelta(minutes=1))
        fields = generate(portal)
        assert error(fields) == "rate_limited"
        assert fields["otp_error_message"] == (
            "This contact has been given as many codes as the OpsAgent settings allow in 10 minutes. "
            "Try again in 5 minutes."
        )
        clock.move_to(START + dt.timedelta(minutes=9, seconds=59))
        assert generate(portal)["otp_error_message"].endswith("Try again in 1 second.")
        clock.shift(dt.timedelta(seconds=1))
        assert error(generate(portal)) == ""
        assert error(generate(portal)) == "rate_limited"
    assert OneTimeCode.objects.count() == 6


def test_it_gives_a_contact_twenty_codes_in_a_day(portal: Portal) -> None:
    with time_machine.travel(START, tick=False) as clock:
        for _ in range(20):
            assert error(generate(portal)) == ""
            clock.shift(dt.timedelta(minutes=15))
        fields = generate(portal)
        assert error(fields) == "rate_limited"
        assert fields["otp_error_message"].endswith("in 24 hours. Try again in 19 hours.")
        clock.move_to(START + dt.timedelta(days=1))
        assert error(generate(portal)) == ""


def test_it_names_the_limit_that_lasts_longest(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1, contact_limit_day=1)
    issue(portal, START, source=Source.WORKFLOW)
    with pytest.raises(RateLimited) as raised:
        issue(portal, START + dt.timedelta(seconds=1))
    assert (raised.value.limit, raised.value.retry_at) == (Limit.CONTACT_DAY, START + dt.timedelta(days=1))


def test_it_counts_codes_that_have_ended(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1)
    generate(portal)
    OneTimeCode.objects.all().end(EndReason.USED, timezone.now())
    assert error(generate(portal)) == "rate_limited"


def test_it_counts_each_contact_and_portal_for_itself(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1)
    other = factories.OAuthGrantFactory.create().portal
    assert error(generate(portal)) == ""
    assert error(generate(portal, contact_id=905)) == ""
    assert error(generate(other)) == ""
    assert error(generate(portal)) == "rate_limited"


def test_it_does_not_count_what_was_no_code(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1)
    for _ in range(3):
        assert error(generate(portal, inputs={"email": ""})) == "missing_email"
    assert error(generate(portal)) == ""


def test_it_never_limits_a_repeated_execution(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1, portal_limit_minute=1)
    first = generate(portal, callbackId="ap-1")
    assert error(generate(portal)) == "rate_limited"
    for _ in range(5):
        assert generate(portal, callbackId="ap-1") == first


def test_it_generates_the_code_of_a_limited_execution_when_it_comes_again_later(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1)
    with time_machine.travel(START, tick=False) as clock:
        generate(portal)
        assert error(generate(portal, callbackId="ap-1")) == "rate_limited"
        clock.shift(dt.timedelta(minutes=10))
        assert error(generate(portal, callbackId="ap-1")) == ""


def test_it_has_no_ceiling_for_a_portal_unless_there_is_one(portal: Portal) -> None:
    for contact_id in range(1, 41):
        assert error(generate(portal, contact_id=contact_id)) == ""


def test_it_keeps_a_portal_below_its_ceiling(portal: Portal) -> None:
    limit(portal, portal_limit_minute=3)
    other = factories.OAuthGrantFactory.create().portal
    with time_machine.travel(START, tick=False) as clock:
        for contact_id in range(1, 4):
            assert error(generate(portal, contact_id=contact_id)) == ""
            clock.shift(dt.timedelta(seconds=10))
        fields = generate(portal, contact_id=4)
        assert error(fields) == "rate_limited"
        assert fields["otp_error_message"] == (
            "This HubSpot account has generated as many codes as the OpsAgent settings allow in a minute. "
            "Try again in 30 seconds."
        )
        assert error(generate(other)) == ""
        clock.shift(dt.timedelta(seconds=30))
        assert error(generate(portal, contact_id=4)) == ""
        assert error(generate(portal, contact_id=5)) == "rate_limited"


def test_it_lets_an_agent_send_another_code_after_thirty_seconds(portal: Portal) -> None:
    issue(portal, START)
    with pytest.raises(RateLimited) as raised:
        issue(portal, START + dt.timedelta(seconds=29))
    assert (raised.value.limit, raised.value.retry_at) == (Limit.RESEND_COOLDOWN, START + dt.timedelta(seconds=30))
    assert not issue(portal, START + dt.timedelta(seconds=30)).repeated
    assert not issue(portal, START + dt.timedelta(seconds=30), contact_id=905).repeated


def test_it_makes_agents_wait_after_a_workflows_code_but_never_workflows(portal: Portal) -> None:
    issue(portal, START, source=Source.WORKFLOW)
    with pytest.raises(RateLimited):
        issue(portal, START + dt.timedelta(seconds=1))
    issue(portal, START + dt.timedelta(seconds=1), source=Source.WORKFLOW)


def test_it_lets_agents_not_wait_where_the_portal_wants_it_so(portal: Portal) -> None:
    limit(portal, resend_cooldown_seconds=0)
    issue(portal, START)
    issue(portal, START)


def test_it_answers_200_whatever_the_limit(portal: Portal) -> None:
    limit(portal, contact_limit_10_minutes=1, portal_limit_minute=1)
    for number in range(4):
        assert post_signed(PATH, execution(portal, callbackId=f"ap-{number}")).status_code == 200


# ------------------------------------------------------------------ at the same moment


@pytest.mark.django_db(transaction=True)
def test_it_gives_a_contact_exactly_five_of_twenty_simultaneous_codes(portal: Portal) -> None:
    answers = at_once([lambda: error(generate(portal))] * 20)
    assert Counter(answers) == {"": 5, "rate_limited": 15}
    assert OneTimeCode.objects.count() == 5
    assert OneTimeCode.objects.live(timezone.now()).count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_gives_a_portal_exactly_its_ceiling_of_twenty_simultaneous_codes(portal: Portal) -> None:
    limit(portal, portal_limit_minute=7)
    answers = at_once([lambda number=number: error(generate(portal, contact_id=number)) for number in range(1, 21)])  # type: ignore[misc]
    assert Counter(answers) == {"": 7, "rate_limited": 13}
    assert OneTimeCode.objects.count() == 7


# ------------------------------------------------------------------ settings and words


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contact_limit_10_minutes", 0),
        ("contact_limit_10_minutes", 101),
        ("contact_limit_day", 0),
        ("contact_limit_day", 1001),
        ("portal_limit_minute", 0),
        ("resend_cooldown_seconds", 3601),
        ("wrong_attempts_limit", 0),
        ("lock_minutes", 0),
        ("longest_lock_minutes", 1441),
        ("resend_policy", "both"),
    ],
)
def test_it_refuses_limits_that_make_no_sense(portal: Portal, field: str, value: Any) -> None:
    setattr(portal.otp_settings, field, value)
    with pytest.raises(ValidationError) as raised:
        portal.otp_settings.full_clean()
    assert field in raised.value.message_dict


def test_it_refuses_a_longest_lock_below_the_first(portal: Portal) -> None:
    portal.otp_settings.lock_minutes, portal.otp_settings.longest_lock_minutes = 60, 15
    with pytest.raises(ValidationError, match="cannot be shorter than the first one"):
        portal.otp_settings.full_clean()


def test_it_has_the_promised_defaults(portal: Portal) -> None:
    names = (
        "resend_policy", "contact_limit_10_minutes", "contact_limit_day", "portal_limit_minute",
        "resend_cooldown_seconds", "wrong_attempts_limit", "lock_minutes", "longest_lock_minutes",
    )  # fmt: skip
    values = [getattr(OTPSettings.objects.get(portal=portal), name) for name in names]
    assert values == ["replace", 5, 20, None, 30, 10, 15, 1440]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.001, "1 second"), (1, "1 second"), (1.2, "2 seconds"), (59, "59 seconds"), (120, "120 seconds"),
        (120.1, "3 minutes"), (121, "3 minutes"), (600, "10 minutes"), (7200, "120 minutes"), (7201, "3 hours"),
        (86_400, "24 hours"), (-5, "1 second"),
    ],
)  # fmt: skip
def test_it_says_a_wait_in_words_and_never_too_short(seconds: float, words: str) -> None:
    assert wait(dt.timedelta(seconds=seconds)) == words
