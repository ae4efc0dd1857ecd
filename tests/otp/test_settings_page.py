"""The portal admin's settings page, used as a browser uses it: what it shows is parsed, what is posted is its form."""

import datetime as dt
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
import time_machine
from django.db.models import CharField, TextField
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from hubspot_integration.installing import REQUIRED_SCOPES
from hubspot_integration.models import ContactPropertyList, OAuthGrant, Portal, RefusedFeature
from otp.models import AuditEvent, AuditNote, OTPSettings
from otp.pages import forms, portal_settings, settings_pages
from sandbox.local.waiting import PATIENCE
from tests import factories, portal_admin
from tests.page import Page

PATH = "/settings/"
SYNC = "/settings/properties/sync"
CREATE = "/settings/properties/create"
DISCONNECT = "/settings/disconnect"
POLICY = "/settings/policy"
DEFAULTS: dict[str, str | bool] = {
    "Code Type": "numeric",
    "Code Length": "6",
    "Default Expiry": "10",
    "Store OTP in HubSpot Property": False,
    "HubSpot Property Name": "",
    "Send OTP via Email": False,
    "Email Subject": "Your Verification Code",
    "Greeting": "Hello,",
    "Body Text": "Your one-time verification code is:",
    "Footer Text": (
        "This code will expire in {expiry_minutes} minutes. If you didn't request this code, please ignore this email."
    ),
    "Default Language": "en",
    "Sender Name": "",
    "Reply-To Address": "",
    "Clear the property when the code ends": True,
    "Days that records are kept": "90",
    "Wait until delivered": False,
    "Give the code to later workflow steps": True,
    "When a code is sent again": "replace",
    "Agents see codes": "always",
    "E-mail Property": "email",
    "Codes per contact in 10 minutes": "5",
    "Codes per contact in 24 hours": "20",
    "Codes per minute in the whole account": "",
    "Seconds before an agent can send another code": "30",
    "Wrong codes that lock a contact": "10",
    "Minutes of the first lock": "15",
    "Minutes of the longest lock": "1440",
}


# ---------------------------------------------------------------- HubSpot, as far as this page calls it


def contact_property(name: str, label: str, **changes: Any) -> dict[str, Any]:
    """Return a property's definition as HubSpot's Properties API answers it."""
    return {
        "name": name,
        "label": label,
        "type": "string",
        "fieldType": "text",
        "description": "",
        "groupName": "contactinformation",
        "options": [],
        "displayOrder": -1,
        "calculated": False,
        "externalOptions": False,
        "hasUniqueValue": False,
        "hidden": False,
        "hubspotDefined": False,
        "archived": False,
        "formField": True,
        "dataSensitivity": "non_sensitive",
        "modificationMetadata": {
            "archivable": True,
            "readOnlyDefinition": False,
            "readOnlyOptions": False,
            "readOnlyValue": False,
        },
        **changes,
    }


def error_body(category: str) -> dict[str, Any]:
    return {"status": "error", "message": "refused", "correlationId": "a43683b0-5717-4ceb-80b4", "category": category}


