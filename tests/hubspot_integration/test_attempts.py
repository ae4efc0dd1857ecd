"""Several ways to HubSpot and back in one browser, made-up ends of them, and what is left of those nobody comes back from."""

import datetime as dt
import threading
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone

from hubspot_integration import access, attempts, views
from hubspot_integration.models import OAuthState, Portal, PortalMember
from otp import tasks
from tests.hubspot import HubSpot
from tests.hubspot_integration.test_oauth import approve, begin, install, installer
from tests.portal_admin import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def sign_in_url(browser: Client) -> str:
    response = browser.get("/sign-in", secure=True)
    assert response.status_code == 302
    return str(response["Location"])


def cookies(browser: Client) -> list[str]:
    return [
        name for name, cookie in browser.cookies.items() if name.startswith("__Host-opsagent_attempt_") and cookie.value
    ]


# ---------------------------------------------------------------- several at once


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_tabs_come_back_in_any_order(hubspot: HubSpot, order: tuple[int, int]) -> None:
    browser = Client()
    begun = [begin(browser), begin(browser)]
    back = [approve(url, installer(hubspot, index)["userId"]) for index, url in enumerate(begun)]
    for index in order:
        response = browser.get(back[index], secure=True)
        assert (response.status_code, response["Location"]) == (302, "/settings/")
        signed_in = browser.session[access._SESSION_KEY]
        assert PortalMember.objects.get(pk=signed_in).portal_id == hubspot.portal_ids()[index]
    assert Portal.objects.connected().count() == 2
    assert not OAuthState.objects.exists()
    assert cookies(browser) == []


def test_each_does_what_it_was_begun_for(hubspot: HubSpot) -> None:
    browser = Client()
    install(hubspot, Client())
    to_install, to_sign_in = begin(browser), sign_in_url(browser)
    OAuthState.objects.filter(purpose="sign_in").update(return_to="/settings/log")
    before = Portal.objects.values().get(id=hubspot.portal_ids()[0])
    response = browser.get(approve(to_sign_in, installer(hubspot)["userId"]), secure=True)
    assert response["Location"] == "/settings/log"
    assert Portal.objects.values().get(id=hubspot.portal_ids()[0]) == before
    assert browser.get(approve(to_install, installer(hubspot, 1)["userId"]), secure=True)["Location"] == "/settings/"
    assert Portal.objects.connected().count() == 2


@pytest.mark.parametrize(
    "query",
    [
        "state=x&code=y", "error=access_denied", "error=access_denied&state=x", "error=x&state=&code=y", "state=&code=",
        "code=y", "state=%00&code=%00", "state=%ff%fe&error=x", "state=" + "x" * 5000 + "&code=1", "state=x&state=y&code=1",
    ],
)  # fmt: skip
def test_a_made_up_link_ends_nothing(hubspot: HubSpot, query: str) -> None:
    browser = Client()
    back = approve(begin(browser), installer(hubspot)["userId"])
    response = browser.get(f"/hubspot/oauth/callback?{query}", secure=True)
    assert response.status_code in {400, 302}
    if response.status_code == 302:
        assert response["Location"] == "/hubspot/install"
    assert browser.get(back, secure=True)["Location"] == "/settings/"


def test_declining_ends_that_one_only(hubspot: HubSpot) -> None:
    browser = Client()
    first, second = begin(browser), sign_in_url(browser)
    response = browser.get(approve(second, installer(hubspot)["userId"], "cancel"), secure=True)
    assert response.status_code == 400
    assert "You are not signed in" in response.content.decode()
    assert "declined" in response.content.decode()
    assert browser.get(approve(first, installer(hubspot)["userId"]), secure=True)["Location"] == "/settings/"


def test_a_state_that_was_declined_is_used_up(hubspot: HubSpot) -> None:
    browser = Client()
    url = begin(browser)
    state = parse_qs(urlsplit(url).query)["state"][0]
    browser.get(f"/hubspot/oauth/callback?error=access_denied&state={state}", secure=True)
    assert browser.get(approve(url, installer(hubspot)["userId"]), secure=True).status_code == 400
    assert not Portal.objects.exists()


def test_one_state_is_good_once_however_many_come_with_it(hubspot: HubSpot) -> None:
    browser = Client()
    back = approve(begin(browser), installer(hubspot)["userId"])
    kept = {name: browser.cookies[name].value for name in cookies(browser)}
    statuses: list[int] = []
    at_once = threading.Barrier(5)

    def come_back() -> None:
        copy = Client()
        copy.cookies.load(kept)
        at_once.wait()
        try:
            statuses.append(copy.get(back, secure=True).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=come_back) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [302, 400, 400, 400, 400]
    assert len(hubspot.requests("oauth.token")) == 1


def test_a_browser_is_on_the_newest_ten(hubspot: HubSpot) -> None:
    browser = Client()
    urls = [begin(browser) for _ in range(12)]
    assert OAuthState.objects.count() == attempts.OPEN_AT_ONCE
    assert len(cookies(browser)) == attempts.OPEN_AT_ONCE
    user = installer(hubspot)["userId"]
    assert [browser.get(approve(url, user), secure=True).status_code for url in urls[:2]] == [400, 400]
    assert [browser.get(approve(url, user), secure=True).status_code for url in urls[2:]] == [302] * 10


