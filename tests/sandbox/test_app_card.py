"""App cards on contact records, where they cannot be shown: never silently."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox.local import cards
from tests.sandbox.client import Sandbox


def test_a_record_says_when_a_card_is_not_built(sandbox: Sandbox) -> None:
    page = sandbox.web.get(f"/contacts/{sandbox.portal}/record/0-1/{sandbox.contact}").text
    assert ">Badge</h2>" in page
    assert "The card is not " in page
    assert "host.js" not in page


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for what is built."""
    monkeypatch.setattr(cards, "HOST", tmp_path)
    monkeypatch.setattr(cards, "_PROBLEM", tmp_path / "problem.txt")
    return tmp_path


def test_without_node_it_says_what_to_install(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(cards.NotBuilt, match="node 20 and npm were not found"):
        cards.build(lambda _: None)
    assert "node 20" in (host / "problem.txt").read_text()


def test_a_failed_installation_is_told_in_its_own_words(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "npm error: the disk is full")

    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(cards, "PROJECT", host)
    monkeypatch.setattr(cards, "ROOT", host.parent)
    said: list[str] = []
    with pytest.raises(cards.NotBuilt, match="the disk is full"):
        cards.build(said.append)
    assert said == [f"installing what {host.name} needs, once"]


def test_a_new_attempt_forgets_the_last_problem(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "problem.txt").write_text("Nothing worked.")
    monkeypatch.setattr(cards, "_build", lambda _: None)
    cards.build(lambda _: None)
    assert not (host / "problem.txt").exists()
