"""HubSpot's proxy behind ``hubspot.fetch``, the only way an app card reaches its own server.

https://developers.hubspot.com/docs/apps/developer-platform/add-features/ui-extensions/fetching-data
"""

from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Any
from urllib.parse import quote

from sandbox.accounts import Portal, User
from sandbox.connections import Answer
from sandbox.options import Options
from sandbox.outgoing import NoAnswerError, Outgoing, compact_json
from sandbox.project import Project

MAX_BYTES = 1_048_576
DEFAULT_TIMEOUT_SECONDS = 15.0


class FetchRefusedError(Exception):
    """HubSpot does not pass the request on; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the card gets, and how often the app was called for it."""

    answer: Answer
    attempts: int


class CardFetcher:
    """Send a card's request on, with the identity of portal and user added and signed."""

    def __init__(self, project: Project, options: Options, outgoing: Outgoing) -> None:
        self._project = project
        self._options = options
        self._outgoing = outgoing

    async def fetch(
        self,
        portal: Portal,
        user: User,
        method: str,
        url: str,
        *,
        body: dict[str, Any] | list[Any] | None,
        within: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> Fetched:
        """Pass a request on. It is repeated once, within the given seconds, when the app fails or cannot be reached.

        Raises FetchRefusedError before anything is sent, NoAnswerError when nothing came back.
        """
        if self._options.enforce_permitted_urls:
            if not url.startswith(self._project.fetch_urls):
                raise FetchRefusedError(f"{url} does not start with an entry of permittedUrls.fetch")
            if isinstance(body, list):
                raise FetchRefusedError("hubspot.fetch sends one object")
        content = b"" if body is None else compact_json(body)
        if len(content) > MAX_BYTES:
            raise FetchRefusedError("the request body is larger than 1 MB")
        identity = {
            "userId": str(user.id),
            "portalId": str(portal.id),
            "userEmail": user.email,
            "appId": str(self._options.app_id),
        }
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in identity.items())
        url = url.partition("#")[0]
        target = f"{url}{'&' if '?' in url else '?'}{query}"
        deadline = monotonic() + within
        try:
            answer = await self._outgoing.send(method, target, content, within=within)
        except NoAnswerError:
            answer = None
        if answer is not None and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Fetched(answer, 1)
        left = deadline - monotonic()
        if left <= 0:
            raise NoAnswerError(f"no answer within {within:g} s")
        return Fetched(await self._outgoing.send(method, target, content, within=left), 2)
