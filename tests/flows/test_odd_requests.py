"""What no browser sends, and anybody can: the web process answers it, and never with a 500."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from sandbox.local.system import System
from sandbox.local.waiting import eventually
from tests import environment
from tests.hubspot import HubSpot

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = ("/", "/settings/", "/sign-in", "/hubspot/oauth/callback", "/admin/login/", "/admin/enrol/", "/static/x")
HOST = "Host: localhost\r\nConnection: close\r\n"


def answer_to(system: System, head: str, body: bytes = b"") -> bytes:
    """Send a request as it stands; return the answer."""
    with socket.create_connection(("127.0.0.1", system.web_port), timeout=15) as one:
        one.sendall(head.encode() + b"\r\n" + body)
        received = b""
        while chunk := one.recv(65_536):
            received += chunk
    return received


def status_of(answer: bytes) -> int:
    """Return the status of a whole answer."""
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("path", PAGES)
def test_a_query_may_hold_letters_that_nobody_escaped(system: System, hubspot: HubSpot, path: str) -> None:
    answer = answer_to(system, f"GET {path}?next=ā&key=ā&state=ā&code=ā HTTP/1.1\r\n{HOST}")
    assert status_of(answer) < 500
    asked = answer_to(system, f"GET /?next=/settings/texts/in/ā HTTP/1.1\r\n{HOST}").decode()
    assert 'href="/sign-in?next=/settings/texts/in/%C4%81"' in asked


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain; charset=rot13",
        "text/plain; charset=undefined",
        "a/b; c*=nonsense''%ff",
        "a/b; c*=idna''%ff%fe",
        "ā;=;",
    ],
)
def test_a_content_type_may_say_anything(system: System, hubspot: HubSpot, path: str, content_type: str) -> None:
    head = f"GET {path}?next=%ff HTTP/1.1\r\n{HOST}Content-Type: {content_type}\r\n"
    assert status_of(answer_to(system, head)) < 500


@pytest.mark.parametrize("charset", ["rot13", "utf-16", "zlib"])
def test_a_form_is_read_as_the_pages_write_it(system: System, hubspot: HubSpot, charset: str) -> None:
    body = b"--b\r\nContent-Disposition: form-data; name*=nonsense''%ff\r\n\r\nx\r\n--b--\r\n"
    head = (
        f"POST /admin/login/ HTTP/1.1\r\n{HOST}Content-Type: multipart/form-data; boundary=b; charset={charset}\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    assert status_of(answer_to(system, head, body)) == 403  # a form without a CSRF token


@pytest.fixture(scope="module")
def without_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A web process whose database does not listen."""
    alone = System(
        database_url="postgres://opsagent@127.0.0.1:9/opsagent",
        redis_url=environment.redis_of_processes(1),
        logs=tmp_path_factory.mktemp("without-database"),
    )
    try:
        alone.start("web")
        eventually(lambda: _answers(alone))
        yield alone
    finally:
        alone.stop()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sign-in"),
        ("GET", "/hubspot/install"),
        ("GET", "/settings/"),
        ("GET", "/settings/log"),
        ("GET", "/admin/"),
        ("GET", "/admin/enrol/?key=1-a-b"),
        ("GET", "/nothing-here"),
        ("POST", "/portal"),
        ("POST", "/settings/log/export"),
        ("POST", "/email-events/postmark/tracking/"),
    ],
)
def test_people_are_told_that_the_database_is_away(without_database: System, method: str, path: str) -> None:
    data = {"csrfmiddlewaretoken": "c" * 32} if method == "POST" else None
    with httpx.Client(cookies={"opsagent_session": "a" * 32, "csrftoken": "c" * 32}, timeout=30) as browser:
        answer = browser.request(method, f"{without_database.app_url}{path}", data=data)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "Our database does not answer. Go back and try again in a minute." in answer.text


def _answers(system: System) -> bool:
    try:
        return httpx.get(f"{system.app_url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
