"""One secret signs three protocols: what HubSpot signs for one of them opens no address of another."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from django.urls import get_resolver, resolve

from hubspot_integration import door
from hubspot_integration.authentication import HubSpotSignature
from hubspot_integration.models import Portal
from hubspot_integration.signatures import sign_v2, sign_v3
from otp.models import AuditEvent, ErasureRequest, OneTimeCode, Verification
from tests.generating import execution
from tests.hubspot_integration import test_webhooks
from tests.otp.test_otp_card import address
from tests.signing import signed_headers

GENERATE, WEBHOOKS, CARD = "/hubspot/actions/generate-otp", "/hubspot/webhooks", "/hubspot/cards/otp"


def signed_routes() -> list[str]:
    """Return every address whose view asks for HubSpot's signature."""
    return sorted(
        f"/{pattern.pattern}" for pattern in _leaves(get_resolver())
        if any(
            issubclass(kind, HubSpotSignature)
            for kind in getattr(getattr(pattern.callback, "cls", None), "authentication_classes", ())
        )
    )  # fmt: skip


def _leaves(resolver: Any) -> Iterator[Any]:
    for one in resolver.url_patterns:
        if hasattr(one, "url_patterns"):
            yield from _leaves(one)
        else:
            yield one


# Whatever a server, a proxy or a person may take for an action's address.
SPELLINGS = [
    "//hubspot/actions/generate-otp",
    "/hubspot//actions/generate-otp",
    "/hubspot/actions//generate-otp",
    "/hubspot/actions/generate-otp/",
    "/hubspot/actions/generate-otp//",
    "/hubspot/actions/./generate-otp",
    "/hubspot/cards/../actions/generate-otp",
    "/hubspot/cards/%2e%2e/actions/generate-otp",
    "/hubspot/actions/generate-otp;a=b",
    "/hubspot/actions/generate-otp%3Ba",
    "/hubspot/actions/generate-otp%3Fa=b",
    "/hubspot/actions/generate-otp%23",
    "/hubspot/actions/generate-otp%00",
    "/hubspot/actions/generate-otp%0A",
    "/hubspot/actions/generate-otp%20",
    "/hubspot/actions/generate-otp%FF",
    "/HUBSPOT/actions/generate-otp",
    "/hubspot/Actions/generate-otp",
    "/hubspot/actions/Generate-OTP",
    "/hubspot/actions/generate%E2%80%90otp",
]
WITHOUT_QUERY = [route for route in signed_routes() if not route.startswith("/hubspot/cards/")]


def body_for(path: str, portal: Portal) -> bytes:
    """Return a body that the address understands."""
    if path == WEBHOOKS:
        return json.dumps([test_webhooks.event(portal)]).encode()
    return json.dumps(execution(portal)).encode()


def send(method: str, path: str, body: bytes, *, signed_as: str | None = None, versions: tuple[str, ...]) -> Any:
    """Send a call whose signature is over `signed_as`, an address, in place of the one that is called."""
    headers = signed_headers(signed_as or path, body, method=method, versions=versions)
    client = Client(raise_request_exception=False)
    return client.generic(method, path, body, content_type="application/json", headers=headers, secure=True)


def rows() -> list[int]:
    return [model.objects.count() for model in (OneTimeCode, Verification, ErasureRequest, AuditEvent)]


# ------------------------------------------------------------------ declared in one place
def test_every_address_that_asks_for_a_signature_has_a_protocol_and_the_other_way_round() -> None:
    all_routes = [f"/{pattern.pattern}" for pattern in _leaves(get_resolver())]
    assert signed_routes() == sorted(route for route in all_routes if door.protocol_of(route))
    assert set(WITHOUT_QUERY) >= {GENERATE, "/hubspot/actions/verify-otp", WEBHOOKS}


@pytest.mark.parametrize("path", ["/hubspot/actions/of-tomorrow", "/hubspot/webhooks/of-tomorrow", "/hubspot/actions"])
def test_an_address_of_tomorrow_takes_no_query_either(path: str) -> None:
    protocol = door.protocol_of(path)
    assert protocol is not None
    assert not protocol.has_query


