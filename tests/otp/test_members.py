"""Who has access to a portal's settings: seeing it, ending it, and showing once more who one is before that."""

import datetime as dt
import threading
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from hubspot_integration import access, tokens
from hubspot_integration.models import OAuthGrant, OAuthState, Portal, PortalMember
from otp.audit import Action
from otp.mails import to_admins
from otp.models import AuditEvent
from otp.pages import members
from tests import factories
from tests.hubspot import HubSpot
from tests.hubspot_integration.test_oauth import approve, install, installer
from tests.hubspot_integration.test_signing_in import sign_in
from tests.portal_admin import AdminsBrowser, prove, signed_in

LIST = "/settings/members"


@pytest.fixture
def ada(portal: Portal) -> AdminsBrowser:
    return signed_in(portal, email="ada@company.example")


@pytest.fixture
def bea(portal: Portal) -> AdminsBrowser:
    return signed_in(portal, email="bea@company.example")


def member(name: str) -> PortalMember:
    return PortalMember.objects.get(email=f"{name}@company.example")


def is_in(browser: Client) -> bool:
    return bool(browser.get("/settings/log", secure=True).status_code == 200)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def long_ago(browser: Client, name: str, minutes: float = 15) -> None:
    """Let it be a while since somebody came from HubSpot."""
    prove(browser, member(name), at=timezone.now().timestamp() - 60 * minutes)


# ---------------------------------------------------------------- seeing it


def test_the_settings_list_who_has_access(ada: AdminsBrowser, bea: AdminsBrowser, portal: Portal) -> None:
    portal.installed_by = member("bea")
    portal.save()
    seen = dt.datetime(2026, 3, 4, 5, 6, tzinfo=dt.UTC)
    PortalMember.objects.filter(pk=member("bea").pk).update(last_seen_at=seen, signed_in_at=seen)
    page = text(ada.get("/settings/", secure=True))
    assert "People with access" in page
    assert 'bea@company.example<br><span class="help">Last seen 4 Mar 2026, 05:06' in page
    page = text(ada.get(LIST, secure=True))
    assert "2 people" in page
    assert '<b>ada@company.example</b> <span class="origin">You</span>' in page
    assert '<b>bea@company.example</b> <span class="origin stock">Installed the app</span>' in page
    assert "Last seen <time" in page
    assert "signed in with HubSpot <time" in page


def test_being_seen_is_noted_once_a_minute_at_most(ada: AdminsBrowser) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        PortalMember.objects.update(last_seen_at=timezone.now())
        noted = []
        for _ in range(4):
            assert is_in(ada)
            noted.append(member("ada").last_seen_at)
            clock.shift(25)
    assert noted[0] == noted[1] == noted[2] != noted[3]


# ---------------------------------------------------------------- ending sessions


def test_ending_sessions_ends_them_in_every_browser_at_once(
    ada: AdminsBrowser, bea: AdminsBrowser, portal: Portal
) -> None:
    elsewhere = AdminsBrowser()
    prove(elsewhere, member("bea"))
    response = ada.post(f"{LIST}/{member('bea').pk}/end-sessions", secure=True, follow=True)
    assert "bea@company.example is signed out in every browser, and can sign in again with HubSpot." in text(response)
    assert (is_in(bea), is_in(elsewhere), is_in(ada)) == (False, False, True)
    event = AuditEvent.objects.get(action=Action.SESSIONS_ENDED)
    assert (event.actor, event.actor_kind) == ("ada@company.example", "admin")
    assert event.detail == {"member": "bea@company.example"}


def test_somebody_may_end_all_of_their_own(ada: AdminsBrowser) -> None:
    response = ada.post(f"{LIST}/{member('ada').pk}/end-sessions", secure=True, follow=True)
    assert response.redirect_chain[0] == ("/", 302)
    assert "You are signed out in every browser." in text(response)
    assert not is_in(ada)
    assert PortalMember.objects.filter(email="ada@company.example").exists()


