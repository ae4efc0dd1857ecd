"""Every answer has an id, and a line in the log unless it is of the kind that would drown the others."""

import logging

import pytest
from django.test import Client


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
    caplog: pytest.LogCaptureFixture, method: str, path: str, status_code: int
) -> None:
    caplog.set_level(logging.INFO)
    answer = Client().generic(method, path, secure=True)
    (line,) = [record.msg for record in caplog.records if record.name == "opsagent.request_log"]
    assert isinstance(line, dict)
    assert answer.status_code == line["status_code"] == status_code
    assert (line["event"], line["method"], line["path"]) == ("answered", method, path.partition("?")[0])
    assert line["request_id"] == answer["X-Request-ID"]
    assert "secret" not in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/static/opsagent/app.css"])
def test_it_writes_none_for_what_would_drown_the_others(caplog: pytest.LogCaptureFixture, path: str) -> None:
    caplog.set_level(logging.INFO)
    Client().get(path, secure=True).close()
    answers = [record.msg for record in caplog.records if record.name == "opsagent.request_log"]
    assert not [line for line in answers if isinstance(line, dict) and line["status_code"] < 400]
