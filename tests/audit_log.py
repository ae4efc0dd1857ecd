"""The audit log as whoever owns its tables can have it: for lines that are older than the test, and for what an attacker
with that right could do. The product's own role owns the tables here; plain statements of it change nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from otp import tasks

TABLES = ("otp_auditevent", "otp_auditlink", "otp_auditchain")


@contextmanager
def guards_switched_off() -> Iterator[None]:
    """Do something that the database's triggers refuse, as an owner of the tables."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def run(sql: str, *parameters: Any) -> int:
    """Run a statement as a console would, without words to the retention job's trigger; return the number of rows."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def forge(sql: str, *parameters: Any) -> None:
    """Run a statement with the guards switched off."""
    with guards_switched_off():
        assert run(sql, *parameters), sql


def recorded_when_it_happened() -> None:
    """Let lines that are not chained yet have been recorded at the time of their event, then chain them."""
    with guards_switched_off():
        run(
            """
            UPDATE otp_auditevent AS event SET recorded_at = at, keep_until = at + make_interval(hours => 24 * COALESCE(
                (SELECT retention_days FROM otp_otpsettings WHERE portal_id = event.portal_id), 90))
            WHERE NOT EXISTS (SELECT FROM otp_auditlink AS link WHERE link.event_id = event.id)
            """
        )
    tasks.chain_audit_lines()
