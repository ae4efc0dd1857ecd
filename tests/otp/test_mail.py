"""The mail with a code as a portal wants it: its texts and languages, the preview, the test mail, and what arrives."""

import datetime as dt
import re
import zoneinfo
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from emails.content import Content
from emails.languages import stock_texts
from hubspot_integration.models import Portal
from otp import codes
from otp.audit import Action, Actor, ActorKind
from otp.contact.issuing import issue_code
from otp.contact.order import Overrides
from otp.delivery import engine
from otp.mails import to_contacts
from otp.models import AuditEvent, ChannelName, Delivery, DeliveryStatus, EmailTexts, OTPSettings, Source
from tests import factories
from tests.hubspot import HubSpot

NOW = dt.datetime(2026, 11, 23, 13, 30, tzinfo=dt.UTC)


def written(portal: Portal, language: str, **settings: Any) -> Content:
    """Return the preview for a language."""
    own = list(EmailTexts.objects.filter(portal=portal))
    return to_contacts.preview(
        portal=portal, settings=OTPSettings(portal=portal, **settings), own=own, language=language, now=NOW
    )


def arrived(hubspot: HubSpot, portal: Portal, language: str = "") -> dict[str, Any]:
    """Return the mail that a contact gets."""
    issue_code(
        portal_id=portal.id,
        contact_id=1,
        address="ada@example.com",
        first_name="Ada",
        language=language,
        request_key="workflow:1",
        source=Source.WORKFLOW,
        workflow_id="1",
        callback_id="ap-1",
        actor=Actor(ActorKind.WORKFLOW, "workflow 1"),
        overrides=Overrides(),
        now=timezone.now(),
    )
    engine.drain(portal_id=portal.id, channel=ChannelName.EMAIL, clock=timezone.now)
    (received,) = hubspot.mails()
    return received


def test_the_settings_begin_with_the_apps_own_english_texts() -> None:
    fresh, english = OTPSettings(), stock_texts("en", 10)
    assert (fresh.email_subject, fresh.greeting, fresh.body_text, fresh.footer_text) == (
        english.subject,
        english.greeting,
        english.body,
        english.footer,
    )


@pytest.mark.parametrize(
    ("language", "settings", "shown"),
    [
        ("", {}, "Your Verification Code"),
        ("", {"email_subject": "Acme code"}, "Acme code"),
        ("de", {"email_subject": "Acme code"}, "Ihr Bestätigungscode"),
        ("xx", {"email_subject": "Acme code"}, "Acme code"),
        ("xx", {"default_language": "de"}, "Ihr Bestätigungscode"),
        ("de-at", {"default_language": "de", "email_subject": "Ihr Acme-Code"}, "Ihr Acme-Code"),
        ("en", {"default_language": "de", "email_subject": "Ihr Acme-Code"}, "Your Verification Code"),
        ("", {"default_language": "nonsense", "email_subject": "Acme code"}, "Acme code"),
        ("fr", {"default_language": "de"}, "Acme FR"),
        ("fr-ca", {}, "Acme FR"),
    ],
)
def test_it_takes_the_settings_for_the_texts_in_the_default_language(
    portal: Portal, language: str, settings: dict[str, str], shown: str
) -> None:
    EmailTexts.objects.create(portal=portal, language="fr", subject="Acme FR")
    content = written(portal, language, **settings)
    assert content.subject == shown


def test_it_prefers_the_texts_of_a_language_to_the_settings(portal: Portal) -> None:
    EmailTexts.objects.create(portal=portal, language="en", greeting="Hi {first_name},")
    content = written(portal, "en", greeting="Dear all,", email_subject="Acme code")
    assert content.subject == "Acme code"
    assert content.text.startswith("Hi Ada,\n")


def test_it_lets_a_portal_leave_the_footer_out(portal: Portal) -> None:
    assert "ignore this email" not in written(portal, "", footer_text="").text
    assert "ignorieren" in written(portal, "de", footer_text="").text


def test_another_portals_texts_are_another_portals(portal: Portal) -> None:
    other = factories.PortalFactory.create()
    EmailTexts.objects.create(portal=other, language="de", subject="Fremd")
    assert written(portal, "de").subject == "Ihr Bestätigungscode"


@pytest.mark.parametrize("code_type", ["numeric", "alphanumeric", "alpha"])
@pytest.mark.parametrize("length", [4, 6, 8])
def test_it_previews_a_code_of_the_portals_kind(portal: Portal, code_type: str, length: int) -> None:
    content = written(portal, "en", code_type=code_type, code_length=length)
    code = content.text.split("\n\n")[2]
    assert codes.fits(code, code_type=codes.CodeType(code_type), length=length)
    assert f">{code}</td>" in content.html


def test_it_says_when_the_code_ends_in_the_accounts_time(portal: Portal) -> None:
    portal.time_zone = "Asia/Tokyo"
    content = written(portal, "de", expiry_minutes=30, footer_text="Bis {expires_at}", default_language="de")
    assert "Gültig bis 23. November 2026 23:00 JST" in content.text
    assert "Bis 23. November 2026 23:00 JST" in content.text
    assert zoneinfo.ZoneInfo("Asia/Tokyo") == portal.zone


