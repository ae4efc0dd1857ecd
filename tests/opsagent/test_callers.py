"""Whose request it is, behind every kind of proxy."""

from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from opsagent import callers

PROXY = "10.0.0.2"


def request_with(forwarded: str | None, remote: str = PROXY) -> Any:
    request = RequestFactory().get("/", REMOTE_ADDR=remote)
    if forwarded is not None:
        request.META["HTTP_X_FORWARDED_FOR"] = forwarded
    return request


@pytest.mark.parametrize(
    ("written", "address", "network"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        ("203.0.113.7:4711", "203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::7]:4711", "2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::7]", "2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ('"[2001:db8:1:2::7]:4711"', "2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("fe80::7%eth0", "fe80::7", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0/24"),
        ("[::ffff:203.0.113.7]:4711", "203.0.113.7", "203.0.113.0/24"),
        ("unknown", None, "unknown"),
        ("_hidden", None, "unknown"),
        ("203.0.113.07", None, "unknown"),
        ("203.0.113.7:x:y", None, "unknown"),
        ("[2001:db8::7", "2001:db8::7", "2001:db8::/64"),
        ("[", None, "unknown"),
        ("\0", None, "unknown"),
        ("9" * 5000, None, "unknown"),
    ],
)
def test_it_reads_what_proxies_write(settings: Any, written: str, address: str | None, network: str) -> None:
    settings.PROXY_COUNT = 1
    request = request_with(written)
    assert callers.address(request) == address
    assert callers.network(request) == network


@pytest.mark.parametrize(
    ("count", "forwarded", "expected"),
    [
        (0, "198.51.100.1", PROXY),  # nobody of ours wrote it
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (2, "203.0.113.7", PROXY),  # came past a proxy: what stands there is the caller's own word
        (1, None, PROXY),
        (1, " , ", PROXY),
    ],
)
def test_it_believes_its_own_proxies_only(settings: Any, count: int, forwarded: str | None, expected: str) -> None:
    settings.PROXY_COUNT = count
    assert callers.address(request_with(forwarded)) == expected


def test_a_request_through_a_socket_file_has_no_address(settings: Any) -> None:
    settings.PROXY_COUNT = 0
    assert callers.address(request_with(None, remote="")) is None
    assert callers.network(request_with(None, remote="")) == "unknown"


@given(text=st.text())
def test_nothing_that_is_sent_makes_it_fail(text: str) -> None:
    found = callers._parse(text)
    assert found is None or found.version in {4, 6}
