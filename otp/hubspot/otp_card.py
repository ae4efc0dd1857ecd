"""The sidebar card's address: `hubspot.fetch` from a contact's record.

Source: https://developers.hubspot.com/docs/apps/developer-platform/add-features/ui-extensions/fetching-data
"""

from typing import Any, Final, TypeVar

import orjson
from django.conf import settings as django_settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from hubspot_integration import identifiers
from hubspot_integration.authentication import HubSpotSignature
from hubspot_integration.door import CARD_IDENTITY
from hubspot_integration.models import Portal
from otp import words
from otp.hubspot import card
from otp.hubspot.card import Agent, Overview, Refused
from otp.models import CodeVisibility, ResendPolicy, Verification, VerificationReason, VerificationResult
from otp.words import Reason
from otp.workflow_outputs import DeliverySummary

MAXIMUM_EMAIL: Final = 254
MAXIMUM_REASON: Final = 200

S = TypeVar("S", bound=serializers.Serializer[Any])


# ------------------------------------------------------------------ what the card sends
class Text(serializers.CharField):
    """A text that is one: 042 sent as a number has lost its zero."""

    def to_internal_value(self, data: Any) -> str:
        """Return the text. Raises ValidationError for everything else."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Question(serializers.Serializer[Any]):
    """About which contact."""

    contactId = serializers.IntegerField(min_value=1, max_value=identifiers.MAXIMUM)  # noqa: N815 (the wire's name)


class Order(Question):
    """What to do something for, and a key that makes a repetition the same order."""

    idempotencyKey = serializers.RegexField(r"^[A-Za-z0-9_-]{8,100}\Z")  # noqa: N815 (the wire's name)


class CheckOrder(Order):
    """Check what the customer reads out."""

    code = Text(allow_blank=True, max_length=1000, trim_whitespace=False)


class RevealOrder(Order):
    """Show the code, for a reason."""

    reason = Text(max_length=MAXIMUM_REASON)


# ------------------------------------------------------------------ what it gets
class ActiveCodeAnswer(serializers.Serializer[Any]):
    """The code that would be accepted now."""

    code = serializers.CharField(allow_null=True)
    expiresAt = serializers.DateTimeField(source="expires_at")  # noqa: N815
    recipient = serializers.CharField()
    reference = serializers.CharField()
    emailStatus = serializers.ChoiceField(  # noqa: N815
        source="email_status", choices=("pending", "sent", "failed", "bounced", "off")
    )
    propertyStatus = serializers.ChoiceField(  # noqa: N815
        source="property_status", choices=("pending", "written", "failed", "off")
    )
    deliveryStatus = serializers.ChoiceField(  # noqa: N815
        source="delivery_status", choices=[status.value for status in DeliverySummary]
    )
    attemptsRemaining = serializers.IntegerField(source="attempts_remaining")  # noqa: N815
    resendAt = serializers.DateTimeField(source="resend_at")  # noqa: N815 (before that the cooldown refuses another one)


class LastVerificationAnswer(serializers.Serializer[Verification]):
    """The last check that said something about the contact."""

    result = serializers.ChoiceField(choices=VerificationResult.choices)
    reason = serializers.ChoiceField(choices=VerificationReason.choices)
    attemptsRemaining = serializers.IntegerField(source="attempts_remaining")  # noqa: N815
    at = serializers.DateTimeField(source="created_at")
    reference = serializers.UUIDField(source="code_id", allow_null=True)


class SettingsAnswer(serializers.Serializer[Overview]):
    """What of the portal's settings the card goes by."""

    sendsEmail = serializers.BooleanField(source="settings.send_email")  # noqa: N815
    storesInProperty = serializers.BooleanField(source="settings.store_in_property")  # noqa: N815
    propertyName = serializers.CharField(source="settings.property_name")  # noqa: N815
    propertyLabel = serializers.CharField(source="property_label")  # noqa: N815
    codeVisibility = serializers.ChoiceField(  # noqa: N815
        source="settings.code_visibility", choices=CodeVisibility.choices
    )
    codeType = serializers.CharField(source="settings.code_type")  # noqa: N815
    codeLength = serializers.IntegerField(source="settings.code_length")  # noqa: N815
    expiryMinutes = serializers.IntegerField(source="settings.expiry_minutes")  # noqa: N815
    newCodeEndsOlder = serializers.SerializerMethodField()  # noqa: N815
    wrongAttemptsLimit = serializers.IntegerField(source="settings.wrong_attempts_limit")  # noqa: N815
    resendCooldownSeconds = serializers.IntegerField(source="settings.resend_cooldown_seconds")  # noqa: N815
    serverTime = serializers.DateTimeField(source="at")  # noqa: N815 (countdowns go by it, not by the agent's clock)

    def get_newCodeEndsOlder(self, shown: Overview) -> bool:  # noqa: N802 (DRF's name for the field's)
        """Tell whether a new code ends the contact's older ones."""
        return shown.settings.resend_policy == ResendPolicy.REPLACE


