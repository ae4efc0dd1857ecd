"""The activity log, used as a portal's admin uses it."""

import csv
import datetime as dt
import html
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hubspot_integration.models import Portal
from otp import audit
from otp.audit import Action, ActorKind
from otp.models import (
    AuditEvent,
    AuditNote,
    ChannelName,
    DeliveryStatus,
    EndReason,
    OneTimeCode,
    OTPSettings,
    Source,
    Verification,
)
from otp.pages import activity
from tests import factories, many_codes
from tests.hubspot import HubSpot
from tests.portal_admin import signed_in

LOG = "/settings/log"
START = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def admin(portal: Portal) -> Client:
    return signed_in(portal)


def code_of(portal: Portal, *, ended: EndReason | None = None, **changes: Any) -> OneTimeCode:
    if ended is not None:
        at = changes.get("created_at") or timezone.now()
        changes |= {"code": None, "ended_at": at + dt.timedelta(seconds=30), "end_reason": ended}
    return factories.OneTimeCodeFactory.create(portal=portal, **changes)


def text_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def references_on(response: Any) -> list[str]:
    """Return the references in the table of codes, as they stand there."""
    return re.findall(r"<code>([0-9a-f-]{36})</code></td>", response.content.decode())


def link(response: Any, words: str) -> str | None:
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{words}</a>', response.content.decode())
    return html.unescape(found[1]) if found else None


def posted(admin: Client, **filters: str) -> Any:
    return admin.post(LOG, filters, secure=True, follow=True)


def lines_of(response: Any) -> Iterator[bytes]:
    lines: Iterator[bytes] = iter(response.streaming_content)
    return lines


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rows_of(response: Any) -> list[dict[str, str]]:
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    content = b"".join(lines_of(response))
    assert content.startswith(b"\xef\xbb\xbf")  # or Excel takes it for the encoding of its country
    text = content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


# ---------------------------------------------------------------- the list


def test_it_shows_what_became_of_each_code_and_never_the_code_or_the_whole_address(
    admin: Client, portal: Portal
) -> None:
    code = code_of(portal)
    factories.DeliveryFactory.create(code=code, status=DeliveryStatus.SENT, attempts=1)
    factories.DeliveryFactory.create(
        code=code, channel=ChannelName.CONTACT_PROPERTY, target="otp_code", status=DeliveryStatus.FAILED
    )
    response = admin.get(LOG, secure=True)
    assert response.status_code == 200
    shown = text_of(response)
    assert references_on(response) == [str(code.id)]
    assert f'<td><a href="{LOG}/{code.id}"><time' in shown
    assert "a***@e***.com" in shown
    assert "Waiting for the contact" in shown
    assert re.search(r"E-mail: <span[^>]*>sent", shown)
    assert re.search(r"Contact property: <span[^>]*>failed", shown)
    assert "ann@example.com" not in shown
    assert "482951" not in shown
    assert bytes(code.digest).hex() not in shown


def test_it_says_so_when_there_is_nothing_yet(admin: Client) -> None:
    assert "No code was generated yet" in text_of(admin.get(LOG, secure=True))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("live", ["live"]),
        ("verified", ["used"]),
        ("expired", ["expired", "too late"]),
        ("locked", ["locked"]),
        ("superseded", ["superseded"]),
        ("delivery_failed", ["live", "locked"]),
    ],
)
def test_it_filters_by_result(admin: Client, portal: Portal, result: str, expected: list[str]) -> None:
    codes = {str(reason.value): code_of(portal, ended=reason) for reason in EndReason}
    codes["too late"] = code_of(portal, created_at=timezone.now() - dt.timedelta(minutes=11))
    codes["live"] = code_of(portal)
    factories.DeliveryFactory.create(code=codes["live"], status=DeliveryStatus.FAILED)
    factories.DeliveryFactory.create(code=codes["locked"], status=DeliveryStatus.BOUNCED)
    shown = references_on(posted(admin, result=result))
    assert sorted(shown) == sorted(str(codes[name].id) for name in expected)


