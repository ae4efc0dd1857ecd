"""Error reports to Sentry: what went wrong and where in the code; nothing of whom it concerned.

What is reported is a closed list. Variables, bodies, queries, headers, cookies, addresses, task arguments, log messages
and the messages of exceptions are not on it: each can hold a code, a token or an address.
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

_KEPT: Final = (
    "event_id", "timestamp", "level", "platform", "environment", "release", "server_name", "sdk", "modules"
)  # fmt: skip
_KEPT_OF_A_FRAME: Final = (
    "filename", "abs_path", "module", "function", "lineno", "context_line", "pre_context", "post_context", "in_app"
)  # fmt: skip
# A transaction's name is kept where it is the name of a view or a task; otherwise it is the path somebody asked for.
_OURS: Final = frozenset({"component", "task"})


def report_to(dsn: str, *, environment: str) -> None:
    """Report unhandled exceptions of requests and tasks to a Sentry project from now on."""
    # Twelve megabytes that a process without SENTRY_DSN does not pay for.
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.integrations.celery import CeleryIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.django import DjangoIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        before_send=scrub,
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        auto_enabling_integrations=False,
        integrations=[
            DjangoIntegration(transaction_style="function_name", middleware_spans=False, signals_spans=False),
            CeleryIntegration(propagate_traces=False),
            LoggingIntegration(level=None, event_level=None),
        ],
    )


def scrub(event: "Event", _: "Hint") -> "Event | None":
    """Return a copy with what is on the list; None for what is no exception."""
    exceptions: list[dict[str, Any]] = event.get("exception", {}).get("values", [])
    if not exceptions:
        return None
    kept: dict[str, Any] = {key: event[key] for key in _KEPT if key in event}
    if event.get("transaction_info", {}).get("source") in _OURS:
        kept["transaction"] = event.get("transaction")
    kept["exception"] = {"values": [_exception(one) for one in exceptions]}
    return kept  # type: ignore[return-value]


def _exception(exception: dict[str, Any]) -> dict[str, Any]:
    frames = (exception.get("stacktrace") or {}).get("frames") or []
    mechanism = exception.get("mechanism") or {}
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        "value": "",
        "mechanism": {"type": mechanism.get("type", "generic"), "handled": mechanism.get("handled", False)},
        "stacktrace": {"frames": [{key: frame[key] for key in _KEPT_OF_A_FRAME if key in frame} for frame in frames]},
    }
