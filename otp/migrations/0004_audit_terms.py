"""Terms, notes and chain of the audit log (ADR 13): the tables, and what the database itself sees to.

Old lines get their terms in 0005, the indexes come in 0006. Whoever runs this owns the tables: PostgreSQL refuses it to
everybody else ("must be owner of table otp_auditevent"), and then nothing is changed.
"""

import datetime as dt
from typing import Any

import django.db.models.deletion
import django.db.models.functions.datetime
import opsagent.encryption
import uuid
from django.db import migrations, models


# SCHEMA is the one in which the tables are. Every function names it, and searches nothing else: a temporary table of the
# same name would otherwise be taken in its place. Where `enable_seqscan` is off, a plan that was made while a table was nearly
# empty would read the whole table later: sessions keep their plans.
GUARDS = """
CREATE FUNCTION SCHEMA.otp_stamp_audit_event() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    days integer;
BEGIN
    -- First the transaction's number, then the clock: see otp.upkeep.audit_check, which goes by their order.
    NEW.written_in := pg_current_xact_id()::text::bigint;
    NEW.recorded_at := clock_timestamp();
    SELECT retention_days INTO days FROM SCHEMA.otp_otpsettings WHERE portal_id = NEW.portal_id;
    NEW.keep_until := NEW.recorded_at + make_interval(hours => 24 * COALESCE(days, 90));
    RETURN NEW;
END
$$;
CREATE TRIGGER stamp_audit_event BEFORE INSERT ON SCHEMA.otp_auditevent
FOR EACH ROW EXECUTE FUNCTION SCHEMA.otp_stamp_audit_event();

-- Until 0006 the lines from before may get their terms, each once.
CREATE OR REPLACE FUNCTION SCHEMA.otp_keep_audit_events() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('opsagent.retention', true) = 'on' AND OLD.keep_until <= clock_timestamp() THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.written_in = 0 AND NEW.written_in = 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'Audit events are only ever added; the retention job deletes those whose time is over.'
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE FUNCTION SCHEMA.otp_add_audit_link() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    event record;
    last record;
BEGIN
    -- By the key alone: in a table without statistics the index of a portal's lines looks as good.
    SELECT keep_until, portal_id INTO event FROM SCHEMA.otp_auditevent WHERE id = NEW.event_id;
    IF NOT FOUND OR event.portal_id <> NEW.portal_id THEN
        RAISE EXCEPTION 'There is no such audit event.' USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT sequence, hash INTO last FROM SCHEMA.otp_auditlink
    WHERE portal_id = NEW.portal_id ORDER BY sequence DESC LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO SCHEMA.otp_auditchain (portal_id, sequence, hash)
        VALUES (NEW.portal_id, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING;
        SELECT sequence, hash INTO STRICT last FROM SCHEMA.otp_auditchain WHERE portal_id = NEW.portal_id;
    END IF;
    NEW.keep_until := event.keep_until;
    NEW.sequence := last.sequence + 1;
    NEW.previous := last.hash;
    NEW.hash := sha256(convert_to(format('1|%s|%s|%s|%s|%s', NEW.portal_id, NEW.sequence,
        to_char(NEW.keep_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        encode(NEW.digest, 'hex'), encode(NEW.previous, 'hex')), 'UTF8'));
    RETURN NEW;
END
$$;
CREATE TRIGGER add_audit_link BEFORE INSERT ON SCHEMA.otp_auditlink
FOR EACH ROW EXECUTE FUNCTION SCHEMA.otp_add_audit_link();

CREATE FUNCTION SCHEMA.otp_keep_audit_links() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.keep_until <= clock_timestamp()
        AND NOT EXISTS (SELECT FROM SCHEMA.otp_auditevent WHERE id = OLD.event_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'Links of the audit log are only ever added; the oldest go when their lines are gone.'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER keep_audit_links BEFORE UPDATE OR DELETE ON SCHEMA.otp_auditlink
FOR EACH ROW EXECUTE FUNCTION SCHEMA.otp_keep_audit_links();

-- The beginning moves behind the links that are deleted, which are the oldest and without a gap.
CREATE FUNCTION SCHEMA.otp_move_audit_chain() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    piece record;
    moved bigint;
BEGIN
    FOR piece IN SELECT portal_id, min(sequence) AS first, max(sequence) AS last, count(*) AS number FROM gone GROUP BY 1 LOOP
        UPDATE SCHEMA.otp_auditchain AS chain SET sequence = gone.sequence, hash = gone.hash FROM gone
        WHERE chain.portal_id = piece.portal_id AND gone.portal_id = piece.portal_id AND gone.sequence = piece.last
          AND chain.sequence = piece.first - 1 AND piece.number = piece.last - piece.first + 1;
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved <> 1 THEN
            RAISE EXCEPTION 'Of the links of the audit log only the oldest go.' USING ERRCODE = 'insufficient_privilege';
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER move_audit_chain AFTER DELETE ON SCHEMA.otp_auditlink REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION SCHEMA.otp_move_audit_chain();

CREATE FUNCTION SCHEMA.otp_keep_audit_chain() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'DELETE' AND pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'Where a chain of the audit log begins follows from its links.' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER keep_audit_chain BEFORE INSERT OR UPDATE OR DELETE ON SCHEMA.otp_auditchain
FOR EACH ROW EXECUTE FUNCTION SCHEMA.otp_keep_audit_chain();

REVOKE TRUNCATE ON SCHEMA.otp_auditlink, SCHEMA.otp_auditchain FROM CURRENT_USER;
"""

