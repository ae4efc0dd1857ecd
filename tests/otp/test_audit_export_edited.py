"""Exports of the audit log after what people and their programs do to files."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from hubspot_integration.models import Portal
from otp import tasks
from otp.upkeep.audit_chain import digest_of, hash_of
from tests.otp.test_audit_chain import chained, exported, verify, write
from tests.portal_admin import signed_in

pytestmark = pytest.mark.django_db(transaction=True)

Rows = list[dict[str, str]]


@pytest.fixture
def admin(portal: Portal) -> Client:
    return signed_in(portal, email="boss@company.example")


@pytest.fixture
def file(portal: Portal, admin: Client, tmp_path: Path) -> Path:
    chained(portal, 4)
    return exported(admin, tmp_path / "audit.csv")


def rows_of(file: Path) -> Rows:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened))


def store(file: Path, rows: Rows, *, mark: str = "\ufeff", **dialect: Any) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        opened.write(mark)
        writer = csv.DictWriter(opened, list(rows[0]), **dialect)
        writer.writeheader()
        writer.writerows(rows)


def said(file: Path, *arguments: str) -> str:
    errors = io.StringIO()
    call_command("verify_audit", "--file", str(file), *arguments, stdout=io.StringIO(), stderr=errors)
    return errors.getvalue()


def backwards(row: dict[str, str]) -> dict[str, str]:
    return dict(reversed(row.items()))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "dialect",
    [{"quoting": csv.QUOTE_ALL, "lineterminator": "\r\n"}, {"lineterminator": "\n"}, {"lineterminator": "\r"}],
)
def test_another_order_and_other_line_ends_change_nothing(file: Path, mark: str, dialect: dict[str, Any]) -> None:
    store(file, [backwards(row) for row in reversed(rows_of(file))], mark=mark, **dialect)
    assert "4 lines, all as they were written" in said(file)


def test_a_line_in_whose_text_a_formula_was_disarmed_is_whole(portal: Portal, admin: Client, tmp_path: Path) -> None:
    write(portal, "a;=b\u2028@c@example.com", words=[";+1", "\x85-1", "\u2029|x"])
    tasks.chain_audit_lines()
    file = exported(admin, tmp_path / "audit.csv")
    assert ";'=b" in file.read_text()
    assert "1 lines, all as they were written" in said(file)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_file_that_ends_in_the_middle_of_a_row_is_refused(file: Path, kept: float) -> None:
    text = file.read_text()
    last = text.rstrip().rindex("\n") + 1
    file.write_text(text[: last + int((len(text) - last) * kept)])
    with pytest.raises(CommandError, match="ends in the middle"):
        said(file)


@pytest.mark.parametrize("column", ["At", "Who", "Portal", "Reference"])
def test_what_people_read_is_what_the_line_says(file: Path, column: str) -> None:
    rows = rows_of(file)
    rows[1][column] = {"At": "2020-01-01T00:00:00+00:00", "Portal": rows[1]["Portal"].zfill(12)}.get(column, "another")
    store(file, rows)
    with pytest.raises(CommandError, match=f"its column “{column}” does not say what the line says"):
        said(file)


def test_a_file_without_its_first_lines_says_so(file: Path) -> None:
    store(file, rows_of(file)[2:])
    assert "This file begins at line 3." in said(file)


def test_a_file_without_any_line_is_no_answer_to_a_head(file: Path) -> None:
    head = verify("--file", str(file)).strip()
    file.write_text(file.read_text().splitlines(keepends=True)[0])
    with pytest.raises(CommandError, match="It holds no line, although a head was given"):
        said(file, "--head", head)


@pytest.mark.parametrize("text", ["null", "5", "[]", "{}", "no JSON", '{"portal":null}'])
def test_a_line_that_is_none_is_found_although_its_hashes_fit(file: Path, text: str) -> None:
    rows = rows_of(file)[:1]
    until, digest = timezone.now(), digest_of(text)
    value = hash_of(
        portal_id=int(rows[0]["Portal"]), sequence=1, keep_until=until, digest=digest, previous=bytes(32)
    )  # fmt: skip
    rows[0] |= {"Keep until": until.isoformat(), "Digest": digest.hex(), "Hash": value.hex(), "Line": text}
    store(file, rows)
    with pytest.raises(CommandError, match="Line 1 is none that this product has written"):
        said(file)


def moved(name: str, value: Callable[[str], str]) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[1][name] = value(rows[1][name])

    return change


@pytest.mark.parametrize(
    "change",
    [
        moved("Keep until", lambda text: text.replace("20", "19", 1)),
        moved("Keep until", lambda text: text.removesuffix("Z")),
        moved("Keep until", lambda _: ""),
        moved("Digest", lambda text: text[:-1]),
        moved("Previous hash", lambda _: "0"),
        moved("Hash", str.upper),
        moved("Line", lambda text: json.dumps(json.loads(text), indent=1)),
        moved("Line", lambda text: text.replace("agent", "Agent")),
    ],
)
def test_whatever_is_changed_is_said_and_crashes_nothing(file: Path, change: Callable[[Rows], None]) -> None:
    rows = rows_of(file)
    change(rows)
    store(file, rows)
    with pytest.raises(CommandError, match=r"BROKEN. Line 2 "):
        said(file)
