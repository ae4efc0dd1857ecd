import django.contrib.postgres.functions
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
import opsagent.encryption
import otp.models
import uuid
import uuid_utils.compat
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("hubspot_integration", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="OneTimeCode",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid_utils.compat.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                        verbose_name="reference",
                    ),
                ),
                ("contact_id", models.BigIntegerField()),
                ("request_key", models.CharField(max_length=300)),
                (
                    "source",
                    models.CharField(
                        choices=[("workflow", "Workflow"), ("test", "Test"), ("card", "Card")], max_length=8
                    ),
                ),
                ("workflow_id", models.CharField(blank=True, max_length=32)),
                ("address", opsagent.encryption.EncryptedTextField()),
                ("address_digest", models.BinaryField(db_default=b"", max_length=32)),
                ("first_name", opsagent.encryption.EncryptedTextField(null=True)),
                ("language", models.CharField(blank=True, max_length=20)),
                ("code", opsagent.encryption.EncryptedTextField(null=True)),
                ("digest", models.BinaryField(max_length=32)),
                ("code_type", models.CharField(max_length=12, null=True)),
                ("code_length", models.SmallIntegerField(null=True)),
                ("wrong_attempts", models.SmallIntegerField(db_default=0, default=0)),
                ("expiry_minutes", models.SmallIntegerField()),
                ("outputs_code", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "end_reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("used", "Used"),
                            ("locked", "Locked"),
                            ("superseded", "Superseded"),
                            ("expired", "Expired"),
                            ("erased", "Erased"),
                        ],
                        max_length=10,
                        null=True,
                    ),
                ),
                ("clears_property_on_success", models.BooleanField(db_default=False, default=False)),
                (
                    "portal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="codes",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "channel",
                    models.CharField(
                        choices=[
                            ("contact_property", "Contact Property"),
                            ("email", "Email"),
                            ("workflow_completion", "Workflow Completion"),
                            ("workflow_confirmation", "Workflow Confirmation"),
                            ("property_clearing", "Property Clearing"),
                        ],
                        max_length=24,
                    ),
                ),
                ("target", models.CharField(blank=True, max_length=255)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sent", "Sent"),
                            ("failed", "Failed"),
                            ("bounced", "Bounced"),
                        ],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("attempts", models.SmallIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                ("not_before", models.DateTimeField(blank=True, null=True)),
                ("error", models.CharField(blank=True, max_length=100)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("provider_message_id", models.CharField(blank=True, db_default="", default="", max_length=255)),
                ("provider_status", models.CharField(blank=True, db_default="", default="", max_length=10)),
                ("provider_status_at", models.DateTimeField(blank=True, null=True)),
                (
                    "portal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="hubspot_integration.portal",
                    ),
                ),
                (
                    "code",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="otp.onetimecode",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "permissions": (("retry_delivery", "Can retry a failed delivery"),),
            },
        ),
        migrations.CreateModel(
            name="OTPSettings",
            fields=[
                (
                    "portal",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="otp_settings",
                        serialize=False,
                        to="hubspot_integration.portal",
                    ),
                ),
                (
                    "code_type",
                    models.CharField(
                        choices=[
                            ("numeric", "Numeric (0-9)"),
                            ("alphanumeric", "Alphanumeric (A-Z and 2-9, without I and O)"),
                            ("alpha", "Letters only (A-Z, without I and O)"),
                        ],
                        default="numeric",
                        max_length=12,
                        verbose_name="Code Type",
                    ),
                ),
                (
                    "code_length",
                    models.PositiveSmallIntegerField(
                        choices=[(4, "4 characters"), (6, "6 characters"), (8, "8 characters")],
                        default=6,
                        verbose_name="Code Length",
                    ),
                ),
                (
                    "expiry_minutes",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (5, "5 minutes"),
                            (10, "10 minutes"),
                            (15, "15 minutes"),
                            (30, "30 minutes"),
                            (60, "60 minutes"),
                        ],
                        default=10,
                        verbose_name="Default Expiry",
                    ),
                ),
                ("store_in_property", models.BooleanField(default=False, verbose_name="Store OTP in HubSpot Property")),
                ("property_name", models.CharField(blank=True, max_length=100, verbose_name="HubSpot Property Name")),
                ("send_email", models.BooleanField(default=False, verbose_name="Send OTP via Email")),
                (
                    "email_subject",
                    models.CharField(default="Your Verification Code", max_length=150, verbose_name="Email Subject"),
                ),
                ("greeting", models.CharField(default="Hello,", max_length=200, verbose_name="Greeting")),
                (
                    "body_text",
                    models.TextField(
                        default="Your one-time verification code is:",
                        validators=[django.core.validators.MaxLengthValidator(2000)],
                        verbose_name="Body Text",
                    ),
                ),
                (
                    "footer_text",
                    models.TextField(
                        blank=True,
                        default="This code will expire in {expiry_minutes} minutes. If you didn't request this code, please ignore this email.",
                        validators=[django.core.validators.MaxLengthValidator(2000)],
                        verbose_name="Footer Text",
                    ),
                ),
                (
                    "sender_name",
                    models.CharField(blank=True, db_default="", default="", max_length=100, verbose_name="Sender Name"),
                ),
                (
                    "reply_to",
                    models.EmailField(
                        blank=True, db_default="", default="", max_length=254, verbose_name="Reply-To Address"
                    ),
                ),
                (
                    "default_language",
                    models.CharField(db_default="en", default="en", max_length=20, verbose_name="Default Language"),
                ),
                ("wait_until_delivered", models.BooleanField(default=False, verbose_name="Wait until delivered")),
                (
                    "output_code",
                    models.BooleanField(default=True, verbose_name="Give the code to later workflow steps"),
                ),
                (
                    "email_property",
                    models.CharField(
                        db_default="email", default="email", max_length=100, verbose_name="E-mail Property"
                    ),
                ),
                (
                    "code_visibility",
                    models.CharField(
                        choices=[
                            ("always", "Always"),
                            ("reveal", "Only after giving a reason, which is recorded"),
                            ("never", "Never: they type what the customer reads out"),
                        ],
                        db_default="always",
                        default="always",
                        max_length=6,
                        verbose_name="Agents see codes",
                    ),
                ),
                (
                    "resend_policy",
                    models.CharField(
                        choices=[
                            ("replace", "A new code replaces older ones"),
                            ("keep_both", "Older codes stay valid until they expire"),
                        ],
                        db_default="replace",
                        default="replace",
                        max_length=10,
                        verbose_name="When a code is sent again",
                    ),
                ),
                (
                    "contact_limit_10_minutes",
                    models.PositiveSmallIntegerField(
                        db_default=5,
                        default=5,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(100),
                        ],
                        verbose_name="Codes per contact in 10 minutes",
                    ),
                ),
                (
                    "contact_limit_day",
                    models.PositiveSmallIntegerField(
                        db_default=20,
                        default=20,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1000),
                        ],
                        verbose_name="Codes per contact in 24 hours",
                    ),
                ),
                (
                    "portal_limit_minute",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(100000),
                        ],
                        verbose_name="Codes per minute in the whole account",
                    ),
                ),
                (
                    "resend_cooldown_seconds",
                    models.PositiveSmallIntegerField(
                        db_default=30,
                        default=30,
                        validators=[django.core.validators.MaxValueValidator(3600)],
                        verbose_name="Seconds before an agent can send another code",
                    ),
                ),
                (
                    "wrong_attempts_limit",
                    models.PositiveSmallIntegerField(
                        db_default=10,
                        default=10,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(100),
                        ],
                        verbose_name="Wrong codes that lock a contact",
                    ),
                ),
                (
                    "lock_minutes",
                    models.PositiveSmallIntegerField(
                        db_default=15,
                        default=15,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1440),
                        ],
                        verbose_name="Minutes of the first lock",
                    ),
                ),
                (
                    "longest_lock_minutes",
                    models.PositiveSmallIntegerField(
                        db_default=1440,
                        default=1440,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1440),
                        ],
                        verbose_name="Minutes of the longest lock",
                    ),
                ),
                (
                    "clear_property",
                    models.BooleanField(
                        db_default=True, default=True, verbose_name="Clear the property when the code ends"
                    ),
                ),
                (
                    "retention_days",
                    models.PositiveSmallIntegerField(
                        db_default=90,
                        default=90,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(3650),
                        ],
                        verbose_name="Days that records are kept",
                    ),
                ),
                ("version", models.PositiveIntegerField(default=otp.models.first_version, editable=False)),
            ],
            options={
                "verbose_name": "OTP settings",
                "verbose_name_plural": "OTP settings",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("store_in_property", False),
                            models.Q(("property_name", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="storing_needs_a_property",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("longest_lock_minutes__gte", models.F("lock_minutes"))),
                        name="locks_grow",
                        violation_error_message="The longest lock cannot be shorter than the first one.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("contact_id", models.BigIntegerField()),
                ("request_key", models.CharField(max_length=300)),
                (
                    "source",
                    models.CharField(
                        choices=[("workflow", "Workflow"), ("test", "Test"), ("card", "Card")], max_length=8
                    ),
                ),
                (
                    "result",
                    models.CharField(
                        choices=[("valid", "Valid"), ("expired", "Expired"), ("invalid", "Invalid")], max_length=8
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("verified", "Verified"),
                            ("wrong_code", "Wrong Code"),
                            ("malformed", "Malformed"),
                            ("expired", "Expired"),
                            ("locked", "Locked"),
                            ("superseded", "Superseded"),
                            ("already_used", "Already Used"),
                            ("not_found", "Not Found"),
                            ("rate_limited", "Rate Limited"),
                        ],
                        max_length=12,
                    ),
                ),
                ("attempts_remaining", models.SmallIntegerField()),
                ("verified_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "code",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="verifications",
                        to="otp.onetimecode",
                    ),
                ),
                (
                    "portal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at",),
            },
        ),
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("actor", models.CharField(max_length=254)),
                (
                    "actor_kind",
                    models.CharField(
                        choices=[
                            ("workflow", "Workflow"),
                            ("agent", "Agent"),
                            ("admin", "Admin"),
                            ("staff", "Staff"),
                            ("system", "System"),
                        ],
                        max_length=8,
                    ),
                ),
                ("action", models.CharField(max_length=40)),
                ("contact", models.UUIDField(blank=True, null=True)),
                ("reference", models.UUIDField(blank=True, null=True)),
                ("detail", models.JSONField(blank=True, default=dict)),
                (
                    "portal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
            options={
                "ordering": ("-at", "-id"),
                "indexes": [
                    models.Index(fields=["portal", "-at"], name="events_of_a_portal"),
                    models.Index(fields=["portal", "contact", "-at"], name="events_of_a_contact"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ContactGuard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("contact_id", models.BigIntegerField()),
                ("wrong_attempts", models.SmallIntegerField(db_default=0, default=0)),
                ("lock_count", models.SmallIntegerField(db_default=0, default=0)),
                ("locked_until", models.DateTimeField(blank=True, null=True)),
                ("version", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "pseudonym",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(), default=uuid.uuid4, editable=False
                    ),
                ),
                (
                    "portal",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
            options={
                "verbose_name": "contact",
                "permissions": (("lift_lock", "Can lift the lock of a contact"),),
                "constraints": [
                    models.UniqueConstraint(fields=("portal", "contact_id"), name="one_guard_per_contact"),
                    models.UniqueConstraint(fields=("pseudonym",), name="one_contact_per_pseudonym"),
                ],
            },
        ),
        migrations.CreateModel(
            name="EmailTexts",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("language", models.CharField(max_length=20, verbose_name="Language")),
                ("subject", models.CharField(blank=True, max_length=150, verbose_name="Email Subject")),
                ("greeting", models.CharField(blank=True, max_length=200, verbose_name="Greeting")),
                (
                    "body_text",
                    models.TextField(
                        blank=True,
                        validators=[django.core.validators.MaxLengthValidator(2000)],
                        verbose_name="Body Text",
                    ),
                ),
                (
                    "footer_text",
                    models.TextField(
                        blank=True,
                        validators=[django.core.validators.MaxLengthValidator(2000)],
                        verbose_name="Footer Text",
                    ),
                ),
                (
                    "portal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="email_texts",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
            options={
                "verbose_name": "texts of a language",
                "verbose_name_plural": "texts of a language",
                "ordering": ("language",),
                "constraints": [
                    models.UniqueConstraint(fields=("portal", "language"), name="one_set_of_texts_per_language")
                ],
            },
        ),
        migrations.CreateModel(
            name="ErasureRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("contact_id", models.BigIntegerField()),
                ("requested_at", models.DateTimeField()),
                (
                    "portal",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="hubspot_integration.portal",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("portal", "contact_id"), name="one_erasure_request_per_contact")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="onetimecode",
            index=models.Index(fields=["portal", "-created_at"], name="codes_of_a_portal"),
        ),
        migrations.AddIndex(
            model_name="onetimecode",
            index=models.Index(fields=["contact_id", "portal", "-created_at"], name="codes_of_a_contact"),
        ),
        migrations.AddIndex(
            model_name="onetimecode",
            index=models.Index(fields=["address_digest", "portal", "-created_at"], name="codes_of_an_address"),
        ),
        migrations.AddIndex(
            model_name="onetimecode",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", True)), fields=["expires_at"], name="codes_to_expire"
            ),
        ),
        migrations.AddIndex(
            model_name="onetimecode",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", False), models.Q(("digest", b""), _negated=True)),
                fields=["expires_at"],
                name="codes_to_forget",
            ),
        ),
        migrations.AddConstraint(
            model_name="onetimecode",
            constraint=models.UniqueConstraint(fields=("request_key", "portal"), name="one_code_per_request"),
        ),
        migrations.AddConstraint(
            model_name="onetimecode",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("end_reason__isnull", True), ("ended_at__isnull", True)),
                    models.Q(("end_reason__isnull", False), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="an_end_has_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="onetimecode",
            constraint=models.CheckConstraint(
                condition=models.Q(("ended_at__isnull", True), ("code__isnull", True), _connector="OR"),
                name="an_ended_code_is_wiped",
            ),
        ),
        migrations.AddConstraint(
            model_name="onetimecode",
            constraint=models.CheckConstraint(
                condition=models.Q(("expires_at__gt", models.F("created_at"))), name="a_code_expires_after_it_is_made"
            ),
        ),
        migrations.AddConstraint(
            model_name="onetimecode",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("clears_property_on_success", False),
                    models.Q(("end_reason", "used"), ("ended_at__isnull", False)),
                    _connector="OR",
                ),
                name="only_a_used_code_clears_its_property",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("status", "pending")),
                fields=["portal", "channel", "next_attempt_at"],
                name="deliveries_to_make",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("provider_message_id", ""), _negated=True),
                fields=["provider_message_id"],
                name="deliveries_by_provider",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("status__in", ["failed", "bounced"])), fields=["id"], name="failed_deliveries"
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(fields=("code", "channel"), name="one_delivery_per_code_and_channel"),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("next_attempt_at__isnull", False), ("settled_at__isnull", True), ("status", "pending")),
                    models.Q(
                        models.Q(("status", "pending"), _negated=True),
                        ("next_attempt_at__isnull", True),
                        ("settled_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="a_pending_delivery_is_due_some_time",
            ),
        ),
        migrations.AddIndex(
            model_name="verification",
            index=models.Index(fields=["portal", "contact_id", "-created_at"], name="verifications_of_a_contact"),
        ),
        migrations.AddIndex(
            model_name="verification",
            index=models.Index(
                condition=models.Q(("code__isnull", False)), fields=["code"], name="verifications_of_a_code"
            ),
        ),
        migrations.AddIndex(
            model_name="verification",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["created_at"], name="verifications_by_age"
            ),
        ),
        migrations.AddConstraint(
            model_name="verification",
            constraint=models.UniqueConstraint(fields=("portal", "request_key"), name="one_verification_per_request"),
        ),
        migrations.AddConstraint(
            model_name="verification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("code__isnull", False),
                        ("reason", "verified"),
                        ("result", "valid"),
                        ("verified_at__isnull", False),
                    ),
                    models.Q(("reason", "expired"), ("result", "expired"), ("verified_at__isnull", True)),
                    models.Q(
                        models.Q(("reason__in", ["verified", "expired"]), _negated=True),
                        ("result", "invalid"),
                        ("verified_at__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="a_result_follows_from_its_reason",
            ),
        ),
    ]
