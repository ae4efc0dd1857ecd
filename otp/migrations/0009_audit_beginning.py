"""Where a chain begins moves by the links' own trigger alone, however many triggers somebody else puts in between.

The rule of 0004 asked how deep in triggers a statement is. Whoever may create a temporary table can put a trigger of their
own on it, which is as deep. Now a beginning has to fit the links that are left, which names it wholly; where none is left,
the change has to come from a function of the table's owner, and no trigger of another role does.
"""

from typing import Any

from django.db import migrations

RULES = """
CREATE OR REPLACE FUNCTION SCHEMA.otp_keep_audit_chain() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    next record;
BEGIN
    IF pg_trigger_depth() > 1 AND TG_OP <> 'DELETE' THEN
        SELECT sequence, previous INTO next FROM SCHEMA.otp_auditlink
        WHERE portal_id = NEW.portal_id ORDER BY sequence LIMIT 1;
        IF TG_OP = 'INSERT' THEN
            IF NOT FOUND AND NEW.sequence = 0 AND NEW.hash = decode(repeat('00', 32), 'hex') THEN
                RETURN NEW;
            END IF;
        ELSIF NEW.portal_id = OLD.portal_id AND NEW.sequence > OLD.sequence THEN
            IF FOUND AND next.sequence = NEW.sequence + 1 AND next.previous = NEW.hash THEN
                RETURN NEW;
            END IF;
            IF NOT FOUND AND EXISTS (
                SELECT FROM pg_class WHERE oid = TG_RELID AND relowner = current_user::regrole
            ) THEN
                RETURN NEW;
            END IF;
        END IF;
    END IF;
    RAISE EXCEPTION 'Where a chain of the audit log begins follows from its links.' USING ERRCODE = 'insufficient_privilege';
END
$$;
ALTER FUNCTION SCHEMA.otp_move_audit_chain() SECURITY DEFINER;
"""

# The rule of 0004.
REMOVAL = """
ALTER FUNCTION SCHEMA.otp_move_audit_chain() SECURITY INVOKER;
CREATE OR REPLACE FUNCTION SCHEMA.otp_keep_audit_chain() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'Where a chain of the audit log begins follows from its links.' USING ERRCODE = 'insufficient_privilege';
END
$$;
"""


def _run(schema_editor: Any, sql: str) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(nspname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE pg_class.oid = 'otp_auditevent'::regclass"
        )
        (schema,) = cursor.fetchone()
        cursor.execute(sql.replace("SCHEMA.", f"{schema}."))


def tighten(_: Any, schema_editor: Any) -> None:
    _run(schema_editor, RULES)


def loosen(_: Any, schema_editor: Any) -> None:
    _run(schema_editor, REMOVAL)


class Migration(migrations.Migration):
    dependencies = [("otp", "0008_wipe_ended_codes")]

    operations = [migrations.RunPython(tighten, loosen, elidable=False)]
