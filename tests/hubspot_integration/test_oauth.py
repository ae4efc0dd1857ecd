"""Installing the app and keeping its tokens fresh, against the sandbox's OAuth pages and token endpoint."""

import datetime as dt
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from hubspot_integration import client, disconnecting, installing, tokens
from hubspot_integration.installing import OPTIONAL_SCOPES, REQUIRED_SCOPES
from hubspot_integration.models import ContactPropertyList, OAuthGrant, OAuthState, Portal, PortalMember
from hubspot_integration.tokens import NotConnected, Refusal
from hubspot_integration.transport import HubSpotError
from otp.audit import Action
from otp.models import AuditEvent, Delivery, DeliveryStatus, OTPSettings
from tests.hubspot import HubSpot
from tests.otp.test_delivery import issue
from tests.queued import queued

pytestmark = pytest.mark.django_db(transaction=True)


def begin(browser: Client) -> str:
    """Click "Install"; return HubSpot's authorize URL."""
    response = browser.get("/hubspot/install", secure=True)
    assert response.status_code == 302
    return str(response["Location"])


def approve(url: str, user_id: int, decision: str = "connect") -> str:
    """Decide on HubSpot's page; return the path and query it sends the browser back to."""
    response = httpx.post(url, data={"user": str(user_id), "decision": decision})
    assert response.status_code == 302, response.text
    back = urlsplit(response.headers["Location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == installing.redirect_uri()
    return f"{back.path}?{back.query}"


def installer(hubspot: HubSpot, index: int = 0) -> dict[str, Any]:
    """Return a user who may install apps."""
    users = hubspot.get("/portals")["portals"][index]["users"]
    found: dict[str, Any] = next(user for user in users if user["mayInstall"])
    return found


def install(hubspot: HubSpot, browser: Client, index: int = 0) -> Portal:
    """Go the whole way."""
    back = approve(begin(browser), installer(hubspot, index)["userId"])
    response = browser.get(back, secure=True)
    assert (response.status_code, response["Location"]) == (302, "/settings/")
    return Portal.objects.get(id=hubspot.portal_ids()[index])


def test_it_asks_for_each_scope_in_its_class_with_pkce_and_state(hubspot: HubSpot, settings: Any) -> None:
    query = parse_qs(urlsplit(begin(Client())).query)
    assert query["scope"] == [" ".join(REQUIRED_SCOPES)]
    assert query["optional_scope"] == [" ".join(OPTIONAL_SCOPES)]
    assert query["redirect_uri"] == [settings.PUBLIC_BASE_URL + "/hubspot/oauth/callback"]
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43
    assert len(query["state"][0]) >= 32


def test_it_connects_a_portal_and_signs_the_installer_in(hubspot: HubSpot) -> None:
    browser = Client()
    portal = install(hubspot, browser)
    user = installer(hubspot)
    assert portal.is_connected
    assert set(portal.grant.scopes) == {*REQUIRED_SCOPES, *OPTIONAL_SCOPES}
    assert portal.time_zone != ""
    assert portal.hub_domain != ""
    member = PortalMember.objects.get()
    assert (member.hubspot_user_id, member.email) == (user["userId"], user["email"])
    assert OTPSettings.objects.get(portal=portal).wait_until_delivered
    assert len(ContactPropertyList.objects.get(portal=portal).properties) > 5
    assert browser.get("/settings/", secure=True).status_code == 200


def test_it_stores_tokens_encrypted(hubspot: HubSpot) -> None:
    grant = install(hubspot, Client()).grant
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_token, refresh_token FROM hubspot_integration_oauthgrant")
        stored = b"".join(map(bytes, cursor.fetchone()))
    assert grant.access_token.encode() not in stored
    assert grant.refresh_token.encode() not in stored


def test_it_keeps_several_portals_side_by_side(hubspot: HubSpot) -> None:
    first, second = install(hubspot, Client()), install(hubspot, Client(), index=1)
    assert first != second
    assert Portal.objects.connected().count() == 2
    assert tokens.access_token_for(first.id) != tokens.access_token_for(second.id)


def test_it_does_not_wait_by_default_where_the_scope_was_not_granted(hubspot: HubSpot) -> None:
    index = next(
        index for index in range(len(hubspot.portal_ids()))
        if "automation" not in install(hubspot, Client(), index).grant.scopes
    )  # fmt: skip
    assert not OTPSettings.objects.get(portal_id=hubspot.portal_ids()[index]).wait_until_delivered


def test_it_restarts_when_the_marketplace_comes_without_a_state(hubspot: HubSpot) -> None:
    response = Client().get("/hubspot/oauth/callback?code=na1-whatever", secure=True)
    assert (response.status_code, response["Location"]) == (302, "/hubspot/install")


def test_it_says_so_when_the_admin_cancels(hubspot: HubSpot) -> None:
    browser = Client()
    response = browser.get(approve(begin(browser), installer(hubspot)["userId"], "cancel"), secure=True)
    assert response.status_code == 400
    assert "declined" in response.content.decode()
    assert not Portal.objects.exists()


def test_it_takes_a_state_once(hubspot: HubSpot) -> None:
    browser = Client()
    back = approve(begin(browser), installer(hubspot)["userId"])
    assert browser.get(back, secure=True).status_code == 302
    again = browser.get(back, secure=True)
    assert again.status_code == 400
    assert "start again" in again.content.decode().lower()
    assert not OAuthState.objects.exists()


def test_it_takes_a_state_from_the_browser_that_began_only(hubspot: HubSpot) -> None:
    back = approve(begin(Client()), installer(hubspot)["userId"])
    assert Client().get(back, secure=True).status_code == 400
    assert not Portal.objects.exists()


def test_it_takes_a_state_within_ten_minutes_only(hubspot: HubSpot) -> None:
    browser = Client()
    back = approve(begin(browser), installer(hubspot)["userId"])
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=11)):
        assert browser.get(back, secure=True).status_code == 400


