"""Every address of the app. What HubSpot calls has no trailing slash and answers without a redirect."""

from django.urls import include, path

from opsagent import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("", include("otp.urls")),
    path("", include("hubspot_integration.urls")),
]