@dataclass
class HubSpot:
    """A small HTTP server with HubSpot's property and token endpoints. Tests change what it has and how it answers."""

    url: str = ""
    properties: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    failure: tuple[int, dict[str, Any]] | None = None
    refresh_failure: tuple[int, dict[str, Any]] | None = None
    creation_failure: tuple[int, dict[str, Any]] | None = None
    groups: set[str] = field(default_factory=set)
    speaks: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, label: str, **changes: Any) -> None:
        self.properties[name] = contact_property(name, label, **changes)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.calls.append(f"{method} {path}")
        self.speaks.wait(PATIENCE)
        if path == "/oauth/2026-09/token":
            return self.refresh_failure or (200, {"access_token": "new", "refresh_token": "new", "expires_in": 1800})
        if self.failure:
            return self.failure
        if method == "DELETE":
            return 204, {}
        listing = "/crm/properties/2026-09/contacts"
        if method == "POST" and path.startswith(listing):
            return self.creation_failure or self.create(path == f"{listing}/groups", json.loads(body))
        if path == listing:
            return 200, {"results": list(self.properties.values())}
        found = self.properties.get(unquote(path.removeprefix(f"{listing}/")))
        return (200, found) if found else (404, error_body("OBJECT_NOT_FOUND"))

    def create(self, is_group: bool, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        taken = self.groups if is_group else self.properties
        if wanted["name"] in taken:
            return 409, error_body("OBJECT_ALREADY_EXISTS")
        if is_group:
            self.groups.add(wanted["name"])
            return 201, wanted
        assert wanted["groupName"] in self.groups
        self.properties[wanted["name"]] = contact_property(**wanted)
        return 201, self.properties[wanted["name"]]


@pytest.fixture
def hubspot(settings: Settings) -> Iterator[HubSpot]:
    fake = HubSpot()
    fake.speaks.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = fake.answer(self.command, self.path, sent)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 (the names that http.server looks for)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's signature)
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        fake.url = settings.HUBSPOT_API_BASE_URL = f"http://127.0.0.1:{server.server_address[1]}"
        fake.add("otp_code", "OTP code")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        fake.speaks.set()
        server.shutdown()
        thread.join()


# ---------------------------------------------------------------- a browser, as far as it is needed


@dataclass
class Admin:
    """A signed-in portal admin with a browser."""

    client: Client
    portal: Portal

    def opens(self) -> Page:
        response = self.client.get(PATH, secure=True)
        assert response.status_code == 200
        return Page(response)

    def posts(self, **changes: str | bool) -> Any:
        """Change labelled controls and send the form; the names are labels."""
        return self.client.post(PATH, self.opens().filled_in(dict(changes)), secure=True)

    def saves(self, changes: dict[str, str | bool]) -> Page:
        """Send the form, see that it is saved, return the page that follows."""
        response = self.posts(**changes)
        assert response.status_code == 302, Page(response).text
        assert response["Location"] == PATH
        return self.opens()

    def fails_to_save(self, changes: dict[str, str | bool]) -> Page:
        """Send the form, see that nothing is saved, return the page with the complaints."""
        before = list(OTPSettings.objects.order_by("pk").values())
        response = self.posts(**changes)
        assert response.status_code == 200
        assert list(OTPSettings.objects.order_by("pk").values()) == before
        page = Page(response)
        assert "Nothing was saved yet." in page.text
        return page

    def syncs(self) -> Page:
        """Press "Sync Properties"; return the page that follows."""
        response = self.client.post(SYNC, secure=True)
        assert (response.status_code, response["Location"]) == (302, PATH)
        return self.opens()

    def settings(self) -> OTPSettings:
        return OTPSettings.objects.get(portal=self.portal)


def signed_in(portal: Portal, **options: Any) -> Admin:
    return Admin(portal_admin.signed_in(portal, **options), portal)


@pytest.fixture
def admin(portal: Portal, hubspot: HubSpot) -> Admin:
    return signed_in(portal)


# ---------------------------------------------------------------- showing and saving


def test_it_shows_the_defaults_under_their_labels(admin: Admin) -> None:
    page = admin.opens()
    assert {label: page.control(label).value for label in page.labels} == DEFAULTS
    assert {page.control(label).form for label in page.labels} == {PATH}


def test_it_saves_a_plain_post_of_the_form(admin: Admin, hubspot: HubSpot) -> None:
    changes: dict[str, str | bool] = {
        "Code Type": "alphanumeric",
        "Code Length": "8",
        "Default Expiry": "30",
        "Store OTP in HubSpot Property": True,
        "HubSpot Property Name": "otp_code",
        "Send OTP via Email": True,
        "Email Subject": "{company}: your code",
        "Greeting": "Dear {first_name},",
        "Body Text": "line one\nline two",
        "Footer Text": "",
        "Default Language": "pt-br",
        "Sender Name": "Company & Söhne",
        "Reply-To Address": "support@company.example",
        "Clear the property when the code ends": False,
        "Days that records are kept": "30",
        "Wait until delivered": True,
        "Give the code to later workflow steps": False,
        "When a code is sent again": "keep_both",
        "Agents see codes": "reveal",
        "E-mail Property": "work_email",
        "Codes per contact in 10 minutes": "3",
        "Codes per contact in 24 hours": "9",
        "Codes per minute in the whole account": "500",
        "Seconds before an agent can send another code": "0",
        "Wrong codes that lock a contact": "6",
        "Minutes of the first lock": "30",
        "Minutes of the longest lock": "60",
    }
    hubspot.add("work_email", "Work e-mail")
    page = admin.saves(changes)
    assert "Your settings are saved." in page.text
    assert {label: page.control(label).value for label in page.labels} == changes
    saved = admin.settings()
    assert (saved.code_type, saved.code_length, saved.expiry_minutes) == ("alphanumeric", 8, 30)
    assert (saved.store_in_property, saved.property_name, saved.send_email) == (True, "otp_code", True)
    assert (saved.email_subject, saved.greeting) == ("{company}: your code", "Dear {first_name},")
    assert (saved.body_text, saved.footer_text) == ("line one\nline two", "")
    assert (saved.wait_until_delivered, saved.output_code) == (True, False)
    assert (saved.resend_policy, saved.code_visibility, saved.email_property) == ("keep_both", "reveal", "work_email")
    assert (saved.contact_limit_10_minutes, saved.contact_limit_day, saved.portal_limit_minute) == (3, 9, 500)
    assert (saved.resend_cooldown_seconds, saved.wrong_attempts_limit) == (0, 6)
    assert (saved.lock_minutes, saved.longest_lock_minutes) == (30, 60)
    assert (saved.default_language, saved.sender_name) == ("pt-br", "Company & Söhne")
    assert (saved.reply_to, saved.clear_property, saved.retention_days) == ("support@company.example", False, 30)


def test_it_changes_nothing_when_the_form_is_sent_as_it_is(admin: Admin) -> None:
    before = OTPSettings.objects.values().get(portal=admin.portal)
    admin.saves({})
    assert OTPSettings.objects.values().get(portal=admin.portal) == before


def test_it_changes_nothing_when_the_page_is_opened(admin: Admin) -> None:
    admin.settings().delete()
    page = admin.opens()
    assert {label: page.control(label).value for label in page.labels} == DEFAULTS
    assert not OTPSettings.objects.exists()
    admin.saves({"Code Length": "4"})
    assert admin.settings().code_length == 4


def test_of_two_who_saw_no_settings_the_second_is_told_of_the_firsts(admin: Admin) -> None:
    admin.settings().delete()
    data = admin.opens().filled_in({"Code Length": "4"})
    admin.saves({"Code Length": "8"})
    assert admin.client.post(PATH, data, secure=True).status_code == 409
    assert admin.settings().code_length == 8


def test_it_trims_and_keeps_one_kind_of_line_break(admin: Admin) -> None:
    admin.saves(
        {"Email Subject": "  Code \r\n", "Greeting": "\tHi ", "Body Text": "\r\n one\r\n\r\ntwo \rthree\u2028 "}
    )
    saved = admin.settings()
    assert (saved.email_subject, saved.greeting, saved.body_text) == ("Code", "Hi", "one\n\ntwo \nthree")


def test_it_counts_a_line_break_as_one_character(admin: Admin) -> None:
    admin.saves({"Body Text": "\r\n".join("x" * 1000)})
    assert len(admin.settings().body_text) == 1999
    page = admin.fails_to_save({"Body Text": "x" * 2001})
    assert page.error("Body Text") == "Body Text has 2,001 characters. Shorten it to 2,000."


def test_it_shows_markup_as_it_was_typed(admin: Admin) -> None:
    hostile = '"><script>alert(1)</script>&lt;b&gt; %s</textarea>'
    admin.saves({"Email Subject": hostile, "Greeting": hostile, "Body Text": hostile, "Footer Text": hostile})
    page = admin.opens()
    assert "<script>" not in page.html
    assert {page.control(label).value for label in ("Email Subject", "Greeting", "Body Text", "Footer Text")} == {
        hostile
    }


# ---------------------------------------------------------------- what it refuses


@pytest.mark.parametrize("label", ["Email Subject", "Greeting", "Body Text", "Footer Text"])
def test_it_refuses_an_unknown_placeholder_by_its_name(admin: Admin, label: str) -> None:
    page = admin.fails_to_save({label: "Hello {frist_name}"})
    assert page.error(label) == (
        f"{label}: {{frist_name}} is not a placeholder. Remove it, or use one of these: "
        "{expiry_minutes}, {expires_at}, {first_name}, {company}, {reference}."
    )
    assert page.control(label).value == "Hello {frist_name}"
    assert page.control(label).attributes["aria-invalid"] == "true"


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("{ first_name }", "{first_name}"),
        ("{{first_name}}", "{first_name}"),
        ("{First Name}", "{first_name}"),
        ("｛first_name｝", "{first_name}"),
        ("{{ contact.firstname }}", "{first_name}"),
        ("{{ company.name }}", "{company}"),
    ],
)
@pytest.mark.parametrize("label", ["Email Subject", "Greeting", "Body Text", "Footer Text"])
def test_it_offers_the_right_spelling_of_a_placeholder(admin: Admin, label: str, typed: str, right: str) -> None:
    page = admin.fails_to_save({label: f"Hello {typed}"})
    assert page.error(label) == f"{label}: {typed} is not a placeholder. Write {right}."
    assert page.control(label).value == f"Hello {typed}"


