"""Completes workflow steps that wait for their deliveries: up to 100 in one call."""

import datetime as dt
from collections.abc import Iterator
from uuid import UUID

from hubspot_integration import client, workflow_actions
from hubspot_integration.models import Portal
from hubspot_integration.transport import HubSpotError
from otp.channels.base import Outcome
from otp.models import Delivery
from otp.workflow_outputs import outputs_of


class WorkflowCompletionChannel:
    """HubSpot's batch completion of callbacks."""

    batch_size = client.MAXIMUM_BATCH
    needs_live_code = False  # a step whose code has ended is completed too: as failed
    needs_hubspot = True

    def deliver(self, portal: Portal, batch: list[Delivery], now: dt.datetime) -> Iterator[list[Outcome]]:
        """Complete every step with the final outputs of its code."""
        siblings: dict[UUID, list[Delivery]] = {delivery.code_id: [] for delivery in batch}
        for sibling in Delivery.objects.filter(code_id__in=siblings):
            siblings[sibling.code_id].append(sibling)
        completions = []
        for delivery in batch:
            outputs = outputs_of(delivery.code, siblings[delivery.code_id], now)
            answer = workflow_actions.succeeded if delivery.code.is_live(now) else workflow_actions.failed
            completions.append((delivery.target, answer(outputs)["outputFields"]))
        try:
            client.complete_callbacks(portal.id, completions)
        except HubSpotError as error:
            yield [Outcome.of_hubspot_error(delivery, error) for delivery in batch]
        else:
            yield [Outcome.sent(delivery) for delivery in batch]
