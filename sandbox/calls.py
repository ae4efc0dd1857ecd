"""What the app has asked of HubSpot lately, without its secrets."""

import hashlib
import re
from collections import deque
from dataclasses import dataclass

from starlette.requests import Request

KEPT = 5_000
BODY_BYTES = 16_384
_SECRETS = re.compile(r"\b(client_secret|code|code_verifier|refresh_token|access_token|token)=[^&\s]*")


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One request of the app and the status it got."""

    at: float
    ms: float
    route: str
    method: str
    path: str
    status: int
    portal_id: int | None
    token: str
    body: str


class CallLog:
    """Keep the last calls in a ring."""

    def __init__(self) -> None:
        self._calls: deque[LoggedCall] = deque(maxlen=KEPT)

    def __len__(self) -> int:
        return len(self._calls)

    def newest(self) -> list[LoggedCall]:
        """Return the kept calls, newest first."""
        return list(reversed(self._calls))

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()

    def record(
        self,
        request: Request,
        body: bytes,
        *,
        route: str,
        status: int,
        portal_id: int | None,
        at: float,
        ms: float,
    ) -> None:
        """Remember one call. A bearer token becomes a fingerprint; form fields that are secret are blanked."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        query = f"?{request.url.query}" if request.url.query else ""
        self._calls.append(
            LoggedCall(
                at=at,
                ms=ms,
                route=route,
                method=request.method,
                path=_blank(request.url.path + query),
                status=status,
                portal_id=portal_id,
                token=hashlib.sha256(bearer.encode()).hexdigest()[:8] if bearer else "",
                body=_blank(body[:BODY_BYTES].decode("utf-8", "replace")),
            )
        )


def _blank(text: str) -> str:
    return _SECRETS.sub(r"\1=…", text)
