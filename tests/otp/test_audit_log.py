"""What the database itself sees to in the audit log, whatever the product's own role says with plain statements."""

import datetime as dt
import json
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction
from django.utils import timezone

from hubspot_integration.models import Portal
from otp import audit, tasks
from otp.audit import Action, ActorKind
from otp.models import AuditChain, AuditEvent, AuditLink, AuditMark, AuditNote, OTPSettings
from otp.upkeep import audit_check, retention
from tests import factories
from tests.audit_log import forge, recorded_when_it_happened, run

pytestmark = pytest.mark.django_db(transaction=True)

DAY = dt.timedelta(days=1)


def ago(days: float) -> dt.datetime:
    return timezone.now() - days * DAY


def line(portal: Portal, at: dt.datetime | None = None, actor: str = "staff@example.com") -> AuditEvent:
    audit.record(
        portal=portal, at=at or timezone.now(), actor=actor, actor_kind=ActorKind.STAFF, action=Action.LOCK_LIFTED
    )
    return AuditEvent.objects.latest("id")


def as_the_retention_job(sql: str) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('opsagent.retention', 'on', true)")
        cursor.execute(sql)
        return int(cursor.rowcount)


def test_this_role_is_an_ordinary_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False, False, False)


# ---------------------------------------------------------------- terms


def test_a_line_keeps_the_term_that_held_when_it_was_written(portal: Portal) -> None:
    for days in (90, 1, 365):
        OTPSettings.objects.update(retention_days=days)
        line(portal)
    OTPSettings.objects.update(retention_days=7)
    terms = [one.keep_until - one.recorded_at for one in AuditEvent.objects.order_by("id")]
    assert terms == [90 * DAY, DAY, 365 * DAY]


def test_the_databases_clock_says_when_a_line_was_recorded(portal: Portal) -> None:
    with time_machine.travel(ago(30), tick=False):
        one = line(portal)
    assert one.at < ago(29)
    assert abs(one.recorded_at - timezone.now()) < dt.timedelta(minutes=1)
    assert one.keep_until == one.recorded_at + 90 * DAY


@pytest.mark.parametrize("column", ["recorded_at", "keep_until"])
def test_nobody_chooses_when_a_line_was_recorded_and_how_long_it_is_kept(portal: Portal, column: str) -> None:
    run(
        "INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, detail, written_in, "
        f"{column}) VALUES (%s, '2000-01-01', 'forged', 'staff', 'lock_lifted', '{{}}', 7, '2000-01-01')",
        portal.id,
    )
    one = AuditEvent.objects.get()
    assert abs(one.recorded_at - timezone.now()) < dt.timedelta(minutes=1)
    assert one.keep_until == one.recorded_at + 90 * DAY
    assert one.written_in > 7


def test_a_table_that_looks_like_the_settings_changes_no_term(portal: Portal) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE otp_otpsettings (portal_id bigint, retention_days int) ON COMMIT DROP")
        cursor.execute("INSERT INTO pg_temp.otp_otpsettings VALUES (%s, -1000)", [portal.id])
        cursor.execute("SET LOCAL search_path = pg_temp, public")
        cursor.execute(
            "INSERT INTO public.otp_auditevent (portal_id, at, actor, actor_kind, action, detail) "
            "VALUES (%s, now(), 'x', 'staff', 'lock_lifted', '{}')",
            [portal.id],
        )
    one = AuditEvent.objects.get()
    assert one.keep_until == one.recorded_at + 90 * DAY


@pytest.mark.parametrize("days", [0, 3651])
def test_no_term_is_shorter_than_a_day_or_longer_than_ten_years(portal: Portal, days: int) -> None:
    with pytest.raises(IntegrityError, match="records_are_kept_a_day_to_ten_years"):
        OTPSettings.objects.update(retention_days=days)


# ---------------------------------------------------------------- what plain statements cannot do

