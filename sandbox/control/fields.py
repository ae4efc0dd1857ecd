"""Reading the control API's input: what is wrong is named by its field."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.accounts import Contact, Portal
from sandbox.hubspot import HubSpot
from sandbox.replies import JSONReply

PREFIX = "/sandbox/api"
LARGEST = 2**53
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
T = TypeVar("T")


class BadInputError(Exception):
    """A field that is missing or wrong."""

    def __init__(self, field: str, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.status = status


class Fields:
    """The members of a JSON object or query, taken one by one; what nobody takes is an error."""

    def __init__(self, members: dict[str, Any], prefix: str = "") -> None:
        self._members = members
        self._prefix = prefix
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        self._taken.add(name)
        return self._members.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Take a string, required without a default."""
        return self._take(name, str, "a string", default)

    def integer(self, name: str, default: int | None = None, *, low: int = 0, high: int = LARGEST) -> int:
        """Take an integer within bounds, required without a default."""
        value = self._take(name, int, "an integer", default)
        if not low <= value <= high:
            raise self.wrong(name, f"must be between {low} and {high}")
        return value

    def optional_integer(self, name: str, *, low: int = 0) -> int | None:
        """Take an integer if there is one."""
        return self.integer(name, low=low) if name in self else None

    def number(self, name: str, default: float | None = None) -> float:
        """Take a number that is not negative, required without a default."""
        value: float = self._take(name, (int, float), "a number", default)
        if value < 0:
            raise self.wrong(name, "must not be negative")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Take a boolean."""
        return self._take(name, bool, "true or false", default)

    def texts(self, name: str) -> dict[str, str]:
        """Take an object whose values are strings."""
        value: dict[str, Any] = self._take(name, dict, "an object", None)
        for key, item in value.items():
            if not isinstance(item, str):
                raise self.wrong(f"{name}.{key}", "must be a string")
        return value

    def optional_object(self, name: str) -> dict[str, Any] | None:
        """Take an object if there is one."""
        return self._take(name, dict, "an object", None) if name in self else None

    def optional_json(self, name: str) -> dict[str, Any] | list[Any] | None:
        """Take an object or a list if there is one."""
        taken: Any = self._take(name, (dict, list), "an object or a list", None) if name in self else None
        value: dict[str, Any] | list[Any] | None = taken
        return value

    def items(self, name: str, kind: type[T], what: str) -> list[T]:
        """Take a list whose items are all of one kind."""
        value: list[Any] = self._take(name, list, "a list", None)
        for number, item in enumerate(value):
            if not isinstance(item, kind) or isinstance(item, bool):
                raise self.wrong(f"{name}[{number}]", f"must be {what}")
        return value

    def objects(self, name: str) -> list["Fields"]:
        """Take a list of objects."""
        items: list[dict[str, Any]] = self.items(name, dict, "an object")
        return [self.inner(f"{name}[{number}]", item) for number, item in enumerate(items)]

    def inner(self, name: str, members: dict[str, Any]) -> "Fields":
        """Return the fields of an object inside this one."""
        return Fields(members, f"{self._prefix}{name}.")

    def wrong(self, name: str, message: str) -> BadInputError:
        """Return the error for one field."""
        return BadInputError(self._prefix + name, message)

    def end(self) -> None:
        """Refuse members that nobody took: most likely a misspelling."""
        for name in self._members:
            if name not in self._taken:
                raise self.wrong(name, "is not a field of this request")

    def _take(self, name: str, kind: type[T] | tuple[type[T], ...], what: str, default: T | None) -> T:
        self._taken.add(name)
        value = self._value(name, kind)
        if value is None:
            if default is None:
                raise self.wrong(name, "is required")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(name, f"must be {what}")
        return value

    def _value(self, name: str, _kind: object) -> Any:
        return self._members.get(name)


class QueryFields(Fields):
    """The parameters of a query or form: strings, read as what is asked for."""

    def _value(self, name: str, kind: object) -> Any:
        text = self._members.get(name)
        if text and kind is int and text.isdecimal():
            return int(text)
        if text and kind == (int, float) and _NUMBER.fullmatch(text):
            return float(text)
        if kind is bool and text in ("true", "false"):
            return text == "true"
        return text


@dataclass(frozen=True, slots=True)
class Command:
    """One request to the control API."""

    hubspot: HubSpot
    path: dict[str, Any]
    fields: Fields

    @property
    def portal(self) -> Portal:
        """Return the portal that the path names."""
        return self.known_portal(self.path["portal_id"], HTTPStatus.NOT_FOUND)

    @property
    def contact(self) -> Contact:
        """Return the contact that the path names."""
        contact = self.portal.contacts.get(self.path["contact_id"])
        if contact is None:
            raise BadInputError("contactId", "The portal has no such contact", HTTPStatus.NOT_FOUND)
        return contact

    def known_portal(self, portal_id: int, status: int = HTTPStatus.BAD_REQUEST) -> Portal:
        """Return a portal by its id."""
        portal = self.hubspot.portals.get(portal_id)
        if portal is None:
            raise BadInputError("portalId", f"There is no portal {portal_id}", status)
        return portal


def route(path: str, method: str, handler: Callable[[Command], Awaitable[Any]]) -> Route:
    """Return a route of the control API around a handler that answers with JSON, or with a Response of its own."""

    async def endpoint(request: Request) -> Response:
        try:
            in_query = method in ("GET", "DELETE")
            fields = QueryFields(dict(request.query_params)) if in_query else await _body(request)
            answer = await handler(Command(request.app.state.hubspot, request.path_params, fields))
        except BadInputError as problem:
            return JSONReply({"error": {"field": problem.field, "message": problem.message}}, problem.status)
        return answer if isinstance(answer, Response) else JSONReply(answer)

    return Route(PREFIX + path, endpoint, methods=[method])


def no_content() -> Response:
    """Return the answer to what leaves nothing to say."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


async def _body(request: Request) -> Fields:
    body = await request.body()
    try:
        content = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as problem:
        raise BadInputError("", f"The body is not JSON: {problem}") from None
    if not isinstance(content, dict):
        raise BadInputError("", "The body must be a JSON object")
    return Fields(content)
