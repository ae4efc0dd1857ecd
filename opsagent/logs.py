"""JSON logs: one line an event, a request id on each, and nothing in them that a log must not hold.

Our own events are rendered and written by structlog alone: through the standard library each would cost three times as
much, a tenth of what issuing a code costs. Records of that library (Django's, Celery's, the HubSpot SDK's) are rendered
to the same lines, through the same redaction. Redaction is a second net: the first is that no call site passes a secret.
"""

import functools
import json
import logging
import logging.config
import re
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
_SECRET_KEYS: Final = re.compile(
    r"code$|token|secret|password|pepper|authorization|signature|cookie|address|email|recipient|body", re.IGNORECASE
)
_SECRET_TEXT: Final = re.compile(
    r"(?<![\w.+%-])[\w.+%-]++@[\w-]+(?:\.[\w-]+)+"  # e-mail addresses, looked for once a word and not once a letter
    r"|(?<=Bearer )\S+"
    r"|gAAAA[\w-]{16,}={0,2}"  # Fernet tokens
    r"|\b(?:na|eu|ap)\d-[0-9a-f-]{16,}"  # HubSpot refresh tokens and authorization codes
    r"|\b(?:client_secret|code|state|code_verifier|refresh_token|access_token)=[^&\s\"']+",
    re.IGNORECASE,
)
_SAFE_KEYS: Final = frozenset({"status_code", "error_code"})


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace values under secret-sounding keys, and addresses and tokens inside any text."""
    for key, value in event.items():
        if value is not None and _is_secret(key):
            event[key] = REDACTED
        elif isinstance(value, str):
            event[key] = _SECRET_TEXT.sub(REDACTED, value)
        elif not isinstance(value, int | float | bool | None):
            event[key] = _SECRET_TEXT.sub(REDACTED, repr(value))
    return event


@functools.lru_cache(maxsize=1000)
def _is_secret(key: str) -> bool:
    return key not in _SAFE_KEYS and _SECRET_KEYS.search(key) is not None


def _line(event: EventDict, **_: Any) -> bytes:
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:  # half a surrogate pair, a number of more than 64 bits: no reason to fail
        return json.dumps(event).encode()


_OF_WHAT: Final[list[Processor]] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def _without_internals(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def logging_config(level: str) -> dict[str, Any]:
    """Return the logging configuration: everything to standard error, as JSON."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [structlog.contextvars.merge_contextvars, *_OF_WHAT],
                "processors": [
                    _without_internals,
                    structlog.processors.format_exc_info,
                    redact,
                    structlog.processors.JSONRenderer(),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django logs each anticipated 4xx as a warning; opsagent.request_log already tells.
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Set up the standard library's logging, and structlog beside it. Django calls it with LOGGING."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            redact,
            *_OF_WHAT,
            structlog.processors.JSONRenderer(serializer=_line),
        ],
        # unbuffered: a line is one write, which processes that share the descriptor do not mix up
        logger_factory=structlog.BytesLoggerFactory(open(2, "wb", buffering=0, closefd=False)),  # noqa: SIM115
        wrapper_class=structlog.make_filtering_bound_logger(config["root"]["level"]),
        cache_logger_on_first_use=True,
    )
