"""The real, bundled card in a browser, on the sandbox's contact record, with every process running."""

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from hubspot_integration.models import Portal
from otp.models import AuditEvent, OneTimeCode, OTPSettings
from otp.pages import activity
from sandbox.local.system import System
from sandbox.local.waiting import PATIENCE, eventually
from tests.hubspot import HubSpot

pytestmark = pytest.mark.browser

STORED_AND_MAILED: dict[str, Any] = {"store_in_property": True, "property_name": "otp_code", "send_email": True}
CODE = re.compile(r"^\d{3} \d{3}$")


class Record:
    """A contact's record as one of the portal's users sees it."""

    def __init__(self, page: Page, url: str, portal: Portal, contact: int, screenshots: Path) -> None:
        self.page, self.portal, self.contact = page, portal, contact
        self._url, self._screenshots = f"{url}/contacts/{portal.id}/record/0-1/{contact}", screenshots
        self.card = page.locator(".app-card")

    def open(self, *, agent: int | None = None, language: str = "en") -> "Record":
        self.page.goto(f"{self._url}?language={language}" + (f"&agent={agent}" if agent else ""))
        return self

    def button(self, name: str) -> Locator:
        return self.card.get_by_role("button", name=name)

    def generate(self) -> str:
        self.button("Generate OTP").click()
        return self.code()

    def code(self) -> str:
        heading = self.card.locator(".ui-heading")
        expect(heading).to_have_text(CODE)
        return (heading.text_content() or "").replace(" ", "")

    def notice(self, title: str) -> None:
        expect(self.card.locator(".ui-alert-title", has_text=title)).to_be_visible()

    def fact(self, label: str) -> Locator:
        return self.card.locator(".ui-fact", has=self.page.locator("dt", has_text=label)).locator("dd")

    def verify(self, code: str) -> None:
        field = self.card.get_by_label("Code from the customer")
        field.fill(code)
        self.button("Verify").click()

    def picture(self, name: str) -> None:
        """Take a picture of the card at rest: one state, at most one primary button."""
        assert self.card.locator(".ui-button.primary").count() <= 1, name
        self.card.screenshot(path=self._screenshots / f"{name}.png", animations="disabled")


Open = Callable[..., Record]


@pytest.fixture
def portal(hubspot: HubSpot) -> Portal:
    """A portal that stores and mails its codes."""
    return hubspot.connect(0, **STORED_AND_MAILED)


@pytest.fixture
def contact(hubspot: HubSpot, portal: Portal) -> int:
    """A contact that no other portal has."""
    values = {"email": "ada.lovelace@example.com", "firstname": "Ada", "lastname": "Lovelace", "hs_language": "en"}
    found: int = hubspot.post(f"/portals/{portal.id}/contacts", properties=values)["contactId"]
    return found


