"""Application configuration."""

from django.apps import AppConfig


class HubSpotIntegrationConfig(AppConfig):
    """HubSpot, spoken in our words."""

    name = "hubspot_integration"
    verbose_name = "HubSpot integration"
