"""What HubSpot calls: workflow actions, the card, and what its news lead to."""
