"""HubSpot's published signatures, reproduced."""

import pytest

from sandbox import signing

DOCS = "f6e94c08-85d0-4608-bcc6-e1850176e7b8"
PROXY = "12345678-aaaa-bbbb-cccc-ddddeeeeffff"
CLIENT = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
OWN = "opsagent-test-client-secret"
WEBHOOK = (
    '[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":'
    '"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]'
)
CARD = "https://opsagent.example.com/hubspot/card?objectId=51&userId=9&portalId=12345&userEmail=agent%40example.com"
CARD_POST = "https://opsagent.example.com/hubspot/card/otp?userId=9&portalId=12345&userEmail=a%2Bb%40example.com"
ACTION = "https://opsagent.example.com/hubspot/actions/generate-otp"
CALLBACK = '{"callbackId":"ap-102670506-56776413549-7-0"}'


@pytest.mark.parametrize(
    ("secret", "method", "url", "body", "timestamp", "expected"),
    [
        (DOCS, "POST", "https://www.hubspot.com/webhook", "REQUEST_BODY", "1632188626483", "jf872r5vscVcxCiDRHA4rGrqe/8BPLNVkdJSHdMnGTU="),
        (DOCS, "POST", "https://www.hubspot.com/webhook", "", "1632188626483", "csXgk7UbrE9F8ZmMvbpuKBxqIvTSqU1EX9pI/SJtxSE="),
        (PROXY, "GET", "https://hubspot.com/?appId=1&portalId=2&userId=3", "", "1111111111", "zTfXjo07jfzGouo4wvyAj3qEMUTVJ0PPYPACrluQtQI="),
        (PROXY, "GET", "https://hubspot.com/?appId=1&portalId=2&userId=3", '{"a":1,"b":2}', "1111111111", "aaknaCGCYJ4yqzuf1UKGqAWUfdcilJtm5nc/ZCudR9k="),
        (CLIENT, "POST", "https://www.example.com/webhook_uri", "{'example_field':'example_value'}", "1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
        (CLIENT, "POST", "https://www.example.com/webhook_uri", "{'example_field':'example_value'}", "1700000300000", "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="),
        ("autopilot-test-client-secret-0001", "POST", "https://example.com/api/hubspot/webhooks?src=hs%3Aapp%2Fv3&x=%28a%29", "[]", "1790000004000", "G8ddQlikFQ0ScZOZn+MHQ0E3WCV7vOJTzKlvrkvbvuk="),
        (OWN, "POST", ACTION, CALLBACK, "1795000000000", "PEbbAGPDBomT4NPNl2Gbf9lordDXXrb27P9dsJttj8Q="),
        (OWN, "GET", f"{CARD}&appId=777", "", "1795000000000", "vkdesb3ms9BwMC6B1fXS2B+LEda0FixbH58DYqEPVbc="),
        (OWN, "POST", f"{CARD_POST}&appId=777", '{"objectId":51}', "1795000000000", "0QfwRfV79xkgotvgPfq3MCDG+2prOj+ft8AK5BWHOJU="),
        ("k", "POST", "https://x/y", '{"name":"Zoë 🎉"}', "1795000000000", "VO2OmCDW1jBn4lJyDacMkfpc/6yxIm8mF0nqHSD3qfw="),
    ],
)  # fmt: skip
def test_v3(secret: str, method: str, url: str, body: str, timestamp: str, expected: str) -> None:
    assert signing.v3(secret, method, url, body.encode(), timestamp) == expected


@pytest.mark.parametrize(
    ("secret", "method", "url", "body", "expected"),
    [
        (DOCS, "POST", "https://www.hubspot.com/webhook", "REQUEST_BODY", "57bb01a6e6ac92919b5e715d68f40265328701bbf1cf3fd73772887069945766"),
        (DOCS, "POST", "https://www.hubspot.com/webhook", "", "befaef2b7354f11bf651f6468e8b5cf6bd449048deaf057f712980afb2a682f5"),
        (PROXY, "GET", "https://hubspot.com/?appId=1&portalId=2&userId=3", "", "99080134002180aee8d0884d21ad51288c43b57e9953e4db1e3757999b35c392"),
        (PROXY, "GET", "https://hubspot.com/?appId=1&portalId=2&userId=3", '{"a":1,"b":2}', "bc131b34cd63dafbbd2e969e87167311f5f6c0cd543c90fe84c73496093cf4a2"),
        (CLIENT, "POST", "https://www.example.com/webhook_uri", '{"example_field":"example_value"}', "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"),
        (CLIENT, "GET", "https://www.example.com/webhook_uri", "", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"),
        (OWN, "POST", ACTION, CALLBACK, "b0f0d21a85010863b73978b6ca7cb08a4061149f4fc1925e02cb02eb95256aa6"),
    ],
)  # fmt: skip
def test_v2(secret: str, method: str, url: str, body: str, expected: str) -> None:
    assert signing.v2(secret, method, url, body.encode()) == expected


def test_v1() -> None:
    expected = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
    assert signing.v1(CLIENT, WEBHOOK.encode()) == expected


def test_v3_decodes_twelve_escapes_and_no_other() -> None:
    encoded = "%3A%2f%3F%40%21%24%27%28%29%2A%2C%3b%20%26%3D%2B%25%41"
    assert signing.decode_url(encoded) == ":/?@!$'()*,;%20%26%3D%2B%25%41"
