"""Completes workflow steps that wait for their deliveries: up to 100 in one call, and each once more a minute later."""

import datetime as dt
from collections.abc import Callable, Generator
from typing import Final
from uuid import UUID

from hubspot_integration import client, workflow_actions
from hubspot_integration.models import Portal
from hubspot_integration.transport import HubSpotError
from otp.channels.base import Clock, FollowUp, Outcome
from otp.models import ChannelName, Delivery
from otp.workflow_outputs import outputs_of

# HubSpot answers 204 whether or not it took the completion, and enrolments have been seen waiting on after one
# (https://community.hubspot.com/t5/APIs-Integrations/Error-validating-callback-ID/m-p/1025725).
CONFIRMATION: Final = FollowUp(ChannelName.WORKFLOW_CONFIRMATION, dt.timedelta(minutes=1))


class WorkflowCompletionChannel:
    """HubSpot's batch completion of callbacks."""

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False  # a step whose code has ended is completed too: as failed
    needs_hubspot = True
    needs_recipient = False
    linger_seconds = 1.0

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Generator[list[Outcome], None, None]:
        """Complete every step with the final outputs of its code."""
        now = clock()
        yield _complete(portal, batch, now, answered_at=lambda _: now, follow_up=CONFIRMATION)


class WorkflowConfirmationChannel:
    """The same once more, for steps whose first completion was lost.

    It repeats the first answer; only the code itself is left out when it has ended meanwhile.
    """

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False
    needs_hubspot = True
    needs_recipient = False
    linger_seconds = 10.0  # nobody waits for it

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Generator[list[Outcome], None, None]:
        """Complete every step again as it was completed first."""
        first = dict(
            Delivery.objects.filter(
                code_id__in=[delivery.code_id for delivery in batch], channel=ChannelName.WORKFLOW_COMPLETION
            ).values_list("code_id", "settled_at")
        )
        now = clock()
        yield _complete(portal, batch, now, answered_at=lambda code_id: first.get(code_id) or now, follow_up=None)


def _complete(
    portal: Portal,
    batch: list[Delivery],
    now: dt.datetime,
    *,
    answered_at: Callable[[UUID], dt.datetime],
    follow_up: FollowUp | None,
) -> list[Outcome]:
    siblings: dict[UUID, list[Delivery]] = {delivery.code_id: [] for delivery in batch}
    for sibling in Delivery.objects.filter(code_id__in=list(siblings)):
        siblings[sibling.code_id].append(sibling)
    completions = []
    for delivery in batch:
        at = answered_at(delivery.code_id)
        outputs = outputs_of(delivery.code, siblings[delivery.code_id], now, answered_at=at)
        answer = workflow_actions.succeeded if delivery.code.was_live(at) else workflow_actions.failed
        completions.append((delivery.target, answer(outputs)["outputFields"]))
    try:
        client.complete_callbacks(portal.id, completions)
    except HubSpotError as error:
        return [Outcome.of_hubspot_error(delivery, error) for delivery in batch]
    return [Outcome.sent(delivery, follow_up) for delivery in batch]
