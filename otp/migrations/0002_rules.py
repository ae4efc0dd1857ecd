"""What the database itself sees to."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("otp", "0001_initial")]

    operations = [
        # Who read an older version of a portal's settings knows it, whoever changed them and however.
        migrations.RunSQL(
            """
            CREATE FUNCTION otp_raise_settings_version() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                NEW.version := OLD.version + 1;
                RETURN NEW;
            END
            $$;
            CREATE TRIGGER raise_version BEFORE UPDATE ON otp_otpsettings
            FOR EACH ROW EXECUTE FUNCTION otp_raise_settings_version();
            """,
            "DROP FUNCTION otp_raise_settings_version CASCADE",
        ),
        # Lines of the audit log are only ever added; the retention job deletes those whose time is over (ADR 9).
        migrations.RunSQL(
            """
            CREATE FUNCTION otp_keep_audit_events() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE
                days integer;
                gone_at timestamptz;
            BEGIN
                IF TG_OP = 'DELETE' AND current_setting('opsagent.retention', true) = 'on' THEN
                    SELECT COALESCE(settings.retention_days, 90), portal.disconnected_at INTO days, gone_at
                    FROM hubspot_integration_portal AS portal
                    LEFT JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
                    WHERE portal.id = OLD.portal_id;
                    IF LEAST(OLD.at, gone_at) < clock_timestamp() - make_interval(days => days) THEN
                        RETURN OLD;
                    END IF;
                END IF;
                RAISE EXCEPTION 'Audit events are only ever added; the retention job deletes those whose time is over.'
                    USING ERRCODE = 'insufficient_privilege';
            END
            $$;
            CREATE TRIGGER keep_audit_events BEFORE UPDATE OR DELETE ON otp_auditevent
            FOR EACH ROW EXECUTE FUNCTION otp_keep_audit_events();
            REVOKE TRUNCATE ON otp_auditevent FROM CURRENT_USER;
            """,
            """
            GRANT TRUNCATE ON otp_auditevent TO CURRENT_USER;
            DROP FUNCTION otp_keep_audit_events CASCADE;
            """,
        ),
    ]
