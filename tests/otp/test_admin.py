"""The admin, used as a member of the group Support uses it."""

import csv
import datetime as dt
import html
import io
import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hubspot_integration.models import OAuthGrant, Portal
from otp import audit
from otp.audit import Action, ActorKind
from otp.models import AuditEvent, AuditNote, ContactGuard, Delivery, DeliveryStatus, EndReason, OneTimeCode
from otp.pages import portal_settings
from otp.staff import admin as otp_admin
from otp.staff.support import Search
from otp.upkeep import audit_chain
from tests import factories, many_codes
from tests.hubspot import HubSpot
from tests.staff import signed_in

CODES, DELIVERIES = "/admin/otp/onetimecode/", "/admin/otp/delivery/"
CONTACTS, AUDIT = "/admin/otp/contactguard/", "/admin/otp/auditevent/"
PORTALS, SETTINGS = "/admin/hubspot_integration/portal/", "/admin/otp/otpsettings/"
LISTS = (CODES, DELIVERIES, CONTACTS, AUDIT, PORTALS, SETTINGS)


@pytest.fixture
def staff(db: None) -> Client:
    user = User.objects.create_user("sam", "sam@opsagent.example", "a-long-password-of-staff", is_staff=True)
    user.groups.add(Group.objects.get(name="Support"))
    return signed_in(user)


@pytest.fixture
def guard(portal: Portal) -> ContactGuard:
    return factories.ContactGuardFactory.create(
        portal=portal, locked_until=timezone.now() + dt.timedelta(minutes=5), lock_count=1
    )


@pytest.fixture
def code(portal: Portal, guard: ContactGuard) -> OneTimeCode:
    return factories.OneTimeCodeFactory.create(portal=portal)


@pytest.fixture
def failed(code: OneTimeCode) -> Delivery:
    return factories.DeliveryFactory.create(
        code=code, status=DeliveryStatus.FAILED, attempts=4, error="recipient_refused_550"
    )


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def found(staff: Client, path: str, term: str) -> int:
    searched = staff.post(path, {"typed": term}, secure=True) if path.startswith("/admin/otp/") else None
    address = searched["Location"] if searched else f"{path}?q={term}"
    assert "example" not in address or path == PORTALS
    text = text_of(staff.get(address, secure=True))
    assert path == PORTALS or "ann@" not in text
    return len(re.findall(r'name="_selected_action"|<th class="field-', text.partition("<tbody>")[2])) // (
        2 if "_selected_action" in text else 1
    )


def act(staff: Client, path: str, action: str, pk: Any, *, confirm: bool = True) -> str:
    """Choose an action, read the question, and answer it with yes."""
    chosen = {"action": action, "_selected_action": str(pk)}
    question = text_of(staff.post(path, chosen, secure=True))
    assert "Yes, do it" in question
    if not confirm:
        return question
    return text_of(staff.post(path, chosen | {"confirmed": "yes"}, secure=True, follow=True))


# ---------------------------------------------------------------- who may


@pytest.mark.django_db
def test_a_fresh_database_has_the_group_with_exactly_these_rights() -> None:
    rights = {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in Group.objects.get(name="Support").permissions.select_related("content_type")
    }
    assert rights == {
        "hubspot_integration.view_portal",
        "hubspot_integration.disconnect_portal",
        "otp.view_otpsettings",
        "otp.view_contactguard",
        "otp.lift_lock",
        "otp.view_onetimecode",
        "otp.view_delivery",
        "otp.retry_delivery",
        "otp.view_verification",
        "otp.view_auditevent",
    }


@pytest.mark.parametrize("path", LISTS)
def test_staff_without_rights_and_strangers_see_nothing(db: None, path: str) -> None:
    stranger = Client()
    assert stranger.get(path, secure=True).status_code == 302
    stranger = signed_in(User.objects.create_user("new", is_staff=True))
    assert stranger.get(path, secure=True).status_code == 403