@pytest.mark.parametrize("typed", ["{ code }", "{{code}}", "{CODE}"])
def test_it_refuses_the_code_in_the_subject_however_it_is_spelled(admin: Admin, typed: str) -> None:
    page = admin.fails_to_save({"Email Subject": f"{typed} is your code"})
    assert page.error("Email Subject") == (
        f"Email Subject must not hold the code: it shows on locked screens. Remove {typed}."
    )


@pytest.mark.parametrize("typed", ["{company}", "{ company }", "{{ contact.firstname }}", "{x}", "{"])
def test_a_senders_name_has_no_placeholders(admin: Admin, typed: str) -> None:
    page = admin.fails_to_save({"Sender Name": f"Your {typed}"})
    assert page.error("Sender Name") == f"Sender Name is the same in every mail. Remove {typed}."


@pytest.mark.parametrize("address", ["support", "hilfe@i❤.ws", "a@b.example, c@d.example", "=?utf-8?q?x?=@b.example"])
def test_it_refuses_a_reply_to_that_nobody_can_answer_to(admin: Admin, address: str) -> None:
    page = admin.fails_to_save({"Reply-To Address": address})
    assert page.error("Reply-To Address") == "Enter an address such as support@example.com, or nothing."


def test_it_names_all_unknown_placeholders(admin: Admin) -> None:
    page = admin.fails_to_save({"Greeting": "{a} {b}"})
    assert page.error("Greeting").startswith("Greeting: {a}, {b} are not placeholders.")


def test_it_refuses_the_code_in_the_subject(admin: Admin) -> None:
    page = admin.fails_to_save({"Email Subject": "{code} is your code"})
    assert page.error("Email Subject") == (
        "Email Subject must not hold the code: it shows on locked screens. Remove {code}."
    )


def test_it_refuses_the_code_in_the_other_texts(admin: Admin) -> None:
    page = admin.fails_to_save({"Body Text": "It is {code}"})
    assert page.error("Body Text") == (
        "Body Text cannot hold the code, which has its own place between body and footer. Remove {code}."
    )


def test_it_lists_every_error_on_top(admin: Admin) -> None:
    page = admin.fails_to_save({"Email Subject": "", "Body Text": " "})
    assert '<a href="#id_email_subject">Email Subject: Enter a subject' in page.html
    assert '<a href="#id_body_text">Body Text: Enter what stands above the code' in page.html
    assert "Not saved: Settings" in page.html


@pytest.mark.parametrize("label", ["Email Subject", "Greeting"])
@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\v", "\x85", "\u2028", "\u2029"])
def test_it_refuses_line_breaks_where_there_is_one_line(admin: Admin, label: str, line_break: str) -> None:
    page = admin.fails_to_save({label: f"Code{line_break}Bcc: eve@example.com"})
    assert page.error(label) == f"{label} is a single line. Remove the line break."


@pytest.mark.parametrize("label", ["Email Subject", "Greeting", "Body Text", "Footer Text"])
@pytest.mark.parametrize("control", ["\0", "\x1b", "\x7f"])
def test_it_refuses_control_characters(admin: Admin, label: str, control: str) -> None:
    page = admin.fails_to_save({label: f"Co{control}de"})
    assert page.error(label) == (f"{label} holds an invisible control character. Remove it, or type the text anew.")


@pytest.mark.parametrize(
    ("label", "value"), [("Code Type", "hex"), ("Code Length", "5"), ("Default Expiry", "-1"), ("Code Length", "six")]
)
def test_it_refuses_what_is_not_a_choice(admin: Admin, label: str, value: str) -> None:
    page = admin.fails_to_save({label: value})
    assert page.error(label) == f"{value} is not a choice. Choose a value from the list."


def test_it_quotes_shortly_and_cleanly(admin: Admin) -> None:
    page = admin.fails_to_save({"Code Type": "\u202ehex\0" + "x" * 10_000})
    assert page.error("Code Type").startswith(r"\u202ehex\x00xxx")
    assert page.error("Code Type").endswith("x… is not a choice. Choose a value from the list.")
    assert len(page.error("Code Type")) < 200
    page = admin.fails_to_save({"HubSpot Property Name": "a\u202eb"})
    assert r"HubSpot has no contact property “a\u202eb”." in page.error("HubSpot Property Name")


def test_it_refuses_to_store_without_a_property(admin: Admin) -> None:
    page = admin.fails_to_save({"Store OTP in HubSpot Property": True})
    assert page.error("HubSpot Property Name") == (
        "Choose the property that the code is written to, or turn off “Store OTP in HubSpot Property”."
    )