@pytest.mark.parametrize(
    "query", ["state=x&code=y", "state=%00&code=%00", "state=%ff&code=%ff", "state=" + "x" * 5000 + "&code=1"]
)
def test_it_refuses_a_forged_callback_with_a_sentence(hubspot: HubSpot, query: str) -> None:
    browser = Client(raise_request_exception=False)
    begin(browser)
    response = browser.get(f"/hubspot/oauth/callback?{query}", secure=True)
    assert response.status_code == 400
    assert "start again" in response.content.decode().lower()


def test_it_says_so_when_hubspot_refuses_the_code(hubspot: HubSpot) -> None:
    browser = Client()
    back = approve(begin(browser), installer(hubspot)["userId"])
    hubspot.post("/reset")  # forgets the code
    response = browser.get(back, secure=True)
    assert response.status_code == 400
    assert "expired" in response.content.decode()


def test_it_says_so_when_hubspot_is_away(hubspot: HubSpot) -> None:
    browser = Client()
    back = approve(begin(browser), installer(hubspot)["userId"])
    hubspot.fault("oauth.token", "status", status=503)
    response = browser.get(back, secure=True)
    assert response.status_code == 400
    assert "in a minute" in response.content.decode()


def test_it_keeps_the_settings_of_a_portal_that_comes_back(hubspot: HubSpot) -> None:
    portal = install(hubspot, Client())
    OTPSettings.objects.update(code_length=8)
    tokens.mark_disconnected(portal.id)
    assert not OAuthGrant.objects.exists()
    again = install(hubspot, Client())
    assert again.is_connected
    assert OTPSettings.objects.get().code_length == 8


