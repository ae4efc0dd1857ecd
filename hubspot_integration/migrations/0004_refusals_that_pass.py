from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("hubspot_integration", "0003_members_and_attempts")]

    operations = [
        migrations.AddField(model_name="refusedfeature", name="probe_at", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="refusedfeature", name="steps", field=models.SmallIntegerField(db_default=0, default=0)
        ),
    ]