@pytest.mark.parametrize("path", LISTS)
def test_nobody_adds_changes_or_deletes(db: None, failed: Delivery, path: str) -> None:
    boss = signed_in(User.objects.create_superuser("boss"))
    model = {
        CODES: OneTimeCode, DELIVERIES: Delivery, CONTACTS: ContactGuard, AUDIT: AuditEvent, PORTALS: Portal,
        SETTINGS: Portal,
    }[path]  # fmt: skip
    audit.record(
        portal=failed.portal, at=timezone.now(), actor="x", actor_kind=ActorKind.SYSTEM, action=Action.CODE_VIEWED
    )
    row = model._default_manager.first()
    assert row is not None
    assert boss.get(f"{path}add/", secure=True).status_code == 403
    assert boss.get(f"{path}{row.pk}/delete/", secure=True).status_code == 403
    assert boss.post(f"{path}{row.pk}/change/", {"portal": 1}, secure=True).status_code == 403
    assert "delete_selected" not in text_of(boss.get(path, secure=True))


# ---------------------------------------------------------------- what is shown


def test_no_page_shows_a_code_a_digest_or_a_token_and_no_list_a_whole_address(
    staff: Client, portal: Portal, failed: Delivery
) -> None:
    grant = OAuthGrant.objects.get(portal=portal)
    code = failed.code
    secrets = [
        "482951",
        bytes(code.digest).hex(),
        bytes(code.address_digest).hex(),
        grant.access_token,
        grant.refresh_token,
    ]
    lists = [text_of(staff.get(path, secure=True)) for path in LISTS]
    assert not [page for page in lists if "ann@example.com" in page]
    assert "a***@e***.com" in lists[0]
    details = [
        f"{CODES}{code.pk}/change/", f"{DELIVERIES}{failed.pk}/change/", f"{PORTALS}{portal.pk}/change/",
        f"{SETTINGS}{portal.pk}/change/", f"{CONTACTS}{ContactGuard.objects.get().pk}/change/",
    ]  # fmt: skip
    pages = lists + [text_of(staff.get(path, secure=True)) for path in details]
    assert not [secret for secret in secrets for page in pages if secret in page]


@pytest.mark.parametrize("path", [CODES, DELIVERIES])
def test_a_whole_address_is_shown_on_one_rows_page_and_that_is_recorded(
    staff: Client, failed: Delivery, path: str
) -> None:
    pk = failed.code_id if path == CODES else failed.pk
    assert not AuditEvent.objects.exists()
    assert "ann@example.com" in text_of(staff.get(f"{path}{pk}/change/", secure=True))
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.actor_kind) == ("address_viewed", "sam", "staff")
    assert event.reference == failed.code_id
    assert event.contact == ContactGuard.objects.get().pseudonym


def test_a_deliverys_page_says_why_it_failed(staff: Client, failed: Delivery) -> None:
    page = text_of(staff.get(f"{DELIVERIES}{failed.pk}/change/", secure=True))
    assert "recipient_refused_550" in page
    assert str(failed.code_id) in page


def test_a_contacts_page_shows_codes_and_trail(staff: Client, guard: ContactGuard, code: OneTimeCode) -> None:
    audit.record(
        portal=guard.portal, at=timezone.now(), actor="agent@company.example", actor_kind=ActorKind.AGENT,
        action=Action.CODE_REVEALED, contact_id=guard.contact_id, reference=code.id,
    )  # fmt: skip
    page = text_of(staff.get(f"{CONTACTS}{guard.pk}/change/", secure=True))
    assert str(code.id) in page
    assert "agent@company.example: Revealed the code" in page


