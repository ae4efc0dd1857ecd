"""Support staff in a browser: they find, retry and protect their account, on pages that everybody can read."""

import datetime as dt
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import Locator, Page, expect

from hubspot_integration.models import Portal
from otp.audit import Action
from otp.models import AuditEvent, ContactGuard, Delivery, DeliveryStatus
from sandbox.local.system import System
from sandbox.local.waiting import eventually
from tests import factories
from tests.browser.conftest import Visit, has_icon, overflow, violations
from tests.hubspot import HubSpot
from tests.staff import PASSWORD, forget_used_tokens, token_of, with_app

pytestmark = pytest.mark.browser


@pytest.fixture
def staff(system: System) -> User:
    """A member of the group Support, which went with all other rows when the database was emptied."""
    rights = import_module("otp.migrations.0003_support_group").RIGHTS
    group, _ = Group.objects.get_or_create(name="Support")
    group.permissions.set(
        Permission.objects.get(content_type__app_label=label, codename=codename)
        for label, codenames in rights.items()
        for codename in codenames
    )
    user = User.objects.create_user("sam", "sam@opsagent.example", PASSWORD, is_staff=True)
    user.groups.add(group)
    return user


@pytest.fixture
def portal(hubspot: HubSpot) -> Portal:
    return hubspot.connect()


@pytest.fixture
def failed(portal: Portal) -> Delivery:
    """A mail that failed, of a code that is still live, to a contact that is locked."""
    factories.ContactGuardFactory.create(
        portal=portal, locked_until=timezone.now() + dt.timedelta(minutes=5), lock_count=1
    )
    code = factories.OneTimeCodeFactory.create(portal=portal)
    return factories.DeliveryFactory.create(
        code=code, status=DeliveryStatus.FAILED, attempts=4, error="recipient_refused_550"
    )


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Username").fill("sam")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Authentication code").fill(token)
    page.get_by_role("button", name="Log in").click()


def enter(page: Page) -> None:
    """Log in with an app that is set up, and has not been used."""
    forget_used_tokens()
    log_in(page, token_of(TOTPDevice.objects.get(confirmed=True)))


def look_up(page: Page, list_of: str, term: str) -> Locator:
    """Search one of the lists; return the one line that is found."""
    page.goto("/admin/")
    page.get_by_role("main").get_by_role("link", name=list_of, exact=True).click()
    page.get_by_label("Search", exact=True).fill(term)
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("Show everything").or_(page.get_by_text("Show all"))).to_be_visible()
    line = page.locator("#result_list tbody tr")
    expect(line).to_have_count(1)
    return line


def test_from_the_login_to_the_mail_that_was_retried(
    visit: Visit, staff: User, failed: Delivery, hubspot: HubSpot
) -> None:
    with_app(staff)
    page = visit("/admin/")
    enter(page)
    expect(page.get_by_role("heading", name="Support")).to_be_visible()

    line = look_up(page, "Portals", str(failed.portal_id))
    line.get_by_role("link").click()
    expect(page.get_by_text("acme.example").first).to_be_visible()

    line = look_up(page, "One time codes", "ann@example.com")
    assert "example.com" not in page.url
    line.get_by_role("link").first.click()
    expect(page.get_by_text("ann@example.com")).to_be_visible()

    line = look_up(page, "Deliveries", str(failed.code_id))
    expect(line).to_contain_text("recipient_refused_550")
    line.get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option("Retry …")
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("heading", name="Retry?")).to_be_visible()
    assert Delivery.objects.get().status == DeliveryStatus.FAILED
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.get_by_text("Retried: 1.")).to_be_visible()

    (mail,) = eventually(lambda: hubspot.get("/mails")["mails"])
    assert "ann@example.com" in str(mail)
    eventually(Delivery.objects.filter(status=DeliveryStatus.SENT).exists)
    assert AuditEvent.objects.filter(action=Action.DELIVERY_RETRIED, actor="sam").exists()


