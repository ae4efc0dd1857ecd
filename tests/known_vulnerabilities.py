"""`make audit`: look up every locked package in OSV, the open database of known vulnerabilities.

OSV gathers the advisories of PyPI, npm and GitHub, and answers for all packages at once
(https://google.github.io/osv.dev/post-v1-querybatch/). Where it cannot be reached, nothing is checked, and that is said:
no other source of advisories comes with the package registries. The exit status is 1 when a vulnerability is known,
0 when none is or nobody could be asked.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

ROOT: Final = Path(__file__).resolve().parent.parent
DATABASE: Final = "https://api.osv.dev"
AT_ONCE: Final = 1000
"""As many questions as OSV takes in one request."""
SECONDS: Final = 20.0
ACCEPTED: Final[dict[str, str]] = {}
"""Advisories that do not concern us, each with the reason: what they are about is not used here."""


class Package(NamedTuple):
    """One locked package, as OSV names it."""

    ecosystem: str
    name: str
    version: str


class NotAsked(Exception):
    """The database did not answer. The message says how."""


def locked() -> list[Package]:
    """Return what all lock files name: for production, for development, for the HubSpot project and the card's host."""
    found: set[Package] = set()
    for file in ("requirements.txt", "requirements-dev.txt"):
        pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*?\])?==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
        found |= {Package("PyPI", name, version) for name, version in pins}
    for folder in ("hubspot_integration/project", "sandbox/card_host"):
        packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
        for place, package in packages.items():
            if place:  # the first is the project itself; an alias says its real name
                name = package.get("name") or place.rpartition("node_modules/")[2]
                found.add(Package("npm", name, package["version"]))
    return sorted(found)


def known(packages: list[Package], database: str) -> Iterator[str]:
    """Yield a line for each known vulnerability of the packages. Raises NotAsked."""
    with httpx.Client(base_url=database, timeout=SECONDS) as http:
        for first in range(0, len(packages), AT_ONCE):
            some = packages[first : first + AT_ONCE]
            queries = [
                {"package": {"ecosystem": one.ecosystem, "name": one.name}, "version": one.version} for one in some
            ]
            results = _answer(http, "POST", "/v1/querybatch", json={"queries": queries})["results"]
            for package, result in zip(some, results, strict=True):
                for vulnerability in result.get("vulns", []):
                    yield from _described(http, package, vulnerability["id"])


def _described(http: httpx.Client, package: Package, identifier: str) -> Iterator[str]:
    advisory = _answer(http, "GET", f"/v1/vulns/{identifier}")
    if identifier in ACCEPTED or "withdrawn" in advisory:
        return
    fixed = sorted(
        event["fixed"]
        for affected in advisory.get("affected", [])
        if affected.get("package", {}).get("name") == package.name
        for span in affected.get("ranges", [])
        for event in span.get("events", [])
        if "fixed" in event
    )
    remedy = f"fixed in {', '.join(fixed)}" if fixed else "no version is named that mends it"
    yield f"{package.name} {package.version}: {identifier} {advisory.get('summary', '').strip()} ({remedy})"


def _answer(http: httpx.Client, method: str, path: str, **request: Any) -> Any:
    try:
        answer = http.request(method, path, **request)
    except httpx.TransportError as problem:
        raise NotAsked(type(problem).__name__) from None
    if answer.status_code == httpx.codes.BAD_REQUEST:
        raise ValueError(f"OSV does not understand the question: {answer.text[:500]}")
    if not answer.is_success:
        raise NotAsked(f"HTTP {answer.status_code}")
    try:
        return answer.json()
    except json.JSONDecodeError:
        raise NotAsked("an answer that is no JSON") from None


def main(database: str = DATABASE) -> int:
    """Look everything up, say what was found, return the exit status."""
    packages = locked()
    try:
        lines = list(known(packages, database))
    except NotAsked as problem:
        print(f"Known vulnerabilities: not checked, no advisory database was reachable ({problem}).")
        return 0
    for line in lines:
        print(line)
    print(f"Known vulnerabilities in {len(packages)} locked packages: {len(lines)}.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
