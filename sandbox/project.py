"""The app as HubSpot knows it: what its uploaded developer project says."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of an enumeration."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class InputField:
    """One input of a workflow action, with the words the workflow editor shows for it."""

    name: str
    type: str
    label: str
    description: str
    required: bool
    from_property: bool
    choices: tuple[Choice, ...]
    options_url: str


@dataclass(frozen=True, slots=True)
class OutputField:
    """One output of a workflow action. An output without a label cannot be picked in later steps."""

    name: str
    type: str
    label: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Dependency:
    """Inputs that are usable only while another input has a value, or (``value`` set) exactly that value."""

    controlling: str
    value: str | None
    dependents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExecutionRule:
    """A line for the workflow history, shown when all its conditions match the outputs."""

    conditions: Mapping[str, tuple[str, ...]]
    message: str


@dataclass(frozen=True, slots=True)
class WorkflowAction:
    """A custom workflow action: where HubSpot calls, what it sends and what it may get back.

    https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference
    """

    uid: str
    name: str
    description: str
    card_content: str
    url: str
    object_properties: tuple[str, ...]
    inputs: tuple[InputField, ...]
    outputs: Mapping[str, OutputField]
    dependencies: tuple[Dependency, ...]
    rules: tuple[ExecutionRule, ...]

    @property
    def definition_id(self) -> int:
        """Return a number that stays the same for the same uid, as HubSpot's definition id does."""
        return zlib.crc32(self.uid.encode())

    @property
    def branch_outputs(self) -> list[OutputField]:
        """Return the outputs a workflow can branch on: labelled enumerations."""
        return [output for output in self.outputs.values() if output.type == "enumeration" and output.label]


@dataclass(frozen=True, slots=True)
class Card:
    """An app card on CRM records."""

    uid: str
    name: str
    location: str
    entrypoint: str


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Where HubSpot pushes events, and which types are subscribed."""

    url: str
    subscriptions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Project:
    """An uploaded developer project with its variables resolved."""

    name: str
    description: str
    redirect_urls: tuple[str, ...]
    required_scopes: tuple[str, ...]
    conditional_scopes: tuple[str, ...]
    optional_scopes: tuple[str, ...]
    fetch_urls: tuple[str, ...]
    distribution: str
    actions: Mapping[str, WorkflowAction]
    webhooks: Webhooks | None
    cards: tuple[Card, ...]
    variables: Mapping[str, Any]

    @property
    def app_origin(self) -> str:
        """Return scheme and host of the app, taken from its first redirect URL."""
        parts = urlsplit(self.redirect_urls[0])
        return f"{parts.scheme}://{parts.netloc}"
