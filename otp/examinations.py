"""What `manage.py doctor` examines of the product's own processes."""

import time
from typing import Final

from redis import RedisError

from opsagent import broker
from opsagent.celery import app
from opsagent.doctor import Finding, examination, failed, ok, warning
from opsagent.health import BUSY_SECONDS
from otp.gauges import overdue_seconds
from otp.tasks import SWEEP_KEY

FRESH_SECONDS: Final = 15.0
"""Five sweeps."""


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