def test_a_reason_is_shown_on_the_codes_page_only_where_looking_is_recorded(
    staff: Client, guard: ContactGuard, code: OneTimeCode
) -> None:
    note = audit.note(portal=guard.portal, at=timezone.now(), typed={"why": "Jane Doe called"}, contact_id=501)
    audit.record(
        portal=guard.portal, at=timezone.now(), actor="agent@company.example", actor_kind=ActorKind.AGENT,
        action=Action.CODE_REVEALED, contact_id=guard.contact_id, reference=code.id, detail={"note": str(note)},
    )  # fmt: skip
    line = AuditEvent.objects.get()
    others = (AUDIT, f"{AUDIT}{line.pk}/change/", CONTACTS, f"{CONTACTS}{guard.pk}/change/", CODES)
    assert not [path for path in others if "Jane" in text_of(staff.get(path, secure=True))]
    assert "agent@company.example: Jane Doe called" in text_of(staff.get(f"{CODES}{code.pk}/change/", secure=True))
    assert AuditEvent.objects.latest("id").action == "address_viewed"
    AuditNote.objects.all().delete()
    assert "agent@company.example: (erased)" in text_of(staff.get(f"{CODES}{code.pk}/change/", secure=True))


def test_an_audit_lines_page_tells_which_texts_were_changed(staff: Client, portal: Portal) -> None:
    portal_settings.change(
        portal=portal, actor="boss@company.example", values={"greeting": "Moin,"}, version=None, now=timezone.now()
    )
    page = text_of(staff.get(f"{AUDIT}{AuditEvent.objects.get().pk}/change/", secure=True))
    assert "greeting: “Hello,” → “Moin,”" in page
    AuditNote.objects.all().delete()
    assert "(erased)" in text_of(staff.get(f"{AUDIT}{AuditEvent.objects.get().pk}/change/", secure=True))


def test_a_line_of_a_portal_that_is_gone_is_still_shown(staff: Client) -> None:
    gone = factories.PortalFactory.create()
    audit.record(portal=gone, at=timezone.now(), actor="x", actor_kind=ActorKind.SYSTEM, action=Action.CODE_VIEWED)
    line = AuditEvent.objects.get()
    audit_chain._add_links([line])
    number = gone.pk
    gone.delete()
    assert str(number) in text_of(staff.get(f"{AUDIT}{line.pk}/change/", secure=True))
    assert found(staff, AUDIT, str(number)) == 1


def test_a_portals_audit_log_is_exported_by_whoever_may_see_it_and_that_is_recorded(
    staff: Client, portal: Portal, code: OneTimeCode
) -> None:
    path = f"{PORTALS}{portal.pk}/audit.csv"
    assert staff.get(path, secure=True).status_code == 302
    assert path in staff.get(f"{PORTALS}{portal.pk}/change/", secure=True).content.decode()
    response: Any = staff.post(path, secure=True)
    (row,) = csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig")))
    assert (row["Who"], row["What"], row["Portal"]) == ("sam", "Exported the audit trail", str(portal.pk))
    stranger = signed_in(User.objects.create_user("kim", password="a-long-password-of-staff", is_staff=True))
    assert stranger.post(path, secure=True).status_code == 404
    assert staff.post(f"{PORTALS}1/audit.csv", secure=True).status_code == 404


# ---------------------------------------------------------------- searching


@pytest.mark.parametrize("path", [CODES, DELIVERIES, CONTACTS, AUDIT])
def test_it_finds_by_portal_contact_address_and_reference(
    staff: Client, portal: Portal, failed: Delivery, path: str
) -> None:
    audit.record(
        portal=portal, at=timezone.now(), actor="x", actor_kind=ActorKind.AGENT, action=Action.CODE_VIEWED,
        contact_id=501, reference=failed.code_id,
    )  # fmt: skip
    other = factories.DeliveryFactory.create(code__contact_id=777, code__address="ben@example.org")
    audit.record(
        portal=other.portal, at=timezone.now(), actor="y", actor_kind=ActorKind.AGENT, action=Action.CODE_VIEWED,
        contact_id=777, reference=other.code_id,
    )  # fmt: skip
    for term in (str(portal.id), "501", "contact:501", " ann@EXAMPLE.com ", str(failed.code_id), f"{portal.id} 501"):
        assert found(staff, path, term) == 1, term
    factories.DeliveryFactory.create(portal=portal, code__portal=portal, code__address="ada@straße.example")
    if path in {CODES, DELIVERIES}:
        assert found(staff, path, "ada@straße.example") == found(staff, path, "ada@xn--strae-oqa.example") == 1
    for term in (
        "contact:502",
        "ann@example.org",
        str(uuid4()),
        "nonsense",
        f"{other.portal_id} ann@example.com",
        "9" * 40,
    ):
        assert found(staff, path, term) == 0, term