def test_it_refuses_to_wait_without_the_scope(admin: Admin) -> None:
    OAuthGrant.objects.filter(portal=admin.portal).update(scopes=list(REQUIRED_SCOPES))
    assert "This needs the permission “automation”" in admin.opens().text
    page = admin.fails_to_save({"Wait until delivered": True})
    assert page.error("Wait until delivered") == (
        "Waiting needs the permission “automation”, which this HubSpot account has not granted. "
        "Turn this off, or reconnect HubSpot and grant it."
    )
    admin.saves({"Wait until delivered": False})


@pytest.mark.parametrize(
    ("label", "value", "sentence"),
    [
        ("Reply-To Address", "nobody", "Enter an address such as support@example.com, or nothing."),
        (
            "Reply-To Address",
            "a@b.example\nBcc: c@d.example",
            "Enter an address such as support@example.com, or nothing.",
        ),
        ("Sender Name", "A\nBcc: eve@example.com", "Sender Name is a single line. Remove the line break."),
        ("Sender Name", "Your {company}", "Sender Name is the same in every mail. Remove {company}."),
        ("Default Language", "xx", "xx is not in the list. Choose a language from the list."),
    ],
)
def test_it_refuses_what_no_mail_can_have(admin: Admin, label: str, value: str, sentence: str) -> None:
    assert admin.fails_to_save({label: value}).error(label) == sentence


# ---------------------------------------------------------------- choosing a property


def test_it_offers_the_properties_that_can_hold_a_code(admin: Admin, hubspot: HubSpot) -> None:
    hubspot.add("mobile2", "Second mobile", fieldType="phonenumber")
    hubspot.add("jobtitle", "Job Title", hubspotDefined=True)
    hubspot.add("email", "Email", hubspotDefined=True)
    hubspot.add("score", "Score", type="number", fieldType="number")
    hubspot.add("customer_id", "Customer id", hasUniqueValue=True)
    hubspot.add("secret", "Secret", hidden=True)
    hubspot.add("locked", "Locked", modificationMetadata={"readOnlyValue": True})
    control = admin.opens().control("HubSpot Property Name")
    assert control.groups == {
        "": [""],
        "Your properties": ["otp_code", "mobile2"],
        "HubSpot's own properties (codes overwrite their values)": ["jobtitle"],
    }
    assert control.options == {
        "": "None",
        "otp_code": "OTP code (otp_code)",
        "mobile2": "Second mobile (mobile2, may be reformatted)",
        "jobtitle": "Job Title (jobtitle)",
    }


def test_it_remarks_on_the_chosen_property(admin: Admin, hubspot: HubSpot) -> None:
    hubspot.add("jobtitle", "Job Title", hubspotDefined=True)
    assert "every code overwrites its value" not in admin.opens().text
    assert "every code overwrites its value" in admin.saves({"HubSpot Property Name": "jobtitle"}).text


def test_it_asks_hubspot_once_about_a_property_that_is_not_in_the_list(admin: Admin, hubspot: HubSpot) -> None:
    admin.opens()
    hubspot.add("brand_new", "Brand new")
    hubspot.calls.clear()
    page = admin.saves({"Store OTP in HubSpot Property": True, "HubSpot Property Name": "brand_new"})
    assert admin.settings().property_name == "brand_new"
    assert hubspot.calls == ["GET /crm/properties/2026-09/contacts/brand_new"]
    assert page.control("HubSpot Property Name").value == "brand_new"


def test_it_does_not_ask_hubspot_about_a_property_in_the_list(admin: Admin, hubspot: HubSpot) -> None:
    admin.opens()
    hubspot.calls.clear()
    admin.saves({"HubSpot Property Name": "otp_code"})
    assert hubspot.calls == []


@pytest.mark.parametrize(
    ("name", "lookups"),
    [("no_such", 1), ("x" * 100, 1), ("..", 0), (".", 0), ("a/b", 0), ("?x", 0), ("a%2fb", 0), ("<b>", 0)],
)
def test_it_refuses_a_property_that_hubspot_does_not_have(
    admin: Admin, hubspot: HubSpot, name: str, lookups: int
) -> None:
    admin.opens()
    hubspot.calls.clear()
    page = admin.fails_to_save({"HubSpot Property Name": name})
    assert page.error("HubSpot Property Name") == (
        f"HubSpot has no contact property “{name}”. Choose one from the list, or create it in HubSpot first."
    )
    assert page.control("HubSpot Property Name").value == name
    # What cannot be a name is not put into the path of a call.
    assert hubspot.calls == [f"GET /crm/properties/2026-09/contacts/{name}"] * lookups


def test_it_refuses_a_property_that_cannot_hold_a_code(admin: Admin, hubspot: HubSpot) -> None:
    hubspot.add("score", "Score", type="number", fieldType="number")
    admin.opens()
    hubspot.add("age", "Age", type="number", fieldType="number")
    for name, label in (("score", "Score"), ("age", "Age")):
        page = admin.fails_to_save({"HubSpot Property Name": name})
        assert page.error("HubSpot Property Name") == (
            f"“{label}” cannot hold a code: it does not hold text. Choose a single-line text property."
        )


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        ((503, "INTERNAL_ERROR"), "HubSpot did not answer. Save again in a minute,"),
        (
            (403, "MISSING_SCOPES"),
            "HubSpot does not let this app read your contact properties. Reconnect HubSpot,",
        ),
    ],
)
def test_it_refuses_an_unknown_property_that_it_cannot_check(
    admin: Admin, hubspot: HubSpot, failure: tuple[int, str], why: str
) -> None:
    admin.opens()
    hubspot.failure = failure[0], error_body(failure[1])
    page = admin.fails_to_save({"HubSpot Property Name": "brand_new"})
    assert page.error("HubSpot Property Name") == (
        f"“brand_new” could not be checked, because {why} or choose a property from the list."
    )


