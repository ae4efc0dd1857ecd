"""Workflows: the editor, enrolling many, and the history."""

from http import HTTPStatus
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.accounts import Portal
from sandbox.executions import State
from sandbox.hubspot import HubSpot
from sandbox.pages.accounts import of_portal
from sandbox.pages.rendering import not_found, page_of, render, see
from sandbox.project import InputField, Project
from sandbox.workflows import InputValue, Source, Step, Workflow, new_step

MAX_ENROLLED = 20_000


def routes() -> list[BaseRoute]:
    """Return the routes."""
    base = "/workflows/{portal_id:int}/flow/{workflow_id:int}"
    return [
        Route(base, of_portal(show), methods=["GET"]),
        Route(base, of_portal(save), methods=["POST"]),
        Route(f"{base}/enrol", of_portal(enrol), methods=["POST"]),
        Route(f"{base}/history", of_portal(history), methods=["GET"]),
    ]


async def show(request: Request, hubspot: HubSpot, portal: Portal) -> Response:
    """Show the steps with their inputs, as the workflow editor does."""
    workflow = _workflow(request, hubspot, portal)
    if workflow is None:
        return not_found(request, "There is no such workflow.")
    return await _editor(request, hubspot, portal, workflow)


async def save(request: Request, hubspot: HubSpot, portal: Portal) -> Response:
    """Save the steps; a button may also add one or remove the last."""
    workflow = _workflow(request, hubspot, portal)
    if workflow is None:
        return not_found(request, "There is no such workflow.")
    form = await request.form()
    steps = [_read_step(form, step, hubspot.project) for step in workflow.steps]
    match str(form.get("do", "save")).partition(":"):
        case ("add", _, uid) if uid in hubspot.project.actions:
            steps.append(new_step(len(steps) + 1, hubspot.project.actions[uid], portal))
        case ("remove", _, _) if len(steps) > 1:
            steps.pop()
    name = str(form.get("name", "")).strip() or workflow.name
    hubspot.workflows[workflow.id] = Workflow(workflow.id, portal.id, name, steps)
    return see(f"{request.url.path}#saved")


async def enrol(request: Request, hubspot: HubSpot, portal: Portal) -> Response:
    """Enrol one contact, or the first so many, and show what becomes of them."""
    workflow = _workflow(request, hubspot, portal)
    if workflow is None:
        return not_found(request, "There is no such workflow.")
    form = await request.form()
    text = str(form.get("count", ""))
    if not text.isdecimal() or not 1 <= int(text) <= MAX_ENROLLED:
        error = f"Enter how many contacts to enrol, from 1 to {MAX_ENROLLED:,}."
        return await _editor(request, hubspot, portal, workflow, error=error, status=HTTPStatus.BAD_REQUEST)
    written = str(form.get("property", ""))
    contacts = hubspot.first_contacts(portal, int(text))
    burst, _ = hubspot.enrol(workflow, contacts, written_property=written)
    return see(f"/bursts/{burst.id}")


async def history(request: Request, hubspot: HubSpot, portal: Portal) -> Response:
    """Show what every execution of the workflow did, newest first."""
    workflow = _workflow(request, hubspot, portal)
    if workflow is None:
        return not_found(request, "There is no such workflow.")
    state = request.query_params.get("state", "")
    found = [
        execution
        for execution in reversed(hubspot.executor.executions.values())
        if execution.workflow_id == workflow.id and state in ("", execution.state)
    ]
    page = page_of(request, found)
    return render(request, "history.html", portal=portal, workflow=workflow, page=page, state=state, choices=State)


def _workflow(request: Request, hubspot: HubSpot, portal: Portal) -> Workflow | None:
    workflow = hubspot.workflows.get(request.path_params["workflow_id"])
    return workflow if workflow is not None and workflow.portal_id == portal.id else None


async def _editor(request: Request, hubspot: HubSpot, portal: Portal, workflow: Workflow, **more: Any) -> Response:
    bursts = [burst for burst in hubspot.bursts.values() if burst.workflow_id == workflow.id]
    writable = [item for item in portal.properties.values() if not item.read_only_value and not item.archived]
    fetched = {
        (step.id, item.name): await hubspot.choices.fetch(portal, action, item, step.inputs)
        for step in workflow.steps
        for action in (hubspot.project.actions[step.action_uid],)
        for item in action.inputs
        if item.options_url
    }
    context: dict[str, Any] = {"bursts": bursts[:-6:-1], "writable": writable, "fetched": fetched}
    return render(request, "workflow.html", portal=portal, workflow=workflow, **context, **more)


def _read_step(form: FormData, step: Step, project: Project) -> Step:
    action = project.actions[step.action_uid]
    inputs = {}
    for item in action.inputs:
        value = _read_input(item, str(form.get(f"step{step.id}.{item.name}", "")))
        if value.value:
            inputs[item.name] = value
    branches = {output.name for output in action.branch_outputs}
    branch_on = str(form.get(f"step{step.id}:branch", ""))
    return Step(step.id, step.action_uid, inputs, branch_on if branch_on in branches else "")


def _read_input(item: InputField, text: str) -> InputValue:
    """Read one field: a value as it is, or ``property:name``, or ``output:step:name``."""
    if not item.from_property:
        return InputValue(Source.STATIC_VALUE, text)
    kind, _, rest = text.partition(":")
    if kind == "output":
        step_id, _, name = rest.partition(":")
        return InputValue(Source.FIELD_DATA, name, int(step_id) if step_id.isdecimal() else 0)
    return InputValue(Source.OBJECT_PROPERTY, rest)
