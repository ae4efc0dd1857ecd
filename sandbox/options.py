"""What the operator of the sandbox decides: the app's credentials and how strict and slow HubSpot is."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Options:
    """Hold the settings of a running sandbox; the control API may change all but the credentials.

    The rate limit is that of an app with marketplace distribution, 110 calls per 10 s and account:
    https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
    The first retry after a minute: https://developers.hubspot.com/docs/api-reference/error-handling
    """

    app_id: int
    client_id: str
    client_secret: str = field(repr=False)
    rate_limit: int = 110
    rate_window: float = 10.0
    latency_ms: float = 0.0
    retry_base_seconds: float = 60.0
    action_timeout_seconds: float = 20.0
    execution_concurrency: int = 16
    access_token_seconds: int = 1800
    log_requests: bool = True
    enforce_permitted_urls: bool = True
    """Off: a card's page may have any address and any JSON signed, as if HubSpot's own fence had a gap."""
    install_path: str = "/hubspot/install"