def test_it_keeps_the_chosen_property_while_hubspot_is_away(admin: Admin, hubspot: HubSpot) -> None:
    admin.saves({"Store OTP in HubSpot Property": True, "HubSpot Property Name": "otp_code"})
    ContactPropertyList.objects.all().delete()
    hubspot.failure = 503, error_body("INTERNAL_ERROR")
    admin.saves({"Code Length": "8"})
    assert (admin.settings().property_name, admin.settings().code_length) == ("otp_code", 8)


def test_it_says_when_the_chosen_property_is_gone(admin: Admin, hubspot: HubSpot) -> None:
    admin.saves({"Store OTP in HubSpot Property": True, "HubSpot Property Name": "otp_code"})
    hubspot.properties.clear()
    admin.syncs()
    page = admin.fails_to_save({"Code Length": "8"})
    assert page.error("HubSpot Property Name").startswith("HubSpot has no contact property “otp_code”.")


def test_it_says_when_the_chosen_property_can_hold_no_code_any_more(admin: Admin, hubspot: HubSpot) -> None:
    admin.saves({"HubSpot Property Name": "otp_code"})
    hubspot.add("otp_code", "OTP code", hidden=True)
    assert "“OTP code” cannot hold a code: it is hidden in HubSpot." in admin.syncs().text


def test_it_says_why_a_property_is_not_offered(admin: Admin, hubspot: HubSpot) -> None:
    hubspot.add("score", "Score", type="number", fieldType="number")
    hubspot.add("age", "Age", type="number", fieldType="number")
    hubspot.add("secret", "Secret", hidden=True)
    text = admin.opens().text
    assert "These cannot hold a code, because it does not hold text: Age, Score" in text
    assert "These cannot hold a code, because it is hidden in HubSpot: Secret" in text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("age", "“Age” cannot hold an e-mail address: it does not hold text. Choose a text property,"),
        ("no_such", "HubSpot has no contact property “no_such”."),
        ("", "Choose the property that holds the contact's address, such as Email (email)."),
        ("<b>", "HubSpot has no contact property “<b>”."),
    ],
)
def test_it_refuses_a_property_that_cannot_hold_an_address(
    admin: Admin, hubspot: HubSpot, name: str, sentence: str
) -> None:
    hubspot.add("age", "Age", type="number", fieldType="number")
    assert admin.fails_to_save({"E-mail Property": name}).error("E-mail Property").startswith(sentence)


# ---------------------------------------------------------------- creating a property


def test_it_creates_a_property_for_codes_and_chooses_it(admin: Admin, hubspot: HubSpot) -> None:
    assert 'form="create">Create a property for me</button>' in admin.opens().html
    admin.client.post(CREATE, secure=True)
    page = admin.opens()
    assert "HubSpot now has the property “OpsAgent OTP code”, and it is chosen here." in page.text
    assert page.control("HubSpot Property Name").value == "opsagent_otp_code"
    assert admin.settings().property_name == "opsagent_otp_code"
    assert hubspot.properties["opsagent_otp_code"]["groupName"] == "opsagent_otp"


def test_it_leaves_the_choice_alone_when_there_is_one(admin: Admin, hubspot: HubSpot) -> None:
    admin.saves({"HubSpot Property Name": "otp_code"})
    admin.client.post(CREATE, secure=True)
    admin.client.post(CREATE, secure=True)
    assert "You can choose it in the list." in admin.opens().text
    assert admin.settings().property_name == "otp_code"


def test_it_does_not_choose_a_property_that_exists_and_cannot_hold_a_code(admin: Admin, hubspot: HubSpot) -> None:
    hubspot.add("opsagent_otp_code", "OpsAgent OTP code", hidden=True)
    admin.client.post(CREATE, secure=True)
    assert "already, but “OpsAgent OTP code” cannot hold a code: it is hidden in HubSpot." in admin.opens().text
    assert admin.settings().property_name == ""


@pytest.mark.parametrize(
    ("status", "category", "sentence"),
    [
        (
            403,
            "MISSING_SCOPES",
            "that needs the permission “crm.schemas.contacts.write”. Reconnect HubSpot and grant it",
        ),
        (503, "INTERNAL_ERROR", "Press “Create a property for me” again in a minute."),
    ],
)
def test_it_says_what_to_do_when_hubspot_creates_none(
    admin: Admin, hubspot: HubSpot, status: int, category: str, sentence: str
) -> None:
    hubspot.creation_failure = status, error_body(category)
    admin.client.post(CREATE, secure=True)
    page = admin.opens()
    assert sentence in page.text
    assert "otp_code" in page.control("HubSpot Property Name").options
    admin.saves({"HubSpot Property Name": "otp_code"})


def test_it_offers_to_reconnect_where_the_scope_is_missing(admin: Admin) -> None:
    OAuthGrant.objects.filter(portal=admin.portal).update(scopes=list(REQUIRED_SCOPES))
    page = admin.opens()
    assert "Create a property for me" not in page.text
    assert "the app needs the permission “crm.schemas.contacts.write”" in page.text


# ---------------------------------------------------------------- two admins, and what is on record


def test_it_never_saves_over_what_another_admin_has_saved(admin: Admin) -> None:
    page = admin.opens()
    other = signed_in(admin.portal)
    other.saves({"Code Length": "8", "Greeting": "Good day,"})
    response = admin.client.post(PATH, page.filled_in({"Default Expiry": "30"}), secure=True)
    assert response.status_code == 409
    assert (admin.settings().code_length, admin.settings().expiry_minutes) == (8, 10)
    conflict = Page(response)
    actor = AuditEvent.objects.get().actor
    assert f"Nothing was saved yet. {actor} has changed the settings on" in conflict.text
    assert "Code Length 8 characters 6 characters" in conflict.text
    assert "Default Expiry 10 minutes 30 minutes" in conflict.text
    assert "Greeting Good day, Hello," in conflict.text
    # Sent once more, it is meant.
    assert admin.client.post(PATH, conflict.filled_in({}), secure=True).status_code == 302
    assert (admin.settings().code_length, admin.settings().expiry_minutes) == (6, 30)


