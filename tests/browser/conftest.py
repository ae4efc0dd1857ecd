"""The whole system and the machine's own Chromium."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from sandbox.local import cards
from sandbox.local.system import ROOT
from tests.flows.conftest import _processes, hubspot, system

__all__ = ["_processes", "hubspot", "system"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-liberation")


@pytest.fixture(scope="session")
def browser(_cards: None) -> Iterator[Browser]:
    """Chromium, headless."""
    with sync_playwright() as playwright:
        # Started by root, as in a container, it cannot make its own sandbox.
        running = playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
        # The sync API runs an event loop in this thread, in which Django refuses its database.
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
        yield running
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
        running.close()


@pytest.fixture(scope="session")
def _cards() -> None:
    """The card's bundle, as it is now."""
    cards.build(lambda what: print(f"{what} …"))


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures go: SCREENSHOTS, else a folder that is not kept."""
    folder = ROOT / os.environ.get("SCREENSHOTS", ".local/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _chromium() -> str:
    """Return the browser's path; install Debian's where there is none and that is possible."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        print(f"Installing {' and '.join(PACKAGES)} from the system's packages …")
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]):
            subprocess.run(
                command, check=True, capture_output=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            )
        found = shutil.which(NAMES[0])
    assert found, "No browser was found. Install Chromium (Debian: apt-get install chromium fonts-liberation)."
    return found
