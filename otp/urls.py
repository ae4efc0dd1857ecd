"""Addresses of the product: what HubSpot calls, and the portal admin's pages."""

from django.urls import path

from otp import views
from otp.endpoints import schema  # noqa: F401 (registers what the OpenAPI schema says)
from otp.endpoints.generate_otp_action import GenerateOTPAction
from otp.endpoints.otp_card import (
    GenerateFromCard,
    OTPCard,
    PortalSettings,
    ResendFromCard,
    RevealFromCard,
    VerifyFromCard,
)
from otp.endpoints.verify_otp_action import VerifyOTPAction

urlpatterns = [
    path("hubspot/actions/generate-otp", GenerateOTPAction.as_view(), name="generate_otp_action"),
    path("hubspot/actions/verify-otp", VerifyOTPAction.as_view(), name="verify_otp_action"),
    path("hubspot/cards/otp", OTPCard.as_view(), name="otp_card"),
    path("hubspot/cards/otp/generate", GenerateFromCard.as_view(), name="otp_card_generate"),
    path("hubspot/cards/otp/resend", ResendFromCard.as_view(), name="otp_card_resend"),
    path("hubspot/cards/otp/verify", VerifyFromCard.as_view(), name="otp_card_verify"),
    path("hubspot/cards/otp/reveal", RevealFromCard.as_view(), name="otp_card_reveal"),
    path("hubspot/cards/settings", PortalSettings.as_view(), name="card_settings"),
    path("settings/", views.settings_page, name="settings"),
    path("settings/properties/sync", views.sync_properties, name="sync_properties"),
]
