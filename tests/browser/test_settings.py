"""The admin's pages in a browser: from the landing page to the first mail, by keyboard alone, readable for everybody."""

import re
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Dialog, FrameLocator, Locator, Page, expect

from hubspot_integration.models import Portal, PortalMember
from otp.models import EmailTexts, OneTimeCode, OTPSettings
from sandbox.local.waiting import eventually
from tests.browser.conftest import Visit, has_icon, overflow, violations
from tests.hubspot import HubSpot

pytestmark = pytest.mark.browser


def install(page: Page) -> None:
    """Install the app as the first user of the first account who may."""
    page.get_by_role("link", name="Install in HubSpot").first.click()
    page.get_by_role("button", name="Connect app").click()
    expect(page.get_by_role("heading", name="Settings", exact=True)).to_be_visible()


def preview(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[name=preview]")


def saved() -> OTPSettings:
    return OTPSettings.objects.get()


def test_from_the_landing_page_to_the_first_mail(visit: Visit, hubspot: HubSpot) -> None:
    page = visit()
    clicks = 0

    def click(target: Locator) -> None:
        nonlocal clicks
        clicks += 1
        target.click()

    click(page.get_by_role("link", name="Install in HubSpot"))
    click(page.get_by_role("button", name="Connect app"))
    click(page.get_by_label("Send OTP via Email"))
    click(page.get_by_role("button", name="Save settings"))
    expect(page.get_by_text("Your settings are saved.")).to_be_visible()
    click(page.get_by_role("link", name="Preview, test mail, other languages"))
    click(page.get_by_role("link", name="English"))
    click(page.get_by_role("button", name="Send me a test"))
    expect(page.get_by_text("A test mail is on its way to")).to_be_visible()
    (mail,) = eventually(lambda: hubspot.get("/mails")["mails"])
    assert mail["subject"] == "Your Verification Code"
    assert clicks <= 7


def test_a_page_saves_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit()
    install(page)
    keyboard = page.keyboard
    for _ in range(60):
        keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "code_length":
            break
    keyboard.press("ArrowDown")
    for _ in range(60):
        keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "send_email":
            break
    keyboard.press("Space")
    for _ in range(60):
        keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == "Save settings":
            break
    keyboard.press("Enter")
    expect(page.get_by_text("Your settings are saved.")).to_be_visible()
    assert (saved().code_length, saved().send_email) == (8, True)


def test_the_first_mistake_gets_the_cursor(visit: Visit) -> None:
    page = visit()
    install(page)
    page.get_by_label("Greeting").fill("Hello {nme},")
    page.get_by_label("Minutes of the first lock").fill("0")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Nothing was saved yet.")).to_be_visible()
    expect(page.get_by_label("Greeting")).to_be_focused()
    expect(page.get_by_label("Greeting")).to_have_accessible_description(re.compile(r"\{nme\} is not a placeholder"))


def test_the_policy_follows_the_choice_before_it_is_saved(visit: Visit) -> None:
    page = visit()
    install(page)
    policy = page.locator("#policy")
    expect(policy).to_contain_text("1 of 14,285")
    page.get_by_label("Code Length").select_option("4")
    expect(policy).to_contain_text("1 of 142 ")
    expect(policy).to_contain_text("There are only 10,000 different codes")
    assert saved().code_length == 6


def test_unsaved_changes_are_not_left_by_accident(visit: Visit) -> None:
    page = visit()
    install(page)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_label("Greeting").fill("Good day,")
    expect(page.get_by_text("You have unsaved changes.")).to_be_visible()
    page.get_by_role("link", name="Help").click()
    expect(page).to_have_url(re.compile("/settings/"))
    assert asked == ["beforeunload"]
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Your settings are saved.")).to_be_visible()
    page.get_by_role("link", name="Help").click()
    expect(page).to_have_url(re.compile("/help"))
    assert asked == ["beforeunload"]


@pytest.mark.parametrize("javascript", [True, False])
def test_texts_are_previewed_while_they_are_written(visit: Visit, javascript: bool) -> None:
    page = visit(javascript=javascript)
    install(page)
    page.goto("/settings/texts/in/de")
    expect(preview(page).get_by_text("Guten Tag,")).to_be_visible()
    page.get_by_label("Greeting").fill("Moin {first_name},")
    if not javascript:
        page.get_by_role("button", name="Update the preview").click()
    expect(preview(page).get_by_text("Moin Ada,")).to_be_visible()
    if javascript:
        page.get_by_label("Body Text").focus()
        page.get_by_role("button", name="{company}").click()
        expect(page.get_by_label("Body Text")).to_have_value("{company}")
    page.get_by_role("button", name="Save texts").click()
    expect(page.get_by_text("Your texts are saved.")).to_be_visible()
    assert EmailTexts.objects.get().greeting == "Moin {first_name},"


def test_enter_saves_the_texts_and_resets_nothing(visit: Visit) -> None:
    page = visit()
    install(page)
    EmailTexts.objects.create(portal=Portal.objects.get(), language="de", subject="Ihr Code", greeting="Moin,")
    page.goto("/settings/texts/in/de")
    page.get_by_label("Greeting").fill("Servus,")
    page.get_by_label("Greeting").press("Enter")
    expect(page.get_by_text("Your texts are saved.")).to_be_visible()
    texts = EmailTexts.objects.get()
    assert (texts.subject, texts.greeting) == ("Ihr Code", "Servus,")


def test_pictures_of_the_pages(visit: Visit, screenshots: Path) -> None:
    for name, dark, width in (("light", False, 1280), ("dark", True, 1280), ("phone", False, 360)):
        page = visit(dark=dark, width=width)
        page.screenshot(path=screenshots / f"landing-{name}.png", animations="disabled")
        install(page)
        page.get_by_label("Send OTP via Email").check()
        if name == "light":
            page.set_viewport_size({"width": width, "height": 1500})
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=screenshots / f"settings-{name}.png", animations="disabled")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("/settings/texts/in/de")
        expect(preview(page).get_by_text("Guten Tag,")).to_be_visible()
        page.screenshot(path=screenshots / f"texts-{name}.png", animations="disabled")


