"""Giving what the sandbox knows the JSON shapes of the control API."""

from sandbox.accounts import Contact, Portal
from sandbox.calls import LoggedCall
from sandbox.control.shapes import (
    AttemptShape,
    CallShape,
    CompletionShape,
    ContactShape,
    DeliveryShape,
    ExecutionShape,
    FaultShape,
    InputShape,
    MailShape,
    PortalShape,
    WorkflowShape,
)
from sandbox.executions import Attempt, Completion, Execution, branch_line
from sandbox.faults import Fault
from sandbox.mailbox import Mail
from sandbox.times import milliseconds
from sandbox.webhooks import Delivery
from sandbox.workflows import InputValue, Source, Workflow


def portal_shape(portal: Portal) -> PortalShape:
    """Return a portal."""
    install = portal.install
    return {
        "portalId": portal.id,
        "name": portal.name,
        "subscription": portal.subscription,
        "hublet": portal.hublet,
        "contacts": len(portal.contacts),
        "installed": install is not None,
        "installedBy": install.user_id if install else None,
        "installedAt": milliseconds(install.at) if install else None,
        "scopes": sorted(install.scopes) if install else [],
        "users": [
            {"userId": user.id, "name": user.name, "email": user.email, "mayInstall": user.may_install}
            for user in portal.users.values()
        ],
        "calls": {
            "total": portal.calls.total,
            "refused": portal.calls.refused,
            "rateLimited": portal.calls.rate_limited,
            "byRoute": dict(portal.calls.by_route),
            "byStatus": {str(status): number for status, number in portal.calls.by_status.items()},
        },
    }


def contact_shape(contact: Contact, *, with_history: bool = False) -> ContactShape:
    """Return a contact."""
    shape: ContactShape = {
        "contactId": contact.id,
        "properties": contact.values,
        "createdAt": milliseconds(contact.created_at),
        "updatedAt": milliseconds(contact.updated_at),
    }
    if with_history:
        shape["history"] = {
            name: [
                {
                    "value": change.value,
                    "at": milliseconds(change.at),
                    "source": change.source,
                    "sourceId": change.source_id,
                }
                for change in changes
            ]
            for name, changes in contact.history.items()
        }
    return shape


def workflow_shape(workflow: Workflow) -> WorkflowShape:
    """Return a workflow."""
    return {
        "workflowId": workflow.id,
        "portalId": workflow.portal_id,
        "name": workflow.name,
        "steps": [
            {
                "actionId": step.id,
                "actionUid": step.action_uid,
                "inputs": {name: _input_shape(value) for name, value in step.inputs.items()},
                "branchOn": step.branch_on,
            }
            for step in workflow.steps
        ],
    }


def _input_shape(value: InputValue) -> InputShape:
    match value.source:
        case Source.STATIC_VALUE:
            return {"type": value.source, "value": value.value}
        case Source.OBJECT_PROPERTY:
            return {"type": value.source, "propertyName": value.value}
        case Source.FIELD_DATA:
            return {"type": value.source, "actionId": value.step_id, "dataKey": value.value}


def attempt_shape(attempt: Attempt) -> AttemptShape:
    """Return one attempt."""
    latency = attempt.latency_ms
    return {
        "startedAt": milliseconds(attempt.started_at),
        "latencyMs": None if latency is None else round(latency, 2),
        "status": attempt.status,
        "error": attempt.error,
        "duplicate": attempt.duplicate,
        "outputFields": attempt.outputs,
    }


def completion_shape(completion: Completion) -> CompletionShape:
    """Return one completion."""
    return {
        "callbackId": completion.callback_id,
        "portalId": completion.portal_id,
        "at": milliseconds(completion.at),
        "effect": completion.effect,
        "outputFields": completion.outputs,
    }


def execution_shape(execution: Execution) -> ExecutionShape:
    """Return one execution with all its attempts and completions."""
    return {
        "callbackId": execution.callback_id,
        "portalId": execution.portal_id,
        "workflowId": execution.workflow_id,
        "enrolmentId": execution.enrolment_id,
        "contactId": execution.contact_id,
        "actionId": execution.step.id,
        "actionUid": execution.step.action_uid,
        "state": execution.state,
        "message": execution.message,
        "branch": branch_line(execution),
        "inputFields": execution.inputs,
        "outputFields": execution.outputs,
        "attempts": [attempt_shape(attempt) for attempt in execution.attempts],
        "completions": [completion_shape(completion) for completion in execution.completions],
        "lostCompletions": execution.lost_completions,
        "violations": execution.violations,
        "queuedAt": milliseconds(execution.queued_at),
        "answeredAt": _optional(execution.answered_at),
        "expiresAt": _optional(execution.expires_at),
        "finishedAt": _optional(execution.finished_at),
    }


def mail_shape(mail: Mail, *, with_parts: bool = False) -> MailShape:
    """Return a message."""
    shape: MailShape = {
        "mailId": mail.id,
        "receivedAt": milliseconds(mail.received_at),
        "connectionId": mail.connection_id,
        "sender": mail.sender,
        "recipients": list(mail.recipients),
        "subject": mail.subject,
        "messageId": str(mail.message.get("message-id", "")),
    }
    if with_parts:
        shape["text"] = mail.text
        shape["html"] = mail.html
        shape["headers"] = [list(header) for header in mail.headers]
        shape["raw"] = mail.raw.decode("utf-8", "replace")
    return shape


def fault_shape(fault: Fault) -> FaultShape:
    """Return a fault with how often it fired."""
    shape: FaultShape = {
        "faultId": fault.id,
        "route": fault.route,
        "kind": fault.kind,
        "portalId": fault.portal_id,
        "match": fault.match,
        "member": fault.member,
        "times": fault.times,
        "fired": fault.fired,
    }
    match fault.kind:
        case "status":
            shape |= {"status": fault.status, "body": fault.body, "retryAfter": fault.retry_after}
        case "slow" | "late":
            shape["seconds"] = fault.seconds
        case "refuse":
            shape |= {"code": fault.code, "text": fault.text}
    return shape


def call_shape(call: LoggedCall) -> CallShape:
    """Return one logged request."""
    return {
        "at": milliseconds(call.at),
        "ms": round(call.ms, 2),
        "route": call.route,
        "method": call.method,
        "path": call.path,
        "status": call.status,
        "portalId": call.portal_id,
        "token": call.token,
        "body": call.body,
    }


def delivery_shape(delivery: Delivery) -> DeliveryShape:
    """Return one attempt to deliver webhooks."""
    return {
        "at": milliseconds(delivery.at),
        "attempt": delivery.attempt,
        "status": delivery.status,
        "error": delivery.error,
        "events": delivery.events,
    }


def _optional(moment: float | None) -> int | None:
    return None if moment is None else milliseconds(moment)
