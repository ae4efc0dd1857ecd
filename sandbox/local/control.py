"""The sandbox's control API in the words of programs that use it: tests, faults, benchmarks."""

from typing import Any, Self

import httpx

from sandbox.local.waiting import PATIENCE


class Control:
    """HubSpot behind the scenes: portals, contacts, workflows, mail, faults. Raises AssertionError when it is refused."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=f"{url}/sandbox/api", timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """GET a control route."""
        return self._answer(self._http.get(path, params=query))

    def post(self, path: str, **body: Any) -> Any:
        """POST a control route."""
        return self._answer(self._http.post(path, json=body))

    def patch(self, path: str, **body: Any) -> Any:
        """PATCH a control route."""
        return self._answer(self._http.patch(path, json=body))

    def delete(self, path: str, **query: Any) -> None:
        """DELETE a control route."""
        self._answer(self._http.delete(path, params=query))

    def reset(self) -> None:
        """Start over: default portals, nothing installed, no mail, no faults, default options."""
        self.post("/reset")
        self.delete("/faults")
        self.patch(
            "/options", latencyMs=0, rateLimit=110, rateWindow=10, retryBaseSeconds=0.2, enforcePermittedUrls=True
        )

    def portal_ids(self) -> list[int]:
        """Return the portals there are."""
        return [portal["portalId"] for portal in self.get("/portals")["portals"]]

    def contacts(self, portal_id: int, count: int = 1) -> list[dict[str, Any]]:
        """Return some of the portal's contacts."""
        contacts: list[dict[str, Any]] = self.get(f"/portals/{portal_id}/contacts", limit=count)["contacts"]
        assert len(contacts) == count
        return contacts

    def writes(self, portal_id: int, contact_id: int, name: str = "otp_code") -> list[str]:
        """Return every value ever written to a contact's property by the app, oldest first."""
        history = self.get(f"/portals/{portal_id}/contacts/{contact_id}")["history"].get(name, [])
        return [change["value"] for change in history]

    def mails(self, to: str = "") -> list[dict[str, Any]]:
        """Return received mails with their parts, oldest first."""
        found = self.get("/mails", to=to, limit=1000)["mails"]
        return [self.get(f"/mails/{mail['mailId']}") for mail in reversed(found)]

    def requests(self, route: str = "") -> list[dict[str, Any]]:
        """Return the app's calls, oldest first."""
        return list(reversed(self.get("/requests", route=route, limit=5000)["requests"]))

    def fault(self, route: str, kind: str, **more: Any) -> int:
        """Switch a fault on; return its id."""
        fault_id: int = self.post("/faults", route=route, kind=kind, **more)["faultId"]
        return fault_id

    def release(self, fault_id: int) -> None:
        """Switch a fault off, letting go of what it holds."""
        self.delete(f"/faults/{fault_id}")

    def fired(self, fault_id: int) -> int:
        """Return how often a fault struck."""
        return next(int(fault["fired"]) for fault in self.get("/faults")["faults"] if fault["faultId"] == fault_id)

    @staticmethod
    def _answer(response: httpx.Response) -> Any:
        assert response.is_success, f"{response.request.method} {response.url}: {response.status_code} {response.text}"
        return response.json() if response.content else None
