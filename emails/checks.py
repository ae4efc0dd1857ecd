"""System checks about mail."""

from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

# Providers whose reports are signed, and what holds the key; the others prove themselves by the secret alone.
_SIGNED: Final = {
    "mailersend": "MAILERSEND_SIGNING_SECRET",
    "mailgun": "MAILGUN_WEBHOOK_SIGNING_KEY",
    "mandrill": "MANDRILL_WEBHOOK_KEY",
    "resend": "RESEND_SIGNING_SECRET",
    "sendgrid": "SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY",
    "unisender_go": "UNISENDER_GO_API_KEY",
}
_SHORTEST_SECRET: Final = 20


@register
def events_are_proven(**_: Any) -> list[CheckMessage]:
    """emails.E001, emails.W002: reports about mails that anybody could forge, or a secret that is easily guessed."""
    package, __, module = settings.EMAIL_BACKEND.rpartition(".")[0].rpartition(".")
    if package != "anymail.backends":
        return []
    anymail = settings.ANYMAIL
    if not anymail.get("WEBHOOK_SECRET") and not anymail.get(_SIGNED.get(module, "")):
        return [
            Error(
                "Nothing proves that reports about mails come from the mail provider, so they are refused.",
                hint="Set ANYMAIL_WEBHOOK_SECRET to user:password, two long random words, and give the provider the "
                "webhook address with them: https://user:password@your.host/email-events/…/tracking/.",
                id="emails.E001",
            )
        ]
    secrets = anymail.get("WEBHOOK_SECRET", [])
    if any(":" not in secret or len(secret) < _SHORTEST_SECRET for secret in secrets):
        return [
            CheckWarning(
                "ANYMAIL_WEBHOOK_SECRET is not user:password, or short enough to be guessed.",
                hint="Use two random words of at least ten characters with a colon between them.",
                id="emails.W002",
            )
        ]
    return []
