"""Workflows: contact-based lists of steps, each a workflow action of the app with its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sandbox.accounts import Contact, Portal
from sandbox.project import InputField, Project, WorkflowAction


class Source(StrEnum):
    """Where a step takes an input from, in the words of HubSpot's workflows API."""

    STATIC_VALUE = "STATIC_VALUE"
    OBJECT_PROPERTY = "OBJECT_PROPERTY"
    FIELD_DATA = "FIELD_DATA"


@dataclass(frozen=True, slots=True)
class InputValue:
    """One input of a step: a value, the name of a contact property, or an output of an earlier step."""

    source: Source
    value: str = ""
    step_id: int = 0

    def resolve(self, contact: Contact, outputs: Mapping[int, Mapping[str, str]]) -> str:
        """Return what HubSpot sends for this input, empty when there is nothing."""
        match self.source:
            case Source.STATIC_VALUE:
                return self.value
            case Source.OBJECT_PROPERTY:
                return contact.value(self.value) or ""
            case Source.FIELD_DATA:
                return outputs.get(self.step_id, {}).get(self.value, "")


@dataclass(slots=True)
class Step:
    """One step: a workflow action with inputs, and the enumeration output the workflow branches on, if any."""

    id: int
    action_uid: str
    inputs: dict[str, InputValue] = field(default_factory=dict)
    branch_on: str = ""

    def input_fields(
        self, action: WorkflowAction, contact: Contact, outputs: Mapping[int, Mapping[str, str]]
    ) -> dict[str, str]:
        """Return the inputs as HubSpot sends them: strings, without optional ones that are empty or greyed out."""
        resolved = {name: value.resolve(contact, outputs) for name, value in self.inputs.items() if value.value}
        greyed_out = {
            name
            for dependency in action.dependencies
            if not _satisfied(resolved.get(dependency.controlling, ""), dependency.value)
            for name in dependency.dependents
        }
        fields = {}
        for item in action.inputs:
            value = resolved.get(item.name, "")
            if item.name not in greyed_out and (value or item.required):
                fields[item.name] = value
        return fields


@dataclass(slots=True)
class Workflow:
    """A contact-based workflow of one portal."""

    id: int
    portal_id: int
    name: str
    steps: list[Step]


def default_workflows(portal: Portal, project: Project) -> dict[int, Workflow]:
    """Return one workflow for each workflow action, with inputs guessed from names and labels."""
    workflows = {}
    for number, action in enumerate(project.actions.values(), start=1):
        workflow_id = portal.id // 1_000_000 * 1_000_000 + 400_000 + number
        name = "Send a one-time code" if number == 1 else f"{action.name} for enrolled contacts"
        workflows[workflow_id] = Workflow(workflow_id, portal.id, name, [new_step(1, action, portal)])
    return workflows


def new_step(step_id: int, action: WorkflowAction, portal: Portal) -> Step:
    """Return a step with the inputs an admin would most likely pick first."""
    guesses = {item.name: _guess(item, portal) for item in action.inputs}
    return Step(
        id=step_id,
        action_uid=action.uid,
        inputs={name: value for name, value in guesses.items() if value.value},
        branch_on=usual_branch(action),
    )


def usual_branch(action: WorkflowAction) -> str:
    """Return the output that an admin branches on: whether something arrived, where an action tells, else the first."""
    names = [output.name for output in action.branch_outputs]
    return next((name for name in names if "delivery" in name), names[0] if names else "")


def _guess(item: InputField, portal: Portal) -> InputValue:
    if not item.from_property:
        first = item.choices[0].value if item.required and item.choices else ""
        return InputValue(Source.STATIC_VALUE, first)
    if item.name in portal.properties:
        return InputValue(Source.OBJECT_PROPERTY, item.name)
    wanted = item.label.lower()
    matches = (name for name, known in portal.properties.items() if known.label.lower() in wanted)
    return InputValue(Source.OBJECT_PROPERTY, next(matches, ""))


def _satisfied(value: str, expected: str | None) -> bool:
    return bool(value) if expected is None else value == expected
