"""Every address of the app. What HubSpot calls has no trailing slash and answers without a redirect."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from opsagent import health, metrics

handler500 = health.broken
urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.metrics),
    # Pages name their icon; for what is no page, such as the schema, browsers ask here.
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}opsagent/favicon.svg")),
    path("api/schema", SpectacularAPIView.as_view(), name="api_schema"),
    path("admin/", admin.site.urls),
    path("", include("otp.urls")),
    path("", include("hubspot_integration.urls")),
    path("", include("emails.urls")),
]