# The rule of 0002, for the columns that are left.
REMOVAL = """
GRANT TRUNCATE ON SCHEMA.otp_auditlink, SCHEMA.otp_auditchain TO CURRENT_USER;
DROP FUNCTION SCHEMA.otp_stamp_audit_event, SCHEMA.otp_add_audit_link, SCHEMA.otp_keep_audit_links,
    SCHEMA.otp_move_audit_chain, SCHEMA.otp_keep_audit_chain CASCADE;
CREATE OR REPLACE FUNCTION SCHEMA.otp_keep_audit_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Audit events are only ever added; the retention job deletes those whose time is over.'
        USING ERRCODE = 'insufficient_privilege';
END
$$;
"""


def in_schema(schema_editor: Any, sql: str) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(nspname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE pg_class.oid = 'otp_auditevent'::regclass"
        )
        (schema,) = cursor.fetchone()
        cursor.execute(sql.replace("SCHEMA.", f"{schema}."))


def add_guards(_: Any, schema_editor: Any) -> None:
    in_schema(schema_editor, GUARDS)


def remove_guards(_: Any, schema_editor: Any) -> None:
    in_schema(schema_editor, REMOVAL)


class Migration(migrations.Migration):
    dependencies = [
        ("hubspot_integration", "0001_initial"),
        ("otp", "0003_support_group"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditChain",
            fields=[
                (
                    "portal",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="hubspot_integration.portal",
                    ),
                ),
                ("sequence", models.BigIntegerField()),
                ("hash", models.BinaryField(max_length=32)),
            ],
        ),
        migrations.CreateModel(
            name="AuditLink",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="link",
                        serialize=False,
                        to="otp.auditevent",
                    ),
                ),
                ("sequence", models.BigIntegerField()),
                ("keep_until", models.DateTimeField()),
                ("digest", models.BinaryField(max_length=32)),
                ("previous", models.BinaryField(max_length=32)),
                ("hash", models.BinaryField(max_length=32)),
            ],
        ),
        migrations.CreateModel(
            name="AuditMark",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("written_in", models.BigIntegerField()),
                ("event_id", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="AuditNote",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("contact_id", models.BigIntegerField(blank=True, null=True)),
                ("typed", opsagent.encryption.EncryptedTextField()),
                ("deed", models.BinaryField(blank=True, max_length=32, null=True)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="auditevent",
            name="keep_until",
            field=models.DateTimeField(
                db_default=models.Value(dt.datetime(9999, 1, 1, tzinfo=dt.UTC)),
                editable=False,
            ),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="recorded_at",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
        ),
        migrations.AddField(
            model_name="auditevent",
            name="written_in",
            field=models.BigIntegerField(db_default=0, editable=False),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="portal",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="hubspot_integration.portal",
            ),
        ),
        # A period outside the range can only come from a console.
        migrations.RunSQL(
            "UPDATE otp_otpsettings SET retention_days = LEAST(GREATEST(retention_days, 1), 3650) "
            "WHERE retention_days NOT BETWEEN 1 AND 3650",
            migrations.RunSQL.noop,
        ),
        migrations.AddConstraint(
            model_name="otpsettings",
            constraint=models.CheckConstraint(
                condition=models.Q(("retention_days__gte", 1), ("retention_days__lte", 3650)),
                name="records_are_kept_a_day_to_ten_years",
            ),
        ),
        migrations.AddField(
            model_name="auditlink",
            name="portal",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="hubspot_integration.portal",
            ),
        ),
        migrations.AddField(
            model_name="auditnote",
            name="portal",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="hubspot_integration.portal",
            ),
        ),
        migrations.AddConstraint(
            model_name="auditlink",
            constraint=models.UniqueConstraint(fields=("portal", "sequence"), name="one_link_per_place"),
        ),
        migrations.AddIndex(
            model_name="auditnote",
            index=models.Index(fields=["portal", "contact_id"], name="notes_of_a_contact"),
        ),
        migrations.AddIndex(
            model_name="auditnote",
            index=models.Index(fields=["portal", "created_at"], name="notes_by_age"),
        ),
        migrations.AddConstraint(
            model_name="auditnote",
            constraint=models.UniqueConstraint(fields=("portal", "deed"), name="one_note_per_deed"),
        ),
        migrations.RunPython(add_guards, remove_guards, elidable=False),
    ]
