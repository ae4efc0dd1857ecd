"""Pages for what is not there or went wrong, and the files that pages are made with."""

from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.views.defaults import bad_request, server_error

from hubspot_integration.models import Portal
from tests.page import Page
from tests.portal_admin import signed_in


@pytest.mark.parametrize("path", ["/settings/10000001", "/nothing-here"])
def test_it_has_a_page_for_what_is_not_there(portal: Portal, path: str) -> None:
    response = signed_in(portal).get(path, secure=True)
    assert response.status_code == 404
    assert "Page not found" in Page(response).text


@pytest.mark.parametrize(
    ("view", "status", "words"),
    [
        (server_error, 500, "The mistake is ours, and it has been recorded."),
        (bad_request, 400, "Go back and try again."),
    ],
)
def test_it_has_a_page_for_what_went_wrong(rf: RequestFactory, view: Any, status: int, words: str) -> None:
    response = view(rf.get("/"), *([] if status == 500 else [ValueError()]))
    assert response.status_code == status
    assert words in Page(response).text


@pytest.mark.parametrize("name", ["app.css", "favicon.svg"])
def test_it_serves_its_own_files(name: str) -> None:
    response = Client().get(f"/static/opsagent/{name}", secure=True)
    assert response.status_code == 200
    assert b"http://" not in b"".join(response.streaming_content).replace(b"http://www.w3.org/2000/svg", b"")  # type: ignore[attr-defined]
