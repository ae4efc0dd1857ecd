"""HubSpot's public API, as the app calls it."""