def test_it_filters_by_contact_source_and_address(admin: Client, portal: Portal) -> None:
    ann = code_of(portal)
    ben = code_of(portal, contact_id=502, address="ben@EXAMPLE.org".lower(), source=Source.CARD)
    assert references_on(posted(admin, contact="502")) == [str(ben.id)]
    assert references_on(posted(admin, source="workflow")) == [str(ann.id)]
    assert references_on(posted(admin, address=" ben@Example.ORG ")) == [str(ben.id)]
    assert references_on(posted(admin, address="somebody@example.org")) == []


@pytest.mark.parametrize("spelling", ["ada@straße.example", "ada@xn--strae-oqa.example", "ada@STRAẞE.example"])
def test_it_finds_both_spellings_of_a_domain_and_rows_from_before(admin: Client, portal: Portal, spelling: str) -> None:
    before = code_of(portal, address="ada@straße.example")
    now = code_of(portal, address="ada@xn--strae-oqa.example")
    code_of(portal, address="ada@strasse.example")
    assert references_on(posted(admin, address=spelling)) == [str(now.id), str(before.id)]
    assert "ada@straße.example" in text_of(admin.get(f"{LOG}/{now.id}", secure=True))


def test_it_keeps_the_address_out_of_the_url_and_of_every_link(admin: Client, portal: Portal) -> None:
    code_of(portal)
    response = admin.post(LOG, {"address": "ann@example.com"}, secure=True)
    assert response.status_code == 302
    assert "example" not in response["Location"]
    assert "example.com" not in text_of(admin.get(response["Location"], secure=True))


def test_it_finds_an_address_under_every_pepper(admin: Client, portal: Portal, settings: Any) -> None:
    old = code_of(portal)
    settings.CODE_PEPPERS = ["another-pepper-of-at-least-32-characters", *settings.CODE_PEPPERS]
    new = code_of(portal)
    assert references_on(posted(admin, address="ann@example.com")) == [str(new.id), str(old.id)]


def test_it_filters_by_days_in_the_portals_own_time_zone(admin: Client, portal: Portal) -> None:
    portal.time_zone = "Asia/Tokyo"
    portal.save()
    late = code_of(portal, created_at=dt.datetime(2026, 3, 1, 15, 30, tzinfo=dt.UTC))  # 2 March, 00:30 in Tokyo
    assert references_on(posted(admin, since="2026-03-02", until="2026-03-02")) == [str(late.id)]
    assert references_on(posted(admin, until="2026-03-01")) == []


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("contact", "ann", "Enter the number that HubSpot shows as the contact's Record ID."),
        ("contact", "9" * 30, "less than or equal to"),
        ("address", "ann", "Enter the whole e-mail address, such as ann@example.com."),
        ("result", "lost", "lost is not one of the available choices"),
        ("since", "soon", "Enter a valid date"),
        ("until", "9999-12-31", "Enter a day of this century, as year-month-day."),
        ("before", "yesterday", "Start again from the newest code."),
        ("before", "9" * 40 + "." + "0" * 32, "Start again from the newest code."),
        ("recipient", "xyz", "Enter the e-mail address again."),
        ("period", "year", "year is not one of the available choices"),
    ],
)
def test_it_says_what_is_wrong_with_a_filter(
    admin: Client, portal: Portal, field: str, value: str, sentence: str
) -> None:
    code_of(portal)
    for response in (admin.get(LOG, {field: value}, secure=True), posted(admin, **{field: value})):
        assert response.status_code == 200
        assert sentence in text_of(response)
        assert references_on(response) == []


def test_it_refuses_days_in_the_wrong_order(admin: Client) -> None:
    assert "before the day in “From”" in text_of(posted(admin, since="2026-03-02", until="2026-03-01"))


