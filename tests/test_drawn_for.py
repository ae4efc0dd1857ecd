"""What a page of the settings does is done for the portal that the page was drawn for, or not at all."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from hubspot_integration.models import OAuthState, Portal, PortalMember
from otp.models import OTPSettings
from tests import factories
from tests.portal_admin import prove
from tests.test_isolation import patterns

PLACEHOLDERS = {
    "<str:language>": "de",
    "<uuid:reference>": "",
    "<int:contact_id>": "501",
    "<int:member_id>": "",
}
SETTINGS = {"code_type": "numeric", "code_length": "8", "expiry_minutes": "10"}


@pytest.fixture
def two(portal: Portal) -> tuple[Client, Portal, Portal]:
    """A browser whose person has proven portals A and B, and is in B by now."""
    other = factories.OAuthGrantFactory.create().portal
    browser = Client()
    for one in (portal, other):
        OTPSettings.objects.get_or_create(portal=one)
        prove(
            browser, factories.PortalMemberFactory.create(portal=one, hubspot_user_id=77, email="ada@company.example")
        )
    return browser, portal, other


def addresses(portal: Portal) -> Iterator[str]:
    """Yield every address below /settings/, with what is the portal's where one is named."""
    code = factories.OneTimeCodeFactory.create(portal=portal)
    values = PLACEHOLDERS | {
        "<uuid:reference>": str(code.pk),
        "<int:member_id>": str(PortalMember.objects.filter(portal=portal)[0].pk),
    }
    found = ["/" + pattern for pattern in patterns() if pattern.startswith("settings/")]
    assert len(found) > 15
    for pattern in found:
        address = pattern
        for placeholder, value in values.items():
            address = address.replace(placeholder, value)
        assert "<" not in address, f"Say in PLACEHOLDERS what stands in {address}."
        yield address


def everything() -> dict[str, list[Any]]:
    """Return every row of the database, but for sessions: what happens to those is told elsewhere."""
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values_list())
        for model in apps.get_models()
        if model is not Session
    }


@pytest.mark.parametrize("named", ["nothing", "the other", "a stranger", "both", "no number", "a header"])
def test_nothing_below_settings_is_done_for_another_portal(two: tuple[Client, Portal, Portal], named: str) -> None:
    browser, a, b = two
    stranger = factories.PortalFactory.create()
    values: Any = {
        "nothing": [], "the other": [a.id], "a stranger": [stranger.id], "both": [b.id, a.id], "no number": ["x\0"],
        "a header": [b.id],
    }[named]  # fmt: skip
    headers = {"X-For-Portal": str(a.id)} if named == "a header" else {}
    checked = 0
    for address in addresses(b):
        before = everything()
        response = browser.post(address, {**SETTINGS, "for_portal": values}, headers=headers, secure=True)
        assert response.status_code in {409, 405}, address
        assert everything() == before, address
        if response.status_code == 409:
            checked += 1
            page = response.content.decode()
            assert "no-store" in response["Cache-Control"]
            assert not {str(stranger.id), stranger.hub_domain} & set(re.split(r"[\s\"()]", page))
            assert (f"This page was for {a.hub_domain} ({a.id})" in page) == (named == "the other"), address
    assert checked > 10


def test_everything_below_settings_is_done_for_the_portal_that_is_named(two: tuple[Client, Portal, Portal]) -> None:
    browser, _, b = two
    for address in addresses(b):
        prove(browser, PortalMember.objects.get_or_create(portal=b, hubspot_user_id=77)[0])
        Portal.objects.update(disconnected_at=None)
        response = browser.post(address, {"for_portal": b.id}, secure=True)
        # texts have a 409 of their own, for whoever has not seen the latest
        assert response.status_code != 409 or "drawn for" not in response.content.decode(), address


def test_whoever_is_in_another_portal_by_now_is_told_and_may_switch_back_without_losing_a_word(
    two: tuple[Client, Portal, Portal],
) -> None:
    browser, a, b = two
    data = {**SETTINGS, "greeting": 'Good "day" <b>', "for_portal": str(a.id)}
    response = browser.post("/settings/", data, secure=True)
    page = response.content.decode()
    assert response.status_code == 409
    assert f"in another tab or window you have gone on to {b.hub_domain} ({b.id}) since" in page
    assert 'name="greeting" value="Good &quot;day&quot; &lt;b&gt;"' in page
    assert "csrfmiddlewaretoken" not in re.findall(r'action="/settings/.*?</form>', page, re.DOTALL)
    (action,) = re.findall(r'action="(/portal\?resend[^"]*)"', page)
    assert f"Switch to {a.hub_domain} and send it again" in page
    response = browser.post(action.replace("&amp;", "&"), {**data, "portal": str(a.id)}, secure=True)
    assert (response.status_code, response["Location"]) == (307, "/settings/")
    assert f"{a.hub_domain}" in browser.get("/settings/", secure=True).content.decode()
    assert browser.post(response["Location"], data, secure=True).status_code != 409
    assert OTPSettings.objects.get(portal=b).code_length == 6


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example/", "https://evil.example/settings/", "/admin/", "/settings/nothing", "\\\\x", "/x\r\ny", "[", ""],
)
def test_switching_leads_nowhere_but_to_the_settings(two: tuple[Client, Portal, Portal], wanted: str) -> None:
    browser, a, _ = two
    for extra in ("", "&resend"):
        query = {"next": wanted} | ({"resend": ""} if extra else {})
        response = browser.post("/portal", {"portal": str(a.id)}, query_params=query, secure=True)
        assert response["Location"] == "/settings/"