def test_the_cookie_can_be_planted_by_no_other_host() -> None:
    browser = Client()
    begin(browser)
    (name,) = cookies(browser)
    cookie = browser.cookies[name]
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
    assert (cookie["samesite"], cookie["max-age"]) == ("Lax", 600)


# ---------------------------------------------------------------- those nobody comes back from


def test_nobody_who_has_not_come_back_has_a_session() -> None:
    for path in ("/hubspot/install", "/sign-in"):
        browser = Client()
        assert browser.get(path, secure=True).status_code == 302
        assert "opsagent_session" not in browser.cookies
    assert not Session.objects.exists()


def test_made_up_cookies_begin_no_session() -> None:
    for number in range(3):
        browser = Client()
        browser.cookies["__Host-opsagent_session"] = f"made-up-{number}"
        page = browser.get("/settings/log", secure=True, follow=True)
        assert "You are signed out. That happens after 60 minutes" in page.content.decode()
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    "page",
    [
        "//[",
        "http://[/settings/",
        "//℀.example/",
        "/settings/texts/in/a\0b",
        "/settings/log?contact=\0",
        "/settings/\r\n",
        "x" * 9999,
    ],
)
def test_what_is_no_page_leads_to_the_first(portal: Portal, page: str) -> None:
    browser = Client()
    assert browser.get("/sign-in", {"next": page}, secure=True).status_code == 302
    admin = signed_in(portal)
    assert admin.post("/settings/confirm", {"next": page}, secure=True).status_code == 302
    assert set(OAuthState.objects.values_list("return_to", flat=True)) == {"/settings/"}
    query = urlencode({"next": page})
    assert admin.post(f"/portal?{query}", {"portal": portal.id}, secure=True)["Location"] == "/settings/"


@pytest.mark.parametrize("referer", ["http://[", "//℀.example", "\0"])
def test_whoever_is_signed_out_is_told_so_wherever_they_say_they_come_from(portal: Portal, referer: str) -> None:
    browser = Client()
    browser.cookies["__Host-opsagent_session"] = "ended"
    answer = browser.post("/settings/", {"a": "b"}, secure=True, headers={"referer": referer})
    assert answer.status_code == 401
    assert "You are signed out" in answer.content.decode()


@pytest.mark.parametrize("path", ["/hubspot/install", "/sign-in"])
def test_a_network_may_begin_so_many(settings: Any, path: str) -> None:
    settings.PROXY_COUNT = 1

    def come_from(address: str) -> Any:
        return Client().get(path, headers={"X-Forwarded-For": address}, secure=True)

    with time_machine.travel(timezone.now(), tick=False) as clock:
        allowed = [come_from(f"2001:db8:0:1::{number:x}").status_code for number in range(80)]
        assert allowed == [302] * views.BEGINNINGS.amount + [429] * (80 - views.BEGINNINGS.amount)
        assert OAuthState.objects.count() == views.BEGINNINGS.amount
        refused = come_from("[2001:db8:0:1::ffff]:4711")
        assert "Try again in 10 minutes." in refused.content.decode()
        assert 0 < int(refused["Retry-After"]) <= 600
        assert "no-store" in refused["Cache-Control"]
        assert come_from("2001:db8:0:2::1").status_code == 302
        assert come_from("203.0.113.7").status_code == 302
        assert come_from("what is this?").status_code == 302
        clock.shift(601)
        assert come_from("2001:db8:0:1::1").status_code == 302


def test_without_redis_it_counts_in_the_process(no_redis: None) -> None:
    assert [Client().get("/sign-in", secure=True).status_code for _ in range(62)][-3:] == [302, 429, 429]


def test_what_has_ended_is_deleted() -> None:
    browser = Client()
    begin(browser)
    session = Client().session
    session["x"] = 1
    session.save()
    tasks.delete_ended_sessions()
    assert (OAuthState.objects.count(), Session.objects.count()) == (1, 1)
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=11)):
        tasks.delete_ended_sessions()
        assert (OAuthState.objects.count(), Session.objects.count()) == (0, 1)
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=61)):
        tasks.delete_ended_sessions()
        assert not Session.objects.exists()


def test_it_is_deleted_in_steps() -> None:
    for number in range(5):
        OAuthState.objects.create(digest=str(number), code_verifier="x", created_at=timezone.now())
    later = timezone.now() + dt.timedelta(minutes=11)
    assert [attempts.delete_expired(now=later, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_clock_deletes_it(settings: Any) -> None:
    assert "otp.tasks.delete_ended_sessions" in {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}


def test_the_release_before_can_still_write_its_rows(portal: Portal) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO hubspot_integration_oauthstate (digest, code_verifier, created_at) VALUES ('x', '\\x', now())"
        )
        cursor.execute(
            "INSERT INTO hubspot_integration_portalmember (portal_id, hubspot_user_id, email, signed_in_at) "
            "VALUES (%s, 1, '', now())",
            [portal.id],
        )
    assert OAuthState.objects.values_list("purpose", "return_to", "expected_user_id").get() == ("install", "", None)
    assert PortalMember.objects.get().session_epoch == 0


def test_crawlers_are_not_invited(client: Client) -> None:
    response = client.get("/robots.txt", secure=True)
    assert response["Content-Type"].startswith("text/plain")
    for path in ("/hubspot/", "/sign-in", "/settings/", "/admin/"):
        assert f"Disallow: {path}" in response.content.decode()
    assert client.get("/hubspot/install", secure=True)["X-Robots-Tag"] == "noindex, nofollow"