def test_an_app_is_set_up_with_a_link_and_asked_for(visit: Visit, staff: User, system: System) -> None:
    page = visit(system.manage("staff_enrol", "sam").strip())
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    page.get_by_label("Code that the app shows now").fill(token_of(TOTPDevice.objects.get()))
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Your authenticator app is set up.")).to_be_visible()
    page.get_by_role("button", name="Log out").click()

    page.goto("/admin/")
    log_in(page, "000000")
    expect(page.get_by_text("do not fit together")).to_be_visible()
    enter(page)
    expect(page.get_by_role("heading", name="Support")).to_be_visible()


# ---------------------------------------------------------------- for everybody


class Reader:
    """Looks at page after page with a person's eyes."""

    def __init__(self, page: Page, screenshots: Path, name: str) -> None:
        self.page, self.screenshots, self.name = page, screenshots, name
        self.found: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, name: str, heading: str) -> None:
        expect(self.page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        self.found[name] = violations(self.page)
        if os.environ.get("SCREENSHOTS"):
            file = f"admin-{self.name}-{name.replace('/', '-').replace(' ', '-')}.png"
            self.page.screenshot(path=self.screenshots / file, full_page=True)
        assert has_icon(self.page)
        assert overflow(self.page) <= 0, f"{name} is {overflow(self.page)} pixels wider than the screen"


EYES = pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1440, False), (1440, True)], ids=str)


@EYES
def test_every_page_is_readable_for_everybody(
    visit: Visit, staff: User, failed: Delivery, screenshots: Path, *, width: int, dark: bool
) -> None:
    with_app(staff)
    page = visit("/admin/", width=width, dark=dark)
    read = Reader(page, screenshots, f"{width}-{'dark' if dark else 'light'}")
    enter(page)
    read("index", "Support")
    rows = {  # the code comes before the audit log, which its page adds a line to
        "hubspot_integration/portal": failed.portal_id,
        "otp/otpsettings": failed.portal_id,
        "otp/onetimecode": failed.code_id,
        "otp/delivery": failed.pk,
        "otp/contactguard": ContactGuard.objects.get().pk,
        "otp/auditevent": "latest",
    }
    for name, pk in rows.items():
        page.goto(f"/admin/{name}/")
        read(f"list of {name}", "Select ")
        page.goto(f"/admin/{name}/{AuditEvent.objects.latest('at').pk if pk == 'latest' else pk}/change/")
        read(f"page of {name}", "View ")
    look_up(page, "Deliveries", str(failed.code_id))
    read("search", "Select delivery to view")
    page.get_by_role("checkbox").last.check()
    page.get_by_label("Action:").select_option("Retry …")
    page.get_by_role("button", name="Go").click()
    read("confirmation", "Retry?")
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.get_by_text("Retried: 1.")).to_be_visible()
    read("message", "Select delivery to view")
    page.get_by_role("button", name="Log out").click()
    read("logged out", "Logged out")
    assert {name: list_ for name, list_ in read.found.items() if list_} == {}


@EYES
def test_every_page_about_an_account_is_readable_for_everybody(
    visit: Visit, system: System, staff: User, screenshots: Path, *, width: int, dark: bool
) -> None:
    page = visit("/admin/", width=width, dark=dark)
    read = Reader(page, screenshots, f"{width}-{'dark' if dark else 'light'}")
    read("login", "Log in")
    log_in(page, "000000")
    expect(page.get_by_role("alert")).to_be_visible()
    read("login that failed", "Log in")
    page.goto(system.manage("staff_enrol", "sam").strip())
    read("link", "Set up your authenticator app")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    read("key of the app", "Set up your authenticator app")
    page.get_by_label("Code that the app shows now").fill(token_of(TOTPDevice.objects.get()))
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Your authenticator app is set up.")).to_be_visible()
    page.goto("/admin/enrol/?key=used")
    read("link that cannot be used", "Set up your authenticator app")
    page.goto("/admin/second-factor/")
    read("second factor", "Second factor")
    page.goto("/admin/prove/")
    read("both factors once more", "Is it still you?")
    page.goto("/admin/password_change/")
    read("change of the password", "Password change")
    page.get_by_role("button", name="Log out").click()
    page.goto("/admin/login/")
    for _ in range(6):
        log_in(page, "000000")
        if page.get_by_role("heading", name="Too many failed logins").is_visible():
            break
    read("locked out", "Too many failed logins")
    assert {name: list_ for name, list_ in read.found.items() if list_} == {}
