"""Deliveries as a queue: claimed under a lease, written down, given back, made due. Each statement commits by itself."""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from opsagent import database
from otp import audit
from otp.delivery.channels import CHANNELS, Channel, FollowUp, Outcome
from otp.models import ChannelName, Delivery, DeliveryStatus

LEASE: Final = dt.timedelta(seconds=30)
GIVE_UP_STEP: Final = 1000
NOT_OURS: Final = "not_ours"
"""What a look says of a delivery that somebody else has, has settled, or that is gone."""
_RECONNECTING_SECONDS: Final = 10.0
"""So long it is tried to write down what has happened: well within a lease, which is what the row waits for otherwise."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries that are this worker's until `lease`; of `unheard` a worker before did not say what became of them."""

    deliveries: list[Delivery]
    lease: dt.datetime
    unheard: list[Delivery]


def claim(portal_id: int, channel: str, now: dt.datetime) -> Claim:
    """Lease the oldest due deliveries, at most one batch, and return them with their codes."""
    worker, lease = CHANNELS[ChannelName(channel)], now + LEASE
    with transaction.atomic():
        due = Delivery.objects.due(now).filter(portal_id=portal_id, channel=channel)
        chosen = list(
            due.order_by("next_attempt_at", "id")
            .select_for_update(skip_locked=True)
            .values_list("id", "attempts", "error")[: worker.batch_size]
        )
        ids = [delivery_id for delivery_id, _, _ in chosen]
        # The word for how an attempt ended is taken away for the time of the next one: who finds none knows that nobody
        # came back from it.
        Delivery.objects.filter(id__in=ids).update(next_attempt_at=lease, attempts=F("attempts") + 1, error="")
    found = Delivery.objects.filter(id__in=ids).select_related("code").order_by("id")
    deliveries = list(found if worker.needs_recipient else found.defer("code__address", "code__first_name"))
    lost = {delivery_id for delivery_id, attempts, error in chosen if attempts and not error}
    return Claim(deliveries, lease, [delivery for delivery in deliveries if delivery.id in lost])


_SETTLED: Final = """
    settled AS (
        UPDATE otp_delivery SET status = %(status)s, error = %(error)s, next_attempt_at = %(retry_at)s,
            settled_at = %(settled_at)s, provider_message_id = %(provider_message_id)s
        WHERE id = ANY (%(ids)s) AND status = 'pending' AND next_attempt_at = %(lease)s
        RETURNING code_id, portal_id, channel, status, error, settled_at
    )
"""
_RECORD: Final = f"WITH {_SETTLED} {audit.INSERT_SETTLED}"


def _look(worker: Channel) -> str:
    dead = (
        "WHEN code.ended_at IS NOT NULL THEN code.end_reason WHEN code.expires_at <= %(now)s THEN 'expired'"
        if worker.needs_live_code
        else ""
    )
    return f"""
        SELECT delivery.id, CASE
            WHEN delivery.status <> 'pending' OR delivery.next_attempt_at <> %(lease)s THEN '{NOT_OURS}'
            WHEN portal.disconnected_at IS NOT NULL THEN 'not_connected'
            {dead}
            ELSE ({worker.objection})
        END AS objection
        FROM otp_delivery AS delivery
        JOIN otp_onetimecode AS code ON code.id = delivery.code_id
        JOIN hubspot_integration_portal AS portal ON portal.id = delivery.portal_id
        WHERE delivery.id = ANY (%(about_to)s)
    """  # noqa: S608 (our own expressions)


_LOOK: Final = {name: _look(worker) for name, worker in CHANNELS.items()}
# One statement writes down what became of one message and looks at the next: its price is the worker's pace.
_RECORD_AND_LOOK: Final = {
    name: f"WITH {_SETTLED}, logged AS ({audit.INSERT_SETTLED}) {look}" for name, look in _LOOK.items()
}


