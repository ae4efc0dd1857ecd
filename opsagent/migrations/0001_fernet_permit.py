"""Values that older releases stored are read until `rotate_keys` has rewritten them."""

from typing import Any

from django.db import migrations, models

from opsagent.encryption import new_permit


def permit(apps: Any, _: Any) -> None:
    # Secrets come with a portal: where there is none, nothing was ever stored in the old format.
    if apps.get_model("hubspot_integration", "Portal").objects.exists():
        apps.get_model("opsagent", "FernetPermit").objects.create(proof=new_permit())


class Migration(migrations.Migration):
    initial = True
    dependencies = [("hubspot_integration", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="FernetPermit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("proof", models.BinaryField()),
            ],
        ),
        migrations.RunPython(permit, migrations.RunPython.noop),
    ]
