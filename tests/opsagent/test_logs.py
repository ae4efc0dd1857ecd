"""Logs hold events, not secrets."""

import io
import json
import logging
from typing import Any

import pytest
import structlog

from opsagent import logs


@pytest.fixture
def written() -> Any:
    """Return a function that gives the lines logged so far, through the product's own formatter."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    formatter = logs.logging_config("INFO")["formatters"]["json"]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(**{k: v for k, v in formatter.items() if k != "()"}))
    logger = logging.getLogger("test.logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "secret",
    [
        "ada.lovelace+otp@example.co.uk",
        "Bearer CKTbAbcDef0123",
        "gAAAAABnQXh0c2VjcmV0c2VjcmV0c2VjcmV0",
        "na1-1234abcd-1234-1234-1234-1234567890ab",
        "refresh_token=abcdef",
        "client_secret=abcdef",
    ],
)
def test_it_redacts_secrets_inside_any_text(written: Any, secret: str) -> None:
    logging.getLogger("test.logs").warning("it went wrong with %s there", secret)
    try:
        raise ValueError(f"value {secret}")
    except ValueError:
        logging.getLogger("test.logs").exception("failed")
    structlog.get_logger("test.logs").warning("event", detail=secret, nested={"x": [secret]})
    kept = secret.removeprefix("Bearer ").rpartition("=")[2] or secret
    text = json.dumps(written())
    assert kept not in text
    assert text.count("[redacted]") >= 3


@pytest.mark.parametrize("key", ["code", "otp_code", "access_token", "client_secret", "address", "email", "recipient"])
def test_it_redacts_values_under_secret_names(written: Any, key: str) -> None:
    structlog.get_logger("test.logs").info("event", **{key: "482951"})
    assert written()[0][key] == "[redacted]"


def test_it_writes_one_json_object_per_event(written: Any) -> None:
    structlog.get_logger("test.logs").info("code_issued", portal_id=1, reference="r")
    (line,) = written()
    assert line["event"] == "code_issued"
    assert (line["portal_id"], line["reference"], line["level"], line["logger"]) == (1, "r", "info", "test.logs")
    assert line["timestamp"].endswith("Z")