def record(
    channel: ChannelName,
    lease: dt.datetime,
    outcomes: Sequence[tuple[Outcome, dt.datetime | None]],
    about_to: Collection[Delivery],
    now: dt.datetime,
) -> dict[int, str | None]:
    """Write down outcomes, each with when to try again, of what is still under the lease; look at what is to leave next.

    One statement for all with the same outcome, committed when this returns. If the connection was cut meanwhile they are
    written on a fresh one: what has been handed over is not to be handed over twice. Returns what speaks against handing
    over each of `about_to`, None where nothing does.
    """
    groups: dict[tuple[str, str, dt.datetime | None, str], list[int]] = defaultdict(list)
    for outcome, retry_at in outcomes:
        group = outcome.status.value, outcome.error, retry_at, outcome.provider_message_id[:255]
        groups[group].append(outcome.delivery.id)
    statements = [
        {
            "ids": ids,
            "status": status,
            "error": error,
            "retry_at": retry_at,
            "settled_at": now if retry_at is None else None,
            "provider_message_id": provider_message_id,
            "lease": lease,
        }
        for (status, error, retry_at, provider_message_id), ids in groups.items()
    ]
    looked_at = {"about_to": [delivery.id for delivery in about_to], "lease": lease, "now": now}
    found: dict[int, str | None] = {}
    for position, values in enumerate(statements, start=1):
        if about_to and position == len(statements):
            found = _rows(_RECORD_AND_LOOK[channel], {**values, **looked_at})
        else:
            _rows(_RECORD, values)
    if about_to and not statements:
        found = _rows(_LOOK[channel], looked_at)
    return {delivery.id: found.get(delivery.id, NOT_OURS) for delivery in about_to}


def _rows(sql: str, values: Mapping[str, object]) -> dict[int, str | None]:
    def work() -> dict[int, str | None]:
        return {row.id: row.objection for row in database.execute(sql, values)}

    return database.in_the_end(work, seconds=_RECONNECTING_SECONDS)


def follow_up(deliveries: Iterable[Delivery], wanted: FollowUp, now: dt.datetime) -> None:
    """Write down the deliveries that follow others. A code that was erased meanwhile is passed over."""
    found = list(deliveries)

    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO otp_delivery (
                    code_id, portal_id, channel, target, status, attempts, next_attempt_at, not_before, error)
                SELECT code.id, code.portal_id, %(channel)s, wanted.target, 'pending', 0, %(at)s, %(last)s, ''
                FROM unnest(%(codes)s::uuid[], %(targets)s::text[]) AS wanted (code_id, target)
                JOIN otp_onetimecode AS code ON code.id = wanted.code_id
                ORDER BY code.id
                FOR KEY SHARE OF code
                ON CONFLICT (code_id, channel) DO UPDATE
                SET target = EXCLUDED.target, status = 'pending', attempts = 0, error = '', settled_at = NULL,
                    next_attempt_at = EXCLUDED.next_attempt_at, not_before = EXCLUDED.not_before
                WHERE %(again)s
                """,
                {
                    "channel": wanted.channel,
                    "at": now + wanted.delay,
                    "last": None if wanted.last is None else now + wanted.last,
                    "codes": [delivery.code_id for delivery in found],
                    "targets": [delivery.target for delivery in found],
                    "again": wanted.again,
                },
            )

    if found:
        database.in_the_end(work, seconds=_RECONNECTING_SECONDS)


def give_back(claimed: Claim, now: dt.datetime) -> None:
    """Make what was claimed and has no outcome due again at once, for whoever comes next."""
    untouched = Delivery.objects.filter(
        id__in=[delivery.id for delivery in claimed.deliveries],
        status=DeliveryStatus.PENDING,
        next_attempt_at=claimed.lease,
    )
    database.in_the_end(
        lambda: untouched.update(next_attempt_at=now, attempts=F("attempts") - 1), seconds=_RECONNECTING_SECONDS
    )


def full_batch_is_due(*, portal_id: int, channel: str, now: dt.datetime) -> bool:
    """Whether waiting could not make the next call any fuller."""
    size = CHANNELS[ChannelName(channel)].batch_size
    return Delivery.objects.due(now).filter(portal_id=portal_id, channel=channel)[:size].count() == size


def give_up(*, portal_id: int, now: dt.datetime) -> int:
    """Fail whatever is pending of a portal that is not connected any more, in small steps; return how much that was."""
    given_up = 0
    while True:
        with transaction.atomic():
            pending = Delivery.objects.filter(portal_id=portal_id, status=DeliveryStatus.PENDING)
            # What a worker holds at this moment is skipped: it finds out by itself.
            step = list(pending.select_for_update(skip_locked=True).values_list("id", flat=True)[:GIVE_UP_STEP])
            Delivery.objects.filter(id__in=step).update(
                status=DeliveryStatus.FAILED, error="not_connected", next_attempt_at=None, settled_at=now
            )
        given_up += len(step)
        if not step:
            return given_up


# "Settled" is asked by `settled_at`, although `status` says the same: for a pending row PostgreSQL would take the index of
# what is to be made, which holds everybody's, and compare all of it with every code.
_NOTHING_PENDING: Final = """
    NOT EXISTS (SELECT FROM otp_delivery AS sibling
                WHERE sibling.code_id = completion.code_id AND sibling.id <> completion.id
                  AND sibling.settled_at IS NULL
                  AND sibling.channel NOT IN ('property_clearing', 'property_check'))