def test_it_asks_again_when_somebody_was_faster_once_more(admin: Admin) -> None:
    page = admin.opens()
    other = signed_in(admin.portal)
    other.saves({"Code Length": "8"})
    conflict = Page(admin.client.post(PATH, page.filled_in({"Code Length": "4"}), secure=True))
    other.saves({"Code Length": "6"})
    assert admin.client.post(PATH, conflict.filled_in({}), secure=True).status_code == 409
    assert admin.settings().code_length == 6


def test_it_stays_stale_through_a_correction(admin: Admin) -> None:
    page = admin.opens()
    signed_in(admin.portal).saves({"Code Length": "8"})
    wrong = Page(admin.client.post(PATH, page.filled_in({"Greeting": ""}), secure=True))
    assert admin.client.post(PATH, wrong.filled_in({"Greeting": "Hi,"}), secure=True).status_code == 409
    assert admin.settings().code_length == 8


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 5000, "٣"])
def test_it_takes_a_form_without_a_version_as_it_is(admin: Admin, version: str) -> None:
    data = admin.opens().filled_in({"Code Length": "8"}) | {"version": version}
    assert admin.client.post(PATH, data, secure=True).status_code == 302
    assert admin.settings().code_length == 8


def test_it_records_what_was_changed_from_what_to_what(admin: Admin) -> None:
    admin.saves({})
    assert not AuditEvent.objects.exists()
    admin.saves({"Code Length": "8", "Body Text": "x" * 500, "Codes per minute in the whole account": "7"})
    event = AuditEvent.objects.get()
    assert (event.portal, event.actor_kind, event.action) == (admin.portal, "admin", "settings_changed")
    assert "@company.example" in event.actor
    note = AuditNote.objects.get()
    assert event.detail == {
        "code_length": [6, 8],
        "portal_limit_minute": [None, 7],
        "texts": ["body_text"],
        "note": str(note.id),
    }
    assert json.loads(note.typed) == {"body_text": ["Your one-time verification code is:", "x" * 80 + "…"]}


def test_no_text_that_somebody_types_stands_in_the_audit_log(admin: Admin) -> None:
    typed = {
        field.name
        for field in OTPSettings._meta.get_fields()
        if isinstance(field, CharField | TextField) and not field.choices
    }
    picked = {"property_name", "email_property", "default_language"}
    for name in typed - picked:
        value = "jane.doe@victim.example"
        portal_settings.change(
            portal=admin.portal, actor="boss", values={name: value}, version=None, now=timezone.now()
        )
    details = json.dumps(list(AuditEvent.objects.values_list("detail", flat=True)))
    assert "jane.doe" not in details
    assert all(name in details for name in typed - picked)


# ---------------------------------------------------------------- limits


RANGES: dict[str, str] = {
    "Codes per contact in 10 minutes": "Enter a whole number from 1 to 100.",
    "Codes per contact in 24 hours": "Enter a whole number from 1 to 1,000.",
    "Codes per minute in the whole account": "Enter a whole number from 1 to 100,000, or nothing.",
    "Seconds before an agent can send another code": "Enter a whole number from 0 to 3,600.",
    "Wrong codes that lock a contact": "Enter a whole number from 1 to 100.",
    "Minutes of the first lock": "Enter a whole number from 1 to 1,440.",
    "Minutes of the longest lock": "Enter a whole number from 1 to 1,440.",
    "Days that records are kept": "Enter a whole number from 1 to 3,650.",
}


@pytest.mark.parametrize("value", ["-1", "100001", "1.5", "many", "9" * 5000, "1e9", "<script>"])
def test_it_refuses_limits_that_are_none(admin: Admin, value: str) -> None:
    page = admin.fails_to_save(dict.fromkeys(RANGES, value))
    assert {label: page.error(label) for label in RANGES} == RANGES
    assert {page.control(label).value for label in RANGES} == {value}
    assert [label for label in page.labels if "autofocus" in page.control(label).attributes] == [next(iter(RANGES))]


def test_it_wants_locks_to_grow(admin: Admin) -> None:
    page = admin.fails_to_save({"Minutes of the first lock": "60", "Minutes of the longest lock": "30"})
    assert page.error("Minutes of the longest lock") == "Enter 60 or more: locks grow, they do not shrink."


# ---------------------------------------------------------------- how strong codes are


def test_it_says_how_strong_the_saved_choice_is(admin: Admin) -> None:
    text = admin.opens().text
    assert "A guess succeeds in 1 of 14,285 attacks at most." in text
    assert "Invalid after 10 minutes at the latest (3.1.3.2) Codes are accepted for 10 minutes." in text
    admin.saves({"Default Expiry": "60"})
    assert "Not met A lifetime of 10 minutes at most" in admin.opens().text


def test_it_says_how_strong_a_choice_would_be_and_saves_nothing(admin: Admin) -> None:
    before = OTPSettings.objects.values().get()
    response = admin.client.get(POLICY, {"code_type": "alpha", "code_length": "4", "send_email": "on"}, secure=True)
    text = Page(response).text
    assert "Not met At least six decimal digits" in text
    assert "There are only 331,776 different codes" in text
    assert "A mailed code proves that somebody reads that mailbox." in text
    assert "no-store" in response["Cache-Control"]
    assert OTPSettings.objects.values().get() == before


@pytest.mark.parametrize(
    "query",
    [
        {"code_type": "hex", "code_length": "5", "lock_minutes": "0", "longest_lock_minutes": "x"},
        {"code_length": "9" * 5000, "wrong_attempts_limit": "-5", "contact_limit_day": "\0"},
        {"lock_minutes": "1440", "longest_lock_minutes": "1"},
    ],
)
def test_it_judges_by_what_is_saved_where_the_choice_is_none(admin: Admin, query: dict[str, str]) -> None:
    response = admin.client.get(POLICY, query, secure=True)
    assert response.status_code == 200
    assert "A guess succeeds in 1 of" in Page(response).text


# ---------------------------------------------------------------- the list of properties


