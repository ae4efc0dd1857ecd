"""The wire format of custom workflow actions, both ways: pure.

Source: https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from hubspot_integration import identifiers

MAXIMUM_CALLBACK_ID_LENGTH: Final = 255
EXECUTION_STATE: Final = "hs_execution_state"
EXPIRATION_DURATION: Final = "hs_expiration_duration"


class InvalidEnvelope(Exception):
    """The body is not an execution that could be answered. The message names the field and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One contact at one workflow step. `callback_id` is unique within the portal: the idempotency key."""

    callback_id: str
    portal_id: int
    object_id: int
    object_type: str
    source: str
    workflow_id: str
    inputs: Mapping[str, Any]
    properties: Mapping[str, Any]


def parse_execution(body: bytes) -> Execution:
    """Read an execution request.

    Guarantees the three ids that every answer needs; `inputs` and `properties` are mappings whose values are
    whatever the caller sent. Unknown keys are ignored. Raises InvalidEnvelope.
    """
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidEnvelope("The body is not valid JSON. Send one JSON object.") from None
    if not isinstance(payload, dict):
        raise InvalidEnvelope("The body is not a JSON object. Send one JSON object.")
    target, context = _mapping(payload, "object"), _mapping(payload, "context")
    callback_id = payload.get("callbackId")
    if (
        not isinstance(callback_id, str)
        or not 0 < len(callback_id) <= MAXIMUM_CALLBACK_ID_LENGTH
        or "\0" in callback_id
    ):
        raise InvalidEnvelope(f"callbackId must be a text of 1 to {MAXIMUM_CALLBACK_ID_LENGTH} characters.")
    workflow_id = context.get("workflowId")
    return Execution(
        callback_id=callback_id,
        portal_id=_identifier(_mapping(payload, "origin").get("portalId"), "origin.portalId"),
        object_id=_identifier(target.get("objectId"), "object.objectId"),
        object_type=_text(target.get("objectType")),
        source=_text(context.get("source")),
        workflow_id=str(workflow_id)[:32] if isinstance(workflow_id, int) else "",
        inputs=_mapping(payload, "inputFields"),
        properties=_mapping(target, "properties"),
    )


def succeeded(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Answer that the step is done; the workflow goes on with `outputs`."""
    return {"outputFields": {**outputs, EXECUTION_STATE: "SUCCESS"}}


def failed(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Answer that the step failed for a reason the workflow can branch on; it goes on with `outputs`."""
    return {"outputFields": {**outputs, EXECUTION_STATE: "FAIL_CONTINUE"}}


def blocked(*, expires_in: dt.timedelta) -> dict[str, Any]:
    """Answer that the step waits until its callback is completed or `expires_in` (whole seconds) has passed."""
    duration = f"PT{max(1, int(expires_in.total_seconds()))}S"
    return {"outputFields": {EXECUTION_STATE: "BLOCK", EXPIRATION_DURATION: duration}}


def epoch_milliseconds(moment: dt.datetime) -> str:
    """Return a moment as HubSpot's datetime outputs want it: epoch milliseconds, as text."""
    return str(int(moment.timestamp() * 1000))


def _mapping(payload: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = payload.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _identifier(value: object, name: str) -> int:
    found = identifiers.read(value)
    if found is None:
        raise InvalidEnvelope(f"{name} must be a positive whole number.")
    return found
