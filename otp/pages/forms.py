"""What a portal admin may enter, and what is said about what they may not."""

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator

from emails import languages
from emails.content import complaints
from emails.languages import ChosenTexts
from emails.placeholders import in_braces
from hubspot_integration import client
from hubspot_integration.client import ContactProperty
from hubspot_integration.transport import HubSpotError
from opsagent import addresses
from opsagent.quoting import quoted
from otp import words
from otp.contact.order import COMPLETION_SCOPE
from otp.models import DAY_IN_MINUTES, TEXT_LIMIT, EmailTexts, OTPSettings
from otp.pages.property_choice import address_refusal, refusal, remark

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[OTPSettings]
    _TextsModelForm = forms.ModelForm[EmailTexts]
else:
    _ModelForm = _TextsModelForm = forms.ModelForm

LOOKUP_TIMEOUT: Final = 3.0
"""Seconds that somebody who presses Save waits for HubSpot."""

# What HubSpot allows in a name. Anything else, such as "..", is not put into the path of a call.
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_NAME: Final = 100


class ShortlyQuoting(forms.BaseForm):
    """A form whose complaints repeat of what was sent only what can be shown, and no more than a line of it."""

    def add_error(self, field: Any, error: Any) -> None:
        """Put down what is wrong with a field."""
        for one in getattr(error, "error_list", ()):
            value = (one.params or {}).get("value")
            if isinstance(value, str):
                one.params = {**one.params, "value": quoted(value)}
        super().add_error(field, error)

    def summary(self) -> list[tuple[forms.BoundField, str]]:
        """Return every complaint about a field as a sentence that names the field once."""
        return [
            (field, str(error) if str(error).startswith(str(field.label)) else f"{field.label}: {error}")
            for field in self
            for error in field.errors
        ]


class BlockField(forms.CharField):
    """Lines of a mail, as typed, with one kind of line break between them."""

    one_line = False
    shows_on_locked_screens = False

    def to_python(self, value: Any) -> str:
        """Trim. Raises ValidationError for what a mail cannot hold, unknown placeholders among it."""
        text = super().to_python(value) or ""
        if not self.one_line:
            text = "\n".join(text.splitlines())
        found = complaints(
            text,
            label=str(self.label),
            one_line=self.one_line,
            shows_on_locked_screens=self.shows_on_locked_screens,
            longest=self.max_length,
        )
        if found:
            raise ValidationError(found)
        return text


class LineField(BlockField):
    """One line of a mail."""

    one_line = True


class SubjectField(LineField):
    """A mail's subject."""

    shows_on_locked_screens = True


class NameField(LineField):
    """A name that a mail is sent under: no placeholder is filled in there."""

    def to_python(self, value: Any) -> str:
        """Trim. Raises ValidationError."""
        typed = str(value or "")
        used = [*in_braces(typed), *(character for character in typed if character in "{}")]
        if used:
            raise ValidationError(
                f"{self.label} is the same in every mail. Remove {quoted(used[0])}.", code="placeholder"
            )
        return super().to_python(value)


