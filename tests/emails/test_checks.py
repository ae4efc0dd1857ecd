"""What `check` says about reports from mail providers."""

from typing import Any

import pytest

from emails.checks import events_are_proven


@pytest.mark.parametrize(
    ("backend", "anymail", "found"),
    [
        ("django.core.mail.backends.smtp.EmailBackend", {}, []),
        ("anymail.backends.postmark.EmailBackend", {}, ["emails.E001"]),
        ("anymail.backends.postmark.EmailBackend", {"WEBHOOK_SECRET": ["postman:a-long-random-word"]}, []),
        ("anymail.backends.postmark.EmailBackend", {"WEBHOOK_SECRET": ["short:word"]}, ["emails.W002"]),
        ("anymail.backends.postmark.EmailBackend", {"WEBHOOK_SECRET": ["a-word-without-a-colon"]}, ["emails.W002"]),
        ("anymail.backends.sendgrid.EmailBackend", {"SENDGRID_TRACKING_WEBHOOK_VERIFICATION_KEY": "key"}, []),
        ("anymail.backends.sendgrid.EmailBackend", {"SENDGRID_API_KEY": "key"}, ["emails.E001"]),
        ("anymail.backends.mailgun.EmailBackend", {"MAILGUN_WEBHOOK_SIGNING_KEY": "key"}, []),
        ("anymail.backends.amazon_ses.EmailBackend", {}, ["emails.E001"]),
    ],
)
def test_it_finds_doors_without_a_lock(backend: str, anymail: dict[str, Any], found: list[str], settings: Any) -> None:
    settings.EMAIL_BACKEND, settings.ANYMAIL = backend, anymail
    messages = events_are_proven()
    assert [message.id for message in messages] == found
    assert all(message.hint for message in messages)
