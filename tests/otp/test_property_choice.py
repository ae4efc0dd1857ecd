"""Which contact properties can hold a code."""

from typing import Any

import pytest

from hubspot_integration.client import ContactProperty
from otp.pages.property_choice import refusal, remark


def contact_property(**changes: Any) -> ContactProperty:
    return ContactProperty(
        **{"name": "otp_code", "label": "OTP code", "type": "string", "field_type": "text", **changes}
    )


@pytest.mark.parametrize("field_type", ["text", "textarea", "phonenumber"])
def test_it_takes_text_properties(field_type: str) -> None:
    assert refusal(contact_property(field_type=field_type)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "email"}, "it holds the address that identifies the contact"),
        ({"type": "number", "field_type": "number"}, "it does not hold text"),
        ({"type": "enumeration", "field_type": "select"}, "it does not hold text"),
        ({"type": "datetime", "field_type": "date"}, "it does not hold text"),
        ({"type": "phone_number", "field_type": "phonenumber"}, "it does not hold text"),
        ({"field_type": "html"}, "it is not a text field"),
        ({"field_type": "file"}, "it is not a text field"),
        ({"field_type": "calculation_equation"}, "it is not a text field"),
        ({"field_type": ""}, "it is not a text field"),
        ({"read_only": True}, "HubSpot does not let apps write it"),
        ({"unique": True}, "it demands a different value for every contact"),
        ({"calculated": True}, "HubSpot calculates its value"),
        ({"hidden": True}, "it is hidden in HubSpot"),
        ({"sensitive": True}, "it is marked as sensitive data"),
        ({"archived": True}, "it is archived in HubSpot"),
    ],
)
def test_it_says_why_a_property_cannot_hold_a_code(changes: dict[str, Any], reason: str) -> None:
    assert refusal(contact_property(**changes)) == f"“OTP code” cannot hold a code: {reason}."


def test_it_has_nothing_to_remark_on_a_portals_own_text_property() -> None:
    assert remark(contact_property()) is None


def test_it_warns_of_reformatting_and_of_overwriting() -> None:
    overwritten = "This is one of HubSpot's own properties: every code overwrites its value."
    reformatted = "HubSpot may reformat what is written to a phone-number field."
    assert remark(contact_property(hubspot_defined=True)) == overwritten
    assert remark(contact_property(field_type="phonenumber")) == reformatted
    assert remark(contact_property(field_type="phonenumber", hubspot_defined=True)) == f"{overwritten} {reformatted}"
