"""What is said of each failure, to whoever can do something about it. Every sentence ends in the next step.

Whoever builds workflows reads it in an output of the step, an agent on the card, an admin on the settings page. The enums
are the closed lists that workflows and the card branch on.
"""

import datetime as dt
import enum
import math
from http import HTTPStatus
from typing import Final

from hubspot_integration.tokens import NotConnected
from hubspot_integration.transport import HubSpotError
from opsagent.quoting import quoted
from otp.contact.order import InvalidAddress, Limit, MissingAddress, NotInstalled, RateLimited, RequestKeyTaken
from otp.workflow_outputs import Failure

SCHEMA_SCOPE: Final = "crm.schemas.contacts.write"
"""The permission without which HubSpot lets nobody create a contact property."""

_NOT_CONNECTED: Final = "OpsAgent is not connected to this HubSpot account."
_LONGEST_NAME: Final = 100


class InvalidInput(Exception):
    """An input of the step cannot be used. The message names the field and the remedy."""


STEP_FAILURES: Final = (NotInstalled, InvalidInput, MissingAddress, InvalidAddress, RequestKeyTaken, RateLimited)
StepFailure = NotInstalled | InvalidInput | MissingAddress | InvalidAddress | RequestKeyTaken | RateLimited
CARD_FAILURES: Final = (NotInstalled, MissingAddress, InvalidAddress, RequestKeyTaken, RateLimited)
CardFailure = NotInstalled | MissingAddress | InvalidAddress | RequestKeyTaken | RateLimited


# ------------------------------------------------------------------ in a workflow step
class NoCheck(enum.StrEnum):
    """Why nothing could be checked: the rest of the closed list of reasons that workflows branch on."""

    NOT_CONNECTED = "not_connected"
    INVALID_INPUT = "invalid_input"
    INTERNAL = "internal"


def of_generating(error: StepFailure, now: dt.datetime) -> tuple[Failure, str]:
    """Say why a step got no code."""
    match error:
        case NotInstalled():
            return Failure.NOT_CONNECTED, f"{_NOT_CONNECTED} Install it again from the OpsAgent settings."
        case InvalidInput():
            return Failure.INVALID_INPUT, str(error)
        case MissingAddress():
            return (
                Failure.MISSING_EMAIL,
                "The contact has no value in the Email Property. Fill it in, or pick another property in this step.",
            )
        case InvalidAddress():
            return (
                Failure.INVALID_INPUT,
                "Email Property does not hold an e-mail address. Correct it on the contact, or pick another property.",
            )
        case RequestKeyTaken():
            return Failure.INVALID_INPUT, "This callbackId was used for another contact. Send a new one."
        case RateLimited():
            return Failure.RATE_LIMITED, f"{_TOO_MANY[error.limit]} Try again in {wait(error.retry_at - now)}."


def of_checking(error: StepFailure) -> tuple[NoCheck, str]:
    """Say why a step could check nothing: to the log, because the action has no output for a sentence."""
    match error:
        case NotInstalled():
            return NoCheck.NOT_CONNECTED, "the app is not installed in this portal"
        case InvalidInput():
            return NoCheck.INVALID_INPUT, str(error)
        case MissingAddress() | InvalidAddress():
            return NoCheck.INVALID_INPUT, "Email Property does not hold an e-mail address."
        case RequestKeyTaken():
            return NoCheck.INVALID_INPUT, "This callbackId was used for another contact."
        case RateLimited():
            raise AssertionError("checks have no such limit") from error


_TOO_MANY: Final = {
    Limit.RESEND_COOLDOWN: "A code was generated for this contact a moment ago.",
    Limit.CONTACT_10_MINUTES: "This contact has been given as many codes as the OpsAgent settings allow in 10 minutes.",
    Limit.CONTACT_DAY: "This contact has been given as many codes as the OpsAgent settings allow in 24 hours.",
    Limit.PORTAL_MINUTE: "This HubSpot account has generated as many codes as the OpsAgent settings allow in a minute.",
}


def wait(duration: dt.timedelta) -> str:
    """Return how long to wait, rounded up to seconds, minutes or hours: never too short."""
    seconds = max(1, math.ceil(duration.total_seconds()))
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds > 2 * size:
            return _counted(math.ceil(seconds / size), unit)
    return _counted(seconds, "second")


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