@pytest.fixture
def visit(browser: Browser, system: System, portal: Portal, contact: int, screenshots: Path) -> Iterator[Open]:
    """Open the record in a browser of its own; a mistake in the page fails the test."""
    contexts: list[BrowserContext] = []
    mistakes: list[str] = []

    def open_record(
        *, on: Portal = portal, contact_id: int = contact, dark: bool = False, width: int = 1180, **seat: Any
    ) -> Record:
        scheme: Any = "dark" if dark else "light"
        context = browser.new_context(
            viewport={"width": width, "height": 1000}, color_scheme=scheme, locale="en-GB", timezone_id="UTC"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        return Record(page, system.sandbox_url, on, contact_id, screenshots).open(**seat)

    yield open_record
    for context in contexts:
        context.close()
    assert mistakes == []


def wrong(code: str) -> str:
    return "".join(str((int(digit) + 1) % 10) for digit in code)


def change(portal: Portal, **values: Any) -> None:
    OTPSettings.objects.filter(portal=portal).update(**values)


def test_generate_watch_copy_verify_and_see_the_badge(hubspot: HubSpot, visit: Open) -> None:
    record = visit()
    expect(record.card.get_by_text("This contact has no active code.")).to_be_visible()
    record.picture("none")
    code = record.generate()
    record.notice("Code generated")
    expect(record.fact("Email")).to_have_text("Sent")
    expect(record.fact("Stored in")).to_contain_text("Stored")
    expect(record.fact("Recipient")).to_have_text("ada.lovelace@example.com")
    record.picture("issued")
    assert code in hubspot.mails("ada.lovelace@example.com")[0]["text"]
    assert hubspot.writes(record.portal.id, record.contact) == [code]

    record.button("Copy code").click()
    expect(record.page.get_by_text("The code is copied.")).to_be_visible()
    assert record.page.evaluate("navigator.clipboard.readText()") == code

    expect(record.fact("Valid for")).not_to_have_text(record.fact("Valid for").text_content() or "")
    record.open()
    record.notice("Active OTP")
    assert record.code() == code
    record.picture("active")

    record.card.get_by_label("Code from the customer").fill(f"{code[:3]} {code[3:]}")
    expect(record.card.locator(".ui-button.primary")).to_have_text("Verify")
    record.picture("verify")
    record.button("Verify").click()
    record.notice("Verified")
    record.picture("verified")
    record.open()
    expect(record.card.locator(".ui-status.success")).to_contain_text("Verified")
    record.picture("badge")
    change(record.portal, resend_cooldown_seconds=0)
    record.generate()
    record.notice("Code generated")
    expect(record.card.locator(".ui-status.success", has_text="Verified")).to_have_count(0)


def test_wrong_codes_use_up_the_attempts_and_lock(visit: Open) -> None:
    record = visit()
    code = record.generate()
    for left in ("4 attempts left", "3 attempts left", "2 attempts left", "1 attempt left"):
        record.verify(wrong(code))
        record.notice("Wrong code")
        expect(record.card.locator("form .microcopy")).to_have_text(left)
    record.picture("wrong")
    record.verify("hello")
    record.notice("This cannot be a code")
    expect(record.card.locator("form .microcopy")).to_have_text("1 attempt left")
    record.picture("malformed")
    record.verify(wrong(code))
    record.notice("The code is locked")
    record.picture("locked")
    assert OneTimeCode.objects.get().end_reason == "locked"
    record.open()
    record.notice("The code is locked")


def test_a_code_is_resent_after_a_question(hubspot: HubSpot, visit: Open, portal: Portal) -> None:
    change(portal, resend_cooldown_seconds=3600)
    record = visit()
    first = record.generate()
    expect(record.button("Resend Code")).to_be_disabled()
    expect(record.button("Resend Code")).to_have_text(re.compile(r"^Resend Code \((1:00:00|59:\d\d)\)$"))
    record.picture("limited")

    change(portal, resend_cooldown_seconds=0)
    record.open()
    record.button("Resend Code").click()
    expect(
        record.card.get_by_text("emailed to ada.lovelace@example.com. The current code stops working.")
    ).to_be_visible()
    expect(record.card.locator(".ui-button.primary")).to_have_text("Confirm & Resend")
    record.picture("resend")
    record.button("Cancel").click()
    expect(record.button("Copy code")).to_be_visible()
    assert OneTimeCode.objects.count() == 1

    record.button("Resend Code").click()
    record.button("Confirm & Resend").click()
    record.notice("New code generated")
    second = record.code()
    mails = eventually(lambda: hubspot.mails("ada.lovelace@example.com"), lambda found: len(found) == 2)
    assert second in mails[-1]["text"]
    record.verify(first)
    record.notice("This is an older code")
    record.verify(second)
    record.notice("Verified")


def test_a_locked_contact_waits_and_nothing_is_advised_that_cannot_work(visit: Open, portal: Portal) -> None:
    change(portal, wrong_attempts_limit=3)
    record = visit()
    code = record.generate()
    for left in ("2 attempts left", "1 attempt left"):
        record.verify(wrong(code))
        record.notice("Wrong code")
        expect(record.card.locator("form .microcopy")).to_have_text(left)
    record.verify(wrong(code))
    record.notice("Locked until")
    expect(record.card.get_by_text("After 3 wrong codes")).to_be_visible()
    expect(record.card.locator(".ui-alert")).to_have_count(1)
    expect(record.button("Verify")).to_be_disabled()
    expect(record.button("Verify")).to_have_text(re.compile(r"^Verify \(1[45]:\d\d\)$"))
    expect(record.button("Resend Code")).to_be_disabled()
    record.picture("contact-locked")
    OneTimeCode.objects.update(expires_at=timezone.now())
    record.open()
    record.notice("Locked until")
    expect(record.button("Generate OTP")).to_be_disabled()
    assert OneTimeCode.objects.count() == 1


def test_a_missing_address_is_known_before_a_code_is_asked_for(hubspot: HubSpot, visit: Open, portal: Portal) -> None:
    nobody = hubspot.post(f"/portals/{portal.id}/contacts", properties={"firstname": "Nobody"})["contactId"]
    record = visit(contact_id=nobody)
    record.notice("No email address")
    expect(record.button("Generate OTP")).to_be_disabled()
    record.picture("no-address")


def test_a_portal_without_deliveries_is_told_so(visit: Open, portal: Portal) -> None:
    change(portal, store_in_property=False, send_email=False)
    record = visit()
    record.generate()
    record.notice("Code generated: no delivery is on")
    record.picture("no-delivery")


def test_two_agents_at_once_share_one_code(hubspot: HubSpot, visit: Open, portal: Portal) -> None:
    change(portal, resend_cooldown_seconds=3600)
    users = next(one for one in hubspot.get("/portals")["portals"] if one["portalId"] == portal.id)["users"]
    first, second = visit(agent=users[0]["userId"]), visit(agent=users[1]["userId"])
    for record in (first, second):
        expect(record.button("Generate OTP")).to_be_visible()
    first.button("Generate OTP").click(no_wait_after=True)
    second.button("Generate OTP").click(no_wait_after=True)
    assert first.code() == second.code()
    assert OneTimeCode.objects.count() == 1
    seen = set(AuditEvent.objects.filter(actor_kind="agent").values_list("actor", flat=True))
    assert seen == {users[0]["email"], users[1]["email"]}


def test_another_portals_agent_gets_nothing(
    hubspot: HubSpot, visit: Open, portal: Portal, contact: int, system: System
) -> None:
    code = visit().generate()
    other = hubspot.connect(1, **STORED_AND_MAILED)
    stranger = visit(on=other, contact_id=hubspot.contacts(other.id)[0]["contactId"])
    expect(stranger.button("Generate OTP")).to_be_visible()
    # What a card that was tampered with could send: the other contact's id, the other portal's in the address.
    calls = [
        ("GET", f"?contactId={contact}", None),
        ("POST", "/generate", {"contactId": contact, "idempotencyKey": "a-strangers-key"}),
        ("POST", "/verify", {"contactId": contact, "idempotencyKey": "a-strangers-check", "code": code}),
        ("GET", f"?contactId={contact}&portalId={portal.id}", None),
    ]
    answers = [
        stranger.page.evaluate(
            """async ([portalId, method, url, body]) => (await (await fetch('/sandbox/api/card-fetch', {
                method: 'POST', headers: {'content-type': 'application/json'},
                body: JSON.stringify({portalId, method, url, ...(body && {body})}),
            })).json()).body""",
            [other.id, method, f"{system.app_url}/hubspot/cards/otp{rest}", body],
        )
        for method, rest, body in calls
    ]
    assert answers[0]["active"] is None
    assert [one["error"]["code"] for one in answers[1:]] == ["not_found", "not_found", "invalid_input"]
    assert code not in str(answers)
    assert OneTimeCode.objects.get().is_live(timezone.now())


def test_a_hidden_code_is_revealed_for_a_reason(visit: Open, portal: Portal) -> None:
    change(portal, code_visibility="reveal")
    record = visit()
    record.button("Generate OTP").click()
    expect(record.card.get_by_text("Hidden by your account")).to_be_visible()
    expect(record.fact("Email")).to_have_text("Sent")
    expect(record.fact("Stored in")).to_contain_text("Stored")
    record.picture("masked")
    record.button("Reveal code").click()
    record.button("Reveal code").click()
    expect(record.card.get_by_text("Say why you need to see the code.")).to_be_visible()
    record.card.get_by_label("Reason").fill("The mail has not come, identity checked by phone")
    record.picture("reveal")
    record.button("Reveal code").click()
    code = record.code()
    assert OneTimeCode.objects.get().code == code
    (reason,) = activity.reasons(AuditEvent.objects.filter(action="code_revealed")).values()
    assert reason.startswith("The mail has not come")


def test_a_code_that_is_never_shown_can_be_verified(visit: Open, portal: Portal) -> None:
    change(portal, code_visibility="never")
    record = visit()
    record.button("Generate OTP").click()
    expect(record.card.get_by_text("does not show codes to agents")).to_be_visible()
    expect(record.fact("Email")).to_have_text("Sent")
    expect(record.fact("Stored in")).to_contain_text("Stored")
    record.picture("never")
    code = OneTimeCode.objects.get().code
    assert code is not None
    assert code not in record.card.inner_html()
    record.verify(code)
    record.notice("Verified")


def test_a_mail_that_is_refused_shows(hubspot: HubSpot, visit: Open) -> None:
    hubspot.fault("smtp.rcpt", "refuse", code=550, text="No such user")
    record = visit()
    record.generate()
    expect(record.fact("Email")).to_have_text(re.compile("Not sent|Bounced"))
    record.notice("only partly delivered")
    expect(record.card.locator(".ui-alert.success")).to_have_count(0)
    record.picture("mail-failed")
    record.open()
    record.notice("Active OTP: only partly delivered")


def test_a_code_expires_before_your_eyes(visit: Open) -> None:
    record = visit()
    record.generate()
    OneTimeCode.objects.update(expires_at=timezone.now() + dt.timedelta(seconds=15))  # enough to load the page
    record.open()
    record.notice("Active OTP")
    record.notice("The code has expired")
    expect(record.button("Generate OTP")).to_be_visible()
    record.picture("expired")


def test_a_portal_that_is_not_connected_says_so(visit: Open, portal: Portal) -> None:
    Portal.objects.update(disconnected_at=timezone.now())
    record = visit()
    record.notice("OpsAgent is not connected")
    expect(record.card.get_by_role("link", name="Open the OpsAgent settings")).to_have_attribute(
        "href", re.compile("/settings/$")
    )
    record.picture("not-connected")


def test_it_survives_a_server_that_is_away(visit: Open, system: System) -> None:
    record = visit()
    expect(record.button("Generate OTP")).to_be_visible()
    system.kill("web")
    record.button("Generate OTP").click()
    record.notice("OpsAgent did not answer")
    record.picture("failed")
    system.start("web")
    system.wait_until_ready()
    record.generate()
    assert OneTimeCode.objects.count() == 1


def test_it_says_that_it_is_looking(visit: Open) -> None:
    record = visit()
    held: list[Route] = []
    record.page.route("**/sandbox/api/card-fetch", lambda route: held.append(route))  # noqa: PLW0108 (it marks its handlers)
    record.open()
    expect(record.card.get_by_role("status").filter(has_text="Looking for an active code")).to_be_visible()
    record.picture("loading")
    held[0].continue_()
    expect(record.button("Generate OTP")).to_be_visible()


def test_it_speaks_the_agents_language_in_the_dark_and_in_a_narrow_sidebar(visit: Open) -> None:
    record = visit()
    record.generate()
    expect(record.fact("Email")).to_have_text("Sent")
    expect(record.fact("Stored in")).to_contain_text("Stored")
    dark = visit(dark=True)
    dark.notice("Active OTP")
    dark.picture("active-dark")
    german = visit(language="de", width=340)
    german.notice("Aktives OTP")
    german.picture("active-german-narrow")
    assert german.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
