"""Addresses of the installation."""

from django.urls import path

from hubspot_integration import views

urlpatterns = [
    path("", views.landing, name="landing"),
    path("hubspot/install", views.install, name="hubspot_install"),
    path("hubspot/oauth/callback", views.oauth_callback, name="hubspot_oauth_callback"),
    path("sign-out", views.sign_out, name="sign_out"),
]
