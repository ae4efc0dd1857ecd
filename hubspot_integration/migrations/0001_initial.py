import django.contrib.postgres.fields
import django.db.models.deletion
import opsagent.encryption
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Portal",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False, verbose_name="portal id")),
                ("hub_domain", models.CharField(blank=True, max_length=255)),
                ("ui_domain", models.CharField(default="app.hubspot.com", max_length=255)),
                ("time_zone", models.CharField(default="UTC", max_length=64)),
                ("account_type", models.CharField(blank=True, max_length=32)),
                ("installed_at", models.DateTimeField()),
                ("disconnected_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("id",),
                "permissions": (("disconnect_portal", "Can disconnect a portal"),),
            },
        ),
        migrations.CreateModel(
            name="OAuthState",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("code_verifier", opsagent.encryption.EncryptedTextField()),
                ("created_at", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name="ContactPropertyList",
            fields=[
                (
                    "portal",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="contact_property_list",
                        serialize=False,
                        to="hubspot_integration.portal",
                    ),
                ),
                ("properties", models.JSONField(default=list)),
                ("fetched_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="OAuthGrant",
            fields=[
                (
                    "portal",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="grant",
                        serialize=False,
                        to="hubspot_integration.portal",
                    ),
                ),
                ("access_token", opsagent.encryption.EncryptedTextField()),
                ("refresh_token", opsagent.encryption.EncryptedTextField()),
                ("expires_at", models.DateTimeField()),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=128), default=list, size=None
                    ),
                ),
                ("refreshed_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "OAuth grant",
            },
        ),
        migrations.CreateModel(
            name="PortalMember",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hubspot_user_id", models.BigIntegerField()),
                ("email", models.EmailField(blank=True, max_length=254)),
                ("signed_in_at", models.DateTimeField()),
                (
                    "portal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="members",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="portal",
            name="installed_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="hubspot_integration.portalmember",
            ),
        ),
        migrations.CreateModel(
            name="RefusedFeature",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("feature", models.CharField(max_length=120)),
                ("reason", models.CharField(max_length=100)),
                ("refused_at", models.DateTimeField()),
                (
                    "portal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="refused_features",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="portalmember",
            constraint=models.UniqueConstraint(
                fields=("portal", "hubspot_user_id"), name="one_member_per_portal_and_user"
            ),
        ),
        migrations.AddConstraint(
            model_name="refusedfeature",
            constraint=models.UniqueConstraint(fields=("portal", "feature"), name="one_refusal_per_portal_and_feature"),
        ),
    ]