class OverviewAnswer(serializers.Serializer[Overview]):
    """Everything that the card shows."""

    ok = serializers.BooleanField(default=True)
    active = ActiveCodeAnswer(allow_null=True)
    lastVerification = LastVerificationAnswer(source="last_verification", allow_null=True)  # noqa: N815
    deliveryStatus = serializers.SerializerMethodField()  # noqa: N815
    lockedUntil = serializers.DateTimeField(source="locked_until", allow_null=True)  # noqa: N815
    missingAddress = serializers.BooleanField(source="missing_address")  # noqa: N815
    settings = SettingsAnswer(source="*")

    @extend_schema_field(serializers.ChoiceField(choices=[status.value for status in DeliverySummary]))
    def get_deliveryStatus(self, shown: Overview) -> str:  # noqa: N802 (DRF's name for the field's)
        """Sum up what became of the active code; off where there is none."""
        return shown.active.delivery_status if shown.active else DeliverySummary.OFF


class CheckAnswer(OverviewAnswer):
    """The same, and how the check ended."""

    result = serializers.ChoiceField(choices=VerificationResult.choices)
    reason = serializers.ChoiceField(choices=VerificationReason.choices)
    attemptsRemaining = serializers.IntegerField()  # noqa: N815


class PortalAnswer(serializers.Serializer[Overview]):
    """The portal's settings alone."""

    ok = serializers.BooleanField(default=True)
    settings = SettingsAnswer(source="*")


class _Problem(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=[reason.value for reason in Reason])
    message = serializers.CharField()
    retryAfterSeconds = serializers.IntegerField(required=False)  # noqa: N815


class RefusalAnswer(serializers.Serializer[Any]):
    """It was not done, and why."""

    ok = serializers.BooleanField(default=False)
    error = _Problem()


# ------------------------------------------------------------------ the endpoints
class CardEndpoint(APIView):
    """Whom a call comes from, and how it is answered: with 200, whatever came of it.

    Portal and agent are those that HubSpot added to the signed address, never what the browser says.
    """

    authentication_classes = (HubSpotSignature,)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer a refusal as the card understands it; everything else as all endpoints do."""
        if isinstance(exc, Refused):
            return Response(problem_of(exc))
        return super().handle_exception(exc)


def agent_of(request: Request) -> Agent:
    """Return who calls, by the signed query: each of HubSpot's four parameters exactly once. Raises Refused."""
    values: dict[str, str] = {}
    for name in CARD_IDENTITY:
        given = request.query_params.getlist(name)
        if len(given) != 1 or not given[0]:
            raise Refused(Reason.INVALID_INPUT, f"{name} must stand in the address exactly once.")
        values[name] = given[0]
    if values["appId"] != str(django_settings.HUBSPOT_APP_ID):
        raise Refused(Reason.INVALID_INPUT, "appId is another app's. Check HUBSPOT_APP_ID on the OpsAgent server.")
    if len(values["userEmail"]) > MAXIMUM_EMAIL or "\0" in values["userEmail"]:
        raise Refused(Reason.INVALID_INPUT, f"userEmail must have at most {MAXIMUM_EMAIL} characters.")
    portal_id = _identifier(values["portalId"], "portalId")
    _identifier(values["userId"], "userId")
    portal = Portal.objects.connected().filter(id=portal_id).first()
    if portal is None:
        raise Refused(Reason.NOT_CONNECTED, words.RECONNECT)
    return Agent(portal, values["userEmail"])


def order_of(request: Request, kind: type[S]) -> dict[str, Any]:
    """Return the body's fields. Raises Refused."""
    try:
        # The bytes, as signed; orjson refuses what the standard library stumbles over, such as bottomless nesting.
        body = orjson.loads(request._request.body)  # noqa: SLF001
    except orjson.JSONDecodeError:
        raise Refused(Reason.INVALID_INPUT, "The body is not valid JSON. Send one JSON object.") from None
    return _checked(kind(data=body))


def question_of(request: Request) -> int:
    """Return the contact's id from the query. Raises Refused."""
    given = request.query_params.getlist("contactId")
    if len(given) != 1:
        raise Refused(Reason.INVALID_INPUT, "contactId must stand in the address exactly once.")
    contact_id: int = _checked(Question(data={"contactId": given[0]}))["contactId"]
    return contact_id


def problem_of(reason: Refused) -> dict[str, Any]:
    """Return the answer to a call that was not served."""
    error: dict[str, Any] = {"code": reason.reason.value, "message": str(reason)}
    if reason.retry_after is not None:
        error["retryAfterSeconds"] = reason.retry_after
    return {"ok": False, "error": error}


def _identifier(value: str, name: str) -> int:
    found = identifiers.read(value)
    if found is None:
        raise Refused(Reason.INVALID_INPUT, f"{name} must be a positive whole number.")
    return found


