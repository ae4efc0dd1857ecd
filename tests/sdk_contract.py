"""Hold JSON against the models that HubSpot generates for its official client.

The client itself is no referee: it drops keys it does not know and lets most wrong types pass.
"""

import datetime as dt
import importlib
import re
from collections.abc import Collection, Iterator
from types import SimpleNamespace
from typing import Any, Final

_CONTAINER: Final = re.compile(r"(list|dict)[\[(](?:str, )?(.+)[\])]")
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}
_STRICT: Final = SimpleNamespace(client_side_validation=True)


def check(model: type, data: Any, *, newer: Collection[str] = ()) -> list[str]:
    """Return what is wrong with JSON data as an instance of a generated model; nothing when it fits.

    Reported are unknown keys, missing required keys, values of a wrong type and values outside an enumeration.
    `newer` names keys that HubSpot's API has and the generated models do not know yet, at any depth.
    """
    return list(_object(model, data, model.__name__, newer))


def _object(model: Any, data: Any, at: str, newer: Collection[str]) -> Iterator[str]:
    if not isinstance(data, dict):
        yield f"{at} is {_kind(data)}, not an object"
        return
    attributes = {key: attribute for attribute, key in model.attribute_map.items()}
    for key in data:
        if key not in attributes and key not in newer:
            yield f"{at}.{key} is unknown"
    for key, attribute in attributes.items():
        # The generator writes requirements and enumerations into the setters, and nowhere else.
        problem = _refusal(model, attribute, data.get(key))
        if key in data and data[key] is not None:
            yield from _value(model, model.openapi_types[attribute], data[key], f"{at}.{key}", newer)
        if problem:
            yield f"{at}.{key}: {problem}"


def _value(model: Any, kind: str, value: Any, at: str, newer: Collection[str]) -> Iterator[str]:
    if container := _CONTAINER.fullmatch(kind):
        if _kind(value) != container[1]:
            yield f"{at} is {_kind(value)}, not {container[1]}"
            return
        members = enumerate(value) if container[1] == "list" else value.items()
        for key, item in members:
            # HubSpot sends null for properties without a value, although the models say strings.
            if item is not None or container[1] == "list":
                yield from _value(model, container[2], item, f"{at}[{key}]", newer)
    elif kind in _TYPES:
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
            yield f"{at} is {_kind(value)}, not {kind}"
    elif kind == "datetime":
        if not isinstance(value, str) or not _is_moment(value):
            yield f"{at} is {value!r}, not a date and time with a zone"
    elif kind != "object":
        yield from _object(_sibling(model, kind), value, at, newer)


def _refusal(model: Any, attribute: str, value: Any) -> str:
    blank = object.__new__(model)
    blank.local_vars_configuration = _STRICT
    try:
        setattr(blank, attribute, value)
    except (ValueError, TypeError) as problem:
        return str(problem)
    return ""


def _sibling(model: Any, name: str) -> Any:
    """Return another model of the same API."""
    return getattr(importlib.import_module(model.__module__.rpartition(".")[0]), name)


def _is_moment(text: str) -> bool:
    try:
        return dt.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
