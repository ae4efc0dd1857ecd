"""The JSON shapes of the control API. Moments are epoch milliseconds, durations milliseconds with decimals."""

from typing import Any, NotRequired, TypedDict


class UserShape(TypedDict):
    """A person of a portal."""

    userId: int
    name: str
    email: str
    mayInstall: bool


class CallsShape(TypedDict):
    """How often the app called one portal's API."""

    total: int
    refused: int
    rateLimited: int
    byRoute: dict[str, int]
    byStatus: dict[str, int]


class PortalShape(TypedDict):
    """A portal with the app's connection to it."""

    portalId: int
    name: str
    subscription: str
    hublet: str
    contacts: int
    installed: bool
    installedBy: int | None
    installedAt: int | None
    scopes: list[str]
    users: list[UserShape]
    calls: CallsShape


class ChangeShape(TypedDict):
    """One write of a property value."""

    value: str
    at: int
    source: str
    sourceId: str


class ContactShape(TypedDict):
    """A contact; the history, oldest first, only where one contact is asked for."""

    contactId: int
    properties: dict[str, str]
    createdAt: int
    updatedAt: int
    history: NotRequired[dict[str, list[ChangeShape]]]


class InputShape(TypedDict):
    """Where a step takes an input from."""

    type: str
    value: NotRequired[str]
    propertyName: NotRequired[str]
    actionId: NotRequired[int]
    dataKey: NotRequired[str]


class StepShape(TypedDict):
    """One step of a workflow."""

    actionId: int
    actionUid: str
    inputs: dict[str, InputShape]
    branchOn: str


class WorkflowShape(TypedDict):
    """A workflow."""

    workflowId: int
    portalId: int
    name: str
    steps: list[StepShape]


class AttemptShape(TypedDict):
    """One POST to the app."""

    startedAt: int
    latencyMs: float | None
    status: int | None
    error: str
    duplicate: bool
    outputFields: dict[str, Any] | None


class CompletionShape(TypedDict):
    """One completion by the app, and what became of it."""

    callbackId: str
    portalId: int
    at: int
    effect: str
    outputFields: dict[str, str]


class ExecutionShape(TypedDict):
    """One workflow action run for one contact."""

    callbackId: str
    portalId: int
    workflowId: int
    enrolmentId: int
    contactId: int
    actionId: int
    actionUid: str
    state: str
    message: str
    branch: str
    inputFields: dict[str, str]
    outputFields: dict[str, str]
    attempts: list[AttemptShape]
    completions: list[CompletionShape]
    lostCompletions: int
    violations: list[str]
    queuedAt: int
    answeredAt: int | None
    expiresAt: int | None
    finishedAt: int | None


class MailShape(TypedDict):
    """A message; its parts only where one message is asked for."""

    mailId: int
    receivedAt: int
    connectionId: int
    sender: str
    recipients: list[str]
    subject: str
    messageId: str
    text: NotRequired[str]
    html: NotRequired[str]
    headers: NotRequired[list[list[str]]]
    raw: NotRequired[str]


class FaultShape(TypedDict):
    """A fault that is switched on."""

    faultId: int
    route: str
    kind: str
    portalId: int | None
    match: str
    member: str
    times: int | None
    fired: int
    status: NotRequired[int]
    body: NotRequired[str]
    retryAfter: NotRequired[str]
    seconds: NotRequired[float]
    code: NotRequired[int]
    text: NotRequired[str]


class CallShape(TypedDict):
    """One request of the app."""

    at: int
    ms: float
    route: str
    method: str
    path: str
    status: int
    portalId: int | None
    token: str
    body: str


class DeliveryShape(TypedDict):
    """One attempt to deliver a webhook batch."""

    at: int
    attempt: int
    status: int | None
    error: str
    events: list[dict[str, Any]]
