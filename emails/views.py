"""Where mail providers report what became of mails: Anymail's webhooks, behind a door that is never open."""

import importlib
from http import HTTPStatus
from typing import Any, Final

import structlog
from anymail.exceptions import AnymailError, AnymailWebhookValidationFailure
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from emails.signals import status_changed
from emails.tracking import news_of

log = structlog.get_logger(__name__)

# Where Anymail keeps what it knows of each provider. Loaded when a provider calls: some bring a whole SDK.
PROVIDERS: Final = {
    "amazon_ses": "AmazonSESTrackingWebhookView",
    "brevo": "BrevoTrackingWebhookView",
    "mailersend": "MailerSendTrackingWebhookView",
    "mailgun": "MailgunTrackingWebhookView",
    "mailjet": "MailjetTrackingWebhookView",
    "mailtrap": "MailtrapTrackingWebhookView",
    "mandrill": "MandrillCombinedWebhookView",
    "postmark": "PostmarkTrackingWebhookView",
    "resend": "ResendTrackingWebhookView",
    "sendgrid": "SendGridTrackingWebhookView",
    "sparkpost": "SparkPostTrackingWebhookView",
    "unisender_go": "UnisenderGoTrackingWebhookView",
}

# What a parser raises on a body that is not of its provider's form; the form is the provider's, so the list is open.
_MALFORMED: Final = (AnymailError, ValueError, TypeError, KeyError, IndexError, AttributeError)


@csrf_exempt
@require_http_methods(["POST", "HEAD"])
def provider_events(request: HttpRequest, provider: str) -> HttpResponse:
    """Take a provider's report: 200 once it is written down, and for mails that nobody knows.

    401 without proof that the provider sent it, 400 for what is not of its form. What was sent is never logged: it
    holds addresses.
    """
    webhook = _webhook(provider)
    if request.method == "HEAD":  # some providers try the address when it is entered
        return HttpResponse()
    webhook.setup(request)
    try:
        webhook.run_validators(request)
        news = [one for one in map(news_of, webhook.parse_events(request)) if one is not None]
    except AnymailWebhookValidationFailure:
        return _unauthorised()
    except _MALFORMED as error:
        log.warning("mail_event_malformed", provider=provider, error_type=type(error).__name__)
        return HttpResponse("This is not an event of this provider.", status=HTTPStatus.BAD_REQUEST)
    for one in news:
        status_changed.send(
            sender=None, message_id=one.message_id, reference=one.reference, status=one.status, at=one.at
        )
    return HttpResponse()


def _webhook(provider: str) -> Any:
    """Return Anymail's view for a provider. Raises Http404 for one that is unknown, not set up, or has no lock."""
    name = PROVIDERS.get(provider)
    if name is None:
        raise Http404
    try:
        webhook = getattr(importlib.import_module(f"anymail.webhooks.{provider}"), name)()
    except (ImproperlyConfigured, Warning) as error:
        log.warning("mail_events_not_set_up", provider=provider, error_type=type(error).__name__)
        raise Http404 from None
    if webhook.warn_if_no_basic_auth and not webhook.basic_auth:
        log.warning("mail_events_without_secret", provider=provider, remedy="Set ANYMAIL_WEBHOOK_SECRET.")
        raise Http404
    return webhook


def _unauthorised() -> HttpResponse:
    # Amazon SNS sends its credentials only when asked for them like this.
    return HttpResponse(
        status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": 'Basic realm="mail events", charset="UTF-8"'}
    )
