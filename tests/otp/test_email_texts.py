"""The admin's pages for the texts of the mail, by their forms; the preview and the file they come and go with."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from hubspot_integration.models import Portal
from otp.models import AuditEvent, AuditNote, EmailTexts, OTPSettings
from tests import factories
from tests.otp.test_settings_page import Admin, signed_in
from tests.page import Page

LIST = "/settings/texts"
GERMAN = "/settings/texts/in/de"
OWN = {"subject": "Ihr Code bei {company}", "greeting": "Moin {first_name},", "body_text": "", "footer_text": ""}


@pytest.fixture
def admin(portal: Portal) -> Admin:
    return signed_in(portal)


def seen(admin: Admin, path: str = GERMAN) -> str:
    html = admin.client.get(path, secure=True).content.decode()
    return html.partition('name="seen" value="')[2].partition('"')[0]


def save(admin: Admin, path: str = GERMAN, **changes: str) -> Any:
    return admin.client.post(path, {**OWN, "seen": seen(admin, path), **changes}, secure=True)


def upload(admin: Admin, content: bytes) -> Any:
    file = SimpleUploadedFile("texts.json", content, content_type="application/json")
    return admin.client.post(f"{LIST}/import", {"texts": file}, secure=True)


def file_of(texts: Any) -> bytes:
    return json.dumps({"format": "OpsAgent OTP texts 1", "languages": texts}).encode()


# ---------------------------------------------------------------- writing


def test_it_tells_own_texts_from_the_apps(admin: Admin) -> None:
    page = Page(admin.client.get(GERMAN, secure=True))
    assert page.control("Greeting").value == ""
    assert page.control("Greeting").attributes["placeholder"] == "Guten Tag,"
    assert "Yours" not in page.text
    response = save(admin)
    assert (response.status_code, response["Location"]) == (302, GERMAN)
    page = Page(admin.client.get(GERMAN, secure=True))
    assert page.control("Greeting").value == "Moin {first_name},"
    assert page.text.count("Yours") == 2
    assert "German (Deutsch) Yours: Email Subject, Greeting" in Page(admin.client.get(LIST, secure=True)).text


def test_it_gives_one_text_back_to_the_app(admin: Admin) -> None:
    save(admin)
    save(admin, reset="greeting", subject="typed meanwhile")
    texts = EmailTexts.objects.get()
    assert (texts.subject, texts.greeting) == (OWN["subject"], "")
    save(admin, reset="subject")
    assert not EmailTexts.objects.exists()
    assert save(admin, reset="portal").status_code == 404


def test_it_records_what_was_changed(admin: Admin) -> None:
    save(admin)
    event = AuditEvent.objects.get()
    assert event.action == "settings_changed"
    note = AuditNote.objects.get()
    assert event.detail == {"texts": ["de greeting", "de subject"], "note": str(note.id)}
    assert json.loads(note.typed) == {"de subject": ["", OWN["subject"]], "de greeting": ["", OWN["greeting"]]}


def test_it_never_saves_over_what_another_admin_has_saved(admin: Admin) -> None:
    before = seen(admin)
    save(signed_in(admin.portal), greeting="Servus,")
    response = save(admin, seen=before)
    assert response.status_code == 409
    assert "Somebody else has changed these texts" in Page(response).text
    assert "Servus," in Page(response).text
    assert EmailTexts.objects.get().greeting == "Servus,"
    now = response.content.decode().partition('name="seen" value="')[2].partition('"')[0]
    assert save(admin, seen=now).status_code == 302
    assert EmailTexts.objects.get().greeting == OWN["greeting"]


@pytest.mark.parametrize(
    ("label", "field", "text", "sentence"),
    [
        ("Email Subject", "subject", "{code}", "Email Subject must not hold the code: it shows on locked screens."),
        ("Greeting", "greeting", "a\nb", "Greeting is a single line. Remove the line break."),
        ("Body Text", "body_text", "{nme}", "Body Text: {nme} is not a placeholder."),
        ("Body Text", "body_text", "{ company }", "Body Text: { company } is not a placeholder. Write {company}."),
        ("Email Subject", "subject", "{{ code }}", "Email Subject must not hold the code: it shows on locked screens."),
        ("Footer Text", "footer_text", "x\u202ey", "Footer Text holds an invisible character that reverses"),
        ("Footer Text", "footer_text", "x" * 2001, "Footer Text has 2,001 characters. Shorten it to 2,000."),
    ],
)
def test_it_refuses_what_a_mail_cannot_hold(admin: Admin, label: str, field: str, text: str, sentence: str) -> None:
    response = save(admin, **{field: text})
    assert response.status_code == 200
    page = Page(response)
    assert page.error(label).startswith(sentence)
    assert page.control(label).value == text
    assert not EmailTexts.objects.exists()


def test_it_wants_all_of_a_language_that_the_app_does_not_speak(admin: Admin) -> None:
    path = "/settings/texts/in/tlh"
    page = Page(save(admin, path))
    assert page.error("Body Text").startswith("The app has no text of its own in this language. Write Body Text,")
    assert save(admin, path, body_text="ngoq:").status_code == 302
    assert save(admin, path, subject="", greeting="").status_code == 302
    assert not EmailTexts.objects.exists()


@pytest.mark.parametrize("language", ["DE", "pt_br", "..", "x", "%3Cb%3E", "d" * 30])
def test_it_knows_a_language_by_one_address(admin: Admin, language: str) -> None:
    assert admin.client.get(f"/settings/texts/in/{language}", secure=True).status_code == 404


def test_it_leads_to_the_language_that_is_chosen(admin: Admin) -> None:
    response = admin.client.get(LIST, {"language": "pt_BR"}, secure=True)
    assert response["Location"] == "/settings/texts/in/pt-br"
    assert admin.client.get(LIST, {"language": "<b>"}, secure=True).status_code == 200


def test_it_concerns_the_portal_of_the_session_only(admin: Admin) -> None:
    save(admin)
    other = signed_in(factories.OAuthGrantFactory.create().portal)
    assert "Moin" not in other.client.get(GERMAN, secure=True).content.decode()
    assert "Moin" not in other.client.get(f"{LIST}/export", secure=True).content.decode()
    assert upload(other, file_of({})).status_code == 302
    assert EmailTexts.objects.get().portal == admin.portal


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", LIST),
        ("get", GERMAN),
        ("post", GERMAN),
        ("get", f"{GERMAN}/preview"),
        ("post", f"{GERMAN}/test"),
        ("get", f"{LIST}/export"),
        ("post", f"{LIST}/import"),
    ],
)
def test_it_sends_strangers_to_the_landing_page(db: None, method: str, path: str) -> None:
    response = getattr(Client(), method)(path, secure=True)
    assert (response.status_code, response["Location"]) == (302, "/")


# ---------------------------------------------------------------- the preview


def test_it_previews_what_is_typed_and_saves_nothing(admin: Admin) -> None:
    response = admin.client.post(f"{GERMAN}/preview", OWN, secure=True)
    html = response.content.decode()
    assert "Moin Ada," in html
    assert "482951" in html
    assert 'lang="de"' in html
    assert not EmailTexts.objects.exists()


def test_it_previews_every_look(admin: Admin) -> None:
    light, dark, text = (
        admin.client.post(f"{GERMAN}/preview", {**OWN, "look": look}, secure=True) for look in ("light", "dark", "text")
    )
    assert "prefers-color-scheme" not in light.content.decode() + dark.content.decode()
    assert "@media all" in dark.content.decode()
    assert "@media all" not in light.content.decode()
    assert text["Content-Type"] == "text/plain; charset=utf-8"
    assert "Moin Ada," in text.content.decode()


def test_it_previews_right_to_left(admin: Admin) -> None:
    assert 'dir="rtl"' in admin.client.get("/settings/texts/in/ar/preview", secure=True).content.decode()
    assert 'dir="rtl"' in admin.client.get("/settings/texts/in/ar", secure=True).content.decode()


def test_it_shows_the_preview_in_its_own_pages_only_and_runs_nothing_in_it(admin: Admin) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    response = admin.client.post(f"{GERMAN}/preview", {**OWN, "greeting": hostile}, secure=True)
    assert "<script>" not in response.content.decode()
    assert "&lt;script&gt;" in response.content.decode()
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "script-src" not in policy.replace("script-src 'self'", "")
    assert response["X-Frame-Options"] == "SAMEORIGIN"


def test_it_says_in_the_preview_what_is_wrong(admin: Admin) -> None:
    response = admin.client.post(f"{GERMAN}/preview", {**OWN, "greeting": "{nme}"}, secure=True)
    assert "There is no preview yet." in response.content.decode()
    assert "{nme} is not a placeholder" in response.content.decode()


# ---------------------------------------------------------------- the test mail


def test_it_sends_a_test_to_whoever_asks_and_to_nobody_else(admin: Admin, mailoutbox: list[Any]) -> None:
    response = admin.client.post(f"{GERMAN}/test", {**OWN, "to": "eve@example.com"}, secure=True)
    (mail,) = mailoutbox
    assert len(mail.to) == 1
    assert mail.to[0].endswith("@company.example")
    assert "Moin Ada," in mail.body
    page = Page(response)
    assert f"A test mail is on its way to {mail.to[0]}." in page.text
    assert page.control("Greeting").value == OWN["greeting"]
    assert not EmailTexts.objects.exists()


def test_it_sends_no_more_than_a_few_tests(admin: Admin, mailoutbox: list[Any]) -> None:
    for _ in range(5):
        admin.client.post(f"{GERMAN}/test", OWN, secure=True)
    response = admin.client.post(f"{GERMAN}/test", OWN, secure=True)
    assert "You have had 5 test mails. Try again in" in Page(response).text
    assert len(mailoutbox) == 5


def test_it_sends_no_test_of_what_is_wrong(admin: Admin, mailoutbox: list[Any]) -> None:
    response = admin.client.post(f"{GERMAN}/test", {**OWN, "subject": "{code}"}, secure=True)
    assert "Email Subject must not hold the code" in Page(response).text
    assert mailoutbox == []


# ---------------------------------------------------------------- the file


def test_it_takes_back_what_it_has_exported(admin: Admin) -> None:
    save(admin)
    save(admin, "/settings/texts/in/ar", greeting="مرحبا", body_text="one\ntwo")
    exported = admin.client.get(f"{LIST}/export", secure=True)
    assert 'attachment; filename="opsagent-otp-texts.json"' in exported["Content-Disposition"]
    before = list(EmailTexts.objects.order_by("language").values("language", "subject", "greeting", "body_text"))
    save(admin, reset="subject")
    save(admin, "/settings/texts/in/fr", greeting="Salut,")
    assert upload(admin, exported.content)["Location"] == LIST
    assert "The texts of 2 languages are taken over." in Page(admin.client.get(LIST, secure=True)).text
    assert (
        list(EmailTexts.objects.order_by("language").values("language", "subject", "greeting", "body_text")) == before
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "There is no file, or it is empty."),
        (b"{", "The file is not JSON in UTF-8."),
        (b"\xff\xfe", "The file is not JSON in UTF-8."),
        (b"[" * 100_000, "The file is not JSON in UTF-8."),
        (b"[]", "“format” is not “OpsAgent OTP texts 1”."),
        (b'{"format": "OpsAgent OTP texts 1", "languages": []}', "“languages” does not hold texts by language"),
        (b'{"format": "OpsAgent OTP texts 1", "languages": {}, "extra": 1}', "“extra” is not known. Remove it."),
        (b'{"format": "OpsAgent OTP texts 1", "languages": {"de": {}, "de": {}}}', "“de” is there twice."),
        (b'{"\\ud83d": 1, "\\ud83d": 1}', r"“\ud83d” is there twice."),
        (b'{"format": "OpsAgent OTP texts 1", "languages": {}, "\\ud83d": 1}', r"“\ud83d” is not known. Remove it."),
        (b'{"format": NaN, "languages": {}}', "The file is not JSON in UTF-8."),
        (b'{"format": "\\ud83d", "languages": {}}', "“format” is not"),
        ("{}".encode("utf-16"), "The file is not JSON in UTF-8."),
        ("{}".encode("utf-32"), "The file is not JSON in UTF-8."),
        (b"\xef\xbb\xbf{}", "“format” is not"),
        (b"\0", "The file is not JSON in UTF-8."),
        (b'{"a":' * 50_000, "The file is not JSON in UTF-8."),
        (b"9" * 10_000, "The file is not JSON in UTF-8."),
        (file_of({"\ud83d": {}}), r"“\ud83d” is not a language code."),
        (file_of({"\0": {}}), r"“\x00” is not a language code."),
        (file_of({"d\u202ee": {}}), r"“d\u202ee” is not a language code."),
        (file_of({"x" * 100_000: {}}), "x…” is not a language code."),
        (file_of({"": {}}), "“” is not a language code."),
        (file_of({"de": {"\ud83d": "x"}}), r"de: “\ud83d” is not known."),
        (file_of({"de": {"\u202egreeting\n": "x"}}), r"de: “\u202egreeting\n” is not known."),
        (file_of({"de": {"greeting": None}}), "de: Greeting is not a text."),
        (file_of({"de": {"greeting": {"x": 1}}}), "de: Greeting is not a text."),
        (file_of({"de": "x"}), "de: there are no texts, but something else."),
        (file_of({"de": {"greeting": "{\ud83d}"}}), r"de: Greeting: {\ud83d} is not a placeholder."),
        (file_of({"de": {"greeting": "a\0b"}}), "de: Greeting holds an invisible control character."),
        (file_of({"<b>": {}}), "“<b>” is not a language code."),
        (file_of({"pt_BR": {}, "pt-br": {}}), "“pt-br” is there twice."),
        (file_of({"de": []}), "de: there are no texts, but something else."),
        (file_of({"de": {"greeting": 1}}), "de: Greeting is not a text."),
        (file_of({"de": {"gretting": "x"}}), "de: “gretting” is not known."),
        (file_of({"de": {"subject": "{code}"}}), "de: Email Subject must not hold the code"),
        (file_of({"de": {"subject": "{ code }"}}), "de: Email Subject must not hold the code"),
        (
            file_of({"de": {"greeting": "{{ contact.firstname }}"}}),
            "de: Greeting: {{ contact.firstname }} is not a placeholder. Write {first_name}.",
        ),
        (file_of({"de": {"subject": "x" * 151}}), "de: Email Subject has 151 characters. Shorten it to 150."),
        (file_of({"de": {"body_text": "\ud800"}}), "de: Body Text holds an invisible control character."),
        (
            file_of({"tlh": {"greeting": "nuqneH"}}),
            "tlh: The app has no text of its own in this language. Write Email Subject",
        ),
        (b" " * 1_000_001, "The file is larger than 1,000,000 bytes."),
    ],
)
def test_it_takes_a_file_as_a_whole_or_not_at_all(admin: Admin, content: bytes, reason: str) -> None:
    save(admin)
    before = list(EmailTexts.objects.values())
    response = upload(admin, content)
    assert response.status_code == 400
    text = Page(response).text
    assert "The file was not taken, and nothing was changed." in text
    assert reason in text
    assert list(EmailTexts.objects.values()) == before


def test_it_names_the_first_of_very_many_mistakes(admin: Admin) -> None:
    response = upload(admin, file_of({"de": {f"x{number}": "" for number in range(50_000)}}))
    assert response.status_code == 400
    assert "de: “x0” is not known." in Page(response).text
    assert "And 49,950 more of the kind." in Page(response).text
    assert len(response.content) < 50_000


def test_it_names_every_mistake_of_a_file(admin: Admin) -> None:
    text = Page(upload(admin, file_of({"de": {"subject": "{code}"}, "fr": {"greeting": "{x}"}}))).text
    assert "de: Email Subject" in text
    assert "fr: Greeting: {x} is not a placeholder." in text


def test_it_asks_for_a_file_when_there_is_none(admin: Admin) -> None:
    response = admin.client.post(f"{LIST}/import", {}, secure=True)
    assert "There is no file, or it is empty." in Page(response).text
    assert OTPSettings.objects.count() == 1
