"""What the benchmarks send is what HubSpot sends."""

import json
import time

import pytest
from django.conf import settings
from django.test import Client

from benchmarks import load
from hubspot_integration import signatures
from hubspot_integration.models import Portal

PATH = "/hubspot/actions/generate-otp"


def parts(request: bytes) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a request as it goes over the wire."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines), body


def test_it_signs_as_hubspot_does() -> None:
    bodies = load.executions(portal_id=7, first=1, count=3)
    requests = load.signed(bodies, base_url="https://otp.example.com", path=PATH, secret="a-secret")
    for request, sent in zip(requests, bodies, strict=True):
        headers, body = parts(request)
        assert body == sent
        assert int(headers["Content-Length"]) == len(body)
        checked = {"secrets": ["a-secret"], "method": "POST", "body": body, "allow_v2": False}
        now_ms = time.time_ns() // 1_000_000
        uri = f"https://otp.example.com{PATH}"
        assert signatures.verify(**checked, uri=uri, headers=headers, now_ms=now_ms)  # type: ignore[arg-type]
        assert not signatures.verify(**checked, uri=uri + "?", headers=headers, now_ms=now_ms)  # type: ignore[arg-type]


def test_the_product_takes_what_it_sends(portal: Portal) -> None:
    (body,) = load.executions(portal_id=portal.id, first=501, count=1)
    (request,) = load.signed(
        [body], base_url=settings.PUBLIC_BASE_URL, path=PATH, secret=settings.HUBSPOT_CLIENT_SECRETS[0]
    )
    headers, _ = parts(request)
    signed = {name: value for name, value in headers.items() if name.startswith("X-")}
    answer = Client().post(PATH, data=body, content_type="application/json", headers=signed, secure=True)
    assert answer.status_code == 200
    assert answer.json()["outputFields"]["otp_status"] == "success"


def test_every_execution_is_for_a_contact_of_its_own_and_as_long_as_hubspots() -> None:
    bodies = load.executions(portal_id=7, first=1, count=100, inputs={"submitted_code": "482951"})
    executions = [json.loads(body) for body in bodies]
    assert len({execution["object"]["objectId"] for execution in executions}) == 100
    assert len({execution["callbackId"] for execution in executions}) == 100
    assert {execution["inputFields"]["submitted_code"] for execution in executions} == {"482951"}
    assert all(1_000 < len(body) < 1_500 for body in bodies)


@pytest.mark.parametrize(("share", "milliseconds"), [(0.5, 3), (0.99, 4), (0.0, 1)])
def test_percentiles_are_those_of_the_latencies(share: float, milliseconds: float) -> None:
    result = load.Result(rate=1.0, latencies=[0.001, 0.002, 0.003, 0.004], statuses={200: 4})
    assert result.percentile(share) == pytest.approx(milliseconds)