"""
_MAKE_DUE: Final = f"""
    UPDATE otp_delivery AS completion SET next_attempt_at = GREATEST(completion.not_before, %(now)s)
    WHERE completion.code_id = ANY (%(code_ids)s) AND completion.channel = 'workflow_completion'
      AND completion.settled_at IS NULL AND {_NOTHING_PENDING}
    RETURNING completion.next_attempt_at
"""  # noqa: S608 (our own expression)


def make_completions_due(code_ids: Collection[UUID], now: dt.datetime) -> list[dt.datetime]:
    """Make completions due whose codes have nothing pending any more; return when they are.

    In a statement after the one that wrote the outcomes, each committed on its own: of two siblings that settle at the
    same moment, the one that commits last sees the other here. Should a worker die between the two,
    `make_forgotten_completions_due` and at the latest the code's end see to the step.
    """
    values = {"now": now, "code_ids": list(code_ids)}
    return database.in_the_end(
        lambda: [row.next_attempt_at for row in database.execute(_MAKE_DUE, values).fetchall()],
        seconds=_RECONNECTING_SECONDS,
    )


def make_forgotten_completions_due(now: dt.datetime) -> int:
    """Make completions due whose codes have had nothing pending for longer than a lease; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE otp_delivery AS completion SET next_attempt_at = %(now)s
            WHERE completion.channel = 'workflow_completion' AND completion.status = 'pending'
              AND completion.next_attempt_at > %(lease_end)s AND completion.not_before < %(long_ago)s
              AND {_NOTHING_PENDING}
            """,  # noqa: S608 (our own expression)
            {"now": now, "lease_end": now + LEASE, "long_ago": now - LEASE},
        )
        return int(cursor.rowcount)


def make_clearings_due(now: dt.datetime) -> int:
    """Make the clearing of properties due whose codes ended before their time; return how many."""
    with connection.cursor() as cursor:
        # Those are few, and an index has them: the condition is that of `codes_to_forget`.
        cursor.execute(
            r"""
            UPDATE otp_delivery AS clearing SET next_attempt_at = %(now)s
            FROM otp_onetimecode AS code
            WHERE code.ended_at IS NOT NULL AND code.digest <> '\x' AND code.expires_at > %(now)s
              AND clearing.code_id = code.id AND clearing.channel = %(channel)s AND clearing.status = 'pending'
              AND clearing.attempts = 0 AND clearing.next_attempt_at > %(now)s
            """,
            {"now": now, "channel": ChannelName.PROPERTY_CLEARING},
        )
        return int(cursor.rowcount)
