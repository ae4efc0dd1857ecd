"""Every answer has an id, and a line in the log unless it is of the kind that would drown the others."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client


def answers(text: str) -> list[dict[str, Any]]:
    """Return the lines about answers."""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "opsagent.request_log"]


def test_it_gives_every_answer_a_request_id() -> None:
    first, second = (Client().get("/healthz", secure=True)["X-Request-ID"] for _ in range(2))
    assert first != second


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status_code"),
    [
        ("GET", "/?code=na1-secret", 200),
        ("GET", "/hubspot/install?secret", 302),
        ("GET", "/nowhere/?token=secret", 404),
        ("POST", "/hubspot/webhooks", 401),
    ],
)
def test_it_writes_a_line_for_an_answer_without_the_query(
    logged: Callable[[], str], method: str, path: str, status_code: int
) -> None:
    answer = Client().generic(method, path, secure=True)
    text = logged()
    (line,) = answers(text)
    assert answer.status_code == line["status_code"] == status_code
    assert (line["event"], line["method"], line["path"]) == ("answered", method, path.partition("?")[0])
    assert line["request_id"] == answer["X-Request-ID"]
    assert "secret" not in text


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/static/opsagent/app.css"])
def test_it_writes_none_for_what_would_drown_the_others(logged: Callable[[], str], path: str) -> None:
    Client().get(path, secure=True).close()
    assert not [line for line in answers(logged()) if line["status_code"] < 400]
