"""Logs hold events, not secrets."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from opsagent import logs


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[Any]]]:
    """Return a function that gives the lines logged so far, our own and the standard library's."""
    formatter = logs.logging_config("INFO")["formatters"]["json"]
    handler = logging.StreamHandler(open(2, "w", closefd=False))  # noqa: SIM115
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(**{k: v for k, v in formatter.items() if k != "()"}))
    logger = logging.getLogger("test.logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines()]
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


@pytest.mark.parametrize("value", ["\ud83d", 2**70, {"nested": [1]}, None, 1.5, True])
def test_it_writes_a_line_whatever_the_value(written: Any, value: object) -> None:
    structlog.get_logger("test.logs").info("event", value=value)
    assert [line["event"] for line in written()] == ["event"]


def test_it_writes_what_is_as_bad_as_the_level_or_worse(written: Any) -> None:
    log = structlog.get_logger("test.logs")
    log.debug("too little")
    log.info("enough")
    try:
        raise ValueError("ada@example.com")
    except ValueError:
        log.exception("worse")
    enough, worse = written()
    assert (enough["event"], worse["event"], worse["level"]) == ("enough", "worse", "error")
    assert "ValueError: [redacted]" in worse["exception"]