def _checked(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    if serializer.is_valid():
        fields: dict[str, Any] = serializer.validated_data
        return fields
    name, problems = next(iter(serializer.errors.items()))
    raise Refused(Reason.INVALID_INPUT, f"{name}: {problems[0]} Reload the page and try again.")


_SIGNED: Final = [
    OpenApiParameter("userId", OpenApiTypes.INT64, required=True, description="Added and signed by HubSpot."),
    OpenApiParameter("portalId", OpenApiTypes.INT64, required=True, description="Added and signed by HubSpot."),
    OpenApiParameter("userEmail", OpenApiTypes.STR, required=True, description="Added and signed by HubSpot."),
    OpenApiParameter("appId", OpenApiTypes.INT64, required=True, description="Added and signed by HubSpot."),
]


def _answers(*kinds: type[serializers.Serializer[Any]]) -> PolymorphicProxySerializer:
    """Describe an answer that is one of the kinds, or a refusal: all of them are a 200."""
    return PolymorphicProxySerializer(
        component_name=f"{kinds[0].__name__}OrRefusal",
        serializers=[*kinds, RefusalAnswer],
        resource_type_field_name=None,
    )


class OTPCard(CardEndpoint):
    """GET /hubspot/cards/otp: what is true of a contact now."""

    @extend_schema(
        operation_id="card_overview",
        parameters=[OpenApiParameter("contactId", OpenApiTypes.INT64, required=True), *_SIGNED],
        responses=_answers(OverviewAnswer),
    )
    def get(self, request: Request) -> Response:
        """Return the active code, what became of it, the last check and the portal's settings."""
        agent = agent_of(request)
        shown = card.overview(agent=agent, contact_id=question_of(request), now=timezone.now())
        return Response(OverviewAnswer(shown).data)


class GenerateFromCard(CardEndpoint):
    """POST /hubspot/cards/otp/generate: a new code, as the workflow action makes it."""

    @extend_schema(operation_id="card_generate", parameters=_SIGNED, request=Order, responses=_answers(OverviewAnswer))
    def post(self, request: Request) -> Response:
        """Issue a code; the same idempotencyKey issues one."""
        agent, order = agent_of(request), order_of(request, Order)
        shown = card.generate(
            agent=agent,
            contact_id=order["contactId"],
            idempotency_key=order["idempotencyKey"],
            now=timezone.now(),
        )
        return Response(OverviewAnswer(shown).data)


class ResendFromCard(CardEndpoint):
    """POST /hubspot/cards/otp/resend: a new code, mailed."""

    @extend_schema(operation_id="card_resend", parameters=_SIGNED, request=Order, responses=_answers(OverviewAnswer))
    def post(self, request: Request) -> Response:
        """Issue and mail a code; the same idempotencyKey issues one."""
        agent, order = agent_of(request), order_of(request, Order)
        shown = card.resend(
            agent=agent,
            contact_id=order["contactId"],
            idempotency_key=order["idempotencyKey"],
            now=timezone.now(),
        )
        return Response(OverviewAnswer(shown).data)


class VerifyFromCard(CardEndpoint):
    """POST /hubspot/cards/otp/verify: what the customer reads out."""

    @extend_schema(operation_id="card_verify", parameters=_SIGNED, request=CheckOrder, responses=_answers(CheckAnswer))
    def post(self, request: Request) -> Response:
        """Check a code; the same idempotencyKey is one attempt."""
        agent, order = agent_of(request), order_of(request, CheckOrder)
        now = timezone.now()
        verification, shown = card.verify(
            agent=agent,
            contact_id=order["contactId"],
            idempotency_key=order["idempotencyKey"],
            submitted=order["code"],
            now=now,
        )
        check = {
            "result": verification.result,
            "reason": verification.reason,
            "attemptsRemaining": verification.attempts_remaining,
        }
        if verification.reason == VerificationReason.RATE_LIMITED:
            seconds = card.locked_for(agent=agent, contact_id=order["contactId"], now=now)
            limited = Refused(Reason.RATE_LIMITED, words.LOCKED_FOR_CHECKS, retry_after=seconds or None)
            return Response({**problem_of(limited), **check})
        return Response({**OverviewAnswer(shown).data, **check})


class RevealFromCard(CardEndpoint):
    """POST /hubspot/cards/otp/reveal: see the code, for a reason."""

    @extend_schema(
        operation_id="card_reveal", parameters=_SIGNED, request=RevealOrder, responses=_answers(OverviewAnswer)
    )
    def post(self, request: Request) -> Response:
        """Record the reason and show the active code."""
        agent, order = agent_of(request), order_of(request, RevealOrder)
        shown = card.reveal(
            agent=agent,
            contact_id=order["contactId"],
            idempotency_key=order["idempotencyKey"],
            why=order["reason"],
            now=timezone.now(),
        )
        return Response(OverviewAnswer(shown).data)


class PortalSettings(CardEndpoint):
    """GET /hubspot/cards/settings: whether the portal is connected, for the app's settings screen in HubSpot."""

    @extend_schema(operation_id="card_settings", parameters=_SIGNED, responses=_answers(PortalAnswer))
    def get(self, request: Request) -> Response:
        """Return the settings that the card goes by."""
        return Response(PortalAnswer(card.portal_settings(agent=agent_of(request), now=timezone.now())).data)