def test_a_file_is_asked_for_again(two: tuple[Client, Portal, Portal]) -> None:
    browser, a, _ = two
    file = SimpleUploadedFile("texts.json", b"{}")
    headers = {"Referer": f"{settings.PUBLIC_BASE_URL}/settings/texts?x=1"}
    data = {"texts": file, "for_portal": a.id}
    response = browser.post("/settings/texts/import", data, headers=headers, secure=True)
    assert response.status_code == 409
    assert 'action="/portal?next=/settings/texts"' in response.content.decode()
    assert "send it again" not in response.content.decode()


def test_a_download_is_the_portals_that_its_link_was_drawn_for(two: tuple[Client, Portal, Portal]) -> None:
    browser, a, b = two
    page = browser.get("/settings/texts", secure=True).content.decode()
    assert f'href="/settings/texts/export?for_portal={b.id}"' in page
    assert browser.get("/settings/texts/export", {"for_portal": b.id}, secure=True).status_code == 200
    response = browser.get("/settings/texts/export", {"for_portal": a.id}, secure=True)
    assert response.status_code == 409
    assert "Content-Disposition" not in response
    (action,) = re.findall(r'action="(/portal\?[^"]*)"', response.content.decode())
    back = browser.post(action.replace("&amp;", "&"), {"portal": str(a.id)}, secure=True)
    assert (back.status_code, back["Location"]) == (302, f"/settings/texts/export?for_portal={a.id}")
    assert browser.get(back["Location"], secure=True).status_code == 200


def test_a_part_of_a_page_says_it_in_place(two: tuple[Client, Portal, Portal]) -> None:
    browser, a, _ = two
    assert (
        f'hx-headers=\'{{"X-For-Portal": "{two[2].id}"}}\'' in browser.get("/settings/", secure=True).content.decode()
    )
    headers = {"HX-Request": "true", "X-For-Portal": str(a.id)}
    response = browser.get("/settings/policy", {"code_length": "4"}, headers=headers, secure=True)
    assert (response.status_code, response["HX-Retarget"]) == (409, "#notice")
    assert f"This page was for {a.hub_domain}" in response.content.decode()
    assert "<html" not in response.content.decode()


def test_a_preview_says_it_in_its_frame(two: tuple[Client, Portal, Portal]) -> None:
    browser, a, _ = two
    headers = {"Sec-Fetch-Dest": "iframe"}
    data = {"for_portal": a.id, "greeting": "Hi,"}
    response = browser.post("/settings/texts/in/de/preview", data, headers=headers, secure=True)
    assert (response.status_code, response["Content-Type"]) == (409, "text/plain; charset=utf-8")
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert f"This page was for {a.hub_domain}" in response.content.decode()


def test_every_form_that_posts_to_the_settings_names_its_portal() -> None:
    forms = []
    for template in Path("templates").rglob("*.html"):
        for form in re.findall(r'<form[^>]*method="post".*?</form>', template.read_text(), re.DOTALL):
            forms.append(form)
            to_all = re.search(r"url '(choose_portal|sign_out)'|action=\"{{ address }}\"", form)
            is_staffs = template.parts[1] == "admin"
            assert ("{% for_portal %}" in form) == (not to_all and not is_staffs), (template, form[:100])
    assert len(forms) > 15


# ---------------------------------------------------------------- signed out meanwhile


def test_what_was_sent_too_late_is_kept_on_the_page(two: tuple[Client, Portal, Portal]) -> None:
    browser, _, b = two
    PortalMember.objects.update(session_epoch=1)
    response = browser.post("/settings/", {**SETTINGS, "greeting": "Long work", "for_portal": b.id}, secure=True)
    page = response.content.decode()
    assert response.status_code == 401
    assert "You are signed out" in page
    assert 'name="greeting" value="Long work"' in page
    assert 'action="/settings/"' in page
    assert OTPSettings.objects.get(portal=b).greeting == OTPSettings().greeting


def test_whoever_comes_too_late_signs_in_to_the_same_page(two: tuple[Client, Portal, Portal]) -> None:
    browser, _, _ = two
    PortalMember.objects.update(session_epoch=1)
    response = browser.get("/settings/log?contact=501", secure=True)
    assert (response.status_code, response["Location"]) == (302, "/?next=%2Fsettings%2Flog")
    page = browser.get(response["Location"], secure=True).content.decode()
    assert "You are signed out. That happens after 60 minutes" in page
    assert 'href="/sign-in?next=/settings/log"' in page
    browser.get("/sign-in?next=/settings/log", secure=True)
    assert OAuthState.objects.get().return_to == "/settings/log"


def test_a_part_of_a_page_says_that_one_is_signed_out(two: tuple[Client, Portal, Portal]) -> None:
    browser, _, _ = two
    PortalMember.objects.update(session_epoch=1)
    response = browser.get("/settings/policy", headers={"HX-Request": "true"}, secure=True)
    assert (response.status_code, response["HX-Retarget"]) == (401, "#notice")
    assert "You are signed out" in response.content.decode()
