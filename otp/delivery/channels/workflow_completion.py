"""Completes workflow steps that wait for their deliveries: up to 100 in one call, and each once more a minute later."""

import datetime as dt
from collections.abc import Callable
from typing import Final
from uuid import UUID

from hubspot_integration import client, workflow_actions
from hubspot_integration.client import Batches
from hubspot_integration.models import Portal
from otp.delivery.channels.base import NO_OBJECTION, Clock, FollowUp, Outcome, Steps
from otp.delivery.channels.batches import hand_over
from otp.models import ChannelName, Delivery, OneTimeCode
from otp.workflow_outputs import outputs_of

# HubSpot answers 204 whether or not it took the completion, and enrolments have been seen waiting on after one
# (https://community.hubspot.com/t5/APIs-Integrations/Error-validating-callback-ID/m-p/1025725).
CONFIRMATION: Final = FollowUp(ChannelName.WORKFLOW_CONFIRMATION, dt.timedelta(minutes=1))


class WorkflowCompletionChannel:
    """HubSpot's batch completion of callbacks."""

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False  # a step whose code has ended is completed too: as failed
    needs_recipient = False
    linger_seconds = 1.0
    takes_a_lane = False
    objection = NO_OBJECTION
    when_unheard: FollowUp | None = None  # it is repeated: HubSpot takes a completion once

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Steps:
        """Complete every step with the final outputs of its code."""
        hubspot = Batches(portal.id)

        def complete(deliveries: list[Delivery]) -> list[Outcome]:
            now = clock()
            return _complete(hubspot, deliveries, now, answered_at=lambda _: now, follow_up=CONFIRMATION)

        yield from hand_over(hubspot, batch, complete)


class WorkflowConfirmationChannel:
    """The same once more, for steps whose first completion was lost.

    It repeats the first answer; only the code itself is left out when it has ended meanwhile.
    """

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False
    needs_recipient = False
    linger_seconds = 10.0  # nobody waits for it
    takes_a_lane = False
    objection = NO_OBJECTION
    when_unheard: FollowUp | None = None

    def deliver(self, portal: Portal, batch: list[Delivery], clock: Clock) -> Steps:
        """Complete every step again as it was completed first."""
        hubspot = Batches(portal.id)
        first = dict(
            Delivery.objects.filter(
                code_id__in=[delivery.code_id for delivery in batch], channel=ChannelName.WORKFLOW_COMPLETION
            ).values_list("code_id", "settled_at")
        )

        def confirm(deliveries: list[Delivery]) -> list[Outcome]:
            now = clock()
            return _complete(
                hubspot, deliveries, now, answered_at=lambda code_id: first.get(code_id) or now, follow_up=None
            )

        yield from hand_over(hubspot, batch, confirm)


def _complete(
    hubspot: Batches,
    deliveries: list[Delivery],
    now: dt.datetime,
    *,
    answered_at: Callable[[UUID], dt.datetime],
    follow_up: FollowUp | None,
) -> list[Outcome]:
    # Read now, not when the batch was claimed: a code that has ended meanwhile is not given out.
    codes = (
        OneTimeCode.objects.filter(id__in=[delivery.code_id for delivery in deliveries])
        .defer("address", "first_name")
        .prefetch_related("deliveries")
        .in_bulk()
    )
    deliveries = [delivery for delivery in deliveries if delivery.code_id in codes]
    if not deliveries:
        return []
    completions = []
    for delivery in deliveries:
        code, at = codes[delivery.code_id], answered_at(delivery.code_id)
        outputs = outputs_of(code, code.deliveries.all(), now, answered_at=at)
        answer = workflow_actions.succeeded if code.was_live(at) else workflow_actions.failed
        completions.append((delivery.target, answer(outputs)["outputFields"]))
    refused = hubspot.complete_callbacks(completions)
    return [
        Outcome.of_hubspot_error(delivery, refused[delivery.target])
        if delivery.target in refused
        else Outcome.sent(delivery, follow_up)
        for delivery in deliveries
    ]
