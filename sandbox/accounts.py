"""Portals (HubSpot accounts), their users and their contacts."""

from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from sandbox.limits import RollingWindow
from sandbox.properties import Group, InvalidValueError, Property
from sandbox.times import iso


class UnknownPropertyError(InvalidValueError):
    """The portal has no such property."""

    def __init__(self, name: str) -> None:
        super().__init__("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')


class TakenError(Exception):
    """Another contact already has this value of a property whose values are unique."""

    def __init__(self, contact_id: int) -> None:
        super().__init__(f"Contact already exists. Existing ID: {contact_id}")


@dataclass(frozen=True, slots=True)
class User:
    """A person who signs in to a portal. Only some may install apps."""

    id: int
    name: str
    email: str
    may_install: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a property value, kept even when the value stayed the same."""

    value: str
    at: float
    source: str
    source_id: str


@dataclass(slots=True)
class Contact:
    """A contact with its values and everything ever written to them."""

    id: int
    created_at: float
    updated_at: float
    values: dict[str, str] = field(default_factory=dict)
    history: dict[str, list[Change]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what a person would call this contact."""
        parts = (self.values.get("firstname", ""), self.values.get("lastname", ""))
        return " ".join(filter(None, parts)) or self.values.get("email", "") or f"Contact {self.id}"

    def value(self, name: str) -> str | None:
        """Return a property's value, or None when it has none."""
        match name:
            case "hs_object_id":
                return str(self.id)
            case "createdate":
                return iso(self.created_at)
            case "lastmodifieddate":
                return iso(self.updated_at)
            case _:
                return self.values.get(name) or None

    def write(self, values: dict[str, str], *, at: float, source: str, source_id: str) -> None:
        """Store values that have been cleaned, and remember the writes."""
        for name, value in values.items():
            self.values[name] = value
            self.history.setdefault(name, []).append(Change(value, at, source, source_id))
        self.updated_at = at


@dataclass(slots=True)
class Install:
    """The app as connected to one portal."""

    user_id: int
    scopes: frozenset[str]
    at: float


@dataclass(slots=True)
class CallCounts:
    """How often the app called the API of one portal, and what it was told."""

    by_route: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Return all calls."""
        return self.by_status.total()

    @property
    def refused(self) -> int:
        """Return the calls answered 4xx or 5xx, rate limiting included."""
        return sum(count for status, count in self.by_status.items() if status >= HTTPStatus.BAD_REQUEST)

    @property
    def rate_limited(self) -> int:
        """Return the calls answered 429."""
        return self.by_status[HTTPStatus.TOO_MANY_REQUESTS]


@dataclass(slots=True)
class Portal:
    """One HubSpot account: the tenant of an app."""

    id: int
    name: str
    domain: str
    subscription: str
    hublet: str
    time_zone: str
    currency: str
    users: dict[int, User]
    withheld_scopes: frozenset[str] = frozenset()
    groups: dict[str, Group] = field(default_factory=dict)
    properties: dict[str, Property] = field(default_factory=dict)
    contacts: dict[int, Contact] = field(default_factory=dict)
    install: Install | None = None
    calls: CallCounts = field(default_factory=CallCounts)
    window: RollingWindow = field(default_factory=RollingWindow)
    next_contact_id: int = 901
    _ids_by_email: dict[str, int] = field(default_factory=dict)

    @property
    def ui_domain(self) -> str:
        """Return the host of HubSpot's own pages for this portal."""
        return "app.hubspot.com" if self.hublet == "na1" else f"app-{self.hublet}.hubspot.com"

    def clean(self, values: dict[str, str | None]) -> dict[str, str]:
        """Return values as they will be stored. Raises InvalidValueError for the first that is refused."""
        cleaned = {}
        for name, value in values.items():
            definition = self.properties.get(name)
            if definition is None or definition.archived:
                raise UnknownPropertyError(name)
            cleaned[name] = definition.clean(value or "")
        return cleaned

    def find(self, reference: str, id_property: str = "") -> Contact | None:
        """Return a contact by its id, or by a property whose values are unique."""
        if not id_property or id_property == "hs_object_id":
            return self.contacts.get(int(reference)) if reference.isdecimal() else None
        if id_property == "email":
            return self.contacts.get(self._ids_by_email.get(reference.lower(), 0))
        return next((c for c in self.contacts.values() if c.values.get(id_property) == reference), None)

    def search(self, text: str) -> list[Contact]:
        """Return contacts whose id, name or address contains the text; all of them for none."""
        wanted = text.strip().lower()
        if not wanted:
            return list(self.contacts.values())
        return [
            contact
            for contact in self.contacts.values()
            if wanted == str(contact.id)
            or wanted in contact.name.lower()
            or wanted in contact.values.get("email", "").lower()
        ]

    def create(self, values: dict[str, str], *, at: float, source: str, source_id: str = "") -> Contact:
        """Add a contact with cleaned values. Raises TakenError."""
        contact = Contact(self.next_contact_id, at, at)
        self.write(contact, values, at=at, source=source, source_id=source_id)
        self.contacts[contact.id] = contact
        self.next_contact_id += 1
        return contact

    def write(self, contact: Contact, values: dict[str, str], *, at: float, source: str, source_id: str = "") -> None:
        """Write cleaned values to a contact and keep unique values unique. Raises TakenError."""
        self.check_unique(contact, values)
        if "email" in values:
            self._ids_by_email.pop(contact.values.get("email", "").lower(), None)
            if values["email"]:
                self._ids_by_email[values["email"].lower()] = contact.id
        contact.write(values, at=at, source=source, source_id=source_id)

    def check_unique(self, contact: Contact, values: dict[str, str]) -> None:
        """Raise TakenError if another contact has one of the values where values are unique."""
        for name, value in values.items():
            if value and self.properties[name].unique:
                other = self.find(value, name)
                if other is not None and other.id != contact.id:
                    raise TakenError(other.id)

    def delete(self, contact: Contact) -> None:
        """Remove a contact; its id answers 404 from now on."""
        del self.contacts[contact.id]
        self._ids_by_email.pop(contact.values.get("email", "").lower(), None)
