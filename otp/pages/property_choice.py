"""Which contact properties can hold a code or an address, and what to know before choosing one. Pure."""

from collections.abc import Iterable
from typing import Final

from hubspot_integration.client import ContactProperty

FIELD_TYPES: Final = ("text", "textarea", "phonenumber")
_PHONE_NUMBER: Final = "phonenumber"


def reason_against(contact_property: ContactProperty) -> str | None:
    """Return in a few words why the property cannot hold a code, or None when it can."""
    reasons = (
        (contact_property.archived, "it is archived in HubSpot"),
        (contact_property.name == "email", "it holds the address that identifies the contact"),
        # A number loses leading zeros (004213 → 4213) and takes no letters; the other types take no code at all.
        (contact_property.type != "string", "it does not hold text"),
        (contact_property.calculated, "HubSpot calculates its value"),
        (contact_property.field_type not in FIELD_TYPES, "it is not a text field"),
        (contact_property.read_only, "HubSpot does not let apps write it"),
        # Two contacts may well have the same four digits at once.
        (contact_property.unique, "it demands a different value for every contact"),
        (contact_property.hidden, "it is hidden in HubSpot"),
        (contact_property.sensitive, "it is marked as sensitive data"),
    )
    return next((words for applies, words in reasons if applies), None)


def refusal(contact_property: ContactProperty) -> str | None:
    """Return a sentence why the property cannot hold a code, or None when it can."""
    reason = reason_against(contact_property)
    return f"“{contact_property.label}” cannot hold a code: {reason}." if reason else None


def remark(contact_property: ContactProperty) -> str | None:
    """Return what to know about a property that can hold a code, or None when there is nothing."""
    sentences = []
    if contact_property.hubspot_defined:
        sentences.append("This is one of HubSpot's own properties: every code overwrites its value.")
    if contact_property.field_type == _PHONE_NUMBER:
        sentences.append("HubSpot may reformat what is written to a phone-number field.")
    return " ".join(sentences) or None


def address_refusal(contact_property: ContactProperty) -> str | None:
    """Return a sentence why the property cannot hold an e-mail address, or None when it can."""
    reasons = (
        (contact_property.archived, "it is archived in HubSpot"),
        (contact_property.type != "string", "it does not hold text"),
        (contact_property.sensitive, "it is marked as sensitive data"),
    )
    reason = next((words for applies, words in reasons if applies), None)
    return f"“{contact_property.label}” cannot hold an e-mail address: {reason}." if reason else None


def left_out(properties: Iterable[ContactProperty]) -> dict[str, list[str]]:
    """Return the labels of the properties that cannot hold a code, by reason."""
    labels: dict[str, list[str]] = {}
    for item in properties:
        reason = reason_against(item)
        if reason is not None:
            labels.setdefault(reason, []).append(item.label)
    return labels