def test_it_lays_out_right_to_left_with_the_code_left_to_right(portal: Portal) -> None:
    content = written(portal, "ar")
    assert '<html lang="ar" dir="rtl">' in content.html
    assert re.search(r'<td class="code[^>]*dir="ltr"', content.html)
    # The date stands isolated, or its parts would change places among Arabic words (Unicode Annex 9).
    assert "صالح حتى \u20682026-11-23 13:40 UTC\u2069" in content.text


def test_it_arrives_in_the_contacts_language_from_the_portals_sender(hubspot: HubSpot) -> None:
    portal = hubspot.connect(send_email=True, sender_name="Acme Support", reply_to="help@acme.example")
    received = arrived(hubspot, portal, "pt_BR")
    headers = dict(received["headers"])
    assert received["subject"] == "Seu código de verificação"
    assert headers["From"] == "Acme Support <codes@otp.example.com>"
    assert headers["Reply-To"] == "help@acme.example"
    assert headers["Auto-Submitted"] == "auto-generated"
    assert headers["X-Auto-Response-Suppress"] == "DR, RN, NRN, OOF, AutoReply"
    reference = Delivery.objects.get(channel=ChannelName.EMAIL).code_id
    assert headers["Message-ID"] == f"<{reference}@otp.example.com>"
    assert f"Referência: {reference}" in received["text"]
    assert '<html lang="pt-BR" dir="ltr">' in received["html"]


@pytest.mark.parametrize("field", ["sender_name", "reply_to"])
def test_it_never_lets_a_setting_add_a_header(hubspot: HubSpot, field: str) -> None:
    forged: dict[str, Any] = {field: "a@acme.example\r\nBcc: eve@example.com"}
    portal = hubspot.connect(send_email=True, **forged)
    issue_code(
        portal_id=portal.id,
        contact_id=1,
        address="ada@example.com",
        first_name="",
        language="",
        request_key="workflow:1",
        source=Source.WORKFLOW,
        workflow_id="1",
        callback_id="ap-1",
        actor=Actor(ActorKind.WORKFLOW, "workflow 1"),
        overrides=Overrides(),
        now=timezone.now(),
    )
    engine.drain(portal_id=portal.id, channel=ChannelName.EMAIL, clock=timezone.now)
    assert all("Bcc" not in dict(one["headers"]) for one in hubspot.mails())
    assert all(one["recipients"] == ["ada@example.com"] for one in hubspot.mails())


def test_it_sends_the_admin_a_test_mail_and_writes_it_down(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    member = factories.PortalMemberFactory.create(portal=portal, email="admin@acme.example")
    settings = OTPSettings(portal=portal, email_subject="Not saved yet", sender_name="Acme")
    to_contacts.send_test(member=member, settings=settings, own=[], language="", now=timezone.now())
    (received,) = hubspot.mails()
    assert (received["recipients"], received["subject"]) == (["admin@acme.example"], "Not saved yet")
    (event,) = AuditEvent.objects.all()
    assert (event.portal, event.actor, event.action) == (portal, "admin@acme.example", Action.TEST_MAIL_SENT)
    assert Delivery.objects.count() == 0


def test_it_limits_test_mails(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    member = factories.PortalMemberFactory.create(portal=portal)
    other = factories.PortalMemberFactory.create(portal=portal)

    def send(to: Any, minutes: int) -> None:
        now = NOW + dt.timedelta(minutes=minutes)
        to_contacts.send_test(member=to, settings=OTPSettings(portal=portal), own=[], language="", now=now)

    for minute in range(5):
        send(member, minute)
    with pytest.raises(to_contacts.TooManyTestMails) as refused:
        send(member, 7)
    assert refused.value.retry_after == 180
    send(other, 7)
    send(member, 10)
    assert len(hubspot.mails(member.email)) == 6


def test_it_says_why_a_test_mail_did_not_leave(portal: Portal, settings: Any) -> None:
    member = factories.PortalMemberFactory.create(portal=portal, email="")
    unsaved = OTPSettings(portal=portal)
    with pytest.raises(to_contacts.TestMailRefused, match="Sign in with HubSpot again"):
        to_contacts.send_test(member=member, settings=unsaved, own=[], language="", now=NOW)
    member.email = "admin@acme.example"
    settings.EMAIL_BACKEND, settings.EMAIL_PORT = "django.core.mail.backends.smtp.EmailBackend", 9
    with pytest.raises(to_contacts.TestMailRefused, match=r"did not take the test mail \(connection_failed\)"):
        to_contacts.send_test(member=member, settings=unsaved, own=[], language="", now=NOW)


@pytest.mark.django_db
def test_a_portal_has_one_set_of_texts_per_language(portal: Portal) -> None:
    from django.db import IntegrityError  # noqa: PLC0415 (one test's)

    EmailTexts.objects.create(portal=portal, language="de")
    with pytest.raises(IntegrityError, match="one_set_of_texts_per_language"):
        EmailTexts.objects.create(portal=portal, language="de")


def test_it_mails_in_the_language_as_it_was_when_the_mail_leaves(hubspot: HubSpot) -> None:
    portal = hubspot.connect(send_email=True)
    EmailTexts.objects.create(portal=portal, language="de", subject="Alt")
    with time_machine.travel(timezone.now(), tick=False):
        EmailTexts.objects.update(subject="Neu")
        assert arrived(hubspot, portal, "de-AT")["subject"] == "Neu"
    assert Delivery.objects.get(channel=ChannelName.EMAIL).status == DeliveryStatus.SENT
