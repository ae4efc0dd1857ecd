"""A code that ends is wiped by the database, whoever ends it and however."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("otp", "0007_property_check")]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION otp_wipe_ended_code() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                NEW.code := NULL;
                NEW.first_name := NULL;
                RETURN NEW;
            END
            $$;
            CREATE TRIGGER wipe_ended_code BEFORE UPDATE ON otp_onetimecode FOR EACH ROW
            WHEN (NEW.ended_at IS NOT NULL AND (NEW.code IS NOT NULL OR NEW.first_name IS NOT NULL))
            EXECUTE FUNCTION otp_wipe_ended_code();
            """,
            "DROP FUNCTION otp_wipe_ended_code CASCADE",
        ),
    ]
