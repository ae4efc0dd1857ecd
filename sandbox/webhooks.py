"""Webhooks: HubSpot tells the app that a contact was deleted, and keeps trying until it listens.

https://developers.hubspot.com/docs/api-reference/latest/webhooks/guide
"""

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Any

from sandbox import signing
from sandbox.options import Options
from sandbox.outgoing import NoAnswerError, Outgoing, compact_json
from sandbox.project import Project
from sandbox.times import milliseconds, now

MAX_RETRIES = 10
TIMEOUT_SECONDS = 5.0
EVENTS_PER_REQUEST = 100


@dataclass(slots=True)
class Delivery:
    """One attempt to deliver a batch of events."""

    at: float
    attempt: int
    events: list[dict[str, Any]]
    status: int | None = None
    error: str = ""


class WebhookSender:
    """Deliver events to the project's targetUrl and remember the attempts."""

    def __init__(self, project: Project, options: Options, outgoing: Outgoing) -> None:
        self._project = project
        self._options = options
        self._outgoing = outgoing
        self._event_ids = count(3_029_365_631)
        self._tasks: set[asyncio.Task[None]] = set()
        self.deliveries: deque[Delivery] = deque(maxlen=1_000)

    def contact_deleted(self, portal_id: int, contact_id: int, *, user_id: int, privacy: bool) -> int:
        """Announce a deletion and return how many events the app gets.

        A privacy deletion is announced as such and as an ordinary deletion.
        """
        types = [*(["contact.privacyDeletion"] if privacy else []), "object.deletion", "contact.deletion"]
        return self.publish([self.event(portal_id, kind, contact_id, user_id=user_id) for kind in types])

    def event(self, portal_id: int, subscription_type: str, object_id: int, *, user_id: int = 0) -> dict[str, Any]:
        """Return one event as it stands in the payload."""
        event: dict[str, Any] = {
            "eventId": next(self._event_ids),
            "subscriptionId": 686_000 + sum(subscription_type.encode()),
            "portalId": portal_id,
            "appId": self._options.app_id,
            "occurredAt": milliseconds(now()),
            "subscriptionType": subscription_type,
            "attemptNumber": 0,
            "objectId": object_id,
            "changeFlag": "DELETED",
            "changeSource": "CRM_UI",
            "sourceId": f"userId:{user_id}",
        }
        if subscription_type.startswith("object."):
            event["objectTypeId"] = "0-1"
        return event

    def publish(self, events: list[dict[str, Any]]) -> int:
        """Deliver the events the app subscribed to, in the background, and return how many those are."""
        webhooks = self._project.webhooks
        if webhooks is None:
            return 0
        wanted = [event for event in events if event["subscriptionType"] in webhooks.subscriptions]
        for start in range(0, len(wanted), EVENTS_PER_REQUEST):
            batch = wanted[start : start + EVENTS_PER_REQUEST]
            task = asyncio.get_running_loop().create_task(self._deliver(webhooks.url, batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(wanted)

    async def stop(self) -> None:
        """Abandon deliveries under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, url: str, events: list[dict[str, Any]]) -> None:
        for attempt in range(MAX_RETRIES + 1):
            for event in events:
                event["attemptNumber"] = attempt
            delivery = Delivery(now(), attempt, [dict(event) for event in events])
            self.deliveries.append(delivery)
            body = compact_json(events)
            # Webhooks carry the v1 header next to v3, not v2.
            v1 = {
                "X-HubSpot-Signature": signing.v1(self._options.client_secret, body),
                "X-HubSpot-Signature-Version": "v1",
            }
            try:
                answer = await self._outgoing.send("POST", url, body, within=TIMEOUT_SECONDS, extra=v1)
            except NoAnswerError as reason:
                delivery.error = str(reason)
            else:
                delivery.status = answer.status
                if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    return
            # Spread out a little, so that batches refused together do not come back together.
            spread = random.uniform(0.9, 1.1)
            await asyncio.sleep(self._options.retry_base_seconds * 2**attempt * spread)
