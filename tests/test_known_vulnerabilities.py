"""`make audit`, against a stand-in for OSV: it finds, it says what it could not do, and it is never green by mistake."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sandbox.local.ports import free_port
from tests import known_vulnerabilities
from tests.known_vulnerabilities import Package, main

ADVISORY: dict[str, Any] = {
    "id": "GHSA-1",
    "summary": "It opens every door",
    "affected": [{"package": {"name": "django"}, "ranges": [{"events": [{"introduced": "0"}, {"fixed": "99.1"}]}]}],
}


@dataclass
class OSV:
    """The database: what it knows of packages, and how it answers."""

    url: str = ""
    of: dict[str, list[str]] = field(default_factory=dict)
    advisories: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    garbage: bytes = b""
    asked: list[Package] = field(default_factory=list)

    def answer(self, path: str, body: bytes) -> Any:
        if path.startswith("/v1/vulns/"):
            return self.advisories[path.rpartition("/")[2]]
        queries = json.loads(body)["queries"]
        self.asked += [Package(one["package"]["ecosystem"], one["package"]["name"], one["version"]) for one in queries]
        names = [one["package"]["name"] for one in queries]
        return {
            "results": [{"vulns": [{"id": one} for one in self.of[name]]} if name in self.of else {} for name in names]
        }


@pytest.fixture
def osv() -> Iterator[OSV]:
    database = OSV()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            content = database.garbage or json.dumps(database.answer(self.path, body)).encode()
            self.send_response(database.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 (the name that http.server looks for)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        database.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield database
        server.shutdown()
        thread.join()


def test_it_asks_for_every_package_of_every_lock_file(osv: OSV, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(osv.url) == 0
    assert osv.asked == known_vulnerabilities.locked()
    names = {(one.ecosystem, one.name) for one in osv.asked}
    assert {("PyPI", "django"), ("PyPI", "pytest"), ("npm", "react"), ("npm", "esbuild")} <= names
    assert ("npm", "@rollup/wasm-node") in names  # what stands behind the alias "rollup"
    assert capsys.readouterr().out == f"Known vulnerabilities in {len(osv.asked)} locked packages: 0.\n"


def test_it_fails_for_a_known_vulnerability_and_names_the_remedy(osv: OSV, capsys: pytest.CaptureFixture[str]) -> None:
    osv.of, osv.advisories = {"django": ["GHSA-1"]}, {"GHSA-1": ADVISORY}
    assert main(osv.url) == 1
    version = next(one.version for one in osv.asked if one.name == "django")
    assert f"django {version}: GHSA-1 It opens every door (fixed in 99.1)" in capsys.readouterr().out


def test_it_passes_over_what_was_withdrawn_or_accepted(osv: OSV, monkeypatch: pytest.MonkeyPatch) -> None:
    osv.of = {"django": ["GHSA-1"], "pytest": ["GHSA-2"]}
    osv.advisories = {"GHSA-1": {**ADVISORY, "withdrawn": "2026-11-25T00:00:00Z"}, "GHSA-2": {"id": "GHSA-2"}}
    monkeypatch.setitem(known_vulnerabilities.ACCEPTED, "GHSA-2", "nobody else can write to our temporary folder")
    assert main(osv.url) == 0


@pytest.mark.parametrize("changes", [{"status": 405}, {"status": 503}, {"garbage": b"<html>"}])
def test_it_says_that_nothing_was_checked(
    osv: OSV, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    for name, value in changes.items():
        setattr(osv, name, value)
    assert main(osv.url) == 0
    assert "not checked, no advisory database was reachable" in capsys.readouterr().out


def test_it_says_so_when_nobody_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"http://127.0.0.1:{free_port()}") == 0
    assert capsys.readouterr().out == (
        "Known vulnerabilities: not checked, no advisory database was reachable (ConnectError).\n"
    )


def test_it_is_not_content_with_half_an_answer(osv: OSV, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osv, "answer", lambda *_: {"results": [{}]})
    with pytest.raises(ValueError, match="shorter"):
        main(osv.url)


def test_it_does_not_hide_a_mistake_of_its_own(osv: OSV) -> None:
    osv.status = 400
    with pytest.raises(ValueError, match="does not understand"):
        main(osv.url)