TRICKS = {
    "nothing": (),
    "says that the portal is long gone": ("UPDATE hubspot_integration_portal SET disconnected_at = '2000-01-01'",),
    "shortens the period": ("UPDATE otp_otpsettings SET retention_days = 1",),
    "deletes the settings": ("DELETE FROM otp_otpsettings",),
    "deletes the portal": (
        "DELETE FROM otp_otpsettings",
        "DELETE FROM hubspot_integration_oauthgrant",
        "DELETE FROM hubspot_integration_portal",
    ),
    "deletes the chain first": ("DELETE FROM otp_auditmark",),
}
CHANGES = (
    "DELETE FROM otp_auditevent",
    "UPDATE otp_auditevent SET actor = 'nobody'",
    "UPDATE otp_auditevent SET recorded_at = '2000-01-01'",
    "UPDATE otp_auditevent SET keep_until = '2000-01-01'",
    "UPDATE otp_auditevent SET written_in = 0",
    """UPDATE otp_auditevent SET detail = '{"note": "x"}'""",
    "DELETE FROM otp_auditlink",
    "UPDATE otp_auditlink SET hash = digest",
    "UPDATE otp_auditlink SET sequence = sequence + 1",
    "UPDATE otp_auditlink SET keep_until = '2000-01-01'",
    "DELETE FROM otp_auditchain",
    "UPDATE otp_auditchain SET sequence = 1",
    "INSERT INTO otp_auditchain VALUES (7, 3, '\\x00')",
)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("trick", TRICKS)
def test_the_database_refuses_to_change_the_log(portal: Portal, trick: str, change: str) -> None:
    line(portal, ago(4000))
    line(portal, ago(4000))
    tasks.chain_audit_lines()
    before = [list(model._default_manager.order_by("pk").values()) for model in (AuditEvent, AuditLink, AuditChain)]
    for sql in TRICKS[trick]:
        run(sql)
    with pytest.raises(ProgrammingError, match=r"only ever added|follows from its links"):
        as_the_retention_job(change)
    after = [list(model._default_manager.order_by("pk").values()) for model in (AuditEvent, AuditLink, AuditChain)]
    assert after == before
    assert len(before[0]) == 2


def test_lines_whose_time_is_over_are_the_retention_jobs_alone(portal: Portal) -> None:
    line(portal, ago(91))
    recorded_when_it_happened()
    for sql in ("DELETE FROM otp_auditevent", "UPDATE otp_auditevent SET actor = 'nobody'"):
        with pytest.raises(ProgrammingError, match="only ever added"):
            run(sql)
    assert as_the_retention_job("DELETE FROM otp_auditevent") == 1


def test_the_declaration_ends_with_its_transaction(portal: Portal) -> None:
    line(portal, ago(91))
    recorded_when_it_happened()
    as_the_retention_job("SELECT 1")
    with pytest.raises(ProgrammingError, match="only ever added"):
        run("DELETE FROM otp_auditevent")


def test_links_from_the_middle_stay(portal: Portal) -> None:
    """Somebody deletes a line whose time is over and then its link: the numbers would have a gap."""
    OTPSettings.objects.update(retention_days=365)
    line(portal, ago(100))
    recorded_when_it_happened()
    OTPSettings.objects.update(retention_days=1)
    line(portal, ago(50))
    recorded_when_it_happened()
    assert as_the_retention_job("DELETE FROM otp_auditevent WHERE keep_until < now()") == 1
    with pytest.raises(ProgrammingError, match="only the oldest go"):
        run("DELETE FROM otp_auditlink WHERE sequence = 2")


@pytest.mark.parametrize("table", ["otp_auditevent", "otp_auditlink", "otp_auditchain"])
def test_the_role_may_not_empty_the_log(portal: Portal, table: str) -> None:
    line(portal)
    tasks.chain_audit_lines()
    with transaction.atomic(), connection.cursor() as cursor:
        # As an installation has it; tests are granted it to empty their tables.
        cursor.execute(f"REVOKE TRUNCATE ON {table} FROM CURRENT_USER")
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            cursor.execute(f"TRUNCATE {table}")
        cursor.execute(f"GRANT TRUNCATE ON {table} TO CURRENT_USER")
    assert AuditEvent.objects.exists()


