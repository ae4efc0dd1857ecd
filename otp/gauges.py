"""What operators see of the product's work."""

import datetime as dt

from django.db.models import Min
from django.utils import timezone

from otp.models import Delivery


def overdue_seconds() -> float:
    """Return for how long the oldest due delivery has been due; 0 when none is."""
    now: dt.datetime = timezone.now()
    oldest = Delivery.objects.due(now).aggregate(oldest=Min("next_attempt_at"))["oldest"]
    return 0.0 if oldest is None else float((now - oldest).total_seconds())
