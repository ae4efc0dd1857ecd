"""Option fetches: the workflow editor asks the app for the options of an input when it opens the dropdown.

https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.accounts import Portal
from sandbox.outgoing import NoAnswerError, Outgoing, compact_json
from sandbox.payloads import option_request
from sandbox.project import Choice, InputField, WorkflowAction
from sandbox.workflows import InputValue

TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Offer:
    """What the app offers for one input, or why it offers nothing."""

    status: int | None
    choices: tuple[Choice, ...] = ()
    after: str = ""
    searchable: bool = False
    problem: str = ""


class ChoiceFetcher:
    """Ask the app for options."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def fetch(
        self,
        portal: Portal,
        action: WorkflowAction,
        item: InputField,
        inputs: Mapping[str, InputValue],
        *,
        query: str = "",
        after: str = "",
    ) -> Offer:
        """Return the options of one input."""
        body = compact_json(option_request(portal, action, item, inputs, query=query, after=after))
        try:
            answer = await self._outgoing.send("POST", item.options_url, body, within=TIMEOUT_SECONDS)
        except NoAnswerError as reason:
            return Offer(None, problem=str(reason))
        content = answer.json()
        try:
            choices = tuple(Choice(option["value"], option["label"]) for option in content["options"])
        except (KeyError, TypeError):
            return Offer(answer.status, problem=f"HTTP {answer.status} without a list of options")
        if not all(isinstance(choice.value, str) for choice in choices):
            return Offer(answer.status, problem="every option's value must be a string")
        return Offer(answer.status, choices, str(content.get("after") or ""), content.get("searchable") is True)