def test_nobody_chooses_the_hash_or_the_place_of_a_line(portal: Portal) -> None:
    one = line(portal)
    run(
        "INSERT INTO otp_auditlink (event_id, portal_id, digest, sequence, keep_until, previous, hash) "
        "VALUES (%s, %s, sha256('x'), 77, '2000-01-01', sha256('y'), sha256('z'))",
        one.pk,
        portal.id,
    )
    link = AuditLink.objects.get()
    assert (link.sequence, link.keep_until, bytes(link.previous)) == (1, one.keep_until, bytes(32))
    with pytest.raises(DatabaseError):
        run("INSERT INTO otp_auditlink (event_id, portal_id, digest) VALUES (%s, %s, sha256('x'))", one.pk, portal.id)
    with pytest.raises(ProgrammingError, match="no such audit event"):
        run("INSERT INTO otp_auditlink (event_id, portal_id, digest) VALUES (999, %s, sha256('x'))", portal.id)


# ---------------------------------------------------------------- their end


def test_each_line_goes_when_its_own_time_is_over(portal: Portal) -> None:
    OTPSettings.objects.update(retention_days=365)
    kept = line(portal, ago(100), "kept@example.com")
    recorded_when_it_happened()
    OTPSettings.objects.update(retention_days=30)
    line(portal, ago(31), "over@example.com")
    young = line(portal, ago(29), "young@example.com")
    recorded_when_it_happened()
    tasks.delete_old_records()
    assert set(AuditEvent.objects.exclude(action=Action.RECORDS_DELETED)) == {kept, young}
    # The chain holds over the gap.
    tasks.chain_audit_lines()
    report = audit_check.check(portal_id=portal.id, kept=(), progress=print)
    assert (report.broken, report.lines) == (None, 4)


def test_a_shorter_period_takes_no_line_that_is_there(portal: Portal) -> None:
    OTPSettings.objects.update(retention_days=365)
    for days in (3, 100):
        line(portal, ago(days))
    recorded_when_it_happened()
    OTPSettings.objects.update(retention_days=1)
    tasks.delete_old_records()
    assert AuditEvent.objects.count() == 2


def test_a_line_that_is_not_chained_yet_waits(portal: Portal) -> None:
    line(portal, ago(91))
    recorded_when_it_happened()
    forge("DELETE FROM otp_auditlink")
    tasks.delete_old_records()
    assert AuditEvent.objects.exists()


def test_lines_outlive_their_portal_until_their_time_is_over(portal: Portal) -> None:
    OTPSettings.objects.update(retention_days=365)
    line(portal, ago(370))
    line(portal, ago(200))
    recorded_when_it_happened()
    OTPSettings.objects.update(retention_days=7)
    Portal.objects.update(disconnected_at=ago(8))
    tasks.delete_old_records()
    assert not Portal.objects.exists()
    assert AuditEvent.objects.count() == 1
    tasks.delete_old_records()
    assert AuditEvent.objects.count() == 1
    report = audit_check.check(portal_id=portal.id, kept=(), progress=print)
    assert (report.broken, report.lines) == (None, 1)
    head = report.head
    assert head is not None
    forge("UPDATE otp_auditevent SET keep_until = %s", ago(1))
    forge("UPDATE otp_auditlink SET keep_until = %s", ago(1))
    tasks.delete_old_records()
    assert not AuditEvent.objects.exists()
    assert not AuditLink.objects.exists()
    # What is left of it: how many lines there were, and a hash.
    assert AuditChain.objects.get().sequence == 2
    assert audit_check.portals() == [portal.id]
    assert retention.portals_that_are_gone() == []


def test_a_portal_that_comes_back_goes_on_with_its_chain(portal: Portal) -> None:
    line(portal)
    tasks.chain_audit_lines()
    Portal.objects.update(disconnected_at=ago(91))
    tasks.delete_old_records()
    assert not Portal.objects.exists()
    again = factories.PortalFactory.create(id=portal.id)
    line(again)
    tasks.chain_audit_lines()
    assert list(AuditLink.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2]
    assert audit_check.check(portal_id=again.id, kept=(), progress=print).broken is None


def test_a_note_goes_with_its_line_and_with_the_period_of_today(portal: Portal) -> None:
    def noted(days: float) -> Any:
        note = audit.note(portal=portal, at=ago(days), typed={"why": "x"}, contact_id=904)
        audit.record(
            portal=portal, at=ago(days), actor="agent", actor_kind=ActorKind.AGENT, action=Action.CODE_REVEALED,
            contact_id=904, detail={"note": str(note)},
        )  # fmt: skip
        return note

    OTPSettings.objects.update(retention_days=30)
    noted(31)
    recorded_when_it_happened()
    OTPSettings.objects.update(retention_days=365)
    kept = noted(32)
    recorded_when_it_happened()
    tasks.delete_old_records()
    assert [note.pk for note in AuditNote.objects.all()] == [kept]
    OTPSettings.objects.update(retention_days=7)
    tasks.delete_old_records()
    assert not AuditNote.objects.exists()
    assert AuditEvent.objects.filter(action=Action.CODE_REVEALED).count() == 1


