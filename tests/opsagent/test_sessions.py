"""A session's two ends: an hour without use, and eight hours in any case; for portal admins and support staff alike."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hubspot_integration.models import Portal
from opsagent import sessions
from tests import staff as members_of_staff
from tests.portal_admin import signed_in


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


def is_in(browser: Client, path: str = "/settings/log") -> bool:
    return bool(browser.get(path, secure=True).status_code == 200)


@pytest.mark.parametrize(("minutes", "stays"), [(58, True), (60, False), (61, False), (600, False)])
def test_an_hour_without_use_ends_it(portal: Portal, clock: Any, minutes: int, stays: bool) -> None:
    browser = signed_in(portal)
    assert is_in(browser)
    clock.shift(minutes * 60)
    assert is_in(browser) is stays


def test_use_prolongs_it_for_eight_hours_at_most(portal: Portal, clock: Any) -> None:
    browser = signed_in(portal)
    for _ in range(9):
        clock.shift(50 * 60)
        assert is_in(browser)
    clock.shift(29 * 60)
    assert is_in(browser)
    clock.shift(2 * 60)
    assert not is_in(browser)


def test_saving_the_session_does_not_prolong_it_beyond(portal: Portal, clock: Any) -> None:
    browser = signed_in(portal)
    for _ in range(9):
        clock.shift(50 * 60)
        assert browser.post("/portal", {"portal": str(portal.id)}, secure=True).status_code == 302  # saves it
    clock.shift(31 * 60)
    assert not is_in(browser)


def test_the_row_is_written_once_a_minute_at_most(portal: Portal, clock: Any) -> None:
    browser = signed_in(portal)
    written = []
    for _ in range(4):
        with CaptureQueriesContext(connection) as queries:
            assert is_in(browser)
        written.append([query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "INSERT", "DELETE"))])
        clock.shift(25)
    assert [len(statements) for statements in written] == [
        0,
        0,
        0,
        2,
    ]  # the session's end, and when the member was seen


def test_staffs_sessions_end_too(db: None, clock: Any) -> None:
    staff = members_of_staff.signed_in(User.objects.create_superuser("sam", password="a long enough one"))
    assert is_in(staff, "/admin/")
    clock.shift(61 * 60)
    assert not is_in(staff, "/admin/")


def test_a_session_of_the_release_before_ends_likewise(db: None, clock: Any) -> None:
    store = sessions.SessionStore()
    store["kept"] = 1
    store.save()
    row = Session.objects.get()
    row.session_data = sessions.SessionStore().encode({"kept": 1})  # no beginning
    row.expire_date = timezone.now() + dt.timedelta(hours=7)
    row.save()
    assert sessions.SessionStore(row.session_key)["kept"] == 1
    clock.shift(61 * 60)
    assert sessions.SessionStore(row.session_key).get("kept") is None


@pytest.mark.parametrize("cookie", ['"abcdefgh\\000"', "é" * 20, "x" * 5000, "'; DROP TABLE x", '"\\777abcdefgh"'])
def test_a_made_up_cookie_is_no_session(db: None, cookie: str) -> None:
    response = Client(headers={"Cookie": f"opsagent_session={cookie}"}).get("/settings/", secure=True)
    assert response.status_code == 302


def test_ended_ones_are_deleted_in_steps(db: None) -> None:
    for _ in range(3):
        sessions.SessionStore().save()
    assert sessions.delete_ended(now=timezone.now(), limit=2) == 0
    later = timezone.now() + dt.timedelta(minutes=61)
    assert [sessions.delete_ended(now=later, limit=2) for _ in range(3)] == [2, 1, 0]
