"""What HubSpot signs goes the short way: answered by its view, with nothing that only browsers need."""

from typing import Any

import pytest
from django.test import Client

from hubspot_integration.models import Portal
from tests.generating import PATH, execution
from tests.signing import post_signed

pytestmark = pytest.mark.django_db


def test_it_answers_without_session_or_browser_policies(portal: Portal) -> None:
    response = post_signed(PATH, execution(portal))
    assert response.status_code == 200
    assert not response.cookies
    assert "Content-Security-Policy" not in response
    assert int(response["Content-Length"]) == len(response.content)
    assert response["X-Request-ID"]


@pytest.mark.parametrize(
    "path", ["/hubspot/actions/", "/hubspot/actions/unknown", "/hubspot/cards/otp/", "/hubspot/webhooks/x"]
)
def test_it_knows_no_other_addresses(path: str) -> None:
    assert Client().post(path, secure=True).status_code == 404


def test_it_answers_in_json_whatever_is_asked_for(portal: Portal) -> None:
    response = Client().post(
        PATH, data=b"{}", content_type="application/json", headers={"Accept": "text/html"}, secure=True
    )
    assert (response.status_code, response["Content-Type"]) == (401, "application/json")


@pytest.mark.parametrize("path", ["/settings/texts/import", "/admin/login/", "/hubspot/actions/generate-otp", "/help"])
def test_a_body_that_says_it_is_too_large_is_not_read(path: str) -> None:
    class Unreadable:
        def read(self, *_: int) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    unread: Any = {"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(100 * 1024 * 1024)}
    headers = {"X-HubSpot-Signature-v3": "forged"}
    answer = Client().generic(
        "POST", path, b"", "multipart/form-data; boundary=x", headers=headers, secure=True, **unread
    )
    assert answer.status_code == 413
    assert b"1 MB" in answer.content
