"""What probes and browsers get."""

import re

import pytest
from django.test import Client

PAGES = ["/", "/hubspot/oauth/callback?error=access_denied"]


def test_it_says_that_it_is_alive() -> None:
    response = Client().get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_it_says_that_it_is_ready() -> None:
    assert Client().get("/readyz").json() == {"status": "ok", "database": "ok", "broker": "ok"}


@pytest.mark.django_db
def test_it_stays_in_service_without_a_broker(no_redis: None) -> None:
    response = Client().get("/readyz")
    assert response.status_code == 200
    assert response.json()["broker"].startswith("unavailable")


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_it_sends_strict_headers_with_every_page(page: str) -> None:
    response = Client().get(page, secure=True)
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert "max-age=31536000" in response["Strict-Transport-Security"]


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_it_has_no_inline_script_or_style(page: str) -> None:
    html = Client().get(page, secure=True).content.decode()
    assert " style=" not in html
    assert "<style" not in html
    assert re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", html) is None


@pytest.mark.django_db
def test_it_sends_browsers_to_https_but_not_hubspot() -> None:
    assert Client().get("/").status_code == 301
    assert Client().post("/hubspot/actions/generate-otp", data="{}", content_type="application/json").status_code == 401