class SettingsForm(ShortlyQuoting, _ModelForm):
    """The settings of one portal.

    `properties` is the portal's list of contact properties as last fetched; `scopes` are those that the portal has
    granted, None while it is not connected. Validation asks HubSpot about a property that the list does not hold.
    """

    class Meta:
        model = OTPSettings
        # in the order of the page: the first mistake gets the cursor
        fields = (
            "code_type",
            "code_length",
            "expiry_minutes",
            "resend_policy",
            "wait_until_delivered",
            "output_code",
            "store_in_property",
            "property_name",
            "clear_property",
            "send_email",
            "email_subject",
            "greeting",
            "body_text",
            "footer_text",
            "default_language",
            "sender_name",
            "reply_to",
            "code_visibility",
            "email_property",
            "contact_limit_10_minutes",
            "contact_limit_day",
            "portal_limit_minute",
            "resend_cooldown_seconds",
            "wrong_attempts_limit",
            "lock_minutes",
            "longest_lock_minutes",
            "retention_days",
        )
        field_classes = {
            "email_subject": SubjectField,
            "sender_name": NameField,
            "greeting": LineField,
            "body_text": BlockField,
            "footer_text": BlockField,
        }
        widgets = {
            "body_text": forms.Textarea(attrs={"rows": 3, "maxlength": TEXT_LIMIT}),
            "footer_text": forms.Textarea(attrs={"rows": 3, "maxlength": TEXT_LIMIT}),
        }
        help_texts = {
            "code_type": "Letters leave out I and O, and mixed codes also 1 and 0: people confuse them.",
            "store_in_property": "Writes each code to a contact property, so that your own e-mails can show it.",
            "property_name": "Only properties that can hold a code are listed.",
            "send_email": "Mails each code to the contact with the texts below.",
            "sender_name": "Shown beside the sender's address.",
            "reply_to": "Leave it empty: replies go to the sender.",
            "default_language": "For contacts whose language is unknown, or has no texts. The texts above are in it.",
            "clear_property": (
                "Empties the property when the code is used or no longer accepted, if it still holds that code."
            ),
            "retention_days": (
                "What happened to codes is shown in the activity log for so long, then deleted. Lines of the audit log keep the "
                "period that held when they were written: another one holds for new lines only."
            ),
            "wait_until_delivered": (
                "The workflow goes on when the code is stored and mailed, or has finally failed to be. "
                "So the next step never runs ahead of its code."
            ),
            "output_code": (
                "When off, the action's output “OTP code” stays empty; the code is only stored and mailed as set here."
            ),
            "resend_policy": "Keeping older codes helps where mail is slow; all of them end when one is accepted.",
            "email_property": (
                "The contact property that the card mails codes to. Workflow actions name theirs in the workflow."
            ),
            "code_visibility": "Support agents see codes on the card of a contact record.",
            "contact_limit_10_minutes": "Workflows and agents together.",
            "contact_limit_day": "Workflows and agents together.",
            "portal_limit_minute": "Leave it empty for no limit.",
            "resend_cooldown_seconds": "For the card only. 0 means no waiting.",
            "wrong_attempts_limit": "Counted over all codes of a contact since the last right one.",
            "lock_minutes": "Each further lock is twice as long.",
            "longest_lock_minutes": f"At most {DAY_IN_MINUTES} minutes, which is a day.",
        }
        error_messages = {
            name: {
                "required": "Choose a value from the list.",
                "invalid_choice": "%(value)s is not a choice. Choose a value from the list.",
            }
            for name in ("code_type", "code_length", "expiry_minutes", "resend_policy", "code_visibility")
        } | {
            "email_property": {
                "required": "Choose the property that holds the contact's address, such as Email (email)."
            },
            "email_subject": {"required": "Enter a subject, such as “Your Verification Code”."},
            "reply_to": {"invalid": "Enter an address such as support@example.com, or nothing."},
            "greeting": {"required": "Enter a greeting, such as “Hello,”."},
            "body_text": {
                "required": "Enter what stands above the code, such as “Your one-time verification code is:”."
            },
        }

    def __init__(
        self,
        *args: Any,
        properties: Sequence[ContactProperty],
        scopes: Collection[str] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._properties = {item.name: item for item in properties}
        self._scopes = scopes
        # An element's `required` would make browsers complain in their own words; ours say what to do.
        self.use_required_attribute = False
        current = str(self["property_name"].value() or "")
        self.fields["property_name"].widget = forms.Select(choices=self._property_choices(current))
        address = str(self["email_property"].value() or "")
        self.fields["email_property"].widget = forms.Select(choices=self._address_choices(address))
        self.fields["default_language"] = forms.ChoiceField(
            label=self.fields["default_language"].label,
            help_text=self.fields["default_language"].help_text,
            choices=_languages(self.instance.default_language),
            error_messages={
                "required": "Choose a language from the list.",
                "invalid_choice": "%(value)s is not in the list. Choose a language from the list.",
            },
        )
        for name, field in self.fields.items():
            if isinstance(field, forms.IntegerField):
                _say_the_range(field, getattr(OTPSettings, name).field.validators)

    def focus_first_error(self) -> None:
        """Let the page open with the cursor in the first field that has to be corrected."""
        _focus_first_error(self)

    @property
    def property_note(self) -> str | None:
        """What to know about the chosen property: why it cannot hold a code (any more), or a remark."""
        chosen = self._properties.get(str(self["property_name"].value() or ""))
        return (refusal(chosen) or remark(chosen)) if chosen else None

    @property
    def lacks_completion_scope(self) -> bool:
        """Whether the portal is connected without the scope that waiting needs."""
        return self._scopes is not None and COMPLETION_SCOPE not in self._scopes

    def clean_property_name(self) -> str:
        """Return the name of a property that can hold a code, or an empty text. Raises ValidationError."""
        name: str = self.cleaned_data["property_name"]
        if not name:
            return ""
        chosen = self._chosen("property_name")
        if chosen is None:
            return name
        reason = refusal(chosen)
        if reason:
            raise ValidationError(f"{reason} Choose a single-line text property.", code="unusable")
        return chosen.name

    def clean_email_property(self) -> str:
        """Return the name of a property that can hold an address. Raises ValidationError."""
        name: str = self.cleaned_data["email_property"]
        chosen = None if name == self.initial.get("email_property") else self._chosen("email_property")
        if chosen is None:
            return name
        reason = address_refusal(chosen)
        if reason:
            raise ValidationError(f"{reason} Choose a text property, such as Email (email).", code="unusable")
        return chosen.name

    def _chosen(self, field: str) -> ContactProperty | None:
        """Return the property that a field names; None where HubSpot does not tell and nothing is to change.

        Raises ValidationError.
        """
        name: str = self.cleaned_data[field]
        if name in self._properties:
            return self._properties[name]
        try:
            return self._look_up(name)
        except HubSpotError as error:
            if name == self.initial.get(field):
                return None
            raise ValidationError(words.of_looking_up_a_property(name, error), code="unchecked") from None

    def clean_reply_to(self) -> str:
        """Return the address as it was typed. Raises ValidationError for one that no mail program can answer to."""
        address: str = self.cleaned_data["reply_to"]
        if address:
            try:
                addresses.checked(address)
            except ValueError:
                raise ValidationError(self.fields["reply_to"].error_messages["invalid"], code="invalid") from None
        return address

    def clean_wait_until_delivered(self) -> bool:
        """Return whether to wait. Raises ValidationError where the portal has not granted what it takes."""
        wait: bool = self.cleaned_data["wait_until_delivered"]
        if wait and self.lacks_completion_scope:
            raise ValidationError(
                f"Waiting needs the permission “{COMPLETION_SCOPE}”, which this HubSpot account has not granted. "
                "Turn this off, or reconnect HubSpot and grant it.",
                code="missing_scope",
            )
        if wait and self._scopes is None and not self.initial.get("wait_until_delivered"):
            raise ValidationError(
                f"Waiting needs the permission “{COMPLETION_SCOPE}”, and HubSpot is not connected. "
                "Reconnect HubSpot first, then turn this on.",
                code="not_connected",
            )
        return wait

    def clean(self) -> dict[str, Any]:
        """Check that storing has somewhere to store, and that locks grow."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("store_in_property") and cleaned.get("property_name") == "":
            self.add_error(
                "property_name",
                ValidationError(
                    "Choose the property that the code is written to, or turn off “Store OTP in HubSpot Property”.",
                    code="required",
                ),
            )
        first, longest = cleaned.get("lock_minutes"), cleaned.get("longest_lock_minutes")
        if first is not None and longest is not None and longest < first:
            self.add_error(
                "longest_lock_minutes",
                ValidationError(f"Enter {first} or more: locks grow, they do not shrink.", code="locks_shrink"),
            )
        return cleaned

    def _look_up(self, name: str) -> ContactProperty:
        """Ask HubSpot about a property. Raises ValidationError when there is none, HubSpotError."""
        portal_id = self.instance.portal_id
        found = None
        if _PROPERTY_NAME.fullmatch(name):
            found = client.contact_property(portal_id, name, timeout=LOOKUP_TIMEOUT)
        if found is None or not found.name:
            raise ValidationError(
                f"HubSpot has no contact property “{quoted(name, longest=_LONGEST_NAME)}”. Choose one from the list, or create it in HubSpot first.",
                code="unknown_property",
            )
        return found

    def _property_choices(self, current: str) -> list[tuple[str, str | list[tuple[str, str]]]]:
        """The select's content: nothing, the portal's own properties, HubSpot's; whatever is chosen is among them."""
        usable = [item for item in self._properties.values() if refusal(item) is None]
        choices: list[tuple[str, str | list[tuple[str, str]]]] = [("", "None")]
        for heading, hubspots in (
            ("Your properties", False),
            ("HubSpot's own properties (codes overwrite their values)", True),
        ):
            group = [(item.name, _option(item)) for item in usable if item.hubspot_defined is hubspots]
            if group:
                choices.append((heading, group))
        if current and current not in {item.name for item in usable}:
            listed = self._properties.get(current)
            choices.insert(1, (current, f"{listed.label} ({current})" if listed else current))
        return choices

    def _address_choices(self, current: str) -> list[tuple[str, str]]:
        """The select's content: text properties that speak of e-mail first, then the others; the chosen one among them."""
        usable = [item for item in self._properties.values() if address_refusal(item) is None and not item.hidden]
        usable.sort(key=lambda item: "mail" not in item.name + item.label.lower())
        choices = [(item.name, f"{item.label} ({item.name})") for item in usable]
        if current not in dict(choices):
            choices.insert(0, (current, current or "None"))
        return choices


def _languages(current: str) -> list[tuple[str, str]]:
    """The languages that the app has texts in, and the present one."""
    choices = languages.choices()
    return choices if current in dict(choices) else [(current, languages.name_of(current)), *choices]


def _say_the_range(field: forms.IntegerField, validators: Sequence[Any]) -> None:
    """Let every complaint about a number be the same sentence, and let the browser know the range."""
    least = max(item.limit_value for item in validators if isinstance(item, MinValueValidator))
    most = min(item.limit_value for item in validators if isinstance(item, MaxValueValidator))
    sentence = f"Enter a whole number from {least:,} to {most:,}."
    if not field.required:
        sentence = f"{sentence[:-1]}, or nothing."
    field.error_messages |= dict.fromkeys(("invalid", "required", "min_value", "max_value"), sentence)
    field.widget.attrs |= {"min": least, "max": most, "inputmode": "numeric"}


def _focus_first_error(form: forms.BaseForm) -> None:
    first = next((name for name in form.fields if name in form.errors), None)
    if first is not None:
        form.fields[first].widget.attrs["autofocus"] = True


def _option(item: ContactProperty) -> str:
    caution = ", may be reformatted" if item.field_type == "phonenumber" else ""
    return f"{item.label} ({item.name}{caution})"


class PolicyForm(_ModelForm):
    """What of the settings form decides how strong codes are, as it stands and before anything is saved."""

    class Meta:
        model = OTPSettings
        fields = (
            "code_type",
            "code_length",
            "expiry_minutes",
            "resend_policy",
            "send_email",
            "contact_limit_10_minutes",
            "contact_limit_day",
            "wrong_attempts_limit",
            "lock_minutes",
            "longest_lock_minutes",
        )


class EmailTextsForm(ShortlyQuoting, _TextsModelForm):
    """A portal's own texts in one language. `underlying` are those that take the place of what is left empty."""

    class Meta:
        model = EmailTexts
        fields = ("subject", "greeting", "body_text", "footer_text")
        field_classes = {
            "subject": SubjectField,
            "greeting": LineField,
            "body_text": BlockField,
            "footer_text": BlockField,
        }
        widgets = {
            "body_text": forms.Textarea(attrs={"rows": 4}),
            "footer_text": forms.Textarea(attrs={"rows": 4}),
        }

    def __init__(self, *args: Any, underlying: ChosenTexts, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_underlying = underlying.language == self.instance.language
        if self.has_underlying:
            texts = underlying.texts
            stock = (texts.subject, texts.greeting, texts.body, texts.footer)
            for name, text in zip(self.fields, stock, strict=True):
                self.fields[name].widget.attrs["placeholder"] = text

    def focus_first_error(self) -> None:
        """Let the page open with the cursor in the first field that has to be corrected."""
        _focus_first_error(self)

    def clean(self) -> dict[str, Any]:
        """Check that a language which the app has no texts in has all it needs, or nothing."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        needed = ("subject", "greeting", "body_text")
        if not self.has_underlying and any(cleaned.values()):
            for name in needed:
                if cleaned.get(name) == "":
                    self.add_error(
                        name,
                        ValidationError(
                            f"The app has no text of its own in this language. Write {self.fields[name].label}, or leave "
                            "all texts empty.",
                            code="required",
                        ),
                    )
        return cleaned
