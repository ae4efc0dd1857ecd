"""Control API: workflows, enrolments, executions and bursts. All below ``/sandbox/api``.

=============================  ===================================================================================
GET  /actions                  the project's workflow actions with their inputs and outputs
GET  /workflows                ``?portalId=``: ``{workflows: [Workflow]}``
GET  /workflows/{workflowId}   Workflow
PUT  /workflows/{workflowId}   ``{name?, steps: [{actionUid, inputs, branchOn?}]}``: Workflow. An input is
                               ``{type: STATIC_VALUE, value}``, ``{type: OBJECT_PROPERTY, propertyName}`` or
                               ``{type: FIELD_DATA, actionId, dataKey}`` for an output of an earlier step
POST /enrolments               ``{workflowId, contactIds | count, copies?, property?}``: ``{burstId, enrolments:
                               [{enrolmentId, contactId, callbackId}]}``. ``count`` creates contacts that are missing;
                               ``copies`` sends each first delivery so many times at once; ``property`` narrows what
                               the burst counts as written
GET  /executions               ``?portalId=&contactId=&workflowId=&burstId=&state=&limit=&offset=``, newest first:
                               ``{total, executions: [Execution]}``
GET  /executions/{callbackId}  Execution
POST /duplicates               ``{callbackId, times?, concurrently?}``: deliver again: ``{attempts: [Attempt]}``
GET  /strays                   completions with a callback id that does not exist: ``{completions: [Completion]}``
GET  /bursts                   ``{bursts: [{burstId, portalId, workflowId, startedAt, enrolled}]}``
GET  /bursts/{burstId}         counts (enrolled, answered, written, mailed, completed, failed, expired, blocked, …),
                               first and last moments, ``answerMs`` {p50, p90, p99, max}
=============================  ===================================================================================
"""

from dataclasses import asdict
from typing import Any

from starlette.routing import BaseRoute

from sandbox.control.fields import BadInputError, Command, route
from sandbox.control.shaping import (
    attempt_shape,
    completion_shape,
    execution_shape,
    workflow_shape,
)
from sandbox.control.steps import read_step
from sandbox.executions import Execution, State
from sandbox.hubspot import HubSpot
from sandbox.project import WorkflowAction
from sandbox.times import milliseconds
from sandbox.workflows import Step, Workflow

MAX_ENROLLED = 100_000
MAX_DUPLICATES = 100


def routes() -> list[BaseRoute]:
    """Return the routes."""
    return [
        route("/actions", "GET", list_actions),
        route("/workflows", "GET", list_workflows),
        route("/workflows/{workflow_id:int}", "GET", get_workflow),
        route("/workflows/{workflow_id:int}", "PUT", put_workflow),
        route("/enrolments", "POST", enrol),
        route("/executions", "GET", list_executions),
        route("/executions/{callback_id}", "GET", get_execution),
        route("/duplicates", "POST", duplicate),
        route("/strays", "GET", list_strays),
        route("/bursts", "GET", list_bursts),
        route("/bursts/{burst_id:int}", "GET", get_burst),
    ]


async def list_actions(command: Command) -> Any:
    """Answer what a workflow editor would offer."""
    return {"actions": [_action_shape(action) for action in command.hubspot.project.actions.values()]}


async def list_workflows(command: Command) -> Any:
    """Answer workflows, of one portal or of all."""
    fields, hubspot = command.fields, command.hubspot
    portal_id = fields.optional_integer("portalId")
    fields.end()
    found = [item for item in hubspot.workflows.values() if portal_id in (None, item.portal_id)]
    return {"workflows": [workflow_shape(item) for item in found]}


async def get_workflow(command: Command) -> Any:
    """Answer one workflow."""
    return workflow_shape(_workflow(command.hubspot, command.path["workflow_id"]))


async def put_workflow(command: Command) -> Any:
    """Replace name and steps. Enrolments under way keep the steps they started with."""
    fields, hubspot = command.fields, command.hubspot
    workflow = _workflow(hubspot, command.path["workflow_id"])
    name = fields.text("name", workflow.name)
    steps: list[Step] = []
    for number, step in enumerate(fields.objects("steps"), start=1):
        steps.append(read_step(hubspot, step, number, steps))
    fields.end()
    if not steps:
        raise BadInputError("steps", "must not be empty")
    updated = Workflow(workflow.id, workflow.portal_id, name, steps)
    hubspot.workflows[workflow.id] = updated
    return workflow_shape(updated)


