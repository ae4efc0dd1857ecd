"""One run of a workflow action for one contact: what was sent, answered, completed and shown in the history."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from sandbox.bursts import Burst
from sandbox.project import OutputField, WorkflowAction
from sandbox.times import now
from sandbox.workflows import Step

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_EPOCH_OR_ISO = re.compile(r"\d{12,14}|\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?")


class State(StrEnum):
    """Where an execution stands. Those from SUCCESS on are final."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    RETRYING = "RETRYING"
    BLOCKED = "BLOCKED"
    SUCCESS = "SUCCESS"
    FAIL_CONTINUE = "FAIL_CONTINUE"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    GAVE_UP = "GAVE_UP"  # retried for three days
    UNENROLLED = "UNENROLLED"  # the contact was deleted


FINAL = frozenset({State.SUCCESS, State.FAIL_CONTINUE, State.REJECTED, State.EXPIRED, State.GAVE_UP, State.UNENROLLED})


class Effect(StrEnum):
    """What became of a completion."""

    APPLIED = "APPLIED"
    LOST = "LOST"  # it came before HubSpot had stored the BLOCK answer
    LATE = "LATE"  # the execution was over
    FOREIGN = "FOREIGN"  # another portal's token
    UNKNOWN = "UNKNOWN"  # no such callback id


@dataclass(slots=True)
class Attempt:
    """One POST to the app's actionUrl."""

    started_at: float
    duplicate: bool = False
    ended_at: float | None = None
    status: int | None = None
    error: str = ""
    timed_out: bool = False
    retry_after: str = ""
    outputs: dict[str, Any] | None = None

    @property
    def latency_ms(self) -> float | None:
        """Return how long the answer took, in milliseconds."""
        return None if self.ended_at is None else (self.ended_at - self.started_at) * 1000

    @property
    def is_retried(self) -> bool:
        """Return whether HubSpot repeats after such an answer: none at all, 429 or 5xx."""
        return (
            self.status is None
            or self.status == HTTPStatus.TOO_MANY_REQUESTS
            or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )

    @property
    def is_success(self) -> bool:
        """Return whether the answer was a 2xx, the only one whose outputs count."""
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


@dataclass(frozen=True, slots=True)
class Completion:
    """One call of the callbacks API for a callback id."""

    callback_id: str
    portal_id: int
    at: float
    effect: Effect
    outputs: dict[str, str]


@dataclass(slots=True)
class Execution:
    """One workflow action being run for one contact, under one callback id."""

    callback_id: str
    portal_id: int
    workflow_id: int
    enrolment_id: int
    contact_id: int
    step: Step
    burst: Burst
    queued_at: float
    state: State = State.QUEUED
    inputs: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    message: str = ""
    expires_at: float | None = None
    answered_at: float | None = None
    finished_at: float | None = None

    def __post_init__(self) -> None:
        self.burst.states[self.state] += 1

    @property
    def is_final(self) -> bool:
        """Return whether nothing more will happen by itself."""
        return self.state in FINAL

    @property
    def lost_completions(self) -> int:
        """Return how many completions came too early."""
        return sum(completion.effect is Effect.LOST for completion in self.completions)

    def move(self, state: State) -> None:
        """Go on to another state, with HubSpot's usual words for it."""
        self.burst.states[self.state] -= 1
        self.burst.states[state] += 1
        self.state = state
        self.message = _USUAL_LINES[state]

    def add_attempt(self, attempt: Attempt) -> None:
        """Note an attempt that is under way."""
        self.attempts.append(attempt)
        self.burst.attempts += 1

    def add_violations(self, problems: list[str]) -> None:
        """Note what is wrong with an answer or completion."""
        self.violations += problems
        self.burst.violations += len(problems)

    def add_completion(self, completion: Completion) -> None:
        """Note a completion."""
        self.completions.append(completion)
        if completion.effect is Effect.LOST:
            self.burst.lost_completions += 1
        elif completion.effect is Effect.APPLIED:
            self.burst.completions.add(completion.at)

    def answer(self, attempt: Attempt) -> None:
        """Note the answer that decides how to go on."""
        self.answered_at = attempt.ended_at
        if attempt.ended_at is not None:
            self.burst.answered += 1
            self.burst.answers.add(attempt.ended_at)

    def finish(self, action: WorkflowAction, state: State, outputs: dict[str, str]) -> None:
        """Come to an end with the outputs that later steps can use."""
        self.outputs = {name: value for name, value in outputs.items() if not name.startswith("hs_")}
        self.finished_at = now()
        self.burst.ends.add(self.finished_at)
        self.move(state)
        if state in (State.SUCCESS, State.FAIL_CONTINUE):
            self.message = rule_line(action, self.outputs) or self.message


@dataclass(slots=True)
class Enrolment:
    """One contact on its way through one workflow."""

    id: int
    contact_id: int
    burst: Burst
    copies: int
    executions: list[Execution] = field(default_factory=list)


def check_outputs(action: WorkflowAction, outputs: dict[str, Any]) -> list[str]:
    """Return what is wrong with the outputs of an answer or completion.

    HubSpot itself accepts much of this in silence, and the value is then missing in later steps.
    """
    problems = []
    for name, value in outputs.items():
        if not isinstance(value, str):
            problems.append(f"{name} is {type(value).__name__}, every output must be a string")
        elif not name.startswith("hs_"):
            declared = action.outputs.get(name)
            problem = "is not declared in outputFields" if declared is None else _mismatch(declared, value)
            if problem:
                problems.append(f"{name} {problem}")
    return problems


def rule_line(action: WorkflowAction, outputs: dict[str, str]) -> str:
    """Return the message of the first execution rule that matches the outputs, empty when none does.

    https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference
    """
    for rule in action.rules:
        if all(outputs.get(name) in expected for name, expected in rule.conditions.items()):
            return _PLACEHOLDER.sub(lambda match: outputs.get(match[1], ""), rule.message)
    return ""


def branch_line(execution: Execution) -> str:
    """Return which branch the contact takes after the step: ``output = value``, empty when there is none to take."""
    name = execution.step.branch_on
    if not name or not execution.is_final:
        return ""
    return f"{name} = {execution.outputs.get(name) or '(empty)'}"


TIMED_OUT_LINE = "Action failed because the connected app took too long to respond, but will retry soon"
_USUAL_LINES = {
    State.QUEUED: "Waiting to run",
    State.SENDING: "Waiting for the connected app to answer",
    State.RETRYING: "Action failed, but will retry soon",
    State.BLOCKED: "Waiting for the connected app to complete this action",
    State.SUCCESS: "Action succeeded",
    State.FAIL_CONTINUE: "Action succeeded",
    State.REJECTED: "Action failed. The contact went on to the next action",
    State.EXPIRED: "Action failed because the connected app did not complete it in time",
    State.GAVE_UP: "Action failed and will not be retried",
    State.UNENROLLED: "The contact was deleted and left the workflow",
}


def _mismatch(declared: OutputField, value: str) -> str:
    if not value:
        return ""
    if declared.type == "enumeration" and value not in {choice.value for choice in declared.choices}:
        return f"has the value {value!r}, which is not one of its options"
    if declared.type == "number" and not _NUMBER.fullmatch(value):
        return f"is {value!r}, which is not a number"
    if declared.type in ("date", "datetime") and not _EPOCH_OR_ISO.fullmatch(value):
        return f"is {value!r}, which is neither epoch milliseconds nor ISO-8601"
    return ""