# ------------------------------------------------------------------ on the card
class Reason(enum.StrEnum):
    """Why the card could not be served: the closed list that it has words for."""

    NOT_CONNECTED = "not_connected"
    NOT_FOUND = "not_found"
    INVALID_INPUT = "invalid_input"
    MISSING_EMAIL = "missing_email"
    RATE_LIMITED = "rate_limited"
    EMAIL_OFF = "email_off"
    NO_ACTIVE_CODE = "no_active_code"
    NOT_ALLOWED = "not_allowed"
    HUBSPOT_UNAVAILABLE = "hubspot_unavailable"


RECONNECT: Final = f"{_NOT_CONNECTED} Ask an admin to reconnect it in the OpsAgent settings."
EMAIL_OFF: Final = "E-mail is switched off. Ask an admin to switch it on in the OpsAgent settings."
CODES_ARE_HIDDEN: Final = "This account does not show codes to agents. Ask the customer to read the code out."
NO_ACTIVE_CODE: Final = "There is no active code. Generate a new one."
UNKNOWN_CONTACT: Final = "HubSpot does not know this contact. Reload the page."
LOCKED_FOR_NEW_CODES: Final = (
    "Too many wrong codes for this contact. No code is accepted until the lock ends, so none is generated."
)
LOCKED_FOR_CHECKS: Final = "Too many wrong codes for this contact. Nothing is checked until the lock ends."


def to_an_agent(error: CardFailure, seconds: int) -> tuple[Reason, str]:
    """Say why an agent got no code or no check; `seconds` are left where a limit stands against it."""
    match error:
        case NotInstalled():
            return Reason.NOT_CONNECTED, RECONNECT
        case MissingAddress():
            return Reason.MISSING_EMAIL, "The contact has no e-mail address. Fill it in, then try again."
        case InvalidAddress():
            return Reason.MISSING_EMAIL, "The contact's e-mail address is not one. Correct it, then try again."
        case RequestKeyTaken():
            return (
                Reason.INVALID_INPUT,
                "This idempotencyKey was used for another contact. Reload the page and try again.",
            )
        case RateLimited():
            return Reason.RATE_LIMITED, f"Too many codes for this contact. Try again in {seconds} seconds."


def of_reading_a_contact(error: HubSpotError) -> tuple[Reason, str]:
    """Say why HubSpot did not tell an agent's contact."""
    if isinstance(error, NotConnected):
        return Reason.NOT_CONNECTED, RECONNECT
    if error.permanent:
        return (
            Reason.NOT_CONNECTED,
            "HubSpot does not let OpsAgent read contacts. Ask an admin to reconnect it in the OpsAgent settings.",
        )
    happened = "HubSpot did not answer" if error.status is None else "HubSpot refused for the moment"
    return Reason.HUBSPOT_UNAVAILABLE, f"{happened}, so the contact could not be read. Try again in a moment."


# ------------------------------------------------------------------ on the settings page
def of_listing_properties(error: HubSpotError) -> str:
    """Say why there is no list of properties."""
    if isinstance(error, NotConnected):
        return "HubSpot is not connected, so the properties could not be fetched. Reconnect HubSpot."
    if error.permanent:
        return (
            "HubSpot does not let this app read your contact properties. Reconnect HubSpot and grant what it asks for."
        )
    if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "HubSpot refused to list your contact properties just now. Press “Sync Properties” again in a minute."
    if error.retry_after is not None:
        return "Your HubSpot account has used up its calls for the moment. Press “Sync Properties” again in a minute."
    return "HubSpot did not answer, so the properties could not be fetched. Press “Sync Properties” again in a minute."


def of_creating_a_property(error: HubSpotError) -> str:
    """Say why no property was made."""
    if isinstance(error, NotConnected):
        return "HubSpot is not connected, so no property could be created. Reconnect HubSpot."
    if error.permanent:
        return (
            f"HubSpot does not let this app create a property: that needs the permission “{SCHEMA_SCOPE}”. Reconnect "
            "HubSpot and grant it, or create a single-line text property in HubSpot and press “Sync Properties”."
        )
    return "HubSpot did not answer in time. Press “Create a property for me” again in a minute."


def of_looking_up_a_property(property_name: str, error: HubSpotError) -> str:
    """Say why it is not known whether a property can hold codes."""
    name = quoted(property_name, longest=_LONGEST_NAME)
    if isinstance(error, NotConnected):
        return f"“{name}” could not be checked, because HubSpot is not connected. Reconnect HubSpot, then save again."
    if error.permanent:
        return (
            f"“{name}” could not be checked, because HubSpot does not let this app read your contact properties. "
            "Reconnect HubSpot, or choose a property from the list."
        )
    return (
        f"“{name}” could not be checked, because HubSpot did not answer. "
        "Save again in a minute, or choose a property from the list."
    )
