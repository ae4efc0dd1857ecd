"""HubSpot on your laptop: a local stand-in for HubSpot and a mailbox, over real HTTP and SMTP.

It knows an app only as HubSpot does, from its developer project folder, and keeps everything in memory.
Start it with ``python -m sandbox --help``.
"""
