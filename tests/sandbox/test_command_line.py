"""Starting and ending the program."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.local.waiting import PATIENCE
from tests.sandbox.client import ROOT, Process, command, environment


def _fails(project: Path, *options: str, **changes: str) -> str:
    done = subprocess.run(
        command(project, *options), cwd=ROOT, env=environment(**changes), capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_when_it_is_told_to(project: Path, number: signal.Signals) -> None:
    process = Process(project, "--profile", "test")
    assert process.web.get("/").status_code == 200
    with socket.create_connection((process.smtp_host, process.smtp_port), PATIENCE) as smtp:
        assert smtp.recv(100).startswith(b"220 ")
    assert process.stop(number) == 0


def test_options_reach_the_sandbox(project: Path) -> None:
    process = Process(
        project, "--profile", "test", "--host", "::1", "--rate-limit", "7", "--rate-window", "2.5", "--latency-ms", "3",
        "--retry-base-seconds", "0.5", "--action-timeout-seconds", "4", "--execution-concurrency", "5",
        "--access-token-seconds", "60", "--no-request-log", "--install-path", "/start",
    )  # fmt: skip
    try:
        assert process.http.startswith("http://[::1]:")
        assert process.web.get("/sandbox/api/options").json() == {
            "enforcePermittedUrls": True, "rateLimit": 7, "rateWindow": 2.5, "latencyMs": 3.0, "retryBaseSeconds": 0.5, "actionTimeoutSeconds": 4.0,
            "executionConcurrency": 5, "accessTokenSeconds": 60, "logRequests": False,
        }  # fmt: skip
        assert 'href="http://localhost:1/start"' in process.web.get("/contacts/51000001").text
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ((), {"SANDBOX_CLIENT_SECRET": ""}, "set SANDBOX_CLIENT_SECRET in the environment"),
        (("--profile", "test"), {"SANDBOX_APP_ID": "one"}, "invalid int value: 'one'"),
        (("--profile", "nobody"), {}, "neither the profile nor --set defines"),
        (("--set", "BASE"), {}, "'BASE' is not NAME=VALUE"),
    ],
)
def test_it_says_why_it_cannot_start(
    project: Path, options: tuple[str, ...], changes: dict[str, str], words: str
) -> None:
    assert words in _fails(project, *options, **changes)


def test_a_missing_project_is_named(tmp_path: Path) -> None:
    assert "hsproject.json: No such file" in _fails(tmp_path)


def test_a_port_that_is_taken_is_an_error_without_a_traceback(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = _fails(project, "--profile", "test", "--port", str(taken.getsockname()[1]))
    assert "Address already in use" in words
    assert "Traceback" not in words


def test_the_secret_comes_from_the_environment_only(project: Path) -> None:
    text = subprocess.run(command(project, "--help"), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "SANDBOX_CLIENT_SECRET" in text
    assert "--client-secret" not in text


def test_it_stands_alone() -> None:
    """Nothing of the product, nor Django, is imported by the program."""
    script = "import sys, json, sandbox.__main__; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert loaded.isdisjoint({"otp", "opsagent", "emails", "hubspot_integration", "hubspot", "django"})
