"""Figure 10: Generate OTP and Verify OTP in a portal with many stored codes against the same with ten thousand.

One million (QUICK=1: a hundred thousand; FULL=1: ten million), spread over eighty days and ten to a contact, with three
deliveries and an audit line each, in two databases of one server with a web process each; rounds in turn. The contacts
that are measured are among those with a past. Alone: `python -m benchmarks.growth`.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Final

import psycopg

from benchmarks import runner
from benchmarks.endpoints import Contacts, rate
from benchmarks.figures import Measured
from benchmarks.stage import Stage, say

ANSWERS: Final = ("growth",)
FEW: Final = 10_000
CONNECTIONS: Final = 16
DAYS: Final = 80
CODES_PER_CONTACT: Final = 10
STEP: Final = 50_000
TABLES: Final = "otp_onetimecode, otp_delivery, otp_auditevent, otp_contactguard"
# Ended codes as they lie there: no code any more, the digest wiped after a day, the address as long as its token; made by
# another step than the one that is measured, whose requests would be repetitions otherwise.
_CODES: Final = """
WITH made AS (
    INSERT INTO otp_onetimecode (
        id, portal_id, contact_id, request_key, source, workflow_id, address, address_digest, language, digest,
        code_type, code_length, expiry_minutes, outputs_code, created_at, expires_at, ended_at, end_reason)
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
            || 'a' || substr(md5(n::text), 4, 15))::uuid,
           %(portal_id)s, 1 + n %% %(contacts)s, 'workflow:ap-' || %(portal_id)s || '-' || n || '-3-0', 'workflow',
           '192814114', convert_to(repeat(md5(n::text), 4), 'UTF8'), sha256(n::text::bytea), 'en',
           CASE WHEN at < now() - interval '1 day' THEN ''::bytea ELSE sha256(n::text::bytea) END,
           'numeric', 6, 10, true, at, at + interval '10 minutes', at + interval '40 seconds',
           CASE WHEN n %% 10 < 7 THEN 'used' ELSE 'expired' END
    FROM (SELECT n, now() - interval '1 hour' - interval '1 day' * %(days)s * (1 - n::float / %(count)s) AS at
          FROM generate_series(%(first)s, %(last)s) AS n) AS moments
    RETURNING id, portal_id, request_key, created_at, ended_at
), delivered AS (
    INSERT INTO otp_delivery (code_id, portal_id, channel, target, status, attempts, error, settled_at)
    SELECT id, portal_id, channel, CASE channel WHEN 'contact_property' THEN 'otp_code' WHEN 'email' THEN ''
           ELSE request_key END, 'sent', 1, '', ended_at
    FROM made, (VALUES ('contact_property'), ('email'), ('workflow_completion')) AS channels (channel)
)
INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, reference, detail)
SELECT portal_id, created_at, 'workflow 192814114', 'workflow', 'code_issued', md5(id::text)::uuid, id, '{}' FROM made
"""
_GUARDS: Final = """
INSERT INTO otp_contactguard (portal_id, contact_id) SELECT %(portal_id)s, generate_series(1, %(contacts)s)
ON CONFLICT DO NOTHING
"""


def measure(stage: Stage) -> Iterator[Measured]:
    """Fill two databases, then send rounds to both, in turn; the first round warms up and does not count."""
    many = stage.scale.pick(100_000, 1_000_000, 10_000_000)
    rounds, count = stage.scale.pick(3, 9), stage.scale.pick(300, 1500)
    with stage.web(stage.database()) as small, stage.web(stage.database()) as large:
        began = time.monotonic()
        sides = [
            (system, Contacts(system, verifications=0), amount) for system, amount in ((small, FEW), (large, many))
        ]
        for system, contacts, amount in sides:
            _fill(system.database_url, contacts.portal_id, amount)
        loading_seconds = time.monotonic() - began
        say(f"  {many + FEW} codes stored in {loading_seconds:.0f} s")
        for _, contacts, _ in sides:
            contacts.add_live_codes((rounds + 1) * count)
        ratios: dict[str, list[float]] = {"generate": [], "verify": []}
        for number in range(rounds + 1):
            for name, found in ratios.items():
                rates = [
                    rate(contacts.requests(name, count), system.web_port, CONNECTIONS)
                    for system, contacts, _ in (sides if number % 2 else reversed(sides))
                ]
                few, lots = rates if number % 2 else reversed(rates)
                if number:
                    found.append(lots / few)
                    say(f"  round {number}/{rounds}  {name:8} {few:.0f}/s with few, {lots:.0f}/s: {lots / few:.2f}")
        for _, contacts, _ in sides:
            contacts.check()
        medians = {name: statistics.median(found) for name, found in ratios.items()}
        detail = {"codes": many, "rounds": rounds, "loading_seconds": round(loading_seconds), **medians}
        yield Measured("growth", min(medians.values()), detail)
    stage.drop(large.database_url)


def _fill(database_url: str, portal_id: int, count: int) -> None:
    values = {"portal_id": portal_id, "count": count, "contacts": count // CODES_PER_CONTACT, "days": DAYS}
    # Values in the text of the statement: PostgreSQL could not tell the types of parameters in such a query.
    with psycopg.connect(database_url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for first in range(1, count + 1, STEP):
            last = min(first + STEP - 1, count)
            connection.execute(_CODES, {**values, "first": first, "last": last})
            if last % (20 * STEP) == 0:
                say(f"  {last} of {count} codes stored")
        connection.execute(_GUARDS, values)
        # Otherwise autovacuum would do it in the middle of a round.
        connection.execute(f"VACUUM (ANALYZE) {TABLES}")


if __name__ == "__main__":
    runner.alone("growth")
