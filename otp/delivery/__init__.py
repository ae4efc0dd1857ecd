"""Bringing codes to their places: the engine, the queue it works on, the lanes of mail, and a channel for each destination."""