def test_an_address_in_a_url_finds_nothing(staff: Client, code: OneTimeCode) -> None:
    for query in ("ann@example.com", "address:ann@example.com", "address:gAAAAA"):
        assert "0 one time codes" in text_of(staff.get(CODES, {"q": query}, secure=True))


def test_it_finds_portals(staff: Client, portal: Portal) -> None:
    factories.PortalFactory.create()
    assert found(staff, PORTALS, str(portal.id)) == 1
    assert found(staff, PORTALS, portal.hub_domain[:15]) == 1


def test_it_finds_settings(staff: Client, portal: Portal) -> None:
    factories.OTPSettingsFactory.create()
    assert found(staff, SETTINGS, str(portal.id)) == 1


# ---------------------------------------------------------------- acting


def test_a_failed_delivery_is_retried_after_a_question(staff: Client, failed: Delivery) -> None:
    act(staff, DELIVERIES, "retry", failed.pk, confirm=False)
    failed.refresh_from_db()
    assert failed.status == DeliveryStatus.FAILED
    assert "Retried: 1." in act(staff, DELIVERIES, "retry", failed.pk)
    failed.refresh_from_db()
    assert (failed.status, failed.attempts, failed.error, failed.settled_at) == ("pending", 0, "", None)
    assert failed.next_attempt_at
    assert failed.next_attempt_at <= timezone.now()
    event = AuditEvent.objects.get()
    assert (event.action, event.actor, event.detail) == ("delivery_retried", "sam", {"channel": "email"})


def test_nothing_is_retried_once_the_code_has_ended_or_the_portal_is_gone(staff: Client, failed: Delivery) -> None:
    Portal.objects.update(disconnected_at=timezone.now())
    assert "the portal is not connected: 1." in act(staff, DELIVERIES, "retry", failed.pk)
    Portal.objects.update(disconnected_at=None)
    OneTimeCode.objects.all().end(EndReason.USED, timezone.now())
    assert "the code has ended" in act(staff, DELIVERIES, "retry", failed.pk)
    failed.refresh_from_db()
    assert failed.status == DeliveryStatus.FAILED
    assert not AuditEvent.objects.exists()


def test_a_lock_is_lifted_after_a_question(staff: Client, guard: ContactGuard) -> None:
    act(staff, CONTACTS, "lift", guard.pk, confirm=False)
    assert ContactGuard.objects.filter(locked_until__isnull=False).exists()
    assert "Lifted: 1." in act(staff, CONTACTS, "lift", guard.pk)
    assert not ContactGuard.objects.filter(locked_until__isnull=False).exists()
    assert AuditEvent.objects.get().actor == "sam"
    assert "Not locked anyway: 1." in act(staff, CONTACTS, "lift", guard.pk)


