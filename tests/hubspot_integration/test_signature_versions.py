"""For how long version 2 alone opens an action: as long as HubSpot has not shown that it signs with version 3."""

import datetime as dt
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError
from django.utils import timezone

from hubspot_integration import signature_versions
from hubspot_integration.examinations import examine_signatures
from hubspot_integration.models import Portal, SignatureCount
from hubspot_integration.signature_versions import exchange
from opsagent import broker, doctor, metrics
from otp.models import OneTimeCode
from tests.generating import execution
from tests.signing import post_signed

GENERATE, VERIFY = "/hubspot/actions/generate-otp", "/hubspot/actions/verify-otp"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that moves only when told to."""
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


def call(portal: Portal, *versions: str, path: str = GENERATE, **options: Any) -> int:
    """Send an execution that is the same each time; return the answer's status."""
    status: int = post_signed(path, execution(portal), versions=versions, **options).status_code
    return status


def calls(count: int, *versions: str, path: str = GENERATE) -> None:
    """Send calls that HubSpot signed; that none of them can be answered does not matter to who sent them."""
    for _ in range(count):
        assert post_signed(path, b"{}", versions=versions).status_code == 400


# ------------------------------------------------------------------ when it ends
def test_it_ends_after_a_hundred_calls_of_version_3_over_a_day(portal: Portal, clock: time_machine.Traveller) -> None:
    calls(99, "v2", "v3")
    exchange()
    assert call(portal, "v2") == 200
    clock.shift(dt.timedelta(hours=24))
    calls(1, "v3")
    exchange()
    assert call(portal, "v2") == 401
    assert call(portal, "v3") == call(portal, "v2", "v3") == 200


@pytest.mark.parametrize(
    ("first", "pause", "last"),
    [(1, dt.timedelta(days=30), 1), (99, dt.timedelta(hours=24), 0), (98, dt.timedelta(hours=24), 1),
     (100, dt.timedelta(hours=23, minutes=59), 100), (0, dt.timedelta(hours=24), 1)],
)  # fmt: skip
def test_it_does_not_end_before(
    portal: Portal, clock: time_machine.Traveller, first: int, pause: dt.timedelta, last: int
) -> None:
    calls(first, "v3")
    exchange()
    clock.shift(pause)
    calls(last, "v3")
    exchange()
    assert call(portal, "v2") == 200


def ended(portal: Portal, path: str = GENERATE) -> None:
    """Let HubSpot have shown that it signs this action with version 3."""
    now = timezone.now()
    SignatureCount.objects.create(action=path, v3_calls=100, first_v3_at=now - dt.timedelta(hours=24), last_v3_at=now)
    exchange()


def test_each_action_is_judged_by_its_own_calls(portal: Portal) -> None:
    ended(portal, GENERATE)
    assert call(portal, "v2", path=GENERATE) == 401
    assert call(portal, "v2", path=VERIFY) == 200


def test_what_is_not_hubspots_does_not_count(portal: Portal, clock: time_machine.Traveller) -> None:
    for path, options in (
        (GENERATE, {"secret": "forged"}),
        (GENERATE, {"timestamp": "1795000000000"}),
        (f"{GENERATE}?a=b", {}),
        ("/hubspot/webhooks", {}),
    ):
        post_signed(path, execution(portal), versions=("v2", "v3"), **options)
    exchange()
    assert not SignatureCount.objects.exists()


def test_a_captured_call_is_of_no_use_once_version_3_is_left_away(
    portal: Portal, clock: time_machine.Traveller
) -> None:
    ended(portal)
    assert call(portal, "v2", "v3") == 200
    captured = str(int(timezone.now().timestamp() * 1000))
    OneTimeCode.objects.all().delete()  # retention, or the contact's erasure
    clock.shift(dt.timedelta(hours=3))
    assert call(portal, "v2", "v3", timestamp=captured) == 401
    assert call(portal, "v2", timestamp=captured) == 401
    assert not OneTimeCode.objects.exists()


# ------------------------------------------------------------------ the operator's word
def test_true_accepts_it_for_ever(portal: Portal, settings: Any) -> None:
    settings.HUBSPOT_ALLOW_V2 = "true"
    ended(portal)
    assert call(portal, "v2") == 200


def test_false_accepts_it_never(portal: Portal, settings: Any) -> None:
    settings.HUBSPOT_ALLOW_V2 = "false"
    assert call(portal, "v2") == 401
    assert call(portal, "v3") == 200


@pytest.mark.parametrize(("said", "expected"), [("", "auto"), ("Auto", "auto"), ("TRUE", "true"), ("false", "false")])
def test_the_environment_says_it(said: str, expected: str) -> None:
    assert _in_a_process("HUBSPOT_ALLOW_V2", said) == expected


def test_another_word_stops_the_start() -> None:
    with pytest.raises(subprocess.CalledProcessError) as stopped:
        _in_a_process("HUBSPOT_ALLOW_V2", "yes")
    assert "HUBSPOT_ALLOW_V2" in stopped.value.stderr
    assert "Use auto, true or false" in stopped.value.stderr


