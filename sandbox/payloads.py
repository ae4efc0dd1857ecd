"""The JSON that HubSpot sends to the app's actions.

https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference
"""

from collections.abc import Mapping
from typing import Any

from sandbox.accounts import Portal
from sandbox.executions import Execution
from sandbox.project import InputField, WorkflowAction
from sandbox.workflows import InputValue, Source

DEFINITION_VERSION = 1
CONTACT_TYPE_ID = "0-1"


def execution_request(portal: Portal, execution: Execution, action: WorkflowAction) -> dict[str, Any]:
    """Return the body with which an action is executed. A deleted contact's properties are null."""
    record: dict[str, Any] = {"objectId": execution.contact_id, "objectType": "CONTACT"}
    if action.object_properties:
        contact = portal.contacts.get(execution.contact_id)
        record["properties"] = {name: contact.value(name) if contact else None for name in action.object_properties}
    return {
        "callbackId": execution.callback_id,
        "origin": {
            **_origin(portal, action),
            "extensionDefinitionId": action.definition_id,
            "extensionDefinitionVersionId": DEFINITION_VERSION,
        },
        "context": {"workflowId": execution.workflow_id, "actionId": execution.step.id, "source": "WORKFLOWS"},
        "object": record,
        "fields": execution.inputs,
        "inputFields": execution.inputs,
        "typedInputs": {name: {"value": value, "type": "STRING"} for name, value in execution.inputs.items()},
    }


def option_request(
    portal: Portal,
    action: WorkflowAction,
    item: InputField,
    inputs: Mapping[str, InputValue],
    *,
    query: str,
    after: str,
) -> dict[str, Any]:
    """Return the body with which an input's options are fetched. Only values of inputs that control it travel along."""
    controlling = {dependency.controlling for dependency in action.dependencies if item.name in dependency.dependents}
    return {
        "origin": _origin(portal, action),
        "objectTypeId": CONTACT_TYPE_ID,
        "inputFieldName": item.name,
        "inputFields": {name: _input(value) for name, value in inputs.items() if name in controlling},
        "fetchOptions": {key: text for key, text in (("q", query), ("after", after)) if text},
    }


def _origin(portal: Portal, action: WorkflowAction) -> dict[str, int]:
    return {
        "portalId": portal.id,
        "actionDefinitionId": action.definition_id,
        "actionDefinitionVersion": DEFINITION_VERSION,
    }


def _input(value: InputValue) -> dict[str, str]:
    key = "value" if value.source is Source.STATIC_VALUE else "propertyName"
    return {"type": value.source, key: value.value}
