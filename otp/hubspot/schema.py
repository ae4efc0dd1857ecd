"""What the OpenAPI schema says of HubSpot's signature and of the workflow actions, whose bodies HubSpot defines."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers

from otp.hubspot.generate_otp_action import GenerateOTPAction
from otp.hubspot.verify_otp_action import VerifyOTPAction


class SignatureScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library is untyped here
    """HubSpot's signature: version 3, in its header; actions take version 2 as long as HubSpot sends them nothing else."""

    target_class = "hubspot_integration.authentication.HubSpotSignature"
    name = "HubSpotSignature"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002 (the library's signature)
        """Return the scheme."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "X-HubSpot-Signature-v3",
            "description": "HMAC-SHA256 over method, address, body and X-HubSpot-Request-Timestamp.",
        }


_EXECUTION = inline_serializer(
    "Execution",
    {
        "callbackId": serializers.CharField(max_length=255),
        "origin": inline_serializer("ExecutionOrigin", {"portalId": serializers.IntegerField(min_value=1)}),
        "context": serializers.DictField(required=False),
        "object": inline_serializer(
            "ExecutionObject",
            {
                "objectId": serializers.IntegerField(min_value=1),
                "objectType": serializers.CharField(required=False),
                "properties": serializers.DictField(required=False),
            },
        ),
        "inputFields": serializers.DictField(child=serializers.CharField(allow_null=True), required=False),
    },
)
_OUTPUTS = inline_serializer(
    "Outputs", {"outputFields": serializers.DictField(child=serializers.CharField(allow_blank=True))}
)
_PROBLEM = inline_serializer(
    "Problem",
    {
        "error": inline_serializer(
            "ProblemInWords", {"code": serializers.CharField(), "message": serializers.CharField()}
        )
    },
)
_POST = extend_schema(
    request=_EXECUTION,
    responses={
        200: _OUTPUTS,
        400: OpenApiResponse(_PROBLEM, description="The body cannot be answered."),
    },
)


class GenerateOTPActionSchema(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """The Generate OTP action."""

    target_class = "otp.hubspot.generate_otp_action.GenerateOTPAction"

    def view_replacement(self) -> type[GenerateOTPAction]:
        """Return the same view with its bodies described."""

        class Described(GenerateOTPAction):
            """Issue a code for the enrolled contact."""

            post = _POST(GenerateOTPAction.post)

        return Described


class VerifyOTPActionSchema(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """The Verify OTP action."""

    target_class = "otp.hubspot.verify_otp_action.VerifyOTPAction"

    def view_replacement(self) -> type[VerifyOTPAction]:
        """Return the same view with its bodies described."""

        class Described(VerifyOTPAction):
            """Check what the enrolled contact submitted."""

            post = _POST(VerifyOTPAction.post)

        return Described