def test_erasing_a_note_leaves_the_chain_whole(portal: Portal) -> None:
    note = audit.note(portal=portal, at=timezone.now(), typed={"why": "Jane Doe called"}, contact_id=904)
    audit.record(
        portal=portal, at=timezone.now(), actor="agent", actor_kind=ActorKind.AGENT, action=Action.CODE_REVEALED,
        contact_id=904, detail={"note": str(note)},
    )  # fmt: skip
    tasks.chain_audit_lines()
    AuditNote.objects.all().delete()
    assert audit_check.check(portal_id=portal.id, kept=(), progress=print).broken is None
    assert audit.typed_in(AuditEvent.objects.all()) == {AuditEvent.objects.get().pk: None}


# ---------------------------------------------------------------- lines that the version before writes during an upgrade


def old_line(portal: Portal, detail: dict[str, Any], *, contact: Any = None, action: str = "code_revealed") -> None:
    run(
        "INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, detail) "
        "VALUES (%s, now(), 'agent@example.com', 'agent', %s, %s, %s::jsonb)",
        portal.id,
        action,
        contact,
        json.dumps(detail),
    )


def test_what_was_typed_is_taken_out_of_a_line_before_it_is_chained(portal: Portal) -> None:
    guard = factories.ContactGuardFactory.create(portal=portal, contact_id=904)
    old_line(portal, {"why": "Jane Doe called", "request": "card:x"}, contact=guard.pseudonym)
    old_line(portal, {"code_length": [6, 8], "greeting": ["", "Dear Jane"]}, action="settings_changed")
    tasks.chain_audit_lines()
    revealed, changed = AuditEvent.objects.order_by("id")
    notes = {str(note.pk): note for note in AuditNote.objects.all()}
    note = notes[revealed.detail["note"]]
    assert (note.contact_id, json.loads(note.typed)["why"]) == (904, "Jane Doe called")
    assert revealed.detail.keys() == {"note"}
    assert changed.detail == {"code_length": [6, 8], "texts": ["greeting"], "note": changed.detail["note"]}
    assert notes[changed.detail["note"]].contact_id is None
    assert audit_check.check(portal_id=portal.id, kept=(), progress=print).broken is None


def test_what_was_said_of_somebody_who_is_erased_is_kept_nowhere(portal: Portal) -> None:
    guard = factories.ContactGuardFactory.create(portal=portal, contact_id=904)
    old_line(portal, {"why": "Jane Doe called"}, contact=guard.pseudonym)
    guard.delete()
    tasks.chain_audit_lines()
    assert not AuditNote.objects.exists()
    assert audit.typed_in(AuditEvent.objects.all()) == {AuditEvent.objects.get().pk: None}


@pytest.mark.parametrize(
    "detail", ['{"note": "x", "request": "kept"}', '{"note": "x", "more": 1}', "{}", '{"why": "something else"}']
)
def test_a_line_changes_in_no_other_way(portal: Portal, detail: str) -> None:
    old_line(portal, {"why": "Jane Doe called", "reason": "listed"})
    with pytest.raises(ProgrammingError, match="only ever added"):
        run("UPDATE otp_auditevent SET detail = %s::jsonb", detail)


def test_a_chained_line_does_not_change_at_all(portal: Portal) -> None:
    old_line(portal, {"why": "Jane Doe called"})
    run("INSERT INTO otp_auditlink (event_id, portal_id, digest) SELECT id, portal_id, sha256('x') FROM otp_auditevent")
    with pytest.raises(ProgrammingError, match="only ever added"):
        run("""UPDATE otp_auditevent SET detail = '{"note": "x"}'""")


def test_the_mark_is_one_row(portal: Portal) -> None:
    for _ in range(3):
        line(portal)
        tasks.chain_audit_lines()
    assert AuditMark.objects.count() == 1
