"""The callbacks API: the app completes workflow actions that it blocked.

https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference
"""

from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from sandbox.api import errors
from sandbox.api.gate import Call, route

MAX_BATCH = 100
SCOPE = "automation"


def routes() -> list[BaseRoute]:
    """Return the dated routes and their v4 twins."""
    found: list[BaseRoute] = []
    for base in ("/automation/v4/actions/callbacks", "/automation/actions/callbacks/{version}"):
        found += [
            route(f"{base}/complete", "POST", "callbacks.complete_batch", complete_batch, SCOPE),
            route(f"{base}/{{callback_id}}/complete", "POST", "callbacks.complete", complete, SCOPE),
        ]
    return found


def complete(call: Call) -> Response:
    """Complete one execution. The 204 says nothing about whether it was waiting, or even exists.

    https://community.hubspot.com/t5/APIs-Integrations/Error-validating-callback-ID/m-p/1025725
    """
    outputs = _outputs(call.json())
    call.hubspot.executor.complete(call.portal.id, call.request.path_params["callback_id"], outputs)
    return Response(status_code=204)


def complete_batch(call: Call) -> Response:
    """Complete up to 100 executions, all or, when one entry is malformed, none."""
    inputs = call.json().get("inputs")
    if not isinstance(inputs, list):
        raise errors.validation("Invalid input JSON: some required fields were not set: [inputs]")
    if len(inputs) > MAX_BATCH:
        raise errors.validation(f"Batch size of {len(inputs)} exceeds the limit of {MAX_BATCH}")
    completions = []
    for item in inputs:
        if not isinstance(item, dict) or not isinstance(item.get("callbackId"), str):
            raise errors.validation("Invalid input JSON: some required fields were not set: [callbackId]")
        completions.append((item["callbackId"], _outputs(item)))
    for callback_id, outputs in completions:
        call.hubspot.executor.complete(call.portal.id, callback_id, outputs)
    return Response(status_code=204)


def _outputs(content: dict[str, Any]) -> dict[str, str]:
    outputs = content.get("outputFields")
    if not isinstance(outputs, dict):
        raise errors.validation("Invalid input JSON: some required fields were not set: [outputFields]")
    for name, value in outputs.items():
        if not isinstance(value, str):
            raise errors.validation(f"Invalid input JSON: the value of output {name} must be a string")
    return outputs
