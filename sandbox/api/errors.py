"""HubSpot's refusals, word for word where the words are known.

https://developers.hubspot.com/docs/api-reference/error-handling
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sandbox.accounts import TakenError
from sandbox.properties import InvalidValueError
from sandbox.times import iso

SCOPES_PAGE = "https://developers.hubspot.com/scopes"


class HubSpotError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(body.get("message", ""))
        self.status = status
        self.body = body
        self.headers = headers or {}


def error(status: int, category: str, message: str, **more: Any) -> HubSpotError:
    """Return a refusal in HubSpot's common shape."""
    body = {"status": "error", "message": message, "correlationId": str(uuid.uuid4()), **more, "category": category}
    return HubSpotError(status, body)


def validation(message: str, **more: Any) -> HubSpotError:
    """Refuse a request whose content is wrong."""
    return error(400, "VALIDATION_ERROR", message, **more)


def not_found(message: str = "resource not found") -> HubSpotError:
    """Refuse a request for something that does not exist."""
    return error(404, "OBJECT_NOT_FOUND", message)


def conflict(message: str) -> HubSpotError:
    """Refuse to create what exists already."""
    return error(409, "CONFLICT", message)


def taken(reason: TakenError) -> HubSpotError:
    """Refuse a value that another contact has."""
    return conflict(str(reason))


def unauthenticated() -> HubSpotError:
    """Refuse a request without a token, or with one that is unknown or void."""
    return error(
        401,
        "INVALID_AUTHENTICATION",
        "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more "
        "details at https://developers.hubspot.com/docs/methods/auth/oauth-overview",
    )


def expired(expired_at: float, now: float) -> HubSpotError:
    """Refuse a token that has run out."""
    return error(
        401,
        "EXPIRED_AUTHENTICATION",
        f"The OAuth token used to make this call expired {int(now - expired_at)} second(s) ago.",
        context={"expire time": [iso(expired_at)]},
    )


def missing_scopes(required: Sequence[str]) -> HubSpotError:
    """Refuse a token that was not granted any of the scopes the call accepts."""
    return error(
        403,
        "MISSING_SCOPES",
        "This app hasn't been granted all required scopes to make this call. Read more about required scopes here: "
        f"{SCOPES_PAGE}.",
        errors=[
            {
                "message": "One or more of the following scopes are required.",
                "context": {"requiredGranularScopes": list(required)},
            }
        ],
        links={"scopes": SCOPES_PAGE},
    )


def rate_limited(route: str) -> HubSpotError:
    """Refuse a call beyond the burst limit.

    https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
    """
    return HubSpotError(
        429,
        {
            "status": "error",
            "message": "You have reached your ten_secondly_rolling limit.",
            "errorType": "RATE_LIMIT",
            "category": "RATE_LIMITS",
            "correlationId": str(uuid.uuid4()),
            "policyName": "TEN_SECONDLY_ROLLING",
            "groupName": f"publicapi:{route.replace('.', ':')}:oauth",
            "requestId": str(uuid.uuid4()),
        },
    )


def invalid_value(portal_id: int, name: str, problem: InvalidValueError) -> HubSpotError:
    """Refuse a property value, with the list that HubSpot writes into the message."""
    entry = {
        "isValid": False,
        "message": problem.message,
        "error": problem.code,
        "name": name,
        "localizedErrorMessage": problem.message,
        "portalId": portal_id,
    }
    return validation(
        f"Property values were not valid: {json.dumps([entry], separators=(',', ':'), ensure_ascii=False)}",
        errors=[{"message": problem.message, "code": problem.code, "context": {"propertyName": [name]}}],
    )