def test_pages_hold_every_code_once_though_new_ones_come_in_between(admin: Client, portal: Portal) -> None:
    # Three of one moment at each place where a page may end.
    made = [
        code_of(portal, created_at=START - dt.timedelta(seconds=number // 3))
        for number in range(2 * activity.PAGE_SIZE + 5)
    ]
    seen: list[str] = []
    address: str | None = LOG
    pages = 0
    while address:
        response = admin.get(address, secure=True)
        seen += references_on(response)
        pages += 1
        address = link(response, "Older")
        address = address and (address if address.startswith("/") else LOG + address)
        code_of(portal, created_at=START + dt.timedelta(seconds=pages))
    assert pages == 3
    assert len(seen) == len(set(seen)) == len(made)
    assert set(seen) == {str(code.id) for code in made}


def test_a_page_says_how_far_it_looked_and_the_next_one_goes_on_there(
    admin: Client, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "REACH", 10)
    locked = code_of(portal, ended=EndReason.LOCKED, created_at=START)
    for number in range(15):
        code_of(portal, created_at=START + dt.timedelta(seconds=number + 1))
    first = posted(admin, result="locked")
    assert references_on(first) == []
    assert "This page looked back to 23 Nov 2026, 12:00:06" in text_of(first)
    older = link(first, "Older")
    assert older
    second = admin.get(older, secure=True)
    assert references_on(second) == [str(locked.id)]
    assert link(second, "Older") is None


def test_a_page_costs_the_same_number_of_queries_however_many_codes_there_are(admin: Client, portal: Portal) -> None:
    def queries(**filters: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as context:
            assert admin.get(LOG, filters, secure=True).status_code == 200
        return len(context)

    counts = []
    for number in (5, 60):
        for _ in range(number):
            factories.DeliveryFactory.create(code=code_of(portal), status=DeliveryStatus.SENT)
        counts.append((queries(), queries(result="verified"), queries(contact="501")))
    assert counts[0] == counts[1]


def test_it_has_words_for_everything() -> None:
    assert set(activity.ACTION_WORDS) == {action.value for action in Action}
    assert set(activity.CHANNEL_WORDS) == {channel.value for channel in ChannelName}
    assert set(activity.SOURCE_WORDS) == {source.value for source in Source}
    assert set(activity._OUTCOMES_OF_ENDS) == set(EndReason)


# ---------------------------------------------------------------- one code


def noted(portal: Portal, why: str) -> dict[str, str]:
    return {"note": str(audit.note(portal=portal, at=START, typed={"why": why}, contact_id=501))}


def test_a_codes_page_tells_its_story_in_order(portal: Portal, admin: Client) -> None:
    code = code_of(portal, created_at=START, ended=EndReason.USED)
    delivery = factories.DeliveryFactory.create(
        code=code, status=DeliveryStatus.FAILED, attempts=3, error="recipient_refused_550"
    )
    delivery.settled_at = START + dt.timedelta(seconds=5)
    delivery.save()
    Verification.objects.create(
        portal=portal, contact_id=501, request_key="check", source=Source.CARD, code=code, result="valid",
        reason="verified", attempts_remaining=0, verified_at=START + dt.timedelta(seconds=30),
        created_at=START + dt.timedelta(seconds=30),
    )  # fmt: skip
    audit.record(
        portal=portal, at=START + dt.timedelta(seconds=10), actor="agent@company.example", actor_kind=ActorKind.AGENT,
        action=Action.CODE_REVEALED, contact_id=501, reference=code.id,
        detail=noted(portal, "Read out by phone"),
    )  # fmt: skip
    shown = text_of(admin.get(f"{LOG}/{code.id}", secure=True))
    parts = [
        "Generated", "E-mail: failed", "3 attempts; recipient refused 550", "Revealed the code",
        "agent@company.example: Read out by phone", "Checked: right", "Ended: Verified",
    ]  # fmt: skip
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert "ann@example.com" in shown  # in full here, and only here
    assert "482951" not in shown


def test_a_story_tells_each_thing_once_and_in_words(portal: Portal, admin: Client) -> None:
    code = code_of(portal, created_at=START, source=Source.CARD)
    for channel in ChannelName:
        factories.DeliveryFactory.create(code=code, channel=channel, status=DeliveryStatus.SENT)
    Verification.objects.create(
        portal=portal, contact_id=501, request_key="check", source=Source.CARD, code=code, result="invalid",
        reason="wrong_code", attempts_remaining=1, created_at=START + dt.timedelta(seconds=30),
    )  # fmt: skip
    audit.record(
        portal=portal, at=START, actor="agent@company.example", actor_kind=ActorKind.AGENT, action=Action.CODE_ISSUED,
        contact_id=501, reference=code.id,
    )  # fmt: skip
    shown = text_of(admin.get(f"{LOG}/{code.id}", secure=True))
    assert "; agent@company.example; accepted for 10 minutes" in shown
    assert "Generated a code" not in shown
    for line in (
        "Contact property: written", "E-mail: sent", "Workflow step: completed", "Workflow step, once more: completed",
        "Clearing the contact property: done", "Second look at the contact property: done",
    ):  # fmt: skip
        assert line in shown
    assert "1 attempt left" in shown


def test_another_portals_code_is_not_found(admin: Client) -> None:
    other = factories.OneTimeCodeFactory.create()
    assert admin.get(f"{LOG}/{other.id}", secure=True).status_code == 404
    assert admin.get(f"{LOG}/{uuid4()}", secure=True).status_code == 404


# ---------------------------------------------------------------- sending again


@pytest.fixture
def mailed(hubspot: HubSpot) -> OneTimeCode:
    """A code that expired unused, in a portal of the sandbox that mails its codes."""
    portal = hubspot.connect(send_email=True)
    contact = hubspot.contacts(portal.id)[0]
    return code_of(
        portal,
        ended=EndReason.EXPIRED,
        contact_id=contact["contactId"],
        created_at=timezone.now() - dt.timedelta(hours=1),
    )


def key_on(response: Any) -> str:
    found = re.search(r'name="idempotency_key" value="([0-9a-f]+)"', response.content.decode())
    assert found
    return found[1]


def test_sending_again_is_confirmed_first_and_makes_one_new_code(mailed: OneTimeCode) -> None:
    admin = signed_in(mailed.portal, email="boss@company.example")
    path = f"{LOG}/{mailed.id}/send-again"
    assert link(admin.get(f"{LOG}/{mailed.id}", secure=True), "Send again …") == path
    question = admin.get(path, secure=True)
    assert OneTimeCode.objects.count() == 1
    for _ in range(2):  # the second is a double click
        response = admin.post(path, {"idempotency_key": key_on(question)}, secure=True, follow=True)
    new = OneTimeCode.objects.exclude(id=mailed.id).get()
    assert "A new code was made" in text_of(response)
    assert response.redirect_chain[-1][0].endswith(f"{LOG}/{new.id}")
    assert new.code
    assert new.code not in text_of(response)
    assert list(new.deliveries.values_list("channel", flat=True)) == [ChannelName.EMAIL]
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.actor_kind) == ("code_resent", "boss@company.example", "admin")


def test_sending_again_keeps_to_the_limits(mailed: OneTimeCode) -> None:
    OTPSettings.objects.filter(portal=mailed.portal).update(contact_limit_day=1)
    admin = signed_in(mailed.portal)
    response = admin.post(f"{LOG}/{mailed.id}/send-again", {"idempotency_key": uuid4().hex}, secure=True, follow=True)
    assert "Nothing was sent. Too many codes for this contact." in text_of(response)
    assert OneTimeCode.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x"])
def test_sending_again_needs_the_pages_own_key(mailed: OneTimeCode, key: str) -> None:
    response = signed_in(mailed.portal).post(
        f"{LOG}/{mailed.id}/send-again", {"idempotency_key": key}, secure=True, follow=True
    )
    assert "Nothing was sent: the page was damaged." in text_of(response)
    assert OneTimeCode.objects.count() == 1


def test_without_mail_nothing_can_be_sent_again(admin: Client, portal: Portal) -> None:
    code = code_of(portal)
    assert link(admin.get(f"{LOG}/{code.id}", secure=True), "Send again …") is None
    response = admin.post(f"{LOG}/{code.id}/send-again", {"idempotency_key": uuid4().hex}, secure=True, follow=True)
    assert "E-mail is switched off" in text_of(response)


# ---------------------------------------------------------------- export


def test_an_export_holds_what_the_log_shows_and_is_recorded(portal: Portal) -> None:
    admin = signed_in(portal, email="boss@company.example")
    code = code_of(portal, created_at=START, ended=EndReason.USED)
    code_of(portal, contact_id=502)
    factories.DeliveryFactory.create(code=code, status=DeliveryStatus.FAILED, error="recipient_refused_550")
    (row,) = rows_of(admin.post(f"{LOG}/export", {"contact": "501"}, secure=True))
    assert row["Reference"] == str(code.id)
    assert row["Issued at"] == "2026-11-23T12:00:00+00:00"
    assert row["Recipient"] == "a***@e***.com"
    assert row["Outcome"] == "Verified"
    assert (row["E-mail"], row["E-mail error"], row["Property"]) == ("failed", "recipient_refused_550", "off")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor) == ("log_exported", "boss@company.example")


def test_an_export_goes_through_every_step(admin: Client, portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "EXPORT_STEP", 4)
    made = {str(code_of(portal, created_at=START + dt.timedelta(seconds=number // 3)).id) for number in range(14)}
    exported = [row["Reference"] for row in rows_of(admin.post(f"{LOG}/export", {}, secure=True))]
    assert len(exported) == 14
    assert set(exported) == made


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "＠", " =", "\u200b=", "|", "%"])
def test_an_export_holds_no_formulas(admin: Client, portal: Portal, start: str) -> None:
    code_of(portal, workflow_id=f"{start}1+1")
    text = b"".join(lines_of(admin.post(f"{LOG}/export", {}, secure=True))).decode()
    assert f"'{start}1+1" in text


def test_an_export_needs_a_post_and_a_sound_filter(admin: Client, portal: Portal) -> None:
    assert admin.get(f"{LOG}/export", secure=True).status_code == 405
    response = admin.post(f"{LOG}/export", {"result": "lost"}, secure=True, follow=True)
    assert "Nothing was exported" in text_of(response)
    assert not AuditEvent.objects.exists()


def test_an_export_of_a_hundred_thousand_codes_holds_a_step_of_them_at_a_time(admin: Client, portal: Portal) -> None:
    many_codes.insert(portal_id=portal.id, count=100_000, now=timezone.now())
    assert len(rows_of(admin.post(f"{LOG}/export", {"contact": "1500"}, secure=True))) == 100  # loads what it needs
    before = most = resident_bytes()
    number = 0
    for number, _ in enumerate(lines_of(admin.post(f"{LOG}/export", {}, secure=True))):
        if number % activity.EXPORT_STEP == 0:
            most = max(most, resident_bytes())
    assert number == 100_000
    # All the rows at once would be well over a kilobyte each.
    assert most - before < 100_000 * 1024 / 2


# ---------------------------------------------------------------- a contact's trail


def test_a_contacts_trail_is_shown_page_by_page_and_exported(portal: Portal) -> None:
    admin = signed_in(portal, email="boss@company.example")
    for number in range(activity.PAGE_SIZE + 3):
        audit.record(
            portal=portal, at=START, actor=f"agent{number}@company.example", actor_kind=ActorKind.AGENT,
            action=Action.CODE_REVEALED, contact_id=501, detail=noted(portal, "=call()"),
        )  # fmt: skip
    audit.record(
        portal=portal, at=START, actor="other@company.example", actor_kind=ActorKind.AGENT,
        action=Action.CODE_VIEWED, contact_id=502,
    )  # fmt: skip
    path = f"{LOG}/contacts/501"
    first = admin.get(path, secure=True)
    older = link(first, "Older")
    assert older
    second = admin.get(older, secure=True)
    agents = [re.findall(r"agent\d+@company\.example", text_of(page)) for page in (first, second)]
    assert [len(found) for found in agents] == [activity.PAGE_SIZE, 3]
    assert len(set(agents[0] + agents[1])) == activity.PAGE_SIZE + 3
    assert "other@" not in text_of(first)
    rows = rows_of(admin.post(f"{path}/export", secure=True))
    assert rows[0]["What"] == "Exported the audit trail"
    assert rows[0]["Who"] == "boss@company.example"
    assert len(rows) == activity.PAGE_SIZE + 4
    assert rows[1]["Reason given"] == "'=call()"
    AuditNote.objects.all().delete()
    assert rows_of(admin.post(f"{path}/export", secure=True))[2]["Reason given"] == "(erased)"
    assert "Revealed the code: (erased)" in text_of(admin.get(path, secure=True))


def test_a_damaged_place_in_a_trail_shows_the_newest(admin: Client, portal: Portal) -> None:
    factories.ContactGuardFactory.create(portal=portal)
    response = admin.get(f"{LOG}/contacts/501?before=x", secure=True)
    assert "The newest entries are shown." in text_of(response)


@pytest.mark.parametrize("contact", [501, 10**30])
def test_a_contact_that_this_portal_never_met_is_not_found(admin: Client, contact: int) -> None:
    factories.ContactGuardFactory.create()
    assert admin.get(f"{LOG}/contacts/{contact}", secure=True).status_code == 404
    assert admin.post(f"{LOG}/contacts/{contact}/export", secure=True).status_code == 404


# ---------------------------------------------------------------- the funnel


def test_the_chart_counts_the_codes_of_the_chosen_period(admin: Client, portal: Portal) -> None:
    now = timezone.now()
    for ended, seconds in ((EndReason.USED, 20), (EndReason.USED, 40), (EndReason.LOCKED, 60)):
        code = code_of(portal, ended=ended, created_at=now - dt.timedelta(hours=1))
        OneTimeCode.objects.filter(id=code.id).update(ended_at=code.created_at + dt.timedelta(seconds=seconds))
        factories.DeliveryFactory.create(code=code, status=DeliveryStatus.SENT)
    code_of(portal, created_at=now - dt.timedelta(hours=2))  # its time is over, nobody wrote that down yet
    code_of(portal, ended=EndReason.EXPIRED, created_at=now - dt.timedelta(days=5))
    factories.OneTimeCodeFactory.create()
    description = "Issued: {}. Delivered: {}. Verified: {}. Expired: {}. Locked: {}."
    day, week = (
        re.search(r'<desc id="funnel-desc">([^<]+)</desc>', text_of(admin.get(LOG, {"period": name}, secure=True)))
        for name in ("day", "week")
    )
    assert day
    assert week
    assert day[1].strip() == description.format("4", "3 (75 %)", "2 (50 %)", "1 (25 %)", "1 (25 %)")
    assert week[1].strip() == description.format("5", "3 (60 %)", "2 (40 %)", "2 (40 %)", "1 (20 %)")
    assert "<b>30 s</b>" in text_of(admin.get(LOG, secure=True))


def test_the_chart_says_so_when_it_does_not_count_everything(
    admin: Client, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "FUNNEL_LIMIT", 2)
    for _ in range(3):
        code_of(portal)
    assert "these are the latest 2" in text_of(admin.get(LOG, secure=True))


# ---------------------------------------------------------------- many codes


def test_every_page_is_found_through_an_index(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    # As small against this table as the real one is against a million codes.
    monkeypatch.setattr(activity, "REACH", 1000)
    monkeypatch.setattr(activity, "FUNNEL_LIMIT", 2500)
    many_codes.insert(portal_id=portal.id, count=50_000, now=now)
    other = factories.PortalFactory.create()
    many_codes.insert(portal_id=other.id, count=5_000, now=now)
    middle = OneTimeCode.objects.filter(portal=portal).order_by("created_at")[20_000]
    place = activity.Place(middle.created_at, middle.id)
    addresses = activity.digests_of(portal=portal, address="ann@example.com")
    for filters, index in (
        (activity.Filters(), "codes_of_a_portal"),
        (activity.Filters(contact_id=1500), "codes_of_a_contact"),
        (activity.Filters(address_digests=addresses), "codes_of_an_address"),
        (activity.Filters(source="test"), "codes_of_a_portal"),
        (activity.Filters(outcome=activity.CodeOutcome.LOCKED), "codes_of_a_portal"),
        (activity.Filters(outcome=activity.CodeOutcome.DELIVERY_FAILED), "codes_of_a_portal"),
    ):
        with CaptureQueriesContext(connection) as queries:
            activity.page(portal=portal, filters=filters, before=place, now=now)
        read = [
            query["sql"] for query in queries if "otp_onetimecode" in query["sql"] and "EXPLAIN" not in query["sql"]
        ]
        assert read
        for sql in read:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + sql.replace("%", "%%"))
                plan = "\n".join(line for (line,) in cursor.fetchall())
            assert index in plan, plan
            assert "Seq Scan on otp_onetimecode" not in plan, plan
    with CaptureQueriesContext(connection) as queries:
        activity.funnel(portal=other, since=now - dt.timedelta(hours=1), now=now)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + queries[0]["sql"])
        assert "codes_of_a_portal" in "\n".join(line for (line,) in cursor.fetchall())
