"""The chain of the audit log: nothing is passed over, and whatever is done to it afterwards is found."""

import datetime as dt
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from hubspot_integration.models import Portal
from otp import audit, tasks
from otp.audit import Action, ActorKind
from otp.models import AuditChain, AuditEvent, AuditLink, AuditMark
from otp.upkeep import audit_chain, audit_check
from otp.upkeep.audit_check import Head, Report
from tests import factories
from tests.audit_log import forge, run
from tests.portal_admin import signed_in

pytestmark = pytest.mark.django_db(transaction=True)


def write(portal: Portal, actor: str = "agent@example.com", **detail: Any) -> AuditEvent:
    audit.record(
        portal=portal, at=timezone.now(), actor=actor, actor_kind=ActorKind.AGENT, action=Action.CODE_VIEWED,
        detail=detail,
    )  # fmt: skip
    return AuditEvent.objects.latest("id")


def chained(portal: Portal, number: int = 5) -> list[AuditEvent]:
    lines = [write(portal, f"agent{place}@example.com") for place in range(1, number + 1)]
    tasks.chain_audit_lines()
    return lines


def checked(portal: Portal, *kept: Head) -> Report:
    return audit_check.check(portal_id=portal.id, kept=kept, progress=print)


def verify(*arguments: str) -> str:
    """Run the command; return what stands on standard output. Raises CommandError when something is broken."""
    out = io.StringIO()
    call_command("verify_audit", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def places(portal: Portal) -> list[str]:
    links = AuditLink.objects.filter(portal=portal).order_by("sequence").select_related("event")
    return [link.event.actor for link in links]


@contextmanager
def elsewhere(work: Callable[[], object]) -> Iterator[threading.Event]:
    """Do something in a transaction of its own that stays open; setting the event ends it."""
    begun, end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                work()
                begun.set()
                assert end.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert begun.wait(30)
        yield end
    finally:
        end.set()
        thread.join()


# ---------------------------------------------------------------- how lines get their place


def test_every_line_bears_the_hash_of_the_one_before_it(portal: Portal) -> None:
    chained(portal, 3)
    previous = bytes(32)
    for number, link in enumerate(AuditLink.objects.order_by("sequence").select_related("event"), 1):
        event = link.event
        line = json.dumps(
            {
                "action": "code_viewed", "actor": f"agent{number}@example.com", "actor_kind": "agent",
                "at": event.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "contact": None, "detail": {}, "id": event.pk,
                "portal": portal.id, "recorded_at": event.recorded_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "reference": None, "v": 1,
            },
            separators=(",", ":"),
        )  # fmt: skip
        digest = hashlib.sha256(line.encode()).hexdigest()
        keep_until = link.keep_until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        text = f"1|{portal.id}|{number}|{keep_until}|{digest}|{previous.hex()}"
        assert (link.sequence, bytes(link.previous)) == (number, previous)
        previous = hashlib.sha256(text.encode()).digest()
        assert bytes(link.hash) == previous
    assert checked(portal).head == Head(portal.id, 3, previous)


def test_what_is_hashed_depends_on_no_order_and_no_time_zone(portal: Portal) -> None:
    run(
        "INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, detail) VALUES "
        """(%s, now(), 'Zoë „=“', 'staff', 'lock_lifted', '{"bb": "\\u00e9", "a": [true, null, 12345678901234567890], "c": "x"}')""",
        portal.id,
    )
    event = AuditEvent.objects.get()
    with timezone.override("Asia/Kolkata"), transaction.atomic(), connection.cursor() as cursor:
        again = AuditEvent.objects.get()
        cursor.execute("SET LOCAL timezone TO 'Asia/Kolkata'")
        cursor.execute("SET LOCAL DateStyle TO 'German'")
        audit_chain._add_links([again])
    event.detail = dict(reversed(event.detail.items()))
    assert audit_chain.canonical(event) == audit_chain.canonical(again)
    assert '"detail":{"a":[true,null,12345678901234567890],"bb":"é","c":"x"}' in audit_chain.canonical(event)
    assert checked(portal).broken is None


def test_portals_have_chains_of_their_own(portal: Portal) -> None:
    other = factories.PortalFactory.create()
    for _ in range(2):
        write(portal)
        write(other)
    tasks.chain_audit_lines()
    assert [list(AuditLink.objects.filter(portal=one).order_by("pk").values_list("sequence", flat=True))
            for one in (portal, other)] == [[1, 2], [1, 2]]  # fmt: skip


def test_a_line_that_becomes_visible_late_is_not_passed_over(portal: Portal) -> None:
    write(portal, "first")
    with elsewhere(lambda: audit.record(
        portal=portal, at=timezone.now(), actor="slow", actor_kind=ActorKind.AGENT, action=Action.CODE_VIEWED
    )) as end:  # fmt: skip
        write(portal, "quick")
        tasks.chain_audit_lines()
        assert places(portal) == ["first"]  # what came after an open transaction waits for its end
        report = checked(portal)
        assert (report.broken, report.unchained) == (None, 1)
        end.set()
    tasks.chain_audit_lines()
    assert places(portal) == ["first", "slow", "quick"]
    assert checked(portal).broken is None


def test_an_id_that_was_given_out_long_before_its_line_is_not_passed_over(portal: Portal) -> None:
    """The sequence and the transaction's number are two things: the smaller id comes with the later transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('otp_auditevent', 'id'))")
        (early,) = cursor.fetchone()
    chained(portal, 2)
    run(
        "INSERT INTO otp_auditevent (id, portal_id, at, actor, actor_kind, action, detail) "
        "VALUES (%s, %s, now(), 'late', 'staff', 'lock_lifted', '{}')",
        early,
        portal.id,
    )
    tasks.chain_audit_lines()
    assert places(portal) == ["agent1@example.com", "agent2@example.com", "late"]


def test_lines_of_a_transaction_that_is_undone_leave_no_gap(portal: Portal) -> None:
    chained(portal, 1)
    with transaction.atomic():
        write(portal, "undone")
        transaction.set_rollback(True)
    write(portal, "kept")
    tasks.chain_audit_lines()
    assert places(portal) == ["agent1@example.com", "kept"]
    assert checked(portal).broken is None


def test_many_writers_and_sweepers_at_once_make_one_whole_chain(portal: Portal) -> None:
    other = factories.PortalFactory.create()
    done = threading.Event()

    def writing(number: int) -> None:
        try:
            for place in range(25):
                with transaction.atomic():
                    write_one = portal if (number + place) % 2 else other
                    for _ in range(3):
                        audit.record(
                            portal=write_one, at=timezone.now(), actor=f"{number}-{place}", actor_kind=ActorKind.AGENT,
                            action=Action.CODE_VIEWED,
                        )  # fmt: skip
        finally:
            connection.close()

    def sweeping() -> None:
        try:
            while not done.is_set():
                audit_chain.chain(limit=7)
        finally:
            connection.close()

    sweepers = [threading.Thread(target=sweeping) for _ in range(2)]
    writers = [threading.Thread(target=writing, args=(number,)) for number in range(4)]
    for thread in [*sweepers, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in sweepers:
        thread.join()
    tasks.chain_audit_lines()
    reports = [checked(one) for one in (portal, other)]
    assert [report.broken for report in reports] == [None, None]
    assert sum(report.lines for report in reports) == 4 * 25 * 3
    assert sum(report.unchained for report in reports) == 0


def test_a_sweep_that_dies_loses_and_repeats_nothing(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        write(portal)
    add_links, steps = audit_chain._add_links, iter([False, True])

    def dying(lines: list[AuditEvent]) -> None:
        add_links(lines)
        if next(steps):
            raise ConnectionError

    monkeypatch.setattr(audit_chain, "_add_links", dying)
    assert audit_chain.chain(limit=2) == 2
    with pytest.raises(ConnectionError):
        audit_chain.chain(limit=2)
    monkeypatch.undo()
    tasks.chain_audit_lines()
    report = checked(portal)
    assert (report.broken, report.lines, report.unchained) == (None, 6, 0)


def test_while_somebody_else_chains_there_is_nothing_to_do(portal: Portal) -> None:
    chained(portal, 1)
    write(portal)
    with elsewhere(lambda: AuditMark.objects.select_for_update().get()):
        assert audit_chain.chain() == 0
    assert audit_chain.chain() == 1


def test_it_goes_on_after_the_database_was_restored_from_a_dump(portal: Portal) -> None:
    """Another server counts its transactions anew: the lines that came along bear numbers that are far ahead."""
    lines = chained(portal, 3)
    waiting = write(portal, "not chained when the dump was made")
    forge("UPDATE otp_auditevent SET written_in = written_in + 4000000000")
    AuditMark.objects.update(written_in=AuditEvent.objects.get(pk=lines[-1].pk).written_in)
    write(portal, "afterwards")
    for _ in range(3):
        tasks.chain_audit_lines()
    assert places(portal)[3:] == [waiting.actor, "afterwards"]
    write(portal, "later")
    tasks.chain_audit_lines()
    assert places(portal)[-1] == "later"
    report = checked(portal)
    assert (report.broken, report.lines, report.unchained) == (None, 6, 0)


def test_writing_a_line_takes_no_lock_that_another_line_waits_for(portal: Portal) -> None:
    with elsewhere(lambda: audit.record(
        portal=portal, at=timezone.now(), actor="slow", actor_kind=ActorKind.AGENT, action=Action.CODE_VIEWED
    )), transaction.atomic(), connection.cursor() as cursor:  # fmt: skip
        cursor.execute("SET LOCAL lock_timeout = '1ms'")
        write(portal)


# ---------------------------------------------------------------- what is found

FORGERIES: dict[str, tuple[tuple[str, ...], str]] = {
    "changed": (("UPDATE otp_auditevent SET actor = 'nobody' WHERE actor = 'agent3@example.com'",), "Line 3 has been changed"),
    "detail changed": (
        ("""UPDATE otp_auditevent SET detail = '{"a": 1}' WHERE actor = 'agent3@example.com'""",), "Line 3 has been changed",
    ),
    "back-dated": (
        ("UPDATE otp_auditevent SET recorded_at = recorded_at - interval '1 day' WHERE actor = 'agent2@example.com'",),
        "Line 2 has been changed",
    ),
    "deleted": (("DELETE FROM otp_auditevent WHERE actor = 'agent4@example.com'",), "Line 4 is missing: it has been deleted before"),
    "deleted, its term too": (
        (
            "DELETE FROM otp_auditevent WHERE actor = 'agent4@example.com'",
            "UPDATE otp_auditlink SET keep_until = now() - interval '1 day' WHERE sequence = 4",
        ),
        "Line 4 has been changed: its hash does not fit",
    ),
    "deleted with its link": (
        ("DELETE FROM otp_auditevent WHERE actor = 'agent4@example.com'", "DELETE FROM otp_auditlink WHERE sequence = 4"),
        "Line 4 is missing.",
    ),
    "closed over a gap": (
        (
            "DELETE FROM otp_auditevent WHERE actor = 'agent4@example.com'", "DELETE FROM otp_auditlink WHERE sequence = 4",
            "UPDATE otp_auditlink SET sequence = 4 WHERE sequence = 5",
        ),
        "Line 4 does not follow the line before it",
    ),
    "the oldest deleted": (
        (
            "DELETE FROM otp_auditevent WHERE actor < 'agent3@example.com'", "DELETE FROM otp_auditlink WHERE sequence < 3",
        ),
        "Lines 1 to 2 are missing.",
    ),
    "the beginning moved": (("UPDATE otp_auditchain SET sequence = 2",), "begin behind line 2, but line 1 is still there"),
    "the beginning exchanged": (("UPDATE otp_auditchain SET hash = sha256('x')",), "Line 1 does not follow"),
    "term changed": (
        ("UPDATE otp_auditevent SET keep_until = now() WHERE actor = 'agent2@example.com'",), "The term of line 2 has been changed",
    ),
    "reordered by content": (
        (
            "UPDATE otp_auditlink SET event_id = -1 WHERE sequence = 2",
            "UPDATE otp_auditlink SET event_id = (SELECT id FROM otp_auditevent WHERE actor = 'agent2@example.com') WHERE sequence = 3",
            "UPDATE otp_auditlink SET event_id = (SELECT id FROM otp_auditevent WHERE actor = 'agent3@example.com') WHERE sequence = 2",
        ),
        "At line 2 stands what was written as line 3: lines have been reordered.",
    ),
    "reordered by number": (
        (
            "UPDATE otp_auditlink SET sequence = 99 WHERE sequence = 2", "UPDATE otp_auditlink SET sequence = 2 WHERE sequence = 3",
            "UPDATE otp_auditlink SET sequence = 3 WHERE sequence = 99",
        ),
        "Line 2 followed line 2 when it was written|lines have been reordered",
    ),
    "inserted behind the chain": (
        (
            """INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, detail, recorded_at, keep_until, written_in)
            SELECT portal_id, at, 'forged', 'agent', 'code_viewed', '{}', recorded_at, keep_until, 3 FROM otp_auditevent LIMIT 1""",
        ),
        "is not part of the chain although the chain goes beyond it: it has been inserted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_it_says_in_words_what_is_broken_first(portal: Portal, forgery: str) -> None:
    chained(portal)
    statements, sentence = FORGERIES[forgery]
    assert checked(portal).broken is None
    for statement in statements:
        forge(statement)
    tasks.chain_audit_lines()
    with pytest.raises(CommandError, match=rf"portal {portal.id}: BROKEN\. .*({sentence})"):
        verify()


def test_a_line_that_is_put_in_with_an_old_date_and_chained_is_found(portal: Portal) -> None:
    chained(portal, 2)
    forge(
        "INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, detail, recorded_at, keep_until, written_in) "
        "VALUES (%s, now() - interval '3 days', 'forged', 'agent', 'code_viewed', '{}', now() - interval '3 days', "
        "now() + interval '90 days', pg_current_xact_id()::text::bigint)",
        portal.id,
    )
    tasks.chain_audit_lines()
    with pytest.raises(CommandError, match="Line 3 is back-dated"):
        verify()


def test_a_line_that_the_sweep_was_kept_from_is_found(portal: Portal) -> None:
    write(portal)
    run("INSERT INTO otp_auditmark (id, written_in, event_id) VALUES (1, pg_current_xact_id()::text::bigint, 0)")
    tasks.chain_audit_lines()
    with pytest.raises(CommandError, match="not part of the chain"):
        verify()
    verify("--chain")
    verify()


def test_other_portals_are_checked_although_one_is_broken(portal: Portal) -> None:
    other = factories.PortalFactory.create()
    chained(portal, 2)
    chained(other, 2)
    forge("UPDATE otp_auditevent SET actor = 'nobody' WHERE portal_id = %s", portal.id)
    out = io.StringIO()
    with pytest.raises(CommandError, match="Line 1 has been changed") as found:
        call_command("verify_audit", stdout=out, stderr=io.StringIO())
    assert str(other.id) not in str(found.value)
    assert out.getvalue().startswith(f"{other.id}:2:")
    assert verify("--portal", str(other.id)) == out.getvalue()


# ---------------------------------------------------------------- heads that are kept elsewhere


def test_a_head_that_was_kept_is_found_in_the_chain_later(portal: Portal, tmp_path: Path) -> None:
    chained(portal)
    heads = tmp_path / "heads.txt"
    heads.write_text(verify())
    chained(portal)
    assert verify("--heads", str(heads)).startswith(f"{portal.id}:10:")
    assert verify("--head", heads.read_text().strip())


def test_newest_lines_that_are_gone_are_found_by_a_head_that_was_kept(portal: Portal) -> None:
    chained(portal)
    head = verify().strip()
    forge("DELETE FROM otp_auditevent WHERE actor > 'agent3@example.com'")
    forge("DELETE FROM otp_auditlink WHERE sequence > 3")
    verify()  # the chain alone cannot tell
    with pytest.raises(CommandError, match="The log ends at line 3, but the head of line 5 was kept: its newest lines"):
        verify("--anchor", head)


def test_a_chain_that_was_written_anew_is_found_by_a_head_that_was_kept(portal: Portal) -> None:
    chained(portal)
    head = verify().strip()
    forge("UPDATE otp_auditevent SET actor = 'nobody' WHERE actor = 'agent2@example.com'")
    forge("DELETE FROM otp_auditlink")
    verify("--chain")
    with pytest.raises(CommandError, match="Line 5 is not the one whose head was kept"):
        verify("--head", head)


def test_a_log_that_is_gone_as_a_whole_is_found_by_a_head_that_was_kept(portal: Portal) -> None:
    chained(portal)
    head = verify().strip()
    for table in ("otp_auditevent", "otp_auditlink", "otp_auditchain"):
        forge(f"DELETE FROM {table}")
    Portal.objects.update(disconnected_at=timezone.now() - dt.timedelta(days=91))
    tasks.delete_old_records()
    assert not Portal.objects.exists()
    with pytest.raises(CommandError, match="The log ends at line 0, but the head of line 5 was kept"):
        verify("--head", head)


def test_a_head_from_before_the_beginning_breaks_nothing(portal: Portal) -> None:
    chained(portal, 2)
    old = checked(portal).head
    chained(portal, 2)
    assert old is not None
    past = timezone.now() - dt.timedelta(days=1)
    forge("DELETE FROM otp_auditlink")
    forge("UPDATE otp_auditevent SET keep_until = %s", past)
    forge("DELETE FROM otp_auditchain")
    audit_chain.chain_everything()
    old = Head(portal.id, 2, bytes(AuditLink.objects.get(sequence=2).hash))
    at_the_beginning = Head(portal.id, 3, bytes(AuditLink.objects.get(sequence=3).hash))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('opsagent.retention', 'on', true)")
        cursor.execute("DELETE FROM otp_auditevent WHERE id IN (SELECT event_id FROM otp_auditlink WHERE sequence < 4)")
    assert audit_chain.shorten(portal_id=portal.id) == 3
    assert AuditChain.objects.get().sequence == 3
    report = checked(portal, old, at_the_beginning)
    assert (report.broken, report.lines) == (None, 1)
    assert "older than what is left" in report.remarks[0]
    wrong = Head(portal.id, 3, bytes(32))
    assert "Line 3 is not the one whose head was kept" in (checked(portal, wrong).broken or "")


@pytest.mark.parametrize("head", ["", "1:2", "1:2:zz", "1:2:abcd", "x:2:" + "0" * 64, "1:-2:" + "0" * 64])
def test_what_is_no_head_is_refused_by_name(portal: Portal, head: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--head"):
        verify("--head", head)
    file = tmp_path / "heads"
    file.write_text(f"{head or 'x'}\n")
    with pytest.raises(CommandError, match=r"--heads: .* holds something that is no head"):
        verify("--heads", str(file))
    with pytest.raises(CommandError, match=r"--heads: .* cannot be read"):
        verify("--heads", str(tmp_path / "none"))


def test_it_says_how_many_lines_wait_and_since_when(portal: Portal) -> None:
    chained(portal, 2)
    one = write(portal)
    errors = io.StringIO()
    call_command("verify_audit", stdout=io.StringIO(), stderr=errors)
    assert f"2 lines, all as they were written; 1 not chained yet, the oldest recorded at {one.recorded_at:%Y-%m-%d %H:%M:%S}" in errors.getvalue()  # fmt: skip


def test_checking_a_long_chain_tells_how_far_it_is(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_check, "STEP", 1)
    chained(portal, 21)
    told: list[str] = []
    report = audit_check.check(portal_id=portal.id, kept=(), progress=told.append)
    assert (report.lines, told) == (21, [f"portal {portal.id}: {number} lines …" for number in (10, 20)])


# ---------------------------------------------------------------- exports


@pytest.fixture
def admin(portal: Portal) -> Client:
    return signed_in(portal, email="boss@company.example")


def exported(admin: Client, path: Path) -> Path:
    response: Any = admin.post("/settings/log/audit/export", secure=True)
    assert response.status_code == 200
    path.write_bytes(b"".join(response.streaming_content))
    return path


def test_an_export_is_checked_without_the_database(portal: Portal, admin: Client, tmp_path: Path) -> None:
    for actor in ("=cmd()", "'+1", 'Zoë, "the\nfirst"'):
        write(portal, actor)
    tasks.chain_audit_lines()
    head = verify().strip()
    file = exported(admin, tmp_path / "audit.csv")
    assert verify("--file", str(file), "--head", head).strip() == head
    assert AuditEvent.objects.filter(action=Action.AUDIT_EXPORTED, actor="boss@company.example").exists()


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("agent2@example.com", "agent9@example.com", "Line 2 has been changed"),
        (",agent2@example.com,", ",agent9@example.com,", "its column “Who” does not say what the line says"),
    ],
)
def test_a_doctored_export_is_found_out(
    portal: Portal, admin: Client, tmp_path: Path, before: str, after: str, sentence: str
) -> None:
    chained(portal)
    file = exported(admin, tmp_path / "audit.csv")
    file.write_text(file.read_text().replace(before, after))
    with pytest.raises(CommandError, match=sentence):
        verify("--file", str(file))


def test_an_export_without_a_line_says_so(portal: Portal, admin: Client, tmp_path: Path) -> None:
    chained(portal)
    file = exported(admin, tmp_path / "audit.csv")
    head = verify("--file", str(file)).strip()
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "agent3@" not in line))
    errors = io.StringIO()
    call_command("verify_audit", "--file", str(file), stdout=io.StringIO(), stderr=errors)
    assert "Line 3 is not in this file." in errors.getvalue()
    file.write_text("".join(line for line in file.read_text().splitlines(keepends=True) if "agent5@" not in line))
    with pytest.raises(CommandError, match="ends at line 4, but the head of line 5 was kept"):
        verify("--file", str(file), "--head", head)


def test_an_export_holds_the_links_of_lines_whose_time_was_over(portal: Portal, admin: Client, tmp_path: Path) -> None:
    lines = chained(portal, 3)
    past = timezone.now() - dt.timedelta(days=1)
    forge("DELETE FROM otp_auditlink")
    forge("UPDATE otp_auditevent SET keep_until = %s WHERE id = %s", past, lines[1].pk)
    audit_chain.chain_everything()
    tasks.delete_old_records()
    assert AuditEvent.objects.filter(pk__in=[line.pk for line in lines]).count() == 2
    file = exported(admin, tmp_path / "audit.csv")
    assert "Deleted: its time was over" in file.read_text()
    errors = io.StringIO()
    call_command("verify_audit", "--file", str(file), stdout=io.StringIO(), stderr=errors)
    assert "not in this file" not in errors.getvalue()


def test_a_contacts_trail_can_be_checked_too(portal: Portal, admin: Client, tmp_path: Path) -> None:
    for contact in (501, 502, 501):
        audit.record(
            portal=portal, at=timezone.now(), actor="agent", actor_kind=ActorKind.AGENT, action=Action.CODE_VIEWED,
            contact_id=contact,
        )  # fmt: skip
    tasks.chain_audit_lines()
    response: Any = admin.post("/settings/log/contacts/501/export", secure=True)
    file = tmp_path / "trail.csv"
    file.write_bytes(b"".join(response.streaming_content))
    errors = io.StringIO()
    call_command("verify_audit", "--file", str(file), stdout=io.StringIO(), stderr=errors)
    assert "Line 2 is not in this file." in errors.getvalue()
    assert "2 lines, all as they were written; 1 not chained yet" in errors.getvalue()


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "Portal,Sequence,Keep until,Digest,Previous hash,Hash,Line\nx,y,,,,,\n"]
)
def test_another_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "other.csv"
    file.write_text(content)
    with pytest.raises(CommandError, match=r"--file: .* is not an export of the audit log"):
        verify("--file", str(file))
    with pytest.raises(CommandError, match=r"--file: .* cannot be read"):
        verify("--file", str(tmp_path / "none.csv"))
