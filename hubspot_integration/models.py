"""The tenant and what HubSpot gave us for it."""

import datetime as dt

from django.contrib.postgres.fields import ArrayField
from django.db import models

from hubspot_integration import zones
from opsagent.encryption import EncryptedTextField


class PortalQuerySet(models.QuerySet["Portal"]):
    """Queries that every reader of portals shares."""

    def connected(self) -> "PortalQuerySet":
        """Keep portals that the app is installed in."""
        return self.filter(disconnected_at__isnull=True)


class Portal(models.Model):
    """One HubSpot account: the tenant. Its primary key is HubSpot's own portal id (Hub ID)."""

    id = models.BigIntegerField(primary_key=True, verbose_name="portal id")
    hub_domain = models.CharField(max_length=255, blank=True)
    ui_domain = models.CharField(max_length=255, default="app.hubspot.com")
    time_zone = models.CharField(max_length=64, default="UTC")
    account_type = models.CharField(max_length=32, blank=True)
    installed_at = models.DateTimeField()
    installed_by = models.ForeignKey("PortalMember", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    disconnected_at = models.DateTimeField(null=True, blank=True)

    objects = PortalQuerySet.as_manager()

    class Meta:
        ordering = ("id",)
        permissions = (("disconnect_portal", "Can disconnect a portal"),)

    def __str__(self) -> str:
        return f"{self.hub_domain or 'portal'} ({self.id})"

    @property
    def zone(self) -> dt.tzinfo:
        """The portal's time zone; UTC when HubSpot named one that this machine does not know. Never raises."""
        return zones.named(self.time_zone) or dt.UTC

    @property
    def is_connected(self) -> bool:
        """Whether the app is installed in this portal, as far as we know."""
        return self.disconnected_at is None


class OAuthGrant(models.Model):
    """The tokens of one connected portal. The row is deleted when the portal is disconnected."""

    portal = models.OneToOneField(Portal, on_delete=models.CASCADE, primary_key=True, related_name="grant")
    access_token = EncryptedTextField()
    refresh_token = EncryptedTextField()
    expires_at = models.DateTimeField()
    scopes = ArrayField(models.CharField(max_length=128), default=list)
    refreshed_at = models.DateTimeField()

    class Meta:
        verbose_name = "OAuth grant"

    def __str__(self) -> str:
        return f"grant of portal {self.portal_id}"

    def is_fresh(self, now: dt.datetime, margin: dt.timedelta = dt.timedelta(0)) -> bool:
        """Whether the access token is accepted for at least `margin` after `now`."""
        return self.expires_at > now + margin


class PortalMember(models.Model):
    """A HubSpot user who has signed in to a portal's settings."""

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="members")
    hubspot_user_id = models.BigIntegerField()
    email = models.EmailField(blank=True)
    signed_in_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True, blank=True)
    # A session proves a membership under the epoch of that moment: the next epoch ends all of them at once.
    session_epoch = models.IntegerField(default=0, db_default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["portal", "hubspot_user_id"], name="one_member_per_portal_and_user"),
        )

    def __str__(self) -> str:
        return f"user {self.hubspot_user_id} of portal {self.portal_id}"

    @property
    def name(self) -> str:
        """What people call the member: the e-mail address, where HubSpot told it."""
        return self.email or f"HubSpot user {self.hubspot_user_id}"


class OAuthState(models.Model):
    """One attempt to install, sign in or confirm. Found by the digest of its state; consumed by deleting the row."""

    digest = models.CharField(max_length=64, primary_key=True)
    code_verifier = EncryptedTextField()
    created_at = models.DateTimeField(db_index=True)
    purpose = models.CharField(max_length=16, default="install", db_default="install")
    return_to = models.CharField(max_length=200, blank=True, default="", db_default="")
    expected_portal_id = models.BigIntegerField(null=True, blank=True)
    expected_user_id = models.BigIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.purpose} begun {self.created_at:%Y-%m-%d %H:%M}"


class RefusedFeature(models.Model):
    """Something that HubSpot refuses a portal.

    `feature` is a feature of `client` ("contacts", "callbacks", …), EVERYTHING, or `property:<name>`. A scope that was not
    granted is missing until the portal is connected anew. Everything else may be over at any moment: `probe_at` says when
    it is looked into again (NULL: at once), `steps` how often that was put off.
    """

    EVERYTHING = "everything"
    PROPERTY = "property:"
    MISSING_SCOPES = "missing_scopes"

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="refused_features", db_index=False)
    feature = models.CharField(max_length=120)
    reason = models.CharField(max_length=100)
    refused_at = models.DateTimeField()
    probe_at = models.DateTimeField(null=True)
    steps = models.SmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["portal", "feature"], name="one_refusal_per_portal_and_feature"),
        )

    def __str__(self) -> str:
        return f"{self.feature} of portal {self.portal_id}: {self.reason}"

    @property
    def is_lasting(self) -> bool:
        """Whether only the portal's admin can end it, by connecting anew."""
        return self.reason == self.MISSING_SCOPES

    @property
    def is_of_a_property(self) -> bool:
        """Whether it is one property that HubSpot does not let us write."""
        return self.feature.startswith(self.PROPERTY)


class ContactPropertyList(models.Model):
    """What HubSpot last said about a portal's contact properties: a list of `client.ContactProperty` as JSON."""

    portal = models.OneToOneField(
        Portal, on_delete=models.CASCADE, primary_key=True, related_name="contact_property_list"
    )
    properties = models.JSONField(default=list)
    fetched_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"contact properties of portal {self.portal_id}"


class SignatureCount(models.Model):
    """What of HubSpot's signatures was seen at one workflow action, by all processes together (`signature_versions`).

    `v3_calls` were signed with version 3; `v2_calls` with version 2 alone, of which `v2_refused` were refused.
    """

    action = models.CharField(max_length=200, primary_key=True)
    v3_calls = models.BigIntegerField(default=0, db_default=0)
    first_v3_at = models.DateTimeField(null=True, blank=True)
    last_v3_at = models.DateTimeField(null=True, blank=True)
    v2_calls = models.BigIntegerField(default=0, db_default=0)
    v2_refused = models.BigIntegerField(default=0, db_default=0)
    last_v2_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.action}: {self.v3_calls} of version 3, {self.v2_calls} of version 2 alone"
