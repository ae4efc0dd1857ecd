"""Changing a portal's settings: never over somebody else's head, and never without a line in the audit log."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction

from hubspot_integration.models import Portal
from otp import audit
from otp.audit import Action, ActorKind
from otp.models import AuditEvent, OTPSettings

_LONGEST_TEXT: Final = 80
"""Characters of a value in the audit log: enough to tell two texts apart."""


class ChangedMeanwhile(Exception):
    """Somebody else has changed the settings since they were read. `last_change` says who and when, if that is known."""

    def __init__(self, last_change: AuditEvent | None) -> None:
        super().__init__("The settings have changed since they were read")
        self.last_change = last_change


def change(
    *, portal: Portal, actor: str, values: Mapping[str, Any], version: int | None, now: dt.datetime
) -> OTPSettings:
    """Store the values that differ from the present ones; return the settings.

    `values`: field of OTPSettings → valid value. `version` is the one that whoever changes them has seen, 0 if there were
    no settings yet; None: the change does not depend on it. What changed, from what to what, is recorded under the
    `actor`'s name. Raises ChangedMeanwhile, having changed nothing.
    """
    with transaction.atomic():
        _, is_new = OTPSettings.objects.get_or_create(portal=portal)
        settings = OTPSettings.objects.select_for_update().get(portal=portal)
        if version is not None and version != (0 if is_new else settings.version):
            raise ChangedMeanwhile(
                AuditEvent.objects.filter(portal=portal, action=Action.SETTINGS_CHANGED).order_by("-at", "-id").first()
            )
        changed = {name: value for name, value in values.items() if getattr(settings, name) != value}
        if not changed:
            return settings
        detail = {name: [_brief(getattr(settings, name)), _brief(value)] for name, value in changed.items()}
        for name, value in changed.items():
            setattr(settings, name, value)
        settings.save(update_fields=list(changed))
        audit.record(
            portal=portal,
            at=now,
            actor=actor,
            actor_kind=ActorKind.ADMIN,
            action=Action.SETTINGS_CHANGED,
            detail=detail,
        )
    settings.refresh_from_db(fields=["version"])
    return settings


def _brief(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]}…"
    return value
