from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("otp", "0009_default_sender"),
    ]

    operations = [
        migrations.AddField(
            model_name="contactguard",
            name="version",
            field=models.PositiveBigIntegerField(db_default=0, default=0, editable=False),
        ),
    ]