def test_a_portal_is_disconnected_after_a_question(staff: Client, hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    act(staff, PORTALS, "disconnect", portal.pk, confirm=False)
    assert Portal.objects.connected().exists()
    assert "Disconnected: 1." in act(staff, PORTALS, "disconnect", portal.pk)
    assert not Portal.objects.connected().exists()
    assert not OAuthGrant.objects.filter(portal=portal).exists()
    assert AuditEvent.objects.filter(action="portal_disconnected", actor="sam", actor_kind="staff").exists()


def test_a_portal_is_disconnected_by_whoever_has_just_shown_both_factors(staff: Client, hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    session = staff.session
    session["staff_proven_at"] -= 16 * 60
    session.save()
    chosen = {"action": "disconnect", "_selected_action": str(portal.pk), "confirmed": "yes"}
    assert staff.post(PORTALS, chosen, secure=True)["Location"] == f"/admin/prove/?next={PORTALS.replace('/', '%2F')}"
    assert Portal.objects.connected().exists()


@pytest.mark.parametrize(
    ("path", "action", "right"),
    [
        (DELIVERIES, "retry", "retry_delivery"),
        (CONTACTS, "lift", "lift_lock"),
        (PORTALS, "disconnect", "disconnect_portal"),
    ],
)
def test_an_action_needs_its_own_right(
    staff: Client, portal: Portal, guard: ContactGuard, failed: Delivery, path: str, action: str, right: str
) -> None:
    pk = {DELIVERIES: failed.pk, CONTACTS: guard.pk, PORTALS: portal.pk}[path]
    button = f'name="action" value="{action}"'
    assert button in text_of(staff.get(f"{path}{pk}/change/", secure=True))
    group = Group.objects.get(name="Support")
    group.permissions.remove(group.permissions.get(codename=right))
    assert button not in text_of(staff.get(f"{path}{pk}/change/", secure=True))
    before = list(Delivery.objects.values()), list(ContactGuard.objects.values()), list(Portal.objects.values())
    chosen = {"action": action, "_selected_action": str(pk), "confirmed": "yes"}
    staff.post(path, chosen, secure=True, follow=True)
    assert before == (
        list(Delivery.objects.values()),
        list(ContactGuard.objects.values()),
        list(Portal.objects.values()),
    )


def test_a_contacts_trail_is_exported_and_that_is_recorded(staff: Client, guard: ContactGuard) -> None:
    path = f"{CONTACTS}{guard.pk}/audit.csv"
    assert f'action="{path}"' in text_of(staff.get(f"{CONTACTS}{guard.pk}/change/", secure=True))
    assert staff.get(path, secure=True).status_code == 302
    response: Any = staff.post(path, secure=True)
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))
    assert [(row["Who"], row["What"]) for row in rows] == [("sam", "Exported the audit trail")]


# ---------------------------------------------------------------- many rows


def test_a_list_costs_the_same_number_of_queries_for_10_and_for_200_rows(
    staff: Client, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otp_admin.ReadOnly, "list_per_page", 250)

    def add(number: int, first: int) -> None:
        for contact in range(first, first + number):
            code = factories.OneTimeCodeFactory.create(portal=portal, contact_id=contact)
            factories.DeliveryFactory.create(code=code)
            factories.OTPSettingsFactory.create()
            audit.record(
                portal=portal, at=timezone.now(), actor="x", actor_kind=ActorKind.AGENT, action=Action.CODE_VIEWED,
                contact_id=contact,
            )  # fmt: skip

    def queries() -> list[int]:
        counts = []
        for path in LISTS:
            with CaptureQueriesContext(connection) as context:
                text_of(staff.get(path, secure=True))
            counts.append(len(context))
        return counts

    add(10, 1)
    few = queries()
    add(190, 11)
    assert queries() == few


def test_lists_and_searches_of_many_codes_use_indexes(staff: Client, portal: Portal) -> None:
    many_codes.insert(portal_id=portal.id, count=50_000, now=timezone.now())
    for path, query in (
        (CODES, {}), (CODES, {"q": "contact:1500"}), (CODES, {"q": Search.sealed("ann@example.com")}), (DELIVERIES, {}),
        (DELIVERIES, {"status__exact": "failed"}),
    ):  # fmt: skip
        with CaptureQueriesContext(connection) as context:
            text_of(staff.get(path, query, secure=True))
        reads = [
            item["sql"] for item in context
            if re.search(r'FROM "?otp_(onetimecode|delivery)', item["sql"]) and "COUNT(" not in item["sql"]
        ]  # fmt: skip
        assert reads
        for sql in reads:
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN " + sql)
                plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Index" in plan, plan
            assert not re.search(r"Seq Scan on otp_", plan), plan


def test_a_list_never_counts_more_than_it_leads_to(
    staff: Client, portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otp_admin, "LIST_LIMIT", 60)
    for contact in range(70):
        factories.OneTimeCodeFactory.create(portal=portal, contact_id=contact)
    assert "60 one time codes" in text_of(staff.get(CODES, secure=True))
