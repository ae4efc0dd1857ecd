"""Contact properties: their definitions and what HubSpot accepts as a value of each type.

https://developers.hubspot.com/docs/api-reference/latest/crm/properties/guide
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.times import from_iso, iso

FIELD_TYPES = {
    "bool": {"booleancheckbox", "calculation_equation"},
    "enumeration": {"booleancheckbox", "checkbox", "radio", "select", "calculation_equation"},
    "date": {"date"},
    "datetime": {"date"},
    "string": {"file", "text", "textarea", "calculation_equation", "html", "phonenumber"},
    "number": {"number", "calculation_equation"},
}
NAME = re.compile(r"[a-z][a-z0-9_]*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class InvalidValueError(Exception):
    """A value HubSpot refuses, with its error code and sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Group:
    """A heading under which properties are listed."""

    name: str
    label: str
    display_order: int = -1

    def as_json(self) -> dict[str, Any]:
        """Return the group as the Properties API answers it."""
        return {"name": self.name, "label": self.label, "displayOrder": self.display_order, "archived": False}


@dataclass(slots=True)
class Property:
    """The definition of one contact property."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    description: str = ""
    group: str = "contactinformation"
    choices: list[tuple[str, str]] = field(default_factory=list)
    display_order: int = -1
    hubspot_defined: bool = False
    hidden: bool = False
    calculated: bool = False
    form_field: bool = True
    read_only_value: bool = False
    unique: bool = False
    archived: bool = False
    sensitivity: str = "non_sensitive"
    created_at: float = 0.0
    created_by: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the definition as the Properties API answers it."""
        answer: dict[str, Any] = {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "description": self.description,
            "groupName": self.group,
            "options": [
                {"label": label, "value": value, "description": "", "displayOrder": order, "hidden": False}
                for order, (value, label) in enumerate(self.choices)
            ],
            "displayOrder": self.display_order,
            "calculated": self.calculated,
            "externalOptions": False,
            "hasUniqueValue": self.unique,
            "hidden": self.hidden,
            "hubspotDefined": self.hubspot_defined,
            "archived": self.archived,
            "formField": self.form_field,
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.created_at),
            "modificationMetadata": {
                "archivable": not self.hubspot_defined,
                "readOnlyDefinition": self.hubspot_defined,
                "readOnlyOptions": self.hubspot_defined,
                "readOnlyValue": self.read_only_value,
            },
        }
        if self.created_by:
            answer["createdUserId"] = str(self.created_by)
        if self.archived:
            answer["archivedAt"] = iso(self.created_at)
        return answer

    def clean(self, value: str) -> str:
        """Return the value as HubSpot stores it; an empty one clears the property. Raises InvalidValueError."""
        if self.read_only_value or self.calculated:
            message = f'"{self.name}" is a read only property; its value cannot be set.'
            raise InvalidValueError("READ_ONLY_VALUE", message)
        if not value:
            return value
        if self.name == "email" and not _EMAIL.fullmatch(value):
            raise InvalidValueError("INVALID_EMAIL", f"Email address {value} is invalid")
        if self.type == "enumeration" and value not in {choice for choice, _ in self.choices}:
            allowed = [choice for choice, _ in self.choices]
            raise InvalidValueError("INVALID_OPTION", f"{value} was not one of the allowed options: {allowed}")
        if self.type == "bool" and value not in ("true", "false"):
            raise InvalidValueError("INVALID_OPTION", f"{value} was not one of the allowed options: [true, false]")
        if self.type == "number":
            return self._number(value)
        if self.type in ("date", "datetime"):
            return self._moment(value)
        return value

    def _number(self, value: str) -> str:
        # Leading zeros are lost here, as they are in HubSpot: a code does not survive a number property.
        try:
            number = Decimal(value.strip())
        except InvalidOperation:
            raise InvalidValueError("INVALID_INTEGER", f"{value} was not a valid number.") from None
        return format(number, "f")

    def _moment(self, value: str) -> str:
        try:
            moment = int(value) / 1000 if value.lstrip("-").isdigit() else from_iso(value)
            text = iso(moment)
        except (ValueError, OverflowError, OSError):
            raise InvalidValueError("INVALID_DATE", f"{value} was not a valid long.") from None
        return text[:10] if self.type == "date" else text
