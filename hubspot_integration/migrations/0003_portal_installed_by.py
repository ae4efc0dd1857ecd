from django.db import migrations, models
from django.db.models import OuterRef, Subquery


def name_installers(apps, schema_editor):  # noqa: ANN001, ANN201, ARG001 (the signature of RunPython)
    """Until now the installer was whoever had signed in at the moment of the installation."""
    Portal = apps.get_model("hubspot_integration", "Portal")
    PortalMember = apps.get_model("hubspot_integration", "PortalMember")
    installer = PortalMember.objects.filter(portal=OuterRef("pk"), signed_in_at=OuterRef("installed_at")).order_by("pk")
    Portal.objects.update(installed_by=Subquery(installer.values("pk")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("hubspot_integration", "0002_refusedfeature"),
    ]

    operations = [
        migrations.AddField(
            model_name="portal",
            name="installed_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=models.deletion.SET_NULL,
                related_name="+",
                to="hubspot_integration.portalmember",
            ),
        ),
        migrations.RunPython(name_installers, migrations.RunPython.noop, elidable=True),
    ]
