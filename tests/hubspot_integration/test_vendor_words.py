"""What HubSpot says, before it is kept: anything may stand in an answer."""

import datetime as dt
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3 import HTTPResponse

from hubspot_integration import installing, transport, zones
from hubspot_integration.models import Portal
from tests.hubspot import HubSpot


@pytest.mark.parametrize(
    "name",
    ["America", "../x", "/etc/passwd", "", "x" * 5000, "posixrules", "localtime", "Factory", "a\0b", "\ud83d", "zone.tab",
     "Nowhere/Nothing", "Europe/Berlin ", 5, None, [], {}],
)  # fmt: skip
def test_what_is_no_time_zone_is_utc(name: Any) -> None:
    assert installing._zone(name) == "UTC"
    if isinstance(name, str):
        assert Portal(time_zone=name).zone is dt.UTC


@pytest.mark.parametrize(
    "name", ["UTC", "US/Eastern", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata"]
)
def test_a_time_zone_is_kept(name: str) -> None:
    assert installing._zone(name) == name
    assert str(Portal(time_zone=name).zone) == name


@given(st.text(st.characters(codec=None), max_size=80))
def test_no_name_of_a_zone_breaks_anything(name: str) -> None:
    zones.named(name)
    assert installing._zone(name)


@pytest.mark.django_db
def test_an_answer_holds_nothing_that_the_database_cannot(hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch) -> None:
    body = rb'{"a\u0000": ["b\u0000c", {"d": "\\u0000"}], "e": 1}'

    class Pool:
        def request(self, *_: Any, **__: Any) -> HTTPResponse:
            return HTTPResponse(io.BytesIO(body), status=200, preload_content=False)

    monkeypatch.setattr(transport, "_pool", lambda _: Pool())
    assert transport.call("GET", "/x") == {"a": ["bc", {"d": r"\u0000"}], "e": 1}
