"""Coming back by "Sign in with HubSpot", with one portal and with several, against the sandbox's OAuth pages."""

from typing import Any

import pytest
from django.test import Client

from hubspot_integration import access, tokens
from hubspot_integration.models import Portal, PortalMember
from otp.models import OTPSettings
from tests.hubspot import HubSpot
from tests.hubspot_integration.test_oauth import approve, install, installer
from tests.page import Page
from tests.portal_admin import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def sign_in(hubspot: HubSpot, browser: Client, index: int = 0) -> Any:
    """Click "Sign in with HubSpot" and choose the portal there."""
    url = str(browser.get("/sign-in", secure=True)["Location"])
    return browser.get(approve(url, installer(hubspot, index)["userId"]), secure=True)


def same_person(*browsers: Client) -> None:
    """Give every member the address that HubSpot would vouch for if all were one person."""
    PortalMember.objects.update(email="ada@company.example")


def test_it_opens_the_settings_and_changes_nothing_about_the_installation(hubspot: HubSpot) -> None:
    portal = install(hubspot, Client())
    OTPSettings.objects.update(code_length=8)
    before = Portal.objects.values().get()
    token = tokens.access_token_for(portal.id)
    browser = Client()
    response = sign_in(hubspot, browser)
    assert (response.status_code, response["Location"]) == (302, "/settings/")
    assert browser.get("/settings/", secure=True).status_code == 200
    assert Portal.objects.values().get() == before
    assert tokens.access_token_for(portal.id) == token
    assert OTPSettings.objects.get().code_length == 8


def test_it_names_the_installer_whoever_signs_in_later(hubspot: HubSpot) -> None:
    portal = install(hubspot, Client())
    assert portal.installed_by == PortalMember.objects.get()
    PortalMember.objects.update(hubspot_user_id=1, email="installer@company.example")
    browser = Client()
    sign_in(hubspot, browser)
    assert PortalMember.objects.count() == 2
    assert "by installer@company.example" in browser.get("/settings/", secure=True).content.decode()


@pytest.mark.parametrize("was_installed", [True, False])
def test_it_tells_the_user_of_a_portal_without_the_app_to_install_it(hubspot: HubSpot, was_installed: bool) -> None:
    if was_installed:
        tokens.mark_disconnected(install(hubspot, Client()).id)
    browser = Client()
    response = sign_in(hubspot, browser)
    assert response.status_code == 400
    page = response.content.decode()
    assert "Not installed in this account" in page
    assert '<a class="button" href="/hubspot/install">Install in HubSpot</a>' in page
    assert not Portal.objects.connected().exists()
    assert browser.get("/settings/", secure=True)["Location"] == "/"


def test_it_changes_between_the_portals_that_one_person_has_signed_in_to(hubspot: HubSpot) -> None:
    browser = Client()
    first, second = install(hubspot, browser), install(hubspot, Client(), index=1)
    same_person()
    with pytest.MonkeyPatch.context() as patch:  # in HubSpot one address signs in to both
        introspect = tokens.introspect
        patch.setattr(tokens, "introspect", lambda token: {**introspect(token), "user": "Ada@company.example"})
        key = browser.cookies["__Host-opsagent_session"].value
        sign_in(hubspot, browser, index=1)
    assert browser.cookies["__Host-opsagent_session"].value != key
    page = browser.get("/settings/", secure=True).content.decode()
    assert f'<option value="{second.id}" selected>' in page
    assert f'<option value="{first.id}">' in page
    response = browser.post("/portal", {"portal": str(first.id)}, secure=True)
    assert (response.status_code, response["Location"]) == (302, "/settings/")
    assert f'<option value="{first.id}" selected>' in browser.get("/settings/", secure=True).content.decode()


def test_it_forgets_the_portals_of_another_person(hubspot: HubSpot) -> None:
    browser = Client()
    first, second = install(hubspot, browser), install(hubspot, browser, index=1)
    assert PortalMember.objects.values("email").distinct().count() == 2
    page = browser.get("/settings/", secure=True).content.decode()
    assert str(second.id) in page
    assert str(first.id) not in page
    assert browser.post("/portal", {"portal": str(first.id)}, secure=True).status_code == 404


@pytest.mark.parametrize("wanted", ["", "x", "9" * 5000, "\0", "-1"])
def test_it_opens_no_portal_that_was_not_proven(hubspot: HubSpot, wanted: str) -> None:
    browser = Client()
    mine = install(hubspot, browser)
    other = install(hubspot, Client(), index=1)
    same_person()  # the same address alone opens nothing
    for portal in (wanted, str(other.id)):
        assert browser.post("/portal", {"portal": portal}, secure=True).status_code == 404
    assert browser.session[access._SESSION_KEY] == mine.installed_by_id


def test_it_changes_portals_by_post_only(client: Client) -> None:
    assert client.get("/portal", secure=True).status_code == 405
    assert client.post("/portal", {"portal": "1"}, secure=True).status_code == 404


def test_it_signs_out(portal: Portal) -> None:
    browser = signed_in(portal)
    page = Page(browser.get("/settings/", secure=True))
    assert '<form method="post" action="/sign-out">' in page.html
    browser.post("/sign-out", secure=True)
    assert browser.get("/settings/", secure=True).status_code == 302
