"""What `manage.py doctor` examines of the product's own processes."""

import time
from typing import Final

from django.db import DatabaseError, connection
from redis import RedisError

from opsagent import broker
from opsagent.celery import app
from opsagent.doctor import Finding, examination, failed, ok, warning
from opsagent.health import BUSY_SECONDS
from otp.delivery.waking import SWEEP_KEY
from otp.gauges import overdue_seconds, unchained_seconds

FRESH_SECONDS: Final = 15.0
"""Five sweeps."""
CHAINED_WITHIN: Final = 600.0
"""Seconds: longer than any transaction of ours is open."""
GUARDED: Final = ("otp_auditevent", "otp_auditlink", "otp_auditchain")
GUARDS: Final = (
    "stamp_audit_event", "keep_audit_events", "add_audit_link", "keep_audit_links", "move_audit_chain", "keep_audit_chain",
)  # fmt: skip
"""Triggers on these tables (migration 0004)."""


@examination("worker and beat")
def examine_processes() -> Finding:
    """Look when a worker last did what beat reminds it of, and who is missing when that is long ago."""
    try:
        swept_at = float(broker.redis().get(SWEEP_KEY) or 0)
    except RedisError:
        return failed("cannot be told without the broker", "Mend the broker first.")
    age = time.time() - swept_at
    if age <= FRESH_SECONDS:
        return ok(f"swept up {max(0, round(age))} seconds ago")
    if app.control.ping(timeout=2.0):
        return failed("workers answer, but nobody reminds them", "Start the beat process: exactly one (see Procfile).")
    return failed("no worker answers", "Start the worker process (see Procfile).")


@examination("deliveries")
def examine_deliveries() -> Finding:
    """See whether due deliveries wait."""
    seconds = overdue_seconds()
    if seconds > BUSY_SECONDS:
        return warning(
            f"the oldest due one has waited for {round(seconds)} seconds", "See the runbook in docs/operations.md."
        )
    return ok("none waits longer than it should")


@examination("audit log")
def examine_audit_log() -> Finding:
    """See whether the database's guards are in place, and whether lines are chained."""
    try:
        missing, seconds = _missing_guards(), unchained_seconds()
    except DatabaseError as error:
        return failed(f"cannot be read: {type(error).__name__}", "Mend the database first.")
    if missing:
        return failed(
            f"the trigger {min(missing)} is missing or switched off: what is on record is not protected",
            "Find out who did that, switch it on (ALTER TABLE … ENABLE TRIGGER), and run verify_audit with heads kept before.",
        )
    if seconds > CHAINED_WITHIN:
        return warning(
            f"the first line that is not chained was written {round(seconds)} seconds ago",
            "See that worker and beat run, and that no transaction has been open in the database for that long.",
        )
    return ok("guarded by the database; every line chained")


def _missing_guards() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgname = ANY(%s) AND tgenabled IN ('O', 'A') AND tgrelid = ANY(%s::regclass[])",
            [list(GUARDS), list(GUARDED)],
        )
        return set(GUARDS) - {name for (name,) in cursor.fetchall()}
