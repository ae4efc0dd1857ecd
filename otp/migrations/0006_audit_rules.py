"""From here on no line changes any more; the indexes by which lines are chained and deleted.

Indexes are built beside the running product (`CREATE INDEX CONCURRENTLY`): a million lines take a few seconds each.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# One change is left: a line that a process of the version before wrote, during an upgrade, loses what was typed before it
# is chained (otp.upkeep.audit_chain).
RULES = r"""
CREATE OR REPLACE FUNCTION SCHEMA.otp_keep_audit_events() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('opsagent.retention', true) = 'on' AND OLD.keep_until <= clock_timestamp() THEN
            RETURN OLD;
        END IF;
    ELSIF jsonb_typeof(OLD.detail) = 'object' AND NEW.detail ? 'note' AND to_jsonb(NEW) - 'detail' = to_jsonb(OLD) - 'detail'
        AND NOT EXISTS (SELECT FROM SCHEMA.otp_auditlink WHERE event_id = OLD.id) THEN
        SELECT COALESCE(jsonb_object_agg(key, value), '{}') INTO rest FROM jsonb_each(OLD.detail)
        WHERE key !~ '(^| )(why|request|sender_name|reply_to|email_subject|subject|greeting|body_text|footer_text)$';
        IF rest <> OLD.detail AND NEW.detail - 'note' - 'texts' = rest THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'Audit events are only ever added; the retention job deletes those whose time is over.'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
"""


def add_rules(_: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(nspname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE pg_class.oid = 'otp_auditevent'::regclass"
        )
        (schema,) = cursor.fetchone()
        cursor.execute(RULES.replace("SCHEMA.", f"{schema}."))


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("otp", "0005_audit_terms_of_old_lines")]

    operations = [
        migrations.RunPython(add_rules, migrations.RunPython.noop, elidable=False),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(fields=["portal", "keep_until"], name="events_to_delete"),
        ),
        AddIndexConcurrently(
            model_name="auditevent",
            index=models.Index(fields=["written_in", "id"], name="events_to_chain"),
        ),
    ]