def test_it_refreshes_before_the_token_ends_and_keeps_the_refresh_token(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    before = OAuthGrant.objects.get()
    assert tokens.access_token_for(portal.id) == before.access_token
    with time_machine.travel(before.expires_at - dt.timedelta(minutes=4)):
        token = tokens.access_token_for(portal.id)
    after = OAuthGrant.objects.get()
    assert token == after.access_token != before.access_token
    assert after.refresh_token == before.refresh_token


def test_it_stores_a_rotated_refresh_token(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    before = OAuthGrant.objects.get().refresh_token
    hubspot.fault("oauth.token", "rotate")
    OAuthGrant.objects.update(expires_at=timezone.now())
    tokens.access_token_for(portal.id)
    assert OAuthGrant.objects.get().refresh_token != before
    OAuthGrant.objects.update(expires_at=timezone.now())
    tokens.access_token_for(portal.id)


def test_it_refreshes_once_however_many_ask(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    answers: list[str] = []

    def ask() -> None:
        try:
            answers.append(tokens.access_token_for(portal.id))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert len(hubspot.requests("oauth.token")) == 1


@pytest.mark.parametrize("kind", ["revoked", "bad_hub"])
def test_it_disconnects_a_portal_whose_refresh_token_was_revoked(hubspot: HubSpot, kind: str) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    hubspot.fault("oauth.token", kind)
    with pytest.raises(NotConnected):
        tokens.access_token_for(portal.id)
    portal.refresh_from_db()
    assert not portal.is_connected
    assert not OAuthGrant.objects.exists()


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "bad_client_secret"},
        {"kind": "status", "status": 401},
        {"kind": "status", "status": 400},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 503},
        {"kind": "drop"},
    ],
)
def test_it_disconnects_nobody_for_any_other_refusal(hubspot: HubSpot, fault: dict[str, Any]) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    hubspot.fault("oauth.token", **fault)
    with pytest.raises(HubSpotError) as caught:
        tokens.access_token_for(portal.id)
    assert not isinstance(caught.value, NotConnected)
    assert not caught.value.permanent
    portal.refresh_from_db()
    assert portal.is_connected
    assert OAuthGrant.objects.exists()


def test_it_uses_the_old_token_while_it_lives_when_a_refresh_fails(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now() + dt.timedelta(minutes=2))
    hubspot.fault("oauth.token", "status", status=503)
    assert tokens.access_token_for(portal.id) == OAuthGrant.objects.get().access_token


def test_it_tries_the_second_client_secret_when_hubspot_does_not_know_the_first(
    hubspot: HubSpot, settings: Any
) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    settings.HUBSPOT_CLIENT_SECRETS = ["not yet known to HubSpot", *settings.HUBSPOT_CLIENT_SECRETS]
    assert tokens.access_token_for(portal.id)


@pytest.mark.parametrize(
    ("error", "refreshing", "expected"),
    [
        (HubSpotError("", permanent=True, status=400, words=["INVALID_GRANT"]), True, Refusal.REVOKED),
        (HubSpotError("", permanent=True, status=400, words=["INVALID_GRANT"]), False, Refusal.CODE),
        (HubSpotError("", permanent=True, status=400, words=["BAD_REFRESH_TOKEN"]), True, Refusal.REVOKED),
        (HubSpotError("", permanent=True, status=403, words=["ACCESS_DENIED"]), True, Refusal.REVOKED),
        (HubSpotError("", permanent=True, status=400, words=["INVALID_CLIENT", "INVALID_GRANT"]), True, Refusal.CONFIGURATION),
        (HubSpotError("", permanent=True, status=401), True, Refusal.CONFIGURATION),
        (HubSpotError("", permanent=True, status=418, words=["NEW_WORD"]), True, Refusal.CONFIGURATION),
        (HubSpotError("", permanent=False, status=503, words=["INVALID_GRANT"]), True, Refusal.TRANSIENT),
    ],
)  # fmt: skip
def test_it_tells_refusals_apart(error: HubSpotError, refreshing: bool, expected: Refusal) -> None:
    assert tokens.classify(error, refreshing=refreshing) is expected


