"""Changing a portal's settings: never over somebody else's head, and never without a line in the audit log."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.db.models import CharField, TextField

from hubspot_integration.models import Portal
from otp import audit
from otp.audit import Action, ActorKind
from otp.models import AuditEvent, OTPSettings

_LONGEST_TEXT: Final = 80
"""Characters of a value that are kept of a change: enough to tell two texts apart."""
_PICKED: Final = frozenset({"property_name", "email_property", "default_language"})
"""Texts that are picked from a list of HubSpot's or ours, not typed."""


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
    `actor`'s name; texts that were typed stand in a note beside the audit line. Raises ChangedMeanwhile, having changed nothing.
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
        before_and_after = {name: [_brief(getattr(settings, name)), _brief(value)] for name, value in changed.items()}
        for name, value in changed.items():
            setattr(settings, name, value)
        settings.save(update_fields=list(changed))
        audit.record(
            portal=portal,
            at=now,
            actor=actor,
            actor_kind=ActorKind.ADMIN,
            action=Action.SETTINGS_CHANGED,
            detail=_detail(portal, before_and_after, now),
        )
    settings.refresh_from_db(fields=["version"])
    return settings


def _detail(portal: Portal, changes: Mapping[str, list[Any]], now: dt.datetime) -> dict[str, Any]:
    """Return what the audit line says: values that were chosen, and of texts that were typed only the names."""
    typed = {name: change for name, change in changes.items() if _is_typed(name)}
    detail: dict[str, Any] = {name: change for name, change in changes.items() if name not in typed}
    if typed:
        note = audit.note(portal=portal, at=now, typed=typed)
        detail |= {"texts": sorted(typed), "note": str(note)}
    return detail


def _is_typed(name: str) -> bool:
    field = OTPSettings._meta.get_field(name)  # noqa: SLF001 (Django's public way to a field)
    return isinstance(field, CharField | TextField) and not field.choices and name not in _PICKED


def _brief(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]}…"
    return value