# ------------------------------------------------------------------ what a card's page may have signed
@pytest.mark.parametrize("versions", [("v3",), ("v2",), ("v2", "v3")], ids="+".join)
@pytest.mark.parametrize("path", WITHOUT_QUERY)
def test_it_refuses_what_hubspot_signed_for_a_card(portal: Portal, path: str, versions: tuple[str, ...]) -> None:
    answer = send("POST", address(path, portal), body_for(path, portal), versions=versions)
    assert answer.status_code == 401
    assert rows() == [0, 0, 0, 0]


@pytest.mark.parametrize("query", ["a=b", "a", "=", "&", "%20", "#", ";", "?", "userId=1", "x=%00", "é"])
@pytest.mark.parametrize("path", WITHOUT_QUERY)
def test_it_refuses_any_query_at_all(portal: Portal, path: str, query: str) -> None:
    answer = send("POST", f"{path}?{query}", body_for(path, portal), versions=("v2", "v3"))
    assert answer.status_code == 401
    assert rows() == [0, 0, 0, 0]


@pytest.mark.parametrize("path", WITHOUT_QUERY)
def test_a_bare_question_mark_was_never_signed(portal: Portal, path: str) -> None:
    answer = send("POST", f"{path}?", body_for(path, portal), versions=("v2", "v3"))
    assert answer.status_code == 401
    assert rows() == [0, 0, 0, 0]


def test_a_call_with_a_query_is_refused_before_its_body_is_read(portal: Portal) -> None:
    class Unreadable:
        def read(self, *_: int) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    for path in (f"{GENERATE}?a=b", GENERATE, f"{WEBHOOKS}?a=b", WEBHOOKS, f"{CARD}/generate"):
        headers = signed_headers(path, b"{}", versions=("v3",)) if "?" in path else {}
        unread: Any = {"wsgi.input": Unreadable(), "CONTENT_LENGTH": "2"}
        answer = Client().generic("POST", path, b"{}", headers=headers, secure=True, **unread)
        assert answer.status_code == 401, path


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("query", ["", "?a=b", "card"])
def test_no_other_spelling_leads_to_an_action(portal: Portal, spelling: str, query: str) -> None:
    path = address(spelling, portal) if query == "card" else spelling + query
    for signed_as in (path, GENERATE, address(GENERATE, portal)):
        answer = send("POST", path, body_for(GENERATE, portal), signed_as=signed_as, versions=("v2", "v3"))
        assert answer.status_code in {401, 403, 404}, (path, signed_as)
    assert rows() == [0, 0, 0, 0]


@pytest.mark.parametrize("spelling", ["/hubspot/actions/generate%2Dotp", "/hubspot%2Factions%2fgenerate-otp"])
def test_an_escaped_spelling_of_the_same_address_keeps_its_protocol(portal: Portal, spelling: str) -> None:
    body = body_for(GENERATE, portal)
    refused = send("POST", address(spelling, portal), body, signed_as=address(GENERATE, portal), versions=("v2", "v3"))
    assert refused.status_code == 401
    assert rows() == [0, 0, 0, 0]
    assert send("POST", spelling, body, signed_as=GENERATE, versions=("v3",)).status_code == 200


@pytest.mark.parametrize("versions", [("v2",), ()])
def test_a_card_needs_version_3(portal: Portal, versions: tuple[str, ...]) -> None:
    assert send("GET", address(CARD, portal, contact=1), b"", versions=versions).status_code == 401
    order = json.dumps({"contactId": 1, "idempotencyKey": "an-order"}).encode()
    assert send("POST", address(f"{CARD}/generate", portal), order, versions=versions).status_code == 401
    assert rows() == [0, 0, 0, 0]


@pytest.mark.parametrize("changes", [{"appId": "42"}, {"appId": None}, {"portalId": None}, {"userId": None}])
def test_a_card_acts_for_nobody_without_hubspots_four_parameters(portal: Portal, changes: dict[str, Any]) -> None:
    order = json.dumps({"contactId": 1, "idempotencyKey": "an-order"}).encode()
    answer = send("POST", address(f"{CARD}/generate", portal, **changes), order, versions=("v3",))
    assert answer.json()["error"]["code"] == "invalid_input"
    twice = address(f"{CARD}/generate", portal) + f"&portalId={portal.id}"
    assert send("POST", twice, order, versions=("v3",)).json()["error"]["code"] == "invalid_input"
    assert rows() == [0, 0, 0, 0]


