"""Give the lines from before their terms, and move what somebody typed out of them, ten thousand lines at a time.

Each step is a transaction of its own and waits for nobody: the product goes on. A line counts as recorded when its event
was, and is kept for the portal's retention period of today. Stopped, it goes on where it was. A million lines take about
a minute; autovacuum then gives their old versions' room back.
"""

import json
import re
from typing import Any
from uuid import uuid4

from django.db import migrations, transaction

from opsagent.encryption import bound_to, encrypt

STEP = 10_000
TYPED = re.compile(r"(^| )(why|request|sender_name|reply_to|email_subject|subject|greeting|body_text|footer_text)$")


def give_terms(_: Any, schema_editor: Any) -> None:
    connection, after = schema_editor.connection, 0
    while True:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(
                "SELECT max(id) FROM (SELECT id FROM otp_auditevent WHERE id > %s ORDER BY id LIMIT %s) AS step",
                [after, STEP],
            )
            (last,) = cursor.fetchone()
            if last is None:
                return
            move_what_was_typed(cursor, after, last)
            cursor.execute(
                """
                UPDATE otp_auditevent AS event SET written_in = 1, recorded_at = event.at,
                    keep_until = event.at + make_interval(hours => 24 * COALESCE(
                        (SELECT retention_days FROM otp_otpsettings WHERE portal_id = event.portal_id), 90))
                WHERE event.id > %s AND event.id <= %s AND event.written_in = 0
                """,
                [after, last],
            )
            after = last


def move_what_was_typed(cursor: Any, after: int, last: int) -> None:
    cursor.execute(
        """
        SELECT event.id, event.portal_id, event.at, event.contact, event.detail::text, guard.contact_id,
            COALESCE((SELECT retention_days FROM otp_otpsettings AS one WHERE one.portal_id = event.portal_id), 90)
        FROM otp_auditevent AS event
        LEFT JOIN otp_contactguard AS guard ON guard.portal_id = event.portal_id AND guard.pseudonym = event.contact
        WHERE event.id > %s AND event.id <= %s AND event.written_in = 0
          AND event.action IN ('code_revealed', 'settings_changed')
        """,
        [after, last],
    )
    for line, portal, at, contact, text, contact_id, days in cursor.fetchall():
        detail = json.loads(text)
        typed = {key: value for key, value in detail.items() if TYPED.search(key)}
        if not typed:
            continue
        note = uuid4()
        # Whoever bore a pseudonym that nobody knows any more has been erased, and so is what was said of them.
        if contact is None or contact_id is not None:
            cursor.execute(
                "INSERT INTO otp_auditnote (id, portal_id, contact_id, typed, created_at) VALUES (%s, %s, %s, %s, %s)",
                [note, portal, contact_id, encrypt(json.dumps(typed), bound_to("otp_auditnote", "typed", note)), at],
            )
        texts = sorted(key for key in typed if key not in {"why", "request"})
        kept = {key: value for key, value in detail.items() if key not in typed}
        kept |= ({"texts": texts} if texts else {}) | {"note": str(note)}
        cursor.execute(
            """
            UPDATE otp_auditevent SET written_in = 1, recorded_at = at, keep_until = at + make_interval(hours => %s),
                detail = %s::jsonb
            WHERE id = %s
            """,
            [24 * days, json.dumps(kept), line],
        )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("otp", "0004_audit_terms")]

    operations = [migrations.RunPython(give_terms, migrations.RunPython.noop, elidable=True)]
