"""Signatures, held against vectors that HubSpot published or that HubSpot's own Node client made."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubspot_integration.signatures import sign_v2, sign_v3, verify

DEV_SERVER = "f6e94c08-85d0-4608-bcc6-e1850176e7b8"
DOCS = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
NODE = "11111111-2222-3333-4444-555555555555"

# (secret, method, url, body, timestamp, v3): from npm @hubspot/ui-extensions-dev-server, the page on request validation,
# hubspot-api-python's tests, and @hubspot/api-client 13.5.0.
VECTORS_V3 = [
    (DEV_SERVER, "POST", "https://www.hubspot.com/webhook", "REQUEST_BODY", "1632188626483", "jf872r5vscVcxCiDRHA4rGrqe/8BPLNVkdJSHdMnGTU="),
    (DEV_SERVER, "POST", "https://www.hubspot.com/webhook", "", "1632188626483", "csXgk7UbrE9F8ZmMvbpuKBxqIvTSqU1EX9pI/SJtxSE="),
    ("12345678-aaaa-bbbb-cccc-ddddeeeeffff", "GET", "https://hubspot.com/?appId=1&portalId=2&userId=3", "", "1111111111", "zTfXjo07jfzGouo4wvyAj3qEMUTVJ0PPYPACrluQtQI="),
    (DOCS, "POST", "https://www.example.com/webhook_uri", "{'example_field':'example_value'}", "1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
    ("autopilot-test-client-secret-0001", "POST", "https://example.com/api/hubspot/webhooks?src=hs%3Aapp%2Fv3&x=%28a%29", "[]", "1790000004000", "G8ddQlikFQ0ScZOZn+MHQ0E3WCV7vOJTzKlvrkvbvuk="),
    (NODE, "GET", "https://otp.example.com/card/latest?objectId=51&userEmail=a@b.com", "", "1795430235138", "B8rcJKLbDX/TZnMR/ee7Biwk3mYAZWdXwFdnaUvcgkY="),
    (NODE, "DELETE", "https://otp.example.com/card/x", '{"a":1}', "1795430235138", "7qfE/XGJ9NaOl8L++u138WRQLPb3X4qqiMiLMJ4UCqc="),
    ("k", "POST", "https://x/y", '{"name":"Zoë 🎉"}', "1795000000000", "VO2OmCDW1jBn4lJyDacMkfpc/6yxIm8mF0nqHSD3qfw="),
]  # fmt: skip
VECTORS_V2 = [
    (DEV_SERVER, "POST", "https://www.hubspot.com/webhook", "REQUEST_BODY", "57bb01a6e6ac92919b5e715d68f40265328701bbf1cf3fd73772887069945766"),
    (DOCS, "POST", "https://www.example.com/webhook_uri", '{"example_field":"example_value"}', "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"),
    (DOCS, "GET", "https://www.example.com/webhook_uri", "", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"),
]  # fmt: skip

SECRET = "opsagent-test-client-secret"
URL = "https://opsagent.example.com/hubspot/actions/generate-otp"
BODY = b'{"callbackId":"ap-102670506-56776413549-7-0"}'
NOW = 1_795_000_000_000
V3 = "PEbbAGPDBomT4NPNl2Gbf9lordDXXrb27P9dsJttj8Q="
V2 = "b0f0d21a85010863b73978b6ca7cb08a4061149f4fc1925e02cb02eb95256aa6"


def check(headers: dict[str, str], **changes: object) -> bool:
    arguments: dict[str, object] = {
        "secrets": [SECRET], "method": "POST", "uri": URL, "body": BODY, "now_ms": NOW, "allow_v2": False, **changes,
    }  # fmt: skip
    return verify(headers=headers, **arguments)  # type: ignore[arg-type]


def v3(signature: str = V3, timestamp: str = str(NOW)) -> dict[str, str]:
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": timestamp}


def v2(signature: str = V2, version: str = "v2") -> dict[str, str]:
    return {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}


@pytest.mark.parametrize(("secret", "method", "url", "body", "timestamp", "expected"), VECTORS_V3)
def test_it_signs_version_3_as_hubspot_does(
    secret: str, method: str, url: str, body: str, timestamp: str, expected: str
) -> None:
    made = sign_v3(secret=secret, method=method, uri=url, body=body.encode(), timestamp=timestamp)
    assert made == expected


@pytest.mark.parametrize(("secret", "method", "url", "body", "expected"), VECTORS_V2)
def test_it_signs_version_2_as_hubspot_does(secret: str, method: str, url: str, body: str, expected: str) -> None:
    assert sign_v2(secret=secret, method=method, uri=url, body=body.encode()) == expected


def test_it_decodes_the_at_sign_of_the_agents_address_and_leaves_the_plus() -> None:
    url = (
        "https://opsagent.example.com/hubspot/card/otp?userId=9&portalId=12345&userEmail=a%2Bb%40example.com&appId=777"
    )
    headers = v3("0QfwRfV79xkgotvgPfq3MCDG+2prOj+ft8AK5BWHOJU=")
    assert check(headers, uri=url, body=b'{"objectId":51}')


def test_it_accepts_the_url_as_sent_which_hubspots_local_proxy_signs() -> None:
    url = "https://opsagent.example.com/hubspot/card?userEmail=agent%40example.com"
    raw = base64.b64encode(
        hmac.digest(SECRET.encode(), b"POST" + url.encode() + BODY + str(NOW).encode(), hashlib.sha256)
    )
    assert check(v3(raw.decode()), uri=url)


def test_it_accepts_any_of_the_secrets() -> None:
    assert check(v3(), secrets=["another", SECRET])
    assert not check(v3(), secrets=["another"])


@pytest.mark.parametrize("distance", [-300_000, 0, 300_000])
def test_it_accepts_a_timestamp_within_five_minutes(distance: int) -> None:
    assert check(v3(), now_ms=NOW + distance)


@pytest.mark.parametrize("distance", [-300_001, 300_001, 10**12])
def test_it_refuses_a_stale_or_future_timestamp(distance: int) -> None:
    assert not check(v3(), now_ms=NOW + distance)


@pytest.mark.parametrize(
    "change",
    [
        {"uri": URL.replace("https://", "http://")},
        {"uri": URL + "/"},
        {"uri": URL.replace("opsagent", "evil")},
        {"body": BODY + b" "},
        {"method": "GET"},
    ],
)
def test_it_refuses_what_was_changed_on_the_way(change: dict[str, object]) -> None:
    assert not check(v3(), **change)
    assert not check(v2(), allow_v2=True, **change)


@pytest.mark.parametrize(
    "timestamp", ["", "0", "1795000000000.0", "1e12", "１７９５０００００００００", "-795000000000", " 1795000000000"]
)
def test_it_refuses_a_malformed_timestamp(timestamp: str) -> None:
    assert not check(v3(timestamp=timestamp))


@pytest.mark.parametrize("signature", ["", "é", "\udcff", "A" * 10_000, V3[:-1]])
def test_it_refuses_a_malformed_signature(signature: str) -> None:
    assert not check(v3(signature))
    assert not check(v2(signature), allow_v2=True)


def test_it_takes_version_2_only_where_it_is_allowed() -> None:
    assert check(v2(), allow_v2=True)
    assert not check(v2(), allow_v2=False)
    assert not check(v2(version="v1"), allow_v2=True)


def test_it_does_not_let_version_2_save_a_stale_version_3() -> None:
    both = {**v3(), **v2()}
    assert check(both, allow_v2=True)
    assert not check(both, allow_v2=True, now_ms=NOW + 300_001)


@given(
    headers=st.dictionaries(
        st.sampled_from(
            [
                "X-HubSpot-Signature-v3",
                "X-HubSpot-Request-Timestamp",
                "X-HubSpot-Signature",
                "X-HubSpot-Signature-Version",
            ]
        ),
        st.text() | st.sampled_from([V3, V2, str(NOW), "v2"]),
    ),
    uri=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_it_never_raises(headers: dict[str, str], uri: str) -> None:
    assert check(headers, uri=uri, allow_v2=True) in {True, False}
