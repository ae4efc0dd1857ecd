"""Contacts whose rows are to go."""

from django.db import models

from hubspot_integration.models import Portal


class ErasureRequest(models.Model):
    """A contact whose rows are to go because HubSpot deleted it. The row itself goes with them, last."""

    portal = models.ForeignKey(Portal, on_delete=models.CASCADE, related_name="+", db_index=False)
    contact_id = models.BigIntegerField()
    # what is made later belongs to a contact that was restored, and stays
    requested_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["portal", "contact_id"], name="one_erasure_request_per_contact"),
        )

    def __str__(self) -> str:
        return f"erasure request {self.pk}"
