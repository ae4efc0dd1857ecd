"""Which requests come from HubSpot: a DRF authentication class over the raw body and the public URL."""

import time
from typing import Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request

from hubspot_integration import signatures

# Picked out by name: `request.headers` would translate every header of the request first.
_HEADERS: Final = {
    "X-HubSpot-Signature-v3": "HTTP_X_HUBSPOT_SIGNATURE_V3",
    "X-HubSpot-Request-Timestamp": "HTTP_X_HUBSPOT_REQUEST_TIMESTAMP",
    "X-HubSpot-Signature": "HTTP_X_HUBSPOT_SIGNATURE",
    "X-HubSpot-Signature-Version": "HTTP_X_HUBSPOT_SIGNATURE_VERSION",
}


class BodyTooLarge(APIException):
    """The body is larger than any that HubSpot sends."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The body is larger than 1 MB. Send less."
    default_code = "body_too_large"


def is_signed(request: HttpRequest, *, allow_v2: bool = False) -> bool:
    """Whether HubSpot signed this request with one of our client secrets. Raises RequestDataTooBig."""
    query = request.META.get("QUERY_STRING", "")
    return signatures.verify(
        secrets=settings.HUBSPOT_CLIENT_SECRETS,
        method=request.method or "",
        # The configured address, not the Host header: a proxy may rewrite that one, and a caller may forge it.
        uri=f"{settings.PUBLIC_BASE_URL}{request.path}{'?' + query if query else ''}",
        body=request.body,
        headers={name: request.META[key] for name, key in _HEADERS.items() if key in request.META},
        now_ms=time.time_ns() // 1_000_000,
        allow_v2=allow_v2,
    )


class HubSpotSignature(BaseAuthentication):
    """Accept requests that HubSpot signed with one of our client secrets; signature version 3 only.

    What a verified request says about its portal may be trusted, and nothing else may.
    """

    allow_v2 = False

    def authenticate(self, request: Request) -> tuple[None, str]:
        """Return `(None, "hubspot")`. Raises AuthenticationFailed (401), without saying what was wrong."""
        try:
            # the raw body must be read before DRF's parser consumes it
            signed = is_signed(request._request, allow_v2=self.allow_v2)  # noqa: SLF001
        except RequestDataTooBig:
            raise BodyTooLarge from None
        if not signed:
            raise AuthenticationFailed
        return None, "hubspot"

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 (DRF's signature)
        """Name the scheme, so that a refusal is a 401 and not a 403."""
        return "HubSpot-Signature"


class WorkflowActionSignature(HubSpotSignature):
    """The same for workflow actions, which HubSpot documents as signed with version 2."""

    allow_v2 = True
