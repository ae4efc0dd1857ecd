"""The upgrade of an audit log that is in use: old lines get their terms, and lose what somebody typed."""

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor

from hubspot_integration.models import Portal
from otp import tasks
from otp.models import AuditEvent, AuditNote
from otp.pages import activity
from otp.upkeep import audit_check
from tests import factories
from tests.audit_log import run

pytestmark = pytest.mark.django_db(transaction=True)

OLD_INSERT = (
    "INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, detail) "
    "VALUES (%s, now() - make_interval(days => %s), %s, 'agent', %s, %s, %s::jsonb)"
)


def migrate(name: str) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("otp", name)])


@pytest.fixture
def before(portal: Portal) -> Iterator[Portal]:
    """The schema of the version before."""
    migrate("0003_support_group")
    yield portal
    MigrationExecutor(connection).migrate(MigrationExecutor(connection).loader.graph.leaf_nodes("otp"))
    with connection.cursor() as cursor:  # as conftest.py has it
        cursor.execute("GRANT TRUNCATE ON otp_auditevent, otp_auditlink, otp_auditchain TO CURRENT_USER")


def old_line(portal: Portal, days: int, action: str, detail: dict[str, Any], contact: Any = None) -> None:
    run(OLD_INSERT, portal.id, days, "agent@example.com", action, contact, json.dumps(detail))


def test_old_lines_get_their_terms_and_lose_what_was_typed(before: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    known = factories.ContactGuardFactory.create(portal=before, contact_id=904)
    erased = factories.ContactGuardFactory.create(portal=before, contact_id=905)
    run("UPDATE otp_otpsettings SET retention_days = 30")
    old_line(before, 20, "code_revealed", {"why": "Jane Doe called", "request": "card:x"}, known.pseudonym)
    old_line(before, 10, "code_revealed", {"why": "John Roe called", "request": "card:y"}, erased.pseudonym)
    old_line(before, 9, "settings_changed", {"code_length": [6, 8], "greeting": ["", "Dear Jane"]})
    old_line(before, 8, "settings_changed", {"de subject": ["", "Betreff"]})
    old_line(before, 2, "code_viewed", {}, known.pseudonym)
    run("DELETE FROM otp_contactguard WHERE contact_id = 905")
    monkeypatch.setattr(import_module("otp.migrations.0005_audit_terms_of_old_lines"), "STEP", 2)

    migrate("0006_audit_rules")

    lines = list(AuditEvent.objects.order_by("id"))
    assert [line.recorded_at for line in lines] == [line.at for line in lines]
    assert {(line.keep_until - line.recorded_at).days for line in lines} == {30}
    assert "called" not in json.dumps([line.detail for line in lines])
    assert [line.detail.keys() for line in lines] == [
        {"note"}, {"note"}, {"code_length", "texts", "note"}, {"texts", "note"}, set(),
    ]  # fmt: skip
    assert activity.reasons(lines) == {lines[0].pk: "Jane Doe called", lines[1].pk: activity.ERASED}
    assert set(AuditNote.objects.values_list("contact_id", flat=True)) == {904, None}
    assert AuditNote.objects.get(contact_id=904).created_at == lines[0].at
    with pytest.raises(ProgrammingError, match="only ever added"):
        run("UPDATE otp_auditevent SET recorded_at = now()")
    tasks.chain_audit_lines()
    report = audit_check.check(portal_id=before.id, kept=(), progress=print)
    assert (report.broken, report.lines, report.unchained) == (None, 5, 0)


def test_the_version_before_goes_on_writing_at_every_step(before: Portal) -> None:
    for step in ("0003_support_group", "0004_audit_terms", "0005_audit_terms_of_old_lines", "0006_audit_rules"):
        migrate(step)
        old_line(before, 0, "code_revealed", {"why": f"Jane Doe called, {step}", "request": "card:x"})
    lines = list(AuditEvent.objects.order_by("id"))
    assert [line.written_in > 1 for line in lines] == [False, True, True, True]
    tasks.chain_audit_lines()
    assert "Jane" not in json.dumps(list(AuditEvent.objects.values_list("detail", flat=True)))
    assert AuditNote.objects.count() == 4
    assert audit_check.check(portal_id=before.id, kept=(), progress=print).broken is None


def test_an_upgrade_that_was_stopped_goes_on_where_it_was(before: Portal) -> None:
    for days in range(5, 0, -1):
        old_line(before, days, "code_revealed", {"why": f"Reason {days}"})
    migrate("0004_audit_terms")
    give_terms: Any = import_module("otp.migrations.0005_audit_terms_of_old_lines")
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id) FROM otp_auditevent")
        (first,) = cursor.fetchone()
        give_terms.move_what_was_typed(cursor, 0, first + 1)
    migrate("0006_audit_rules")
    assert AuditNote.objects.count() == 5
    assert not AuditEvent.objects.filter(written_in=0).exists()