# ------------------------------------------------------------------ how it is answered
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", signed_routes())
def test_every_method_gets_a_plain_answer_that_nobody_keeps(portal: Portal, path: str, method: str) -> None:
    path = address(path, portal, contact=1) if path.startswith("/hubspot/cards/") else path
    for versions in ((), ("v3",)):
        answer = send(method, path, b"", versions=versions)
        assert answer.status_code in ({401} if not versions else {200, 400, 405})
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Content-Type"] == "application/json"
        assert answer["X-Request-ID"]


def test_answers_with_a_code_are_kept_by_nobody(portal: Portal) -> None:
    answer = send("POST", GENERATE, body_for(GENERATE, portal), versions=("v3",))
    assert answer.json()["outputFields"]["otp_code"]
    assert (answer["Cache-Control"], answer["X-Content-Type-Options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize("sent", ["text/html", "application/xml;q=1", "", "nonsense"])
def test_whatever_is_accepted_json_is_answered(portal: Portal, sent: str) -> None:
    path = address(CARD, portal, contact=1)
    headers = {**signed_headers(path, b"", method="GET", versions=("v3",)), "Accept": sent}
    answer = Client().get(path, headers=headers, secure=True)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


Change = Callable[[dict[str, str]], dict[str, str]]
CHANGES: dict[str, Change] = {
    "as signed": lambda headers: headers,
    "without": lambda _: {},
    "v2 alone": lambda headers: {name: value for name, value in headers.items() if not _is_v3(name)},
    "v3 alone": lambda headers: {name: value for name, value in headers.items() if _is_v3(name)},
    "forged": lambda headers: {**headers, "X-HubSpot-Signature-v3": "A" * 44},
    "old": lambda headers: {**headers, "X-HubSpot-Request-Timestamp": "1795000000000"},
}


def _is_v3(name: str) -> bool:
    return name.endswith(("v3", "Timestamp"))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("query", ["", "card"])
@pytest.mark.parametrize("path", signed_routes())
def test_the_view_alone_judges_as_the_door_does(portal: Portal, path: str, query: str, change: str) -> None:
    """Whoever serves the views without the door in front refuses, and answers, the same."""
    asked = address(path, portal, contact=1) if query else path
    method = "GET" if path in {CARD, "/hubspot/cards/settings"} else "POST"
    body = b"" if method == "GET" else b"[" if path == WEBHOOKS else b"{}"
    headers = CHANGES[change](signed_headers(asked, body, method=method))
    through_the_door = Client().generic(
        method, asked, body, content_type="application/json", headers=headers, secure=True
    )
    request = RequestFactory().generic(method, asked, body, content_type="application/json", headers=headers)
    alone = resolve(request.path_info).func(request)
    if hasattr(alone, "render"):
        alone.render()
    assert alone.status_code == through_the_door.status_code
    assert _told(alone) == _told(through_the_door)


def _told(answer: Any) -> Any:
    content = json.loads(answer.content)
    content.get("settings", {}).pop("serverTime", None)
    return content


def test_an_address_without_a_protocol_is_refused_although_its_view_asks_for_a_signature(portal: Portal) -> None:
    body, timestamp = body_for(GENERATE, portal), str(int(time.time() * 1000))
    uri = f"{settings.PUBLIC_BASE_URL}/elsewhere"
    secret = settings.HUBSPOT_CLIENT_SECRETS[0]
    headers = {
        "X-HubSpot-Signature": sign_v2(secret=secret, method="POST", uri=uri, body=body),
        "X-HubSpot-Signature-Version": "v2",
        "X-HubSpot-Signature-v3": sign_v3(secret=secret, method="POST", uri=uri, body=body, timestamp=timestamp),
        "X-HubSpot-Request-Timestamp": timestamp,
    }
    request = RequestFactory().post("/elsewhere", body, content_type="application/json", headers=headers)
    assert resolve(GENERATE).func(request).status_code == 401
    assert rows() == [0, 0, 0, 0]
