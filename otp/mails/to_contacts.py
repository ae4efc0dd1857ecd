"""The mail with a code: a portal's texts in the contact's language. The channel, the preview and the test mail share it."""

import datetime as dt
from collections.abc import Iterable
from email.utils import parseaddr
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuids
from django.conf import settings as django_settings
from django.db import transaction

from emails import languages
from emails.content import Content, compose
from emails.languages import ChosenTexts
from emails.messages import Message, send_each
from emails.tracking import REFERENCE
from hubspot_integration.models import Portal, PortalMember
from otp import audit, codes
from otp.audit import Action, ActorKind
from otp.models import AuditEvent, EmailTexts, OTPSettings

TEST_MAILS: Final = 5
TEST_PERIOD: Final = dt.timedelta(minutes=10)

_DEFAULT_TEXTS: Final = {
    "subject": "email_subject",
    "greeting": "greeting",
    "body": "body_text",
    "footer": "footer_text",
}
_UNTOUCHED: Final = OTPSettings()
_SAMPLES: Final = {"numeric": "48295173", "alphanumeric": "A7K3M2P9", "alpha": "JKRFMNPA"}
_SAMPLE_NAME: Final = "Ada"


class TooManyTestMails(Exception):
    """Somebody has had TEST_MAILS test mails within TEST_PERIOD; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"You have had {TEST_MAILS} test mails. Try again in {retry_after} seconds.")
        self.retry_after = retry_after


class TestMailRefused(Exception):
    """The test mail did not leave; its text is a sentence for the admin."""


class Letterhead:
    """What all mails of one portal have in common; it writes the mail with one code.

    `settings` and `own` need not be saved: the preview shows what a form holds.
    """

    def __init__(self, portal: Portal, settings: OTPSettings, own: Iterable[EmailTexts]) -> None:
        self._portal = portal
        self._zone = portal.zone
        self._settings = settings
        self._own = _own_texts(settings, own)
        self._chosen: dict[tuple[str, int], ChosenTexts] = {}
        self._domain = parseaddr(django_settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"

    @classmethod
    def of(cls, portal: Portal) -> "Letterhead":
        """Return the portal's, as saved."""
        return cls(portal, OTPSettings.objects.get(portal=portal), EmailTexts.objects.filter(portal=portal))

    def texts(self, language: str, minutes: int) -> ChosenTexts:
        """Return the texts for a contact's preferred language and a code's life; see `emails.languages.choose`."""
        key = language, minutes
        if key not in self._chosen:
            default = self._settings.default_language
            self._chosen[key] = languages.choose(language, self._own, default=default, minutes=minutes)
        return self._chosen[key]

    def content(
        self,
        *,
        code: str,
        first_name: str,
        language: str,
        expiry_minutes: int,
        expires_at: dt.datetime,
        reference: UUID,
    ) -> Content:
        """Write the mail with one code."""
        chosen = self.texts(language, expiry_minutes)
        moment = languages.format_moment(chosen.language, expires_at, self._zone)
        return compose(
            chosen.texts,
            code=code,
            values={
                "expiry_minutes": str(expiry_minutes),
                "expires_at": moment,
                "first_name": first_name,
                "company": self._portal.hub_domain,
                "reference": str(reference),
            },
            language=languages.html_tag(chosen.language),
            right_to_left=chosen.right_to_left,
            valid_until=chosen.valid_until,
            reference=chosen.reference,
        )

    def message(self, *, to: str, content: Content, reference: UUID) -> Message:
        """Address a mail. Its Message-ID is the same for every attempt, so that a receiver can tell doubles."""
        return Message(
            to=to,
            content=content,
            message_id=f"{reference}@{self._domain}",
            from_name=self._settings.sender_name,
            reply_to=self._settings.reply_to,
            metadata={REFERENCE: str(reference)},
        )


def preview(
    *, portal: Portal, settings: OTPSettings, own: Iterable[EmailTexts], language: str, now: dt.datetime
) -> Content:
    """Return the mail that somebody with this preferred language would get at `now`.

    With sample values, and a sample code of the type and length in `settings`. Neither `settings` nor `own` need be
    saved; nothing is sent or stored.
    """
    return _sample(Letterhead(portal, settings, own), settings, language, now, uuids.uuid7())


def send_test(
    *, member: PortalMember, settings: OTPSettings, own: Iterable[EmailTexts], language: str, now: dt.datetime
) -> None:
    """Mail the preview to the admin who asks for it, and to nobody else; write it down in the audit log.

    Raises TooManyTestMails and TestMailRefused.
    """
    if not member.email:
        raise TestMailRefused("HubSpot has not told us your e-mail address. Sign in with HubSpot again.")
    reference = uuids.uuid7()
    _count_test_mail(member, now)
    letterhead = Letterhead(member.portal, settings, own)
    content = _sample(letterhead, settings, language, now, reference)
    (outcome,) = (
        outcome for _, outcome in send_each([letterhead.message(to=member.email, content=content, reference=reference)])
    )
    if not outcome.accepted:
        raise TestMailRefused(
            f"The mail server did not take the test mail ({outcome.reason}). "
            + ("Check your address in HubSpot." if outcome.permanent else "Try again in a minute.")
        )


def _sample(letterhead: Letterhead, settings: OTPSettings, language: str, now: dt.datetime, reference: UUID) -> Content:
    minutes = settings.expiry_minutes
    return letterhead.content(
        code=_SAMPLES[codes.CodeType(settings.code_type)][: settings.code_length],
        first_name=_SAMPLE_NAME,
        language=language,
        expiry_minutes=minutes,
        expires_at=now + dt.timedelta(minutes=minutes),
        reference=reference,
    )


def _count_test_mail(member: PortalMember, now: dt.datetime) -> None:
    """Write down that somebody gets a test mail. Raises TooManyTestMails; of two at the same moment both count."""
    with transaction.atomic():
        PortalMember.objects.select_for_update().get(pk=member.pk)
        recent = list(
            AuditEvent.objects.filter(
                portal=member.portal, actor=member.name, action=Action.TEST_MAIL_SENT, at__gt=now - TEST_PERIOD
            )
            .order_by("at")
            .values_list("at", flat=True)
        )
        if len(recent) >= TEST_MAILS:
            raise TooManyTestMails(max(1, int((recent[-TEST_MAILS] + TEST_PERIOD - now).total_seconds())))
        audit.record(
            portal=member.portal,
            at=now,
            actor=member.name,
            actor_kind=ActorKind.ADMIN,
            action=Action.TEST_MAIL_SENT,
        )


def _own_texts(settings: OTPSettings, own: Iterable[EmailTexts]) -> dict[str, dict[str, str]]:
    """Return what the portal wrote itself, by language and field.

    The texts of the settings are those in the portal's default language; as far as they are still the English ones
    that every portal begins with, the portal has not written any. An empty footer there means: none.
    """
    default = languages.normalise(settings.default_language) or languages.SOURCE
    written = {
        default: {
            name: getattr(settings, field)
            for name, field in _DEFAULT_TEXTS.items()
            if getattr(settings, field) != getattr(_UNTOUCHED, field)
        }
    }
    for one in own:
        texts = {"subject": one.subject, "greeting": one.greeting, "body": one.body_text, "footer": one.footer_text}
        written.setdefault(languages.normalise(one.language), {}).update(
            {name: text for name, text in texts.items() if text}
        )
    return written
