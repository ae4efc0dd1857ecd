"""Addresses that mail providers call."""

from django.urls import path

from emails.views import provider_events

urlpatterns = [path("email-events/<slug:provider>/tracking/", provider_events, name="provider_events")]
