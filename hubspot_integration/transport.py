"""One HTTP call to HubSpot: sent through its SDK's connection pool, ended by our own error.

The SDK's generated classes hard-code paths that HubSpot retires in 2027 (OAuth v1 in February, v4 in March), so calls
name their dated path themselves and use the SDK for what it is good at: pool, TLS, timeouts, encoding. One kept client
serves every portal, with the token of the call: 0.8 ms instead of 2.5 ms and no new socket per call.
"""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
from django.conf import settings
from hubspot.crm.contacts import ApiClient, ApiException, Configuration
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from opsagent.metrics import Counter

CONNECT_TIMEOUT: Final = 3.0
READ_TIMEOUT: Final = 10.0
MAXIMUM_RETRY_AFTER: Final = 24 * 3600.0
NO_HURRY: Final = math.inf
"""The deadline of whoever nobody waits for: each call may take its own time."""
_LEAST_SECONDS: Final = 0.05

CALLS: Final = Counter("opsagent_hubspot_calls_total", "Calls to HubSpot, by how it answered.", ("status",))
UNREACHABLE: Final = "unreachable"

_SERVER_ERROR: Final = 500
_LOCKED, _TOO_MANY_REQUESTS, _MIGRATING, _TIMED_OUT = 423, 429, 477, 408
# https://developers.hubspot.com/docs/api-reference/error-handling
_VALUES_NOT_VALID: Final = "Property values were not valid: "
_CHUNK: Final = 65_536
_NUL: Final = rb"\u0000"
_TRANSIENT: Final = frozenset({_TIMED_OUT, _LOCKED, _TOO_MANY_REQUESTS, _MIGRATING})


class HubSpotError(Exception):
    """A call to HubSpot did not succeed.

    `permanent`: repeating it cannot help. `retry_after`: seconds HubSpot asked us to wait, or None. `status` is None
    when no answer came. `words` are the error codes, categories and OAuth error names of the answer, upper-cased;
    `reason` is the most telling of them in lower case, for logs. HubSpot's prose is left out: it repeats what was
    sent, codes included. `properties` are the property names it speaks of. `ambiguous`: HubSpot may have done, or may yet
    do, what it was asked for, although it did not say so.
    """

    def __init__(
        self,
        summary: str,
        *,
        permanent: bool,
        status: int | None = None,
        words: Sequence[str] = (),
        properties: frozenset[str] = frozenset(),
        retry_after: float | None = None,
        ambiguous: bool = False,
    ) -> None:
        super().__init__(summary)
        self.permanent = permanent
        self.status = status
        self.words = frozenset(words)
        self.reason = words[0].lower() if words else f"status_{status}" if status else "unreachable"
        self.properties = properties
        self.retry_after = retry_after
        self.ambiguous = ambiguous


@lru_cache(maxsize=1)
def _pool(base_url: str) -> Any:
    configuration = Configuration(host=base_url)
    configuration.retries = False  # the delivery decides when to try again, not the pool
    configuration.connection_pool_maxsize = 32
    return ApiClient(configuration).rest_client


def call(
    method: str,
    path: str,
    *,
    token: str | None = None,
    json: object = None,
    form: Mapping[str, str] | None = None,
    timeout: float = READ_TIMEOUT,
) -> Any:
    """Send one request and return the parsed JSON answer, or None for an empty one.

    `timeout` is the longest wait for an answer in seconds; up to CONNECT_TIMEOUT it is the whole call's. An answer that drips
    is cut off after twice that. `form` is sent url-encoded in the body, `json` as JSON. Raises HubSpotError for every other
    ending.
    """
    until = time.monotonic() + 2 * timeout
    headers = {"Accept": "application/json", "User-Agent": "OpsAgent-OTP"}
    headers["Content-Type"] = "application/x-www-form-urlencoded" if form is not None else "application/json"
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        answer = _pool(settings.HUBSPOT_API_BASE_URL).request(
            method,
            settings.HUBSPOT_API_BASE_URL + path,
            headers=headers,
            body=json,
            post_params=dict(form) if form is not None else None,
            # Not preloaded: the SDK would write the whole answer, tokens included, to its debug log.
            _preload_content=False,
            _request_timeout=timeout if timeout <= CONNECT_TIMEOUT else (CONNECT_TIMEOUT, timeout),
        )
        data = _whole(answer, until)
    except ApiException as error:
        CALLS.add(str(error.status or UNREACHABLE))
        raise _refusal(error) from None
    except HTTPError as error:
        CALLS.add(UNREACHABLE)
        raise HubSpotError(
            f"HubSpot could not be reached: {type(error).__name__}",
            permanent=False,
            ambiguous=not isinstance(error, ConnectTimeoutError),  # no connection, no request
        ) from None
    CALLS.add(str(answer.status))
    if not data:
        return None
    try:
        return _storable(orjson.loads(data)) if _NUL in data else orjson.loads(data)
    except orjson.JSONDecodeError:
        raise HubSpotError(
            "HubSpot's answer is not JSON", permanent=False, status=answer.status, ambiguous=True
        ) from None


