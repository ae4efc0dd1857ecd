"""The group of support staff, with exactly the rights that they need."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

GROUP = "Support"
RIGHTS = {
    "hubspot_integration": ("view_portal", "disconnect_portal"),
    "otp": (
        "view_otpsettings",
        "view_contactguard",
        "lift_lock",
        "view_onetimecode",
        "view_delivery",
        "retry_delivery",
        "view_verification",
        "view_auditevent",
    ),
}


def create_group(apps: Any, _: Any) -> None:
    # Django makes permissions after all migrations; here they are needed before.
    for label in RIGHTS:
        config = apps.get_app_config(label)
        config.models_module = True  # historical apps do not say that they have models
        create_permissions(config, apps=apps, verbosity=0)
    group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=GROUP)
    permissions = apps.get_model("auth", "Permission").objects
    group.permissions.set(
        permissions.get(content_type__app_label=label, codename=codename)
        for label, codenames in RIGHTS.items()
        for codename in codenames
    )


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("hubspot_integration", "0001_initial"),
        ("otp", "0002_rules"),
    ]

    operations = [migrations.RunPython(create_group, migrations.RunPython.noop, elidable=False)]
