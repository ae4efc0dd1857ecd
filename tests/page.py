"""A page as a browser sees it: its controls, by the text of their labels, and its words."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

FORM = "/settings/"
"""The action of the form whose hidden fields are posted with the others."""


@dataclass
class Control:
    """One input, select or textarea. `value`: what would be posted; True or False for a checkbox."""

    name: str
    value: str | bool
    attributes: dict[str, str | None]
    form: str
    options: dict[str, str] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)


class Page(HTMLParser):
    """What a page shows: its controls, by the text of their labels, and its words."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.html: str = response.content.decode()
        self.labels: dict[str, str] = {}
        self.controls: dict[str, Control] = {}
        self.by_id: dict[str, str] = {}
        self.text = ""
        self._form = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self._control: Control | None = None
        self._option = ""
        self._group = ""
        self.hidden: dict[str, str] = {}
        self.feed(self.html)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert "style" not in attributes  # the page's policy forbids it
        if tag not in {"input", "meta", "link", "img", "br"}:
            self._open.append((tag, attributes))
        if tag == "form":
            self._form = attributes.get("action") or ""
        elif attributes.get("type") == "hidden":
            if self._form == FORM:
                self.hidden[attributes["name"] or ""] = attributes.get("value") or ""
        elif tag in {"input", "select", "textarea"}:
            checkbox = attributes.get("type") == "checkbox"
            value: str | bool = "checked" in attributes if checkbox else (attributes.get("value") or "")
            self._control = Control(attributes["name"] or "", value, attributes, self._form)
            self.controls[attributes["id"] or ""] = self._control
        elif tag == "optgroup":
            self._group = attributes["label"] or ""
        elif tag == "option":
            self._option = attributes["value"] or ""
            assert self._control is not None
            self._control.options[self._option] = ""
            self._control.groups.setdefault(self._group, []).append(self._option)
            if "selected" in attributes:
                self._control.value = self._option

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
        if tag == "optgroup":
            self._group = ""

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open[-1] if self._open else ("", {})
        assert tag not in {"script", "style"}  # the page's policy forbids them
        if tag == "label":
            assert data not in self.labels, "two controls of one name"
            self.labels[data] = attributes["for"] or ""
        if tag == "textarea" and self._control:
            # As browsers do, without the line break that follows the tag.
            self._control.value = str(self._control.value) + data.removeprefix("\n")
        if tag == "option" and self._control:
            self._control.options[self._option] += data
        for name, value in attributes.items():
            if name == "id" and value:
                self.by_id[value] = self.by_id.get(value, "") + data
        if tag == "li" and len(self._open) > 1 and (identity := self._open[-2][1].get("id")):
            self.by_id[identity] = self.by_id.get(identity, "") + data
        self.text += data + " "

    def control(self, label: str) -> Control:
        return self.controls[self.labels[label]]

    def error(self, label: str) -> str:
        """The error that a screen reader reads out with the control."""
        identities = (self.control(label).attributes.get("aria-describedby") or "").split()
        return " ".join(self.by_id.get(identity, "").strip() for identity in identities if identity.endswith("_error"))

    def filled_in(self, changes: dict[str, str | bool]) -> dict[str, str]:
        """Return what the browser posts after the admin has changed the labelled controls."""
        data = dict(self.hidden)
        for label, identity in self.labels.items():
            control = self.controls[identity]
            value = changes.get(label, control.value)
            if value is not False:
                data[control.name] = "on" if value is True else str(value)
        assert set(changes) <= set(self.labels)
        return data
