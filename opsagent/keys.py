"""Fresh keys, as lines for `.env` or as files. Runs before the settings can be read: they need what it makes."""

import secrets
from pathlib import Path

from cryptography.fernet import Fernet

_READABLE = 0o444  # by the container's own user; the folder around it is closed to everybody else
_PRIVATE = 0o700


def generate() -> str:
    """Return three lines for `.env`, each with a new random value."""
    return "\n".join(f"{name.upper()}={value}" for name, value in _keys().items())


def write(folder: Path) -> str:
    """Put every secret of docker-compose.yml that can be made up into a file of its own; say what is left to do.

    A file that exists stays as it is: a key that is gone makes what it encrypted unreadable.
    """
    folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    folder.chmod(_PRIVATE)
    values = {
        **_keys(),
        "database_url": f"postgres://opsagent:{secrets.token_hex(24)}@postgres:5432/opsagent",
        "postgres_password": secrets.token_hex(24),
        "metrics_token": secrets.token_urlsafe(32),
        "hubspot_client_secrets": "",
        "email_url": "",
    }
    lines = []
    for name, value in values.items():
        file = folder / name
        if file.exists():
            lines.append(f"kept     {file}")
            continue
        file.write_text(f"{value}\n" if value else "")
        file.chmod(_READABLE)
        lines.append(f"written  {file}" if value else f"empty    {file}: put the value of {name.upper()} into it")
    return "\n".join(lines)


def _keys() -> dict[str, str]:
    return {
        "secret_key": secrets.token_urlsafe(64),
        "encryption_keys": Fernet.generate_key().decode(),
        "code_peppers": secrets.token_urlsafe(48),
    }
