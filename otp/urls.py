"""Addresses of the product: what HubSpot calls, and the portal admin's pages."""

from django.urls import path

from otp.endpoints.generate_otp_action import GenerateOTPAction

urlpatterns = [
    path("hubspot/actions/generate-otp", GenerateOTPAction.as_view(), name="generate_otp_action"),
]