def test_it_is_taken_out_of_a_session_that_is_in_another_portal_now(portal: Portal, ada: AdminsBrowser) -> None:
    bea = signed_in(portal, email="bea@company.example")
    other = factories.OAuthGrantFactory.create().portal
    prove(bea, factories.PortalMemberFactory.create(portal=other, email="bea@other.example"))
    assert str(portal.id) in text(bea.get("/settings/", secure=True))
    ada.post(f"{LIST}/{member('bea').pk}/end-sessions", secure=True)
    page = bea.get("/settings/", secure=True)
    assert page.status_code == 200
    assert str(portal.id) not in text(page)
    assert bea.post("/portal", {"portal": str(portal.id)}, secure=True).status_code == 404
    proven = bea.session[access._PROVEN_KEY]
    assert str(member("bea").pk) in proven  # a session in another browser cannot be written to: it is not believed


def test_a_proof_is_good_for_eight_hours_in_whatever_session(portal: Portal) -> None:
    browser = signed_in(portal)
    other = factories.OAuthGrantFactory.create().portal
    now = timezone.now().timestamp()
    prove(browser, factories.PortalMemberFactory.create(portal=other), at=now - 8 * 3600 + 60)
    assert is_in(browser)
    prove(browser, PortalMember.objects.get(portal=other), at=now - 8 * 3600)
    assert not is_in(browser)


@pytest.mark.django_db(transaction=True)
def test_whoever_was_signed_out_comes_back_through_hubspot(hubspot: HubSpot) -> None:
    browser = Client()
    install(hubspot, browser)
    PortalMember.objects.update(session_epoch=3)
    assert not is_in(browser)
    sign_in(hubspot, browser)
    assert is_in(browser)


@pytest.mark.parametrize("which", ["9" * 40, "0", "999999"])
@pytest.mark.parametrize("what", ["end-sessions", "remove"])
def test_nobody_else_is_ended(ada: AdminsBrowser, which: str, what: str) -> None:
    assert ada.post(f"{LIST}/{which}/{what}", secure=True).status_code == 404
    assert is_in(ada)


# ---------------------------------------------------------------- removing


def test_removing_asks_first_and_ends_everything(ada: AdminsBrowser, bea: AdminsBrowser, portal: Portal) -> None:
    portal.installed_by = member("bea")
    portal.save()
    address = f"{LIST}/{member('bea').pk}/remove"
    page = text(ada.get(address, secure=True))
    assert "Remove bea@company.example?" in page
    assert is_in(bea)
    response = ada.post(address, secure=True, follow=True)
    assert "bea@company.example has no access any more." in text(response)
    assert "1 person" in text(response)
    assert not is_in(bea)
    assert AuditEvent.objects.get(action=Action.MEMBER_REMOVED).detail == {"member": "bea@company.example"}
    assert ada.post(address, secure=True).status_code == 404
    assert is_in(ada)


def test_whoever_is_removed_gets_no_notices(
    ada: AdminsBrowser, bea: AdminsBrowser, portal: Portal, mailoutbox: Any
) -> None:
    members.remove(by=member("ada"), member_id=member("bea").pk, now=timezone.now())
    tokens.mark_disconnected(portal.id)
    to_admins.tell_admins(portal.id, to_admins.DISCONNECTED)
    assert [mail.to for mail in mailoutbox] == [["ada@company.example"]]


def test_somebody_may_remove_themselves(ada: AdminsBrowser, bea: AdminsBrowser) -> None:
    address = f"{LIST}/{member('ada').pk}/remove"
    assert "Remove yourself?" in text(ada.get(address, secure=True))
    response = ada.post(address, secure=True, follow=True)
    assert response.redirect_chain[0] == ("/", 302)
    assert not is_in(ada)


def test_the_last_one_stays(ada: AdminsBrowser) -> None:
    address = f"{LIST}/{member('ada').pk}/remove"
    page = text(ada.get(LIST, secure=True))
    assert "Remove" not in page.partition("How")[0].partition("<main")[2].partition("Who can get in")[0]
    assert "Somebody must stay" in text(ada.get(address, secure=True))
    response = ada.post(address, secure=True, follow=True)
    assert "You are the only one with access, so you stay" in text(response)
    assert is_in(ada)
    assert not AuditEvent.objects.filter(action=Action.MEMBER_REMOVED).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("do", [members.remove, members.end_sessions])