def _in_a_process(name: str, value: str) -> str:
    program = f"from django.conf import settings; print(settings.{name})"
    variables = {**_variables(), name: value}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=variables, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _variables() -> dict[str, str]:
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "opsagent.settings"}


# ------------------------------------------------------------------ all processes together
def test_many_processes_count_together_and_each_learns_it(portal: Portal, clock: time_machine.Traveller) -> None:
    for number in range(4):
        calls(25, "v3")
        exchange()
        signature_versions.forget()  # the next process
        if number == 2:
            clock.shift(dt.timedelta(hours=24))
    assert call(portal, "v2") == 200  # this one has not asked yet
    exchange()
    assert call(portal, "v2") == 401
    row = SignatureCount.objects.get()
    assert (row.v3_calls, row.v2_calls, row.v2_refused) == (100, 1, 0)


def test_the_order_in_which_processes_tell_does_not_matter(portal: Portal, clock: time_machine.Traveller) -> None:
    calls(1, "v3")
    early = signature_versions._seen
    first = timezone.now()
    signature_versions.forget()
    clock.shift(dt.timedelta(hours=24))
    calls(99, "v3")
    last = timezone.now()
    exchange()
    signature_versions._seen = early
    exchange()
    row = SignatureCount.objects.get()
    assert (row.v3_calls, row.first_v3_at, row.last_v3_at) == (100, first, last)
    assert call(portal, "v2") == 401


def test_nothing_is_lost_while_the_database_is_away(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    calls(3, "v3")
    calls(2, "v2")
    with monkeypatch.context() as away:
        away.setattr(signature_versions, "_add", _raise)
        with pytest.raises(DatabaseError):
            exchange()
    calls(1, "v3", path=VERIFY)
    calls(4, "v3")
    exchange()
    exchange()
    assert {row.action: (row.v3_calls, row.v2_calls) for row in SignatureCount.objects.all()} == {
        GENERATE: (7, 2),
        VERIFY: (1, 0),
    }


def _raise(*_: Any) -> None:
    raise DatabaseError


def test_counting_costs_no_round_trip(portal: Portal, django_assert_num_queries: Any) -> None:
    calls(1, "v3")
    with django_assert_num_queries(0):
        signature_versions.saw_v3(GENERATE)
        assert signature_versions.may_pass(GENERATE)


@pytest.mark.django_db(transaction=True)
def test_a_process_learns_it_in_the_background(portal: Portal) -> None:
    now = timezone.now()
    SignatureCount.objects.create(action=GENERATE, v3_calls=100, first_v3_at=now - dt.timedelta(days=2), last_v3_at=now)
    calls(5, "v3")
    signature_versions.begin()
    try:
        deadline = threading.Event()
        for _ in range(200):
            if call(portal, "v2") == 401:
                break
            deadline.wait(0.05)
        assert call(portal, "v2") == 401
    finally:
        signature_versions.end()
    row = SignatureCount.objects.get()
    assert row.v3_calls == 105
    assert row.v2_refused >= 2


# ------------------------------------------------------------------ who is told
def test_refusals_are_counted(portal: Portal, settings: Any, logged: Callable[[], str]) -> None:
    settings.HUBSPOT_ALLOW_V2 = "false"
    before = _refused()
    assert [call(portal, "v2"), call(portal, "v2"), call(portal, "v2", secret="forged")] == [401] * 3
    assert logged().count("v2_signature_refused") == 2
    assert _refused() - before == 2


def _refused() -> int:
    """Return the metric, as it stands in Redis."""
    metrics.flush()
    return int(broker.redis().hget("metrics", "opsagent_v2_refused_total|generate-otp") or 0)


def test_doctor_tells_what_was_seen(portal: Portal) -> None:
    assert "signatures" in doctor.examinations()
    assert examine_signatures().verdict == "ok"
    calls(3, "v2")
    exchange()
    assert "generate-otp: version 2 alone is accepted, 0 of version 3, 3 of version 2" in examine_signatures().seen
    ended(portal, VERIFY)
    found = examine_signatures()
    assert found.verdict == "ok"
    assert "verify-otp: version 2 alone is refused" in found.seen


def test_doctor_warns_of_refusals_and_says_what_to_do(portal: Portal) -> None:
    ended(portal)
    for _ in range(3):
        assert call(portal, "v2") == 401
    exchange()
    found = examine_signatures()
    assert found.verdict == "warning"
    assert "generate-otp 3, last " in found.seen
    assert "HUBSPOT_ALLOW_V2=true" in found.remedy


def test_doctor_forgets_old_refusals(portal: Portal, clock: time_machine.Traveller) -> None:
    ended(portal)
    assert call(portal, "v2") == 401
    exchange()
    clock.shift(dt.timedelta(days=8))
    assert examine_signatures().verdict == "ok"
