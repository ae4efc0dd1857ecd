"""Everything about HubSpot and nothing about one-time passwords: signatures, OAuth, the API, the wire of its callers."""
