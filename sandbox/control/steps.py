"""Reading the steps of a workflow from the control API's JSON."""

from sandbox.control.fields import Fields
from sandbox.hubspot import HubSpot
from sandbox.workflows import InputValue, Source, Step, usual_branch


def read_step(hubspot: HubSpot, fields: Fields, number: int, earlier: list[Step]) -> Step:
    """Return one step. Its inputs may name outputs of the steps before it. Raises BadInputError."""
    uid = fields.text("actionUid")
    action = hubspot.project.actions.get(uid)
    if action is None:
        raise fields.wrong("actionUid", "is not a workflow action of the project")
    fields.optional_integer("actionId")  # what GET shows may be sent back; steps are numbered by their place
    branches = [output.name for output in action.branch_outputs]
    branch_on = fields.text("branchOn", usual_branch(action))
    if branch_on and branch_on not in branches:
        raise fields.wrong("branchOn", "is not a labelled enumeration output of the action")
    given = fields.optional_object("inputs") or {}
    inputs = {}
    for name, value in given.items():
        if name not in {item.name for item in action.inputs}:
            raise fields.wrong(f"inputs.{name}", "is not an input of the action")
        if not isinstance(value, dict):
            raise fields.wrong(f"inputs.{name}", "must be an object")
        inputs[name] = _read_input(hubspot, fields.inner(f"inputs.{name}", value), earlier)
    fields.end()
    return Step(number, uid, inputs, branch_on)


def _read_input(hubspot: HubSpot, fields: Fields, earlier: list[Step]) -> InputValue:
    kind = fields.text("type")
    match kind:
        case Source.STATIC_VALUE:
            value = InputValue(Source.STATIC_VALUE, fields.text("value"))
        case Source.OBJECT_PROPERTY:
            value = InputValue(Source.OBJECT_PROPERTY, fields.text("propertyName"))
        case Source.FIELD_DATA:
            value = InputValue(Source.FIELD_DATA, fields.text("dataKey"), fields.integer("actionId"))
            step = next((step for step in earlier if step.id == value.step_id), None)
            if step is None or value.value not in hubspot.project.actions[step.action_uid].outputs:
                raise fields.wrong("dataKey", "is not an output of an earlier step")
        case _:
            raise fields.wrong("type", f"must be one of {', '.join(Source)}")
    fields.end()
    return value