def _whole(answer: Any, until: float) -> bytes:
    """Return an answer's body. urllib3's time-out is that of each wait, so a body that drips would hold a thread for ever."""
    data = bytearray()
    while chunk := answer.read1(_CHUNK):
        data += chunk
        if time.monotonic() > until:
            answer.close()
            raise HubSpotError(
                "HubSpot's answer did not end in time", permanent=False, status=answer.status, ambiguous=True
            )
    answer.release_conn()
    return bytes(data)


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list in an answer; none for whatever else stands where HubSpot documents a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def time_left(deadline: float) -> float:
    """Return how many seconds a call may take that must be over at `deadline` (of `time.monotonic`; inf: no hurry).

    Raises HubSpotError when there are none: what came before used them up.
    """
    left = min(READ_TIMEOUT, deadline - time.monotonic())
    if left < _LEAST_SECONDS:
        raise HubSpotError("HubSpot did not answer in time", permanent=False)
    return left


def _storable(value: Any) -> Any:
    """Return an answer without U+0000, which JSON may hold and PostgreSQL cannot."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return value


def _refusal(error: ApiException) -> HubSpotError:
    if not error.status:
        return HubSpotError("HubSpot could not be reached: the TLS handshake failed", permanent=False)
    try:
        body = orjson.loads(error.body or b"")
    except orjson.JSONDecodeError:
        body = None
    details = body if isinstance(body, dict) else {}
    nested = objects(details.get("errors"))
    words = [item.get("code") for item in nested]
    words += [details.get(key) for key in ("category", "policyName", "error", "status")]
    return HubSpotError(
        f"HubSpot answered {error.status}",
        permanent=error.status < _SERVER_ERROR and error.status not in _TRANSIENT,
        status=error.status,
        words=[word.upper()[:100] for word in words if isinstance(word, str) and word != "error"],
        properties=_properties(details.get("message"), nested),
        retry_after=_retry_after(error),
        ambiguous=error.status >= _SERVER_ERROR or error.status == _TIMED_OUT,
    )


def _properties(message: object, errors: list[dict[str, Any]]) -> frozenset[str]:
    names: list[object] = []
    for item in errors:
        context = item.get("context")
        found = context.get("propertyName") if isinstance(context, dict) else None
        names += found if isinstance(found, list) else []
    # The message repeats the same as JSON behind a prefix; older answers have only that.
    _, prefix, listed = message.partition(_VALUES_NOT_VALID) if isinstance(message, str) else ("", "", "")
    if prefix:
        with contextlib.suppress(orjson.JSONDecodeError, TypeError):
            names += [item.get("name") for item in orjson.loads(listed) if isinstance(item, dict)]
    return frozenset(name for name in names if isinstance(name, str))


def _retry_after(error: ApiException) -> float | None:
    try:
        seconds = float((error.headers or {}).get("Retry-After", ""))
    except ValueError:
        seconds = 0.0
    if 0 < seconds <= MAXIMUM_RETRY_AFTER:
        return seconds
    # 423 wants at least two seconds; a rolling window of ten seconds has room again soon.
    return {_LOCKED: 2.0, _TOO_MANY_REQUESTS: 1.0}.get(error.status)
