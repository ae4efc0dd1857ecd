"""Addresses of the installation."""

from django.urls import path

from hubspot_integration import views
from hubspot_integration.webhooks import Webhooks

urlpatterns = [
    path("", views.landing, name="landing"),
    path("hubspot/install", views.install, name="hubspot_install"),
    path("hubspot/oauth/callback", views.oauth_callback, name="hubspot_oauth_callback"),
    path("hubspot/webhooks", Webhooks.as_view(), name="hubspot_webhooks"),
    path("sign-out", views.sign_out, name="sign_out"),
]
