"""One browser, several tabs and accounts; being signed out, or asked who one is, in the middle of something."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from hubspot_integration import access
from hubspot_integration.models import OAuthState, Portal, PortalMember
from opsagent.sessions import SessionStore
from otp.models import OTPSettings
from sandbox.local.system import System
from tests import factories
from tests.browser.conftest import overflow, violations
from tests.hubspot import HubSpot

pytestmark = pytest.mark.browser

Picture = Callable[..., None]


@pytest.fixture(
    params=[(390, False), (390, True), (1440, False), (1440, True)],
    ids=lambda one: f"{one[0]}-{'dark' if one[1] else 'light'}",
)
def context(request: pytest.FixtureRequest, browser: Browser, system: System) -> Iterator[BrowserContext]:
    """A browser of its own, narrow and wide, light and dark. These tests are about refusals: nothing listens for errors."""
    width, dark = request.param
    found = browser.new_context(
        base_url=system.app_url,
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
        timezone_id="UTC",
    )
    yield found
    found.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest, screenshots: Path) -> Picture:
    """Take a picture of a page or a part of it; see that everybody can read it, and that it is not wider than the screen."""

    def take(page: Page, name: str, part: Locator | None = None) -> None:
        path = screenshots / f"{name}-{request.node.callspec.id}.png"
        if part is None:
            page.screenshot(path=path, full_page=True, animations="disabled")
        else:
            part.screenshot(path=path, animations="disabled")
        assert violations(page) == []
        assert overflow(page) <= 0

    return take


def connect(page: Page, hubspot: HubSpot, index: int) -> None:
    """Install the app in an account, as its first user who may, as one person of that address everywhere."""
    page.goto("/hubspot/install")
    user = next(user for user in hubspot.get("/portals")["portals"][index]["users"] if user["mayInstall"])
    page.locator(f"input[value='{user['userId']}']").check(force=True)
    page.get_by_role("button", name="Connect app").click()
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()


def two_accounts(context: BrowserContext, hubspot: HubSpot) -> tuple[Page, Portal, Portal]:
    """Be in account B, having proven A and B, with a tab that shows A."""
    first = context.new_page()
    connect(first, hubspot, 0)
    a = Portal.objects.get()
    # HubSpot knows one person by one address; the sandbox's users have one each.
    users = hubspot.get("/portals")["portals"][1]["users"]
    address = next(user["email"] for user in users if user["mayInstall"])
    PortalMember.objects.filter(portal=a).update(email=address)
    second = context.new_page()
    connect(second, hubspot, 1)
    return first, a, Portal.objects.exclude(id=a.id).get()


def test_a_tab_of_another_account_is_told_and_goes_on(
    context: BrowserContext, hubspot: HubSpot, picture: Picture
) -> None:
    tab, a, b = two_accounts(context, hubspot)
    tab.get_by_label("Greeting").fill("Good day,")
    tab.get_by_role("button", name="Save settings").click()
    expect(tab.get_by_role("heading", name="This page was for another account")).to_be_visible()
    expect(
        tab.get_by_text(f"in another tab or window you have gone on to {b.hub_domain} ({b.id}) since")
    ).to_be_visible()
    picture(tab, "another-account")
    assert set(OTPSettings.objects.values_list("greeting", flat=True)) == {"Hello,"}
    tab.get_by_role("button", name=re.compile("and send it again")).click()
    expect(tab.get_by_text("Your settings are saved.")).to_be_visible()
    assert OTPSettings.objects.get(portal=a).greeting == "Good day,"
    assert OTPSettings.objects.get(portal=b).greeting == "Hello,"


def test_a_part_of_a_page_of_another_account_says_so(
    context: BrowserContext, hubspot: HubSpot, picture: Picture
) -> None:
    tab, a, _ = two_accounts(context, hubspot)
    policy = tab.locator("#policy").inner_text()
    tab.get_by_label("Code Length").select_option("4")
    notice = tab.locator("#notice")
    expect(notice).to_contain_text(f"This page was for {a.hub_domain}")
    expect(notice).to_be_in_viewport()
    assert tab.locator("#policy").inner_text() == policy
    picture(tab, "another-account-in-place")


def test_a_preview_of_another_account_says_so(context: BrowserContext, hubspot: HubSpot) -> None:
    tab, a, b = two_accounts(context, hubspot)
    Portal.objects.filter(id=b.id).update(hub_domain="b.example")
    choose = context.new_page()
    choose.goto("/settings/")
    choose.get_by_label("HubSpot account").select_option(str(a.id))
    choose.get_by_role("button", name="Switch").click()
    tab.goto("/settings/texts/in/de")
    choose.get_by_label("HubSpot account").select_option(str(b.id))
    choose.get_by_role("button", name="Switch").click()
    expect(choose.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    tab.get_by_label("Greeting").fill("Moin,")
    expect(tab.frame_locator("iframe[name=preview]").get_by_text(f"This page was for {a.hub_domain}")).to_be_visible()


def test_what_is_sent_after_being_signed_out_is_not_lost(
    context: BrowserContext, hubspot: HubSpot, picture: Picture
) -> None:
    page = context.new_page()
    connect(page, hubspot, 0)
    page.get_by_label("Greeting").fill("After lunch,")
    PortalMember.objects.update(session_epoch=1)
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("heading", name="Nothing was changed")).to_be_visible()
    picture(page, "signed-out")
    with context.expect_page() as opened:
        page.get_by_role("link", name="Sign in in a new tab").click()
    opened.value.get_by_role("button", name="Connect app").click()
    expect(opened.value.get_by_role("heading", name="Settings", exact=True)).to_be_visible()
    page.get_by_role("button", name="Send it again").click()
    expect(page.get_by_text("Your settings are saved.")).to_be_visible()
    assert OTPSettings.objects.get().greeting == "After lunch,"


def test_people_with_access_and_what_cannot_be_undone(
    context: BrowserContext, hubspot: HubSpot, picture: Picture
) -> None:
    page = context.new_page()
    connect(page, hubspot, 0)
    portal = Portal.objects.get()
    for name in ("bea.with-a-long-name-of-her-own", "cyd"):
        factories.PortalMemberFactory.create(portal=portal, email=f"{name}@company.example", last_seen_at=None)
    page.reload()
    picture(page, "settings-people", page.locator("section[aria-labelledby=connection]"))
    page.get_by_role("link", name="See or end their access").click()
    expect(page.get_by_role("heading", name="3 people")).to_be_visible()
    picture(page, "people")
    page.get_by_role("button", name="End sessions of cyd@company.example").click()
    expect(page.get_by_text("cyd@company.example is signed out in every browser")).to_be_visible()
    page.get_by_role("link", name="Remove cyd@company.example").click()
    expect(page.get_by_role("heading", name="Remove cyd@company.example?")).to_be_visible()
    picture(page, "remove-member")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("cyd@company.example has no access any more.")).to_be_visible()


def test_confirming_who_one_is(context: BrowserContext, hubspot: HubSpot, picture: Picture) -> None:
    page = context.new_page()
    connect(page, hubspot, 0)
    for row in Session.objects.all():
        store = SessionStore(row.session_key)
        store[access._PROVEN_KEY] = {key: [epoch, at - 3600] for key, (epoch, at) in store[access._PROVEN_KEY].items()}
        store.save()
    page.goto("/settings/disconnect")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    picture(page, "confirm")
    page.get_by_role("button", name="Go to HubSpot").click()
    page.get_by_role("button", name="Connect app").click()
    expect(page.get_by_role("heading", name="Disconnect OpsAgent OTP?")).to_be_visible()
    assert Portal.objects.get().is_connected
    page.goto("/hubspot/oauth/callback?error=access_denied")
    picture(page, "declined")


def test_too_many_attempts(context: BrowserContext, hubspot: HubSpot, picture: Picture) -> None:
    page = context.new_page()
    before = OAuthState.objects.count()
    for _ in range(70):
        response = context.request.get("/sign-in", max_redirects=0)
    assert response.status == 429
    assert OAuthState.objects.count() - before < 70
    page.goto("/sign-in")
    expect(page.get_by_role("heading", name="Too many attempts from your network")).to_be_visible()
    picture(page, "too-many")
