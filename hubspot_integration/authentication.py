"""The door's judgement as DRF wants it: an authentication class for the declared endpoints."""

from django.core.exceptions import RequestDataTooBig
from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request

from hubspot_integration.door import VOUCHED, head_of, signed_calls


class BodyTooLarge(APIException):
    """The body is larger than any that HubSpot sends."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The body is larger than 1 MB (1,048,576 bytes). Send less."
    default_code = "body_too_large"


class HubSpotSignature(BaseAuthentication):
    """Accept what the door lets pass at this address, whichever way a request came.

    What a verified request says about its portal may be trusted, and nothing else may: in a card's call that is the query,
    elsewhere the body. An address that no protocol is declared for is refused.
    """

    def authenticate(self, request: Request) -> tuple[None, str]:
        """Return `(None, "hubspot")`. Raises AuthenticationFailed (401), without saying what was wrong."""
        asked = request._request  # noqa: SLF001 (the raw body must be read before DRF's parser consumes it)
        if not asked.META.get(VOUCHED):
            head = head_of(asked)
            try:
                refused = signed_calls.refused(head) or signed_calls.unproven(head, asked.body)
            except RequestDataTooBig:
                raise BodyTooLarge from None
            if refused is not None:
                raise AuthenticationFailed
        return None, "hubspot"

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 (DRF's signature)
        """Name the scheme, so that a refusal is a 401 and not a 403."""
        return "HubSpot-Signature"
