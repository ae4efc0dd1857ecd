"""HubSpot's JSON ⇄ one service call: one file per thing that HubSpot calls."""
