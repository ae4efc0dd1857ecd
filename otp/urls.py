"""Addresses of the product: what HubSpot calls, and the portal admin's pages."""

from django.urls import path

from otp import views
from otp.endpoints.generate_otp_action import GenerateOTPAction

urlpatterns = [
    path("hubspot/actions/generate-otp", GenerateOTPAction.as_view(), name="generate_otp_action"),
    path("settings/", views.settings_page, name="settings"),
    path("settings/properties/sync", views.sync_properties, name="sync_properties"),
]
