"""What HubSpot signs goes the short way: answered by its view, with nothing that only browsers need."""

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