def test_of_two_who_end_each_other_one_is_first(portal: Portal, do: Any) -> None:
    two = [factories.PortalMemberFactory.create(portal=portal) for _ in range(2)]
    outcomes: list[str] = []
    at_once = threading.Barrier(2)

    def end(by: PortalMember, other: PortalMember) -> None:
        at_once.wait()
        try:
            do(by=by, member_id=other.pk, now=timezone.now())
            outcomes.append("done")
        except members.NoAccess:
            outcomes.append("too late")
        finally:
            connection.close()

    threads = [threading.Thread(target=end, args=pair) for pair in (two, two[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "too late"]
    assert AuditEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_was_removed_comes_back_through_hubspot_only(hubspot: HubSpot) -> None:
    browser = Client()
    portal = install(hubspot, browser)
    boss = factories.PortalMemberFactory.create(portal=portal)
    members.remove(by=boss, member_id=portal.installed_by_id or 0, now=timezone.now())
    assert not is_in(browser)
    assert browser.post("/portal", {"portal": str(portal.id)}, secure=True).status_code == 404
    sign_in(hubspot, browser)
    assert is_in(browser)


# ---------------------------------------------------------------- showing once more who one is


@pytest.mark.parametrize("minutes", [14.9, 15, 400])
@pytest.mark.parametrize("method", ["get", "post"])
def test_what_cannot_be_undone_wants_a_recent_proof(
    ada: AdminsBrowser, bea: AdminsBrowser, method: str, minutes: float
) -> None:
    long_ago(ada, "ada", minutes)
    for address in ("/settings/disconnect", f"{LIST}/{member('bea').pk}/remove"):
        response = getattr(ada, method)(address, secure=True)
        is_asked = response.status_code == 403 and "Confirm that it is you" in text(response)
        assert is_asked == (minutes >= 15), address
        if is_asked:
            assert f'name="next" value="{address}"' in text(response)
    assert Portal.objects.connected().exists() == (minutes >= 15 or method == "get")
    assert PortalMember.objects.filter(email="bea@company.example").exists() == (minutes >= 15 or method == "get")


def test_ending_sessions_and_saving_want_none(ada: AdminsBrowser, bea: AdminsBrowser) -> None:
    long_ago(ada, "ada", 400)
    assert ada.post(f"{LIST}/{member('bea').pk}/end-sessions", secure=True).status_code == 302
    assert not is_in(bea)


def test_the_proof_that_counts_is_the_portals_own(portal: Portal, ada: AdminsBrowser) -> None:
    other = factories.OAuthGrantFactory.create().portal
    prove(ada, factories.PortalMemberFactory.create(portal=other, email="ada@other.example"))
    long_ago(ada, "ada")  # in the first portal, which is chosen with that
    assert ada.get("/settings/disconnect", secure=True).status_code == 403


def confirmed(hubspot: HubSpot, browser: Client, portal: Portal, address: str, index: int = 0) -> Any:
    """Go to HubSpot to confirm, and come back as the installer of a portal."""
    data = {"for_portal": str(portal.id), "next": address}
    response = browser.post("/settings/confirm", data, secure=True)
    assert f"/oauth/authorize/{portal.id}?" in response["Location"]
    url = response["Location"].replace(f"/authorize/{portal.id}", "/authorize")
    return browser.get(approve(url, installer(hubspot, index)["userId"]), secure=True)


@pytest.mark.django_db(transaction=True)
def test_whoever_confirms_comes_back_to_the_question_and_nothing_is_done_yet(hubspot: HubSpot) -> None:
    browser = Client()
    portal = install(hubspot, browser)
    token = OAuthGrant.objects.get().access_token
    proven = browser.session[access._PROVEN_KEY]
    key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    (epoch, at), pk = proven[str(portal.installed_by_id)], portal.installed_by_id
    session = browser.session
    session[access._PROVEN_KEY] = {str(pk): [epoch, at - 3600]}
    session.save()
    assert browser.get("/settings/disconnect", secure=True).status_code == 403
    response = confirmed(hubspot, browser, portal, "/settings/disconnect")
    assert (response.status_code, response["Location"]) == (302, "/settings/disconnect")
    assert browser.cookies[settings.SESSION_COOKIE_NAME].value != key
    page = browser.get("/settings/disconnect", secure=True)
    assert "Disconnect OpsAgent OTP?" in text(page)
    assert OAuthGrant.objects.get().access_token == token
    assert Portal.objects.get().is_connected
    browser.post("/settings/disconnect", {"for_portal": str(portal.id)}, secure=True)
    assert not Portal.objects.get().is_connected


@pytest.mark.django_db(transaction=True)
def test_somebody_else_who_comes_back_confirms_nothing(hubspot: HubSpot) -> None:
    browser = Client()
    portal = install(hubspot, browser)
    install(hubspot, Client(), index=1)
    session = dict(browser.session.items())
    response = confirmed(hubspot, browser, portal, "/settings/disconnect", index=1)
    assert response.status_code == 400
    assert "This was not confirmed" in text(response)
    assert f"HubSpot answered for {installer(hubspot, 1)['email']} in account {hubspot.portal_ids()[1]}" in text(
        response
    )
    assert 'href="/settings/disconnect">Back to the page' in text(response)
    assert {name: value for name, value in browser.session.items() if name[0] != "_"} == {
        name: value for name, value in session.items() if name[0] != "_"
    }


@pytest.mark.django_db(transaction=True)
def test_another_user_of_the_same_account_confirms_nothing(hubspot: HubSpot) -> None:
    browser = Client()
    portal = install(hubspot, browser)
    members_before = list(PortalMember.objects.values())
    OAuthState.objects.all().delete()
    data = {"for_portal": str(portal.id), "next": "/settings/disconnect"}
    url = browser.post("/settings/confirm", data, secure=True)["Location"].replace(
        f"/authorize/{portal.id}", "/authorize"
    )
    OAuthState.objects.update(expected_user_id=1)  # as if somebody else had begun
    response = browser.get(approve(url, installer(hubspot)["userId"]), secure=True)
    assert response.status_code == 400
    assert list(PortalMember.objects.values("email")) == [{"email": one["email"]} for one in members_before]


@pytest.mark.django_db(transaction=True)
def test_whoever_was_removed_on_the_way_confirms_nothing(hubspot: HubSpot) -> None:
    browser = Client()
    portal = install(hubspot, browser)
    data = {"for_portal": str(portal.id), "next": "/settings/disconnect"}
    url = browser.post("/settings/confirm", data, secure=True)["Location"].replace(
        f"/authorize/{portal.id}", "/authorize"
    )
    PortalMember.objects.all().delete()
    response = browser.get(approve(url, installer(hubspot)["userId"]), secure=True)
    assert response.status_code == 400
    assert "Your access to these settings has been ended" in text(response)
    assert not PortalMember.objects.exists()
    assert not is_in(browser)


@pytest.mark.django_db(transaction=True)
def test_whoever_is_removed_in_the_very_moment_confirms_nothing(
    hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Client()
    portal = install(hubspot, browser)
    update = QuerySet.update

    def and_remove(rows: "QuerySet[PortalMember]", **values: Any) -> int:
        changed = update(rows, **values)
        if "signed_in_at" in values:  # another admin is faster than whoever comes back
            PortalMember.objects.filter(portal=portal).delete()
        return changed

    monkeypatch.setattr(QuerySet, "update", and_remove)
    response = confirmed(hubspot, browser, portal, "/settings/disconnect")
    assert response.status_code == 400
    assert "Your access to these settings has been ended" in text(response)


def test_confirming_is_begun_by_a_post_only_and_not_where_hubspot_is_gone(ada: AdminsBrowser, portal: Portal) -> None:
    assert ada.get("/settings/confirm", secure=True).status_code == 405
    tokens.mark_disconnected(portal.id)
    response = ada.post("/settings/confirm", {"next": "/settings/"}, secure=True, follow=True)
    assert "Reconnect it first" in text(response)
    assert not OAuthState.objects.exists()
    long_ago(ada, "ada")
    page = text(ada.get(f"{LIST}/{member('ada').pk}/remove", secure=True))
    assert 'href="/hubspot/install">Reconnect</a>' in page
