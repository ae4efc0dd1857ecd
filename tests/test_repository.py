"""What is true of the repository as a whole."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def tracked() -> list[Path]:
    """Return the files that a clone has."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def texts(*suffixes: str) -> list[tuple[Path, str]]:
    """Return the tracked text files with one of the suffixes."""
    found = [(path, path.read_text()) for path in tracked() if path.suffix in suffixes]
    assert found
    return found


def test_nothing_is_left_unfinished_or_skipped() -> None:
    words = re.compile(
        r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|WI" + r"P|HA" + r"CK|TB" + r"D)\b"
        r"|pytest\.(?:mark\.)?(?:skip|xf"
        + r"ail|importor"
        + r"skip)|unittest\.skip|\b(?:it|test|describe)\.(?:skip|only)\b"
    )
    marked = [
        str(path.relative_to(ROOT))
        for path, text in texts(".py", ".ts", ".tsx", ".jsx", ".mjs", ".html", ".md", ".toml", ".yml", ".sh")
        if words.search(text)
    ]
    assert marked == []


def test_no_test_sleeps_or_waits_for_a_fixed_time() -> None:
    """What takes its time is waited for with `sandbox.local.waiting`, or held and let go: a busy machine needs longer."""
    pauses = re.compile(r"\b(?:time|asyncio)\.sle" + r"ep\(|\.wait_for_time" + r"out\(")
    tests = ROOT / "tests"
    hasty = [
        str(path.relative_to(ROOT)) for path, text in texts(".py") if tests in path.parents and pauses.search(text)
    ]
    assert hasty == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    traces = re.compile(
        r"(?<![\w.])/(?:ro" + r"ot|work|ho" + r"me)/|(?:files\.python" + r"hosted|registry\.npm" + r"js)\."
    )
    named = [
        str(path.relative_to(ROOT))
        for path, text in texts(".py", ".md", ".txt", ".in", ".toml", ".json", ".mjs", ".ts", ".tsx", ".html", ".css")
        if traces.search(text)
    ]
    assert named == []


def test_every_package_that_production_needs_is_pinned_with_hashes() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert len(pinned) > 20
    assert all("==" in line for line in pinned)
    assert sum("--hash=sha256:" in line for line in lines) > len(pinned)


def test_every_requirement_says_why_it_is_there() -> None:
    lines = [line for line in (ROOT / "requirements.in").read_text().splitlines() if line and not line.startswith("#")]
    without = [line for line in lines if "#" not in line and line != "tzdata"]
    assert without == []


@pytest.mark.parametrize("process", ["web", "worker", "beat"])
def test_the_procfile_names_each_process_as_one_plain_command(process: str) -> None:
    line = next(line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith(f"{process}: "))
    assert not set("|&;") & set(line)


def test_the_readme_names_real_targets() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check"} <= set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text())) | {"check"}
    assert set(re.findall(r"`make ([a-z0-9]+)", (ROOT / "README.md").read_text())) <= targets


def test_every_adr_says_what_was_decided_and_what_follows() -> None:
    for path in sorted((ROOT / "docs" / "adr").glob("*.md")):
        text = path.read_text()
        assert all(part in text for part in ("**Status**", "**Context.**", "**Decision.**", "**Consequences.**")), path


@pytest.mark.parametrize("folder", ["hubspot_integration/project", "sandbox/card_host"])
def test_every_npm_package_is_pinned_to_the_version_that_is_locked(folder: str) -> None:
    wanted = json.loads((ROOT / folder / "package.json").read_text())
    locked = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
    for name, version in {**wanted["dependencies"], **wanted.get("devDependencies", {})}.items():
        assert version == locked[f"node_modules/{name}"]["version"], name
    assert all(package.get("integrity") for place, package in locked.items() if place)