async def enrol(command: Command) -> Any:
    """Enrol contacts, named or the first so many, and answer at once."""
    fields, hubspot = command.fields, command.hubspot
    workflow = _workflow(hubspot, fields.integer("workflowId"))
    portal = command.known_portal(workflow.portal_id)
    copies = fields.integer("copies", 1, low=1, high=MAX_DUPLICATES)
    written = fields.text("property", "")
    if "contactIds" in fields:
        ids = fields.items("contactIds", int, "a contact id")
        unknown = [number for number in ids if number not in portal.contacts]
        if unknown:
            raise BadInputError("contactIds", f"Portal {portal.id} has no contact {unknown[0]}")
        contacts = [portal.contacts[number] for number in ids]
    else:
        contacts = hubspot.first_contacts(portal, fields.integer("count", low=1, high=MAX_ENROLLED))
    fields.end()
    burst, enrolments = hubspot.enrol(workflow, contacts, copies=copies, written_property=written)
    return {
        "burstId": burst.id,
        "enrolments": [
            {
                "enrolmentId": enrolment.id,
                "contactId": enrolment.contact_id,
                "callbackId": enrolment.executions[0].callback_id,
            }
            for enrolment in enrolments
        ],
    }


async def list_executions(command: Command) -> Any:
    """Answer executions, newest first, filtered."""
    fields, hubspot = command.fields, command.hubspot
    portal_id, contact_id = fields.optional_integer("portalId"), fields.optional_integer("contactId")
    workflow_id, burst_id = fields.optional_integer("workflowId"), fields.optional_integer("burstId")
    state = fields.text("state", "")
    limit, offset = fields.integer("limit", 100, low=1, high=MAX_ENROLLED), fields.integer("offset", 0)
    fields.end()
    if state and state not in State.__members__:
        raise BadInputError("state", f"must be one of {', '.join(State)}")

    def wanted(item: Execution) -> bool:
        return (
            portal_id in (None, item.portal_id)
            and contact_id in (None, item.contact_id)
            and workflow_id in (None, item.workflow_id)
            and state in ("", item.state)
            and burst_id in (None, item.burst.id)
        )

    found = [item for item in reversed(hubspot.executor.executions.values()) if wanted(item)]
    page = found[offset : offset + limit]
    return {"total": len(found), "executions": [execution_shape(item) for item in page]}


async def get_execution(command: Command) -> Any:
    """Answer one execution."""
    return execution_shape(_execution(command.hubspot, command.path["callback_id"], status=404))


async def duplicate(command: Command) -> Any:
    """Deliver an execution again and answer what the app said."""
    fields, hubspot = command.fields, command.hubspot
    execution = _execution(hubspot, fields.text("callbackId"))
    times = fields.integer("times", 1, low=1, high=MAX_DUPLICATES)
    concurrently = fields.flag("concurrently", default=True)
    fields.end()
    attempts = await hubspot.executor.duplicate(execution, times=times, concurrently=concurrently)
    return {"attempts": [attempt_shape(attempt) for attempt in attempts]}


async def list_strays(command: Command) -> Any:
    """Answer completions that belong to nothing."""
    return {"completions": [completion_shape(completion) for completion in command.hubspot.executor.strays]}


async def list_bursts(command: Command) -> Any:
    """Answer all bursts, without their progress."""
    return {
        "bursts": [
            {
                "burstId": burst.id,
                "portalId": burst.portal_id,
                "workflowId": burst.workflow_id,
                "startedAt": milliseconds(burst.started_at),
                "enrolled": burst.enrolled,
            }
            for burst in command.hubspot.bursts.values()
        ]
    }


async def get_burst(command: Command) -> Any:
    """Answer how far one burst has come."""
    hubspot = command.hubspot
    burst = hubspot.bursts.get(command.path["burst_id"])
    if burst is None:
        raise BadInputError("burstId", "There is no such burst", 404)
    return burst.summary()


def _workflow(hubspot: HubSpot, workflow_id: int) -> Workflow:
    workflow = hubspot.workflows.get(workflow_id)
    if workflow is None:
        raise BadInputError("workflowId", f"There is no workflow {workflow_id}", 404)
    return workflow


def _execution(hubspot: HubSpot, callback_id: str, *, status: int = 400) -> Execution:
    execution = hubspot.executor.executions.get(callback_id)
    if execution is None:
        raise BadInputError("callbackId", "There is no execution with this callback id", status)
    return execution


def _action_shape(action: WorkflowAction) -> dict[str, Any]:
    return {
        "actionUid": action.uid,
        "name": action.name,
        "description": action.description,
        "actionUrl": action.url,
        "inputFields": [asdict(item) for item in action.inputs],
        "outputFields": [asdict(item) for item in action.outputs.values()],
    }