def test_it_remembers_the_contact_properties(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    found = {one.name: one for one in client.contact_properties(portal.id)}
    assert (found["otp_code"].type, found["otp_code"].field_type) == ("string", "text")
    assert found["email"].unique or found["email"].hubspot_defined
    assert any(one.calculated for one in found.values())
    assert client.contact_property(portal.id, "otp_code") == found["otp_code"]
    assert client.contact_property(portal.id, "nothing/../here?") is None


# ------------------------------------------------------------------ the end
ADMIN = "admin@acme.example"


def test_disconnecting_uninstalls_on_both_sides(hubspot: HubSpot) -> None:
    portal = hubspot.connect(code_length=8)
    grant = OAuthGrant.objects.get()
    assert disconnecting.disconnect(portal.id, asked_by=ADMIN)
    assert not hubspot.get(f"/portals/{portal.id}")["installed"]
    assert not Portal.objects.get().is_connected
    assert not OAuthGrant.objects.exists()
    (revoked,) = hubspot.requests("oauth.revoke")
    assert revoked["status"] == 200
    event = AuditEvent.objects.get(action=Action.PORTAL_DISCONNECTED)
    assert (event.actor, event.actor_kind) == (ADMIN, "admin")
    (task,) = queued("otp.tasks.tell_admins")
    assert grant.refresh_token.encode() not in task
    install(hubspot, Client())
    assert OTPSettings.objects.get().code_length == 8
    connected = AuditEvent.objects.get(action=Action.PORTAL_CONNECTED)
    assert connected.actor == installer(hubspot)["email"]
    assert "crm.objects.contacts.write" in connected.detail["scopes"]


@pytest.mark.parametrize(
    "kind", [{"kind": "status", "status": 503}, {"kind": "drop"}, {"kind": "status", "status": 403}]
)
def test_disconnecting_wipes_the_tokens_whatever_hubspot_says(hubspot: HubSpot, kind: dict[str, Any]) -> None:
    portal = hubspot.connect()
    hubspot.fault("appinstalls.uninstall", **kind)
    hubspot.fault("oauth.revoke", **kind)
    assert not disconnecting.disconnect(portal.id, asked_by=ADMIN)
    assert not Portal.objects.get().is_connected
    assert not OAuthGrant.objects.exists()


def test_an_uninstall_is_noticed_although_nothing_calls_hubspot(hubspot: HubSpot) -> None:
    gone, kept = hubspot.connect(0), hubspot.connect(1)
    hubspot.delete(f"/portals/{gone.id}/install")
    disconnecting.notice_uninstalls(now=timezone.now())
    assert hubspot.requests("oauth.token") == []
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=61)):
        disconnecting.notice_uninstalls(now=timezone.now())
        disconnecting.notice_uninstalls(now=timezone.now())
    assert Portal.objects.connected().get() == kept
    assert len(hubspot.requests("oauth.token")) == 2


def test_it_stops_looking_while_hubspot_is_away(hubspot: HubSpot) -> None:
    hubspot.connect(0)
    hubspot.connect(1)
    hubspot.fault("oauth.token", "status", status=503)
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=61)):
        disconnecting.notice_uninstalls(now=timezone.now())
    assert len(hubspot.requests("oauth.token")) == 1
    assert Portal.objects.connected().count() == 2


def test_disconnecting_what_hubspot_has_uninstalled_already_is_done(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    hubspot.delete(f"/portals/{portal.id}/install")
    assert disconnecting.disconnect(portal.id, asked_by=ADMIN)
    assert not disconnecting.disconnect(portal.id, asked_by=ADMIN)
    assert not OAuthGrant.objects.exists()
    assert AuditEvent.objects.filter(action=Action.PORTAL_DISCONNECTED).count() == 1


def test_what_is_pending_ends_with_the_connection(hubspot: HubSpot) -> None:
    portal = hubspot.connect(store_in_property=True, property_name="otp_code", send_email=True)
    issue(portal, hubspot.contacts(portal.id)[0]["contactId"])
    disconnecting.disconnect(portal.id, asked_by=ADMIN)
    assert set(Delivery.objects.values_list("status", "error", "next_attempt_at")) == {
        (DeliveryStatus.FAILED, "not_connected", None)
    }
    assert hubspot.mails() == []


def test_a_wrong_client_secret_for_an_hour_disconnects_nobody(hubspot: HubSpot, settings: Any) -> None:
    portals = [hubspot.connect(0), hubspot.connect(1)]
    right, start = settings.HUBSPOT_CLIENT_SECRETS, timezone.now()
    settings.HUBSPOT_CLIENT_SECRETS = ["wrong", "wrong as well"]
    OAuthGrant.objects.update(expires_at=start)
    for minute in range(0, 61, 3):
        with time_machine.travel(start + dt.timedelta(minutes=minute)):
            for portal in portals:
                with pytest.raises(HubSpotError) as caught:
                    tokens.access_token_for(portal.id)
                assert not caught.value.permanent
    assert Portal.objects.connected().count() == OAuthGrant.objects.count() == 2
    settings.HUBSPOT_CLIENT_SECRETS = right
    with time_machine.travel(start + dt.timedelta(minutes=63)):
        assert all(tokens.access_token_for(portal.id) for portal in portals)