def test_it_fetches_the_list_when_there_is_none_or_it_is_old(admin: Admin, hubspot: HubSpot) -> None:
    fetch = "GET /crm/properties/2026-09/contacts"
    opened_at = timezone.now()
    for minutes, calls in ((0, [fetch]), (9, []), (11, [fetch]), (12, [])):
        hubspot.calls.clear()
        with time_machine.travel(opened_at + dt.timedelta(minutes=minutes), tick=False):
            admin.opens()
        assert hubspot.calls == calls, minutes


@pytest.mark.parametrize(
    ("status", "category", "sentence"),
    [
        (503, "INTERNAL_ERROR", "HubSpot did not answer"),
        (429, "RATE_LIMITS", "Your HubSpot account has used up its calls for the moment."),
        (403, "MISSING_SCOPES", "HubSpot does not let this app read your contact properties."),
    ],
)
def test_it_keeps_the_old_list_when_hubspot_refuses(
    admin: Admin, hubspot: HubSpot, status: int, category: str, sentence: str
) -> None:
    admin.opens()
    ContactPropertyList.objects.update(fetched_at=timezone.now() - dt.timedelta(hours=1))
    hubspot.failure = status, error_body(category)
    page = admin.opens()
    assert sentence in page.text
    assert "otp_code" in page.control("HubSpot Property Name").options
    assert admin.syncs().text.count(sentence) == 2  # the button's answer, and the page's own attempt


def test_it_waits_three_seconds_at_most(admin: Admin, hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (settings_pages.LIST_TIMEOUT, forms.LOOKUP_TIMEOUT) == (3.0, 3.0)
    monkeypatch.setattr(settings_pages, "LIST_TIMEOUT", 0.2)
    monkeypatch.setattr(forms, "LOOKUP_TIMEOUT", 0.2)
    hubspot.speaks.clear()  # an answer that came would be shown
    assert "HubSpot did not answer" in admin.opens().text
    assert admin.syncs().text.count("HubSpot did not answer") == 2
    assert "could not be checked" in admin.fails_to_save({"HubSpot Property Name": "brand_new"}).text


def test_it_fetches_the_list_at_the_press_of_the_button(admin: Admin, hubspot: HubSpot) -> None:
    admin.opens()
    hubspot.add("brand_new", "Brand new")
    hubspot.add("score", "Score", type="number", fieldType="number")
    page = admin.syncs()
    assert "The list is up to date: 2 of 3 contact properties can hold a code." in page.text
    assert "brand_new" in page.control("HubSpot Property Name").options
    assert f'<form id="sync" method="post" action="{SYNC}">' in page.html
    assert 'form="sync">Sync Properties</button>' in page.html


def test_it_syncs_by_post_only(admin: Admin) -> None:
    assert admin.client.get(SYNC, secure=True).status_code == 405


# ---------------------------------------------------------------- the connection


def test_it_shows_the_connection(admin: Admin) -> None:
    Portal.objects.filter(id=admin.portal.id).update(time_zone="Europe/Berlin")
    at = dt.datetime(2026, 11, 23, 12, 30, tzinfo=dt.UTC)
    ada = factories.PortalMemberFactory.create(portal=admin.portal, email="ada@company.example")
    Portal.objects.filter(id=admin.portal.id).update(installed_at=at, installed_by=ada)
    text = admin.opens().text
    assert f"Portal {admin.portal.id}" in text
    assert f"Domain {admin.portal.hub_domain}" in text
    assert "Installed 23 November 2026, 13:30 CET by ada@company.example" in text
    assert "Access token Valid, and renewed by itself." in text
    assert "Read contacts Write codes to contacts" in text
    assert "Not granted" not in text


def test_it_shows_what_was_not_granted(admin: Admin) -> None:
    OAuthGrant.objects.filter(portal=admin.portal).update(scopes=[*REQUIRED_SCOPES, "something.new"])
    text = admin.opens().text
    assert "something.new Not granted Hold a workflow step until its code is delivered" in text


def test_it_never_shows_a_token(admin: Admin) -> None:
    grant = OAuthGrant.objects.get(portal=admin.portal)
    html = admin.opens().html
    assert grant.access_token not in html
    assert grant.refresh_token not in html


@pytest.mark.parametrize(
    "time_zone", ["Nowhere/Nothing", "../etc/passwd", "", "America", "posixrules", "localtime", "x" * 64, "Factory"]
)
def test_it_counts_in_utc_when_the_portals_time_zone_is_unknown(admin: Admin, time_zone: str) -> None:
    Portal.objects.filter(id=admin.portal.id).update(time_zone=time_zone)
    assert " UTC" in admin.opens().text


def test_it_shows_a_disconnected_portal_its_settings_and_a_way_back(admin: Admin, hubspot: HubSpot) -> None:
    OAuthGrant.objects.all().delete()
    Portal.objects.update(disconnected_at=timezone.now())
    OTPSettings.objects.update(wait_until_delivered=True, property_name="otp_code", store_in_property=True)
    page = admin.opens()
    assert "HubSpot is not connected." in page.text
    assert '<a class="button small" href="/hubspot/install">Reconnect</a>' in page.html
    assert page.control("HubSpot Property Name").value == "otp_code"
    assert hubspot.calls == []
    admin.saves({"Code Length": "8"})
    assert admin.settings().wait_until_delivered is True
    page = admin.fails_to_save({"HubSpot Property Name": "brand_new"})
    assert page.error("HubSpot Property Name") == (
        "“brand_new” could not be checked, because HubSpot is not connected. Reconnect HubSpot, then save again."
    )
    admin.saves({"Wait until delivered": False})
    page = admin.fails_to_save({"Wait until delivered": True})
    assert page.error("Wait until delivered").endswith("Reconnect HubSpot first, then turn this on.")
    assert "HubSpot is not connected, so the properties could not be fetched." in admin.syncs().text


def test_it_notices_that_the_connection_has_ended(admin: Admin, hubspot: HubSpot) -> None:
    OAuthGrant.objects.update(expires_at=timezone.now() - dt.timedelta(hours=1))
    hubspot.refresh_failure = 400, {"error": "invalid_grant", "status": "BAD_REFRESH_TOKEN"}
    with time_machine.travel(timezone.now(), tick=False):  # no midnight in between
        page = admin.opens()
        assert f"Disconnected {timezone.now():%-d %B %Y}" in page.text
    assert "HubSpot is not connected. Workflows get no codes until it is" in page.text
    assert "could not be fetched" not in page.text


def test_it_asks_before_it_disconnects(admin: Admin, hubspot: HubSpot) -> None:
    assert f'<a class="button second small" href="{DISCONNECT}">Disconnect …</a>' in admin.opens().html
    page = Page(admin.client.get(DISCONNECT, secure=True))
    assert "Disconnect OpsAgent OTP?" in page.text
    assert "are kept for 90 days, then deleted" in page.text
    assert Portal.objects.get(id=admin.portal.id).is_connected
    assert hubspot.calls[1:] == []


def test_it_disconnects_when_hubspot_agrees(admin: Admin, hubspot: HubSpot) -> None:
    admin.client.post(DISCONNECT, secure=True)
    page = admin.opens()
    assert "OpsAgent OTP is uninstalled, and its access to HubSpot is deleted." in page.text
    assert "Disconnect …" not in page.text
    assert not Portal.objects.get(id=admin.portal.id).is_connected
    assert not OAuthGrant.objects.exists()
    assert "DELETE /appinstalls/2026-09/external-install" in hubspot.calls
    assert admin.client.get(DISCONNECT, secure=True)["Location"] == PATH


def test_it_disconnects_this_side_when_hubspot_does_not_answer(admin: Admin, hubspot: HubSpot) -> None:
    hubspot.failure = 503, error_body("INTERNAL_ERROR")
    admin.client.post(DISCONNECT, secure=True)
    assert "HubSpot did not confirm the uninstallation. Check Connected Apps" in admin.opens().text
    assert not OAuthGrant.objects.exists()


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", PATH), ("post", PATH), ("post", SYNC), ("post", CREATE), ("get", POLICY), ("post", DISCONNECT)],
)
def test_it_sends_strangers_to_the_landing_page(portal: Portal, hubspot: HubSpot, method: str, path: str) -> None:
    response = getattr(Client(), method)(path, {"code_length": "4"}, secure=True)
    assert (response.status_code, response["Location"]) == (302, "/")
    assert OTPSettings.objects.get(portal=portal).code_length == 6
    assert hubspot.calls == []


