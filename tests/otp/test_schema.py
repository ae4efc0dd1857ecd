"""The OpenAPI schema, and every endpoint called with whatever it allows and with much that it forbids."""

import io
import urllib.parse
from collections.abc import Sequence
from typing import Any

import pytest
import requests
import schemathesis
from django.conf import settings
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from requests.adapters import HTTPAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3 import HTTPResponse

from hubspot_integration import client
from hubspot_integration.models import Portal
from tests.signing import signed_headers

_generator: Any = SchemaGenerator  # untyped, like what it makes
DOCUMENT: dict[str, Any] = _generator().get_schema(request=None, public=True)
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
schema = schemathesis.openapi.from_dict(DOCUMENT)


class SignedByHubSpot(HTTPAdapter):
    """Take requests to Django without a network, signed as HubSpot signs them."""

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        path = str(request.url).removeprefix(settings.PUBLIC_BASE_URL)
        body = request.body or b""
        assert isinstance(body, bytes | str)
        body = body.encode() if isinstance(body, str) else body
        method = str(request.method)
        headers = signed_headers(path, body, method=method)
        caller = Client(raise_request_exception=False)
        answer = caller.generic(method, path, body, content_type="application/json", headers=headers, secure=True)
        raw = HTTPResponse(
            io.BytesIO(answer.content), headers=answer.headers, status=answer.status_code, preload_content=False
        )
        return self.build_response(request, raw)


@pytest.fixture
def session(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> requests.Session:
    """HubSpot's proxy, in a world where it knows every contact."""

    def contact(_: int, __: int, properties: Sequence[str], **___: Any) -> dict[str, str]:
        return dict.fromkeys(properties, "") | {"email": "ada@example.com"}

    monkeypatch.setattr(client, "contact", contact)
    session = requests.Session()
    session.mount(settings.PUBLIC_BASE_URL, SignedByHubSpot())
    return session


@schema.parametrize()
@hypothesis_settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: Any, session: requests.Session, portal: Portal) -> None:
    if case.path.startswith("/hubspot/cards"):
        # Whom HubSpot names is always somebody; otherwise every call would end there.
        case.query = {**(case.query or {}), "portalId": portal.id, "appId": settings.HUBSPOT_APP_ID, "userId": 7}
    elif isinstance(case.body, dict) and isinstance(case.body.get("origin"), dict):
        case.body["origin"]["portalId"] = portal.id
    response = case.call(base_url=settings.PUBLIC_BASE_URL, session=session)
    case.validate_response(response, checks=CHECKS)


def test_the_schema_is_valid_and_complete() -> None:
    validate: Any = validate_schema
    validate(DOCUMENT)
    assert set(DOCUMENT["paths"]) == {
        "/hubspot/actions/generate-otp",
        "/hubspot/actions/verify-otp",
        "/hubspot/cards/otp",
        "/hubspot/cards/otp/generate",
        "/hubspot/cards/otp/resend",
        "/hubspot/cards/otp/reveal",
        "/hubspot/cards/otp/verify",
        "/hubspot/cards/settings",
        "/hubspot/webhooks",
    }


def test_operators_can_read_it() -> None:
    response = Client().get("/api/schema?format=json", secure=True)
    assert response.status_code == 200
    assert response.json()["info"]["title"] == "OpsAgent OTP"


def test_some_of_the_calls_are_served(session: requests.Session, portal: Portal) -> None:
    query = {"userId": 7, "portalId": portal.id, "userEmail": "ann@example.com", "appId": settings.HUBSPOT_APP_ID}
    where = f"{settings.PUBLIC_BASE_URL}/hubspot/cards/otp/generate?{urllib.parse.urlencode(query)}"
    answer = session.post(where, json={"contactId": 904, "idempotencyKey": "the-first-one"}).json()
    assert answer["ok"] is True