# ---------------------------------------------------------------- for everybody


def addresses(code: OneTimeCode) -> list[str]:
    """Return every page that an admin can open."""
    plain = (
        "landing", "help", "privacy", "terms", "settings", "disconnect", "email_texts", "activity_log", "members",
    )  # fmt: skip
    found = [reverse(name) for name in plain]
    found += [reverse("email_texts_of", args=[language]) for language in ("de", "ar")]
    found += [reverse(name, args=[code.pk]) for name in ("activity_detail", "activity_send_again")]
    found.append(reverse("activity_contact", args=[code.contact_id]))
    found += [reverse("remove_member", args=[member.pk]) for member in PortalMember.objects.all()]
    return [*found, "/nothing-here", "/hubspot/oauth/callback?error=access_denied"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_readable_for_everybody(visit: Visit, hubspot: HubSpot, width: int, dark: bool) -> None:
    page = visit(width=width, dark=dark)
    assert violations(page) == []
    install(page)
    portal = Portal.objects.get()
    OTPSettings.objects.update(send_email=True)
    contact = hubspot.contacts(portal.id)[0]["contactId"]
    workflow = next(
        one for one in hubspot.get("/workflows", portalId=portal.id)["workflows"]
        if one["steps"][0]["actionUid"] == "opsagent_generate_otp"
    )  # fmt: skip
    hubspot.post("/enrolments", workflowId=workflow["workflowId"], contactIds=[contact])
    eventually(OneTimeCode.objects.exists)
    code = OneTimeCode.objects.get()
    found = {}
    for address in addresses(code):
        page.goto(address)
        found[address] = violations(page)
        assert has_icon(page)
        assert overflow(page) <= 0, f"{address} is {overflow(page)} pixels wider than the screen"
    page.goto("/settings/")
    page.get_by_label("Greeting").fill("{nme}")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_text("Nothing was saved yet.")).to_be_visible()
    found["with a mistake"] = violations(page)
    assert {address: list_ for address, list_ in found.items() if list_} == {}
