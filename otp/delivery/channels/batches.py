"""One call to HubSpot for many deliveries, and what a refusal of it means for each: the same for every batch call."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from hubspot_integration.client import AskAgain, Batches
from hubspot_integration.transport import HubSpotError
from otp.delivery.channels.base import Outcome, Step, Steps
from otp.models import Delivery

Call = Callable[[list[Delivery]], list[Outcome]]

MAXIMUM_CALLS: Final = 32
"""In one turn: enough to find two culprits among a hundred (1 + 2 x 7 calls each). More are found in the turns to come."""
_TIMES_MENDED: Final = 2
_CONCERNS_ALL: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def hand_over(hubspot: Batches, deliveries: list[Delivery], call: Call) -> Steps:
    """Hand deliveries over in one call; halve it where HubSpot refuses all because of some, until those stand alone.

    What everybody waits for, a new token, is waited for before the engine takes its last look; where something was
    mended during the call, it looks again. A verdict on the property itself, or on the portal, is everybody's.
    """
    groups, calls = [deliveries], 0
    while groups:
        if calls >= MAXIMUM_CALLS:
            yield Step([Outcome.postponed(one, "batch_refused") for group in groups for one in group])
            return
        group = groups.pop()
        for _ in range(1 + _TIMES_MENDED):
            try:
                hubspot.make_ready()
            except HubSpotError as error:
                yield Step([Outcome.of_hubspot_error(one, error) for rest in (*groups, group) for one in rest])
                return
            group = yield Step(about_to=group)
            if not group:
                break
            calls += 1
            try:
                yield Step(call(group))
            except AskAgain:
                continue
            except HubSpotError as error:
                if len(group) > 1 and _is_because_of_some(error, group):
                    middle = len(group) // 2
                    groups += [group[middle:], group[:middle]]
                else:
                    yield Step([Outcome.of_hubspot_error(one, error) for one in group])
            break
        else:
            yield Step([Outcome.postponed(one, "asked_again") for one in group])


def _is_because_of_some(error: HubSpotError, group: list[Delivery]) -> bool:
    concerns_the_property = bool(error.properties & {delivery.target for delivery in group})
    return (
        error.permanent and error.status is not None and error.status not in _CONCERNS_ALL and not concerns_the_property
    )
