"""The documents in otp/contact/sql say of tables, columns and words what the models and the database say."""

import enum
import inspect
import re
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from django.apps import apps
from django.db import connection

from opsagent.database import Statement
from otp.audit import Action
from otp.contact import documents
from otp.contact.order import COMPLETION_SCOPE
from otp.models import ChannelName, DeliveryStatus, EndReason

STATEMENTS: dict[str, Statement[Any, Any]] = {
    name: value for name, value in vars(documents).items() if isinstance(value, Statement)
}
FILES = sorted((Path(documents.__file__).parent / "sql").glob("*.sql"))
TABLES = {model._meta.db_table: model for model in apps.get_models()}
# What a document may say in quotes: words that the models and the audit log know …
WORDS = {str(word) for words in (ChannelName, DeliveryStatus, EndReason, Action) for word in words}
# … HubSpot's scope, an empty text and an empty detail, and the names of details that the activity log reads
WORDS |= {COMPLETION_SCOPE, "", "{}", "limit", "retry_at", "reason", "until"}


def inserts() -> list[tuple[str, frozenset[str]]]:
    """Return each table that a document writes rows to, with the columns that it names."""
    found = {
        (table, frozenset(re.split(r",\s*", columns.strip())))
        for statement in STATEMENTS.values()
        for table, columns in re.findall(r"INSERT INTO (\w+)[^(]*\(([^)]+)\)", statement.text)
    }
    return sorted(found, key=lambda one: (one[0], sorted(one[1])))


def test_each_file_is_part_of_a_statement() -> None:
    texts = [statement.text for statement in STATEMENTS.values()]
    parts = {file.name: documents.document(file.stem).removeprefix("WITH").lstrip(" ,\n") for file in FILES}
    assert [name for name, part in parts.items() if not any(part in text for text in texts)] == []


def test_the_seam_is_filled_in_every_statement() -> None:
    assert [name for name, statement in STATEMENTS.items() if "{" in statement.text.replace("'{}'", "")] == []


@pytest.mark.django_db
@pytest.mark.parametrize(("table", "named"), inserts(), ids=lambda value: value if isinstance(value, str) else "")
def test_an_insert_names_every_column_that_the_database_does_not_fill(table: str, named: frozenset[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            r"""
            SELECT column_name,
                   is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES'
                   -- or a trigger gives every new row a value
                   OR EXISTS (
                       SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                       WHERE tgrelid = %(table)s::regclass AND tgtype & 6 = 6 AND NOT tgisinternal
                         AND prosrc ~* ('NEW\.' || column_name || '\s*:='))
            FROM information_schema.columns WHERE table_name = %(table)s
            """,
            {"table": table},
        )
        filled = dict(cursor.fetchall())
    assert named <= filled.keys()
    assert [name for name in filled.keys() - named if not filled[name]] == []
    assert named <= {field.column for field in TABLES[table]._meta.concrete_fields}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_quoted_word_is_one_of_the_models(file: Path) -> None:
    assert set(re.findall(r"'([^']*)'", documents.document(file.stem))) <= WORDS


def fields_of(kind: Any) -> dict[str, Any]:
    """Return the names that can be asked of a value of a type, with their types."""
    hints: dict[str, Any] = {}
    for one in (kind, *get_args(kind)) if get_origin(kind) in {Union, types.UnionType} else (kind,):
        if not inspect.isclass(one):
            continue
        if not issubclass(one, enum.Enum):
            hints |= get_type_hints(one)
        for base in one.__mro__:
            hints |= {
                name: get_type_hints(value.fget)["return"]
                for name, value in vars(base).items()
                if isinstance(value, property) and value.fget is not None and "return" in value.fget.__annotations__
            }
    return hints


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_parameter_is_a_field_of_what_feeds_the_document(name: str) -> None:
    statement = STATEMENTS[name]
    for parameter in statement.parameters:
        kind: Any = statement.feed
        for part in parameter.split("."):
            known = fields_of(kind)
            assert part in known, f"{parameter}: {kind} has no {part}"
            kind = known[part]


@pytest.mark.parametrize(
    "name", [name for name, one in STATEMENTS.items() if one.feed.__module__ == documents.__name__]
)
def test_every_field_of_what_feeds_the_document_is_a_parameter(name: str) -> None:
    statement = STATEMENTS[name]
    used = {parameter.partition(".")[0] for parameter in statement.parameters}
    feeds = [one.feed for one in STATEMENTS.values()]
    if feeds.count(statement.feed) == 1:
        assert used == set(statement.feed._fields)
    else:
        assert used <= set(statement.feed._fields)


@pytest.mark.django_db
@pytest.mark.parametrize("name", [name for name, one in STATEMENTS.items() if hasattr(one.row, "_fields")])
def test_a_row_has_the_columns_of_its_document(name: str) -> None:
    statement = STATEMENTS[name]
    connection.ensure_connection()
    pgconn = connection.connection.pgconn
    prepared = pgconn.prepare(b"", re.sub(r"%\(([\w.]+)\)s", "NULL", statement.text).encode(), None)
    assert prepared.error_message == b""
    described = pgconn.describe_prepared(b"")
    columns = [described.fname(number).decode() for number in range(described.nfields)]
    assert columns == list(getattr(statement.row, "_fields", ()))
