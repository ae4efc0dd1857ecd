from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("otp", "0006_audit_rules")]

    operations = [
        migrations.AlterField(
            model_name="delivery",
            name="channel",
            field=models.CharField(
                choices=[
                    ("contact_property", "Contact Property"),
                    ("email", "Email"),
                    ("workflow_completion", "Workflow Completion"),
                    ("workflow_confirmation", "Workflow Confirmation"),
                    ("property_clearing", "Property Clearing"),
                    ("property_check", "Property Check"),
                ],
                max_length=24,
            ),
        ),
    ]
