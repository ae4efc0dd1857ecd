"""POST /hubspot/webhooks: what HubSpot pushes. Deleted contacts become one signal; everything else is heard and let go.

HubSpot sends batches that span portals, repeats them for a day until it is answered 2xx within five seconds, and
promises no order (https://developers.hubspot.com/docs/api-reference/latest/webhooks/guide).
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from django.conf import settings
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from hubspot_integration import identifiers
from hubspot_integration.authentication import HubSpotSignature
from hubspot_integration.models import Portal
from hubspot_integration.signals import contacts_deleted

log = structlog.get_logger(__name__)

_CONTACT: Final = "0-1"
_ANY_OBJECT: Final = "object.deletion"
_DELETIONS: Final = frozenset({"contact.privacyDeletion", "contact.deletion", _ANY_OBJECT})

_EVENTS = inline_serializer(
    "WebhookEvent",
    {
        "subscriptionType": serializers.CharField(),
        "portalId": serializers.IntegerField(),
        "objectId": serializers.IntegerField(),
        "objectTypeId": serializers.CharField(required=False),
    },
    many=True,
)
_PROBLEM = inline_serializer(
    "WebhookProblem",
    {
        "error": inline_serializer(
            "WebhookProblemInWords", {"code": serializers.CharField(), "message": serializers.CharField()}
        )
    },
)


class InvalidBatch(Exception):
    """The body is no batch of events. The message says what to send."""


class Webhooks(APIView):
    """Hear that contacts were deleted.

    Answers 200 for every batch, whatever is in it: an event that means nothing to us means nothing when repeated.
    400 for a body that is no batch, 401 for a request that HubSpot did not sign.
    """

    authentication_classes = (HubSpotSignature,)

    @extend_schema(
        request=_EVENTS,
        responses={
            200: OpenApiResponse(inline_serializer("WebhookAnswer", {"contacts": serializers.IntegerField()})),
            400: OpenApiResponse(_PROBLEM, description="The body is no batch of events."),
        },
    )
    def post(self, request: Request) -> Response:
        """Tell whoever listens; answer how many contacts the batch concerns."""
        try:
            deleted = deleted_contacts(request._request.body)  # noqa: SLF001 (the bytes, as signed)
        except InvalidBatch as error:
            return Response(
                {"error": {"code": "invalid_request", "message": str(error)}}, status=status.HTTP_400_BAD_REQUEST
            )
        known = set(Portal.objects.filter(id__in={portal_id for portal_id, _ in deleted}).values_list("id", flat=True))
        contacts = sorted(pair for pair in deleted if pair[0] in known)
        if contacts:
            contacts_deleted.send(sender=Webhooks, contacts=contacts)
        log.info("webhooks_received", contacts=len(contacts))
        return Response({"contacts": len(contacts)})


def deleted_contacts(body: bytes) -> set[tuple[int, int]]:
    """Return the contacts that a batch of events says are deleted: pairs of portal id and contact id.

    Events of other kinds, of other objects, of another app, or without usable ids are left out. Raises InvalidBatch.
    """
    try:
        events = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidBatch("The body is not valid JSON. Send a JSON array of events.") from None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise InvalidBatch("The body is not a JSON array of objects. Send a JSON array of events.")
    return {
        (portal_id, contact_id)
        for event in events
        if _is_deletion(event)
        and _is_ours(event)
        and (portal_id := identifiers.read(event.get("portalId")))
        and (contact_id := identifiers.read(event.get("objectId")))
    }


def _is_deletion(event: Mapping[str, Any]) -> bool:
    # HubSpot's pages name the field both ways.
    kind = event.get("subscriptionType") or event.get("eventType")
    if not isinstance(kind, str) or kind not in _DELETIONS:
        return False
    # What "object.deletion" is about stands in the event only, and an erasure cannot be taken back: no guess.
    said = event.get("objectTypeId")
    return bool(said == _CONTACT or (said is None and kind != _ANY_OBJECT))


def _is_ours(event: Mapping[str, Any]) -> bool:
    """Whether an event is told to this app; HubSpot does not promise to say whose it is."""
    app = event.get("appId")
    return app is None or identifiers.read(app) == settings.HUBSPOT_APP_ID