def test_it_concerns_the_portal_of_the_session_only(admin: Admin, hubspot: HubSpot) -> None:
    admin.saves({"Greeting": "Greetings from this portal", "HubSpot Property Name": "otp_code"})
    hubspot.properties.clear()
    hubspot.add("others_code", "Code of the other portal")
    other = signed_in(factories.OAuthGrantFactory.create(scopes=list(REQUIRED_SCOPES)).portal)
    other.saves({"Greeting": "Greetings from the other portal", "HubSpot Property Name": "others_code"})
    for mine, others in ((admin.opens(), "other"), (other.opens(), "this")):
        assert f"{others} portal" not in mine.html
    assert ["Not granted" in mine.opens().text for mine in (admin, other)] == [False, True]
    assert list(admin.opens().control("HubSpot Property Name").options) == ["", "otp_code"]
    assert list(other.opens().control("HubSpot Property Name").options) == ["", "others_code"]
    data = admin.opens().filled_in({"Code Length": "8"})
    data |= {"portal": str(other.portal.id), "portal_id": str(other.portal.id), "id": str(other.portal.id)}
    assert admin.client.post(f"{PATH}?portal={other.portal.id}", data, secure=True).status_code == 302
    assert (admin.settings().code_length, other.settings().code_length) == (8, 6)


@pytest.mark.parametrize("path", [PATH, SYNC])
def test_it_refuses_a_forged_post(portal: Portal, hubspot: HubSpot, path: str) -> None:
    admin = signed_in(portal, enforce_csrf_checks=True)
    response = admin.client.post(path, {"code_length": "4"}, secure=True)
    assert response.status_code == 403
    assert "This form is out of date" in response.content.decode()
    assert admin.settings().code_length == 6
    assert hubspot.calls == []
    html = admin.opens().html
    assert html.count('method="post"') == html.count('name="csrfmiddlewaretoken"') == 4


def test_it_is_kept_by_no_cache_and_runs_nothing_from_elsewhere(admin: Admin) -> None:
    for response in (admin.client.get(PATH, secure=True), admin.client.post(SYNC, secure=True)):
        assert "no-store" in response["Cache-Control"]
    policy = admin.client.get(PATH, secure=True)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


# ---------------------------------------------------------------- the pages around it


def test_it_welcomes_strangers_and_admins(admin: Admin) -> None:
    stranger = Page(Client().get("/", secure=True))
    assert '<a class="button" href="/hubspot/install">Install in HubSpot</a>' in stranger.html
    assert "Open settings" not in stranger.text
    assert "Sign out" not in stranger.text
    member = Page(admin.client.get("/", secure=True))
    assert f'<a class="button" href="{PATH}">Open settings</a>' in member.html
    assert f"{admin.portal.hub_domain} {admin.portal.id}" in member.text
    assert "Sign out" in member.text


@pytest.mark.parametrize("path", ["/help", "/privacy", "/terms"])
def test_it_explains_itself_to_everybody(client: Client, db: None, path: str) -> None:
    page = Page(client.get(path, secure=True))
    assert len(page.text) > 1000
    assert f'<a href="{path}">' in Page(client.get("/", secure=True)).html


def test_it_offers_to_start_a_failed_installation_again() -> None:
    response = Client().get("/hubspot/oauth/callback?error=access_denied", secure=True)
    assert response.status_code == 400
    page = Page(response)
    assert "because the request was declined" in page.text
    assert '<a class="button" href="/hubspot/install">Start again</a>' in page.html


def test_it_says_what_hubspot_refuses_and_what_to_do(admin: Admin) -> None:
    RefusedFeature.objects.create(
        portal=admin.portal, feature="property:no_more", reason="property_doesnt_exist", refused_at=timezone.now()
    )
    page = admin.opens()
    assert "contact property no_more" in page.text
    assert "choose another one in the settings" in page.text
