"""Mail: rendering what a tenant wrote and handing it to the provider. Knows neither HubSpot nor one-time passwords."""
