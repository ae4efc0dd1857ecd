"""A portal admin's browser: installs and sets the app up by its pages alone."""

from typing import Any

import mechanicalsoup

from sandbox.local.system import System


class PageProblem(Exception):
    """A page did not lead where it should have. The message holds what the page says."""


class Administrator:
    """One browser, signed in to at most one portal of the app."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._browser = mechanicalsoup.StatefulBrowser(raise_on_404=True)
        self._browser.session.headers["Accept-Language"] = "en"

    def install(self, user_id: int) -> None:
        """Install the app as a HubSpot user and land, signed in, on the settings page."""
        self._browser.open(f"{self._system.app_url}/hubspot/install")
        form = self._browser.select_form("form")
        form.set("user", str(user_id), force=True)
        self._browser.submit_selected(btnName=self._browser.page.select_one("button[value=connect]"))
        self._expect("/settings/")

    def save_settings(self, **values: Any) -> None:
        """Fill in the named fields of the settings form and save."""
        self._browser.open(f"{self._system.app_url}/settings/")
        form = self._browser.select_form("form:has([name=code_type])")
        for name, value in values.items():
            form.set(name, value)
        self._browser.submit_selected()
        self._expect("/settings/")
        if self._browser.page.select("[aria-invalid=true]"):
            raise PageProblem(self._browser.page.get_text(" ", strip=True))

    def _expect(self, path: str) -> None:
        if not str(self._browser.url).endswith(path):
            raise PageProblem(f"{self._browser.url}: {self._browser.page.get_text(' ', strip=True)[:500]}")
