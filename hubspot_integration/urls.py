"""Addresses of the installation."""

from django.urls import path

from hubspot_integration import views
from hubspot_integration.webhooks import Webhooks

urlpatterns = [
    path("", views.landing, name="landing"),
    path("sign-in", views.sign_in, name="sign_in"),
    path("sign-out", views.sign_out, name="sign_out"),
    path("portal", views.choose_portal, name="choose_portal"),
    path("settings/confirm", views.confirm, name="confirm"),
    path("robots.txt", views.robots, name="robots"),
    path("hubspot/install", views.install, name="hubspot_install"),
    path("hubspot/oauth/callback", views.oauth_callback, name="hubspot_oauth_callback"),
    path("hubspot/webhooks", Webhooks.as_view(), name="hubspot_webhooks"),
]
