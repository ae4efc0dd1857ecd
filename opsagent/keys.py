"""Fresh keys for `.env`. Runs before the settings can be read: they need what it prints."""

import secrets

from cryptography.fernet import Fernet


def generate() -> str:
    """Return three lines for `.env`, each with a new random value."""
    return "\n".join(
        (
            f"SECRET_KEY={secrets.token_urlsafe(64)}",
            f"ENCRYPTION_KEYS={Fernet.generate_key().decode()}",
            f"CODE_PEPPERS={secrets.token_urlsafe(48)}",
        )
    )
