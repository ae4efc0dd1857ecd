"""The whole system and the machine's own Chromium."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from sandbox.local import cards
from sandbox.local.system import ROOT, System
from sandbox.local.waiting import PATIENCE
from tests.flows.conftest import _patient_flush, _processes, hubspot, system
from tests.hubspot import HubSpot

__all__ = ["_patient_flush", "_processes", "hubspot", "system"]

Visit = Callable[..., Page]

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-liberation")


@pytest.fixture(scope="session")
def browser(_cards: None) -> Iterator[Browser]:
    """Chromium, headless; whatever a test expects has time to come."""
    expect.set_options(timeout=PATIENCE * 1000)
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


CUT_OFF: Final = ("htmx:afterRequest", "htmx:sendError", "htmx:sendAbort")


@pytest.fixture
def visit(browser: Browser, system: System, hubspot: HubSpot) -> Iterator[Visit]:
    """Open a page in a browser of its own; an error in its console, or a part that is not there, fails the test."""
    contexts: list[BrowserContext] = []
    mistakes: list[str] = []

    def hear(said: ConsoleMessage) -> None:
        # What did not load is told below, but for the page itself: a test may want its 404. And htmx tells of what was cut
        # off because the page was left.
        if said.type == "error" and not said.text.startswith(("Failed to load resource", *CUT_OFF)):
            mistakes.append(f"{said.location['url']}: {said.text}")

    def miss(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":
            mistakes.append(f"{request.failure} {request.url}")

    def see(response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            mistakes.append(f"{response.status} {response.url}")

    def open_page(path: str = "/", *, dark: bool = False, width: int = 1280, javascript: bool = True) -> Page:
        context = browser.new_context(
            base_url=system.app_url,
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            timezone_id="UTC",
            java_script_enabled=javascript,
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", hear)
        page.on("requestfailed", miss)
        page.on("response", see)
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert mistakes == []


def violations(page: Page) -> list[dict[str, Any]]:
    """Return what axe-core finds, in short. The mail in the preview is not a page of ours; its frame runs no script."""
    # Preloading would copy style sheets into inline ones, which the page's policy refuses; only experimental rules need it.
    found = Axe().run(page, context={"exclude": [["iframe"]]}, options={"preload": False})
    return [
        {"rule": item["id"], "nodes": [node["html"][:200] for node in item["nodes"]]}
        for item in found.response["violations"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def has_icon(page: Page) -> bool:
    """Say whether the icon that a page names is there: browsers fetch it without telling Playwright."""
    return page.request.get(str(page.locator("link[rel=icon]").get_attribute("href"))).ok


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
