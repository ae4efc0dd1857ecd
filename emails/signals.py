"""What this app tells the others."""

from django.dispatch import Signal

status_changed = Signal()
"""A provider has news of a mail: `message_id` (the provider's), `reference` (a UUID, or None), `status` (a
MailStatus), `at` (when it happened, or None)."""
