"""What mail providers report, posted as they post it, and what becomes of the delivery."""

import base64
import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from hubspot_integration.models import Portal
from otp.audit import Actor, ActorKind
from otp.contact.issuing import issue_code
from otp.contact.order import Overrides
from otp.delivery import engine
from otp.models import ChannelName, Delivery, DeliveryStatus, OneTimeCode, OTPSettings, Source
from tests.hubspot import HubSpot

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # Anymail no longer tests against SendGrid itself; its reports keep the form that SendGrid documents.
    pytest.mark.filterwarnings("ignore:django-anymail has dropped official support for SendGrid"),
]

SECRET = "postman:a-long-random-word"
WHEN = "2026-11-23T14:31:00Z"


@pytest.fixture(autouse=True)
def _secret(settings: Any) -> None:
    settings.ANYMAIL = {"WEBHOOK_SECRET": [SECRET]}


def issue(
    portal: Portal, contact_id: int = 1, address: str = "ada@example.com", now: dt.datetime | None = None
) -> OneTimeCode:
    issued = issue_code(
        portal_id=portal.id,
        contact_id=contact_id,
        address=address,
        first_name="Ada",
        language="",
        request_key=f"workflow:{contact_id}-{timezone.now()}",
        source=Source.WORKFLOW,
        workflow_id="1",
        callback_id=f"ap-{contact_id}",
        actor=Actor(ActorKind.WORKFLOW, "workflow 1"),
        overrides=Overrides(),
        now=now or timezone.now(),
    )
    return OneTimeCode.objects.get(pk=issued.code.id)


@pytest.fixture
def mailed(portal: Portal) -> Delivery:
    """A mail that a provider has taken as message `0107-abc`."""
    OTPSettings.objects.filter(portal=portal).update(send_email=True)
    code = issue(portal)
    Delivery.objects.filter(code=code).update(
        status=DeliveryStatus.SENT,
        next_attempt_at=None,
        settled_at=timezone.now(),
        provider_message_id="0107-abc",
    )
    return Delivery.objects.get(code=code, channel=ChannelName.EMAIL)


def post(provider: str, body: Any, *, secret: str | None = SECRET, **headers: str) -> int:
    if secret is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
    return (
        Client(raise_request_exception=True)
        .post(
            f"/email-events/{provider}/tracking/",
            body if isinstance(body, str) else json.dumps(body),
            content_type="application/json",
            secure=True,
            headers=headers,
        )
        .status_code
    )


def postmark(kind: str, message_id: str = "0107-abc", **more: Any) -> dict[str, Any]:
    """https://postmarkapp.com/developer/webhooks/bounce-webhook, …/delivery-webhook, …/spam-complaint-webhook"""
    return {
        "RecordType": kind,
        "MessageID": message_id,
        "Recipient": "ada@example.com",
        "Email": "ada@example.com",
        "Tag": "",
        "MessageStream": "outbound",
        "ServerID": 23,
        "Details": "smtp;550 5.1.1 user unknown <ada@example.com>",
        "Metadata": {},
        {"Delivery": "DeliveredAt"}.get(kind, "BouncedAt"): WHEN,
        **({"Type": "HardBounce", "TypeCode": 1, "ID": 42} if kind == "Bounce" else {}),
        **({"Type": "SpamComplaint", "TypeCode": 512, "ID": 43} if kind == "SpamComplaint" else {}),
        **more,
    }


def ses(kind: str, message_id: str = "0107-abc", **details: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html within SNS' own envelope"""
    event = {
        "notificationType": kind,
        "mail": {
            "timestamp": WHEN,
            "messageId": message_id,
            "source": "codes@otp.example.com",
            "destination": ["ada@example.com"],
        },
        kind.lower(): {
            "Bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [{"emailAddress": "ada@example.com", "status": "5.1.1", "action": "failed"}],
                "timestamp": WHEN,
            },
            "Complaint": {"complainedRecipients": [{"emailAddress": "ada@example.com"}], "timestamp": WHEN},
            "Delivery": {"recipients": ["ada@example.com"], "timestamp": WHEN, "smtpResponse": "250 ok"},
        }[kind],
        **details,
    }
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:events",
        "Message": json.dumps(event),
        "Timestamp": WHEN,
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
    }
    return envelope, {"x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": "22b80b92"}


def sendgrid(kind: str, message_id: str = "0107-abc", **more: Any) -> list[dict[str, Any]]:
    """https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event"""
    return [
        {
            "email": "ada@example.com",
            "timestamp": 1795444260,
            "event": kind,
            "anymail_id": message_id,
            "smtp-id": "<0193a5f2@otp.example.com>",
            "sg_event_id": f"event-{kind}",
            "sg_message_id": "14c5d75ce93.dfd.64b469",
            **more,
        }
    ]


def status(mail: Delivery) -> tuple[str, str]:
    mail.refresh_from_db()
    return mail.status, mail.provider_status


def test_it_understands_postmark(mailed: Delivery) -> None:
    assert post("postmark", postmark("Delivery")) == 200
    assert status(mailed) == ("sent", "delivered")
    assert post("postmark", postmark("Bounce")) == 200
    assert status(mailed) == ("bounced", "bounced")
    assert mailed.provider_status_at == min(timezone.now(), dt.datetime.fromisoformat(WHEN))


def test_it_understands_amazon_ses(mailed: Delivery) -> None:
    body, headers = ses("Delivery")
    assert post("amazon_ses", body, **headers) == 200
    assert status(mailed) == ("sent", "delivered")
    body, headers = ses("Bounce")
    assert post("amazon_ses", body, **headers) == 200
    assert status(mailed) == ("bounced", "bounced")
    body, headers = ses("Complaint")
    assert post("amazon_ses", body, **headers) == 200
    assert status(mailed) == ("bounced", "complained")


def test_it_asks_amazon_for_the_secret_as_amazon_wants_to_be_asked() -> None:
    body, headers = ses("Bounce")
    answer = Client().post(
        "/email-events/amazon_ses/tracking/", json.dumps(body), content_type="text/plain", secure=True, headers=headers
    )
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Basic ")


def test_it_understands_sendgrid(mailed: Delivery) -> None:
    assert post("sendgrid", sendgrid("deferred", response="451 greylisted")) == 200
    assert status(mailed) == ("sent", "deferred")
    assert post("sendgrid", sendgrid("delivered", response="250 OK")) == 200
    assert status(mailed) == ("sent", "delivered")
    assert post("sendgrid", sendgrid("bounce", reason="550 5.1.1", status="5.1.1", type="bounce")) == 200
    assert status(mailed) == ("bounced", "bounced")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Invalid", ("bounced", "bounced")),
        ("Bounced Address", ("bounced", "bounced")),
        ("Invalid SMTPAPI header", ("failed", "failed")),
    ],
)
def test_it_tells_a_refused_address_from_a_refused_mail(
    mailed: Delivery, reason: str, expected: tuple[str, str]
) -> None:
    assert post("sendgrid", sendgrid("dropped", reason=reason)) == 200
    assert status(mailed) == expected


def test_it_takes_nothing_back_for_late_or_repeated_news(mailed: Delivery) -> None:
    for body in (postmark("Bounce"), postmark("Delivery"), postmark("Bounce")):
        assert post("postmark", body) == 200
        assert status(mailed) == ("bounced", "bounced")
    first = mailed.provider_status_at
    assert post("postmark", postmark("SpamComplaint")) == 200
    assert status(mailed) == ("bounced", "complained")
    assert post("postmark", postmark("Bounce", BouncedAt="2026-11-20T00:00:00Z")) == 200
    assert status(mailed) == ("bounced", "complained")
    assert first is not None


def test_it_finds_the_mail_by_its_reference_when_the_worker_died_before_it_knew_more(portal: Portal) -> None:
    OTPSettings.objects.filter(portal=portal).update(send_email=True)
    code = issue(portal)
    mail = Delivery.objects.get(code=code, channel=ChannelName.EMAIL)
    assert mail.status == DeliveryStatus.PENDING
    assert post("postmark", postmark("Delivery", "unheard-of", Metadata={"reference": str(code.pk)})) == 200
    assert status(mail) == ("sent", "delivered")
    assert mail.next_attempt_at is None
    assert mail.settled_at is not None


def test_it_finds_the_mail_by_our_own_message_id(portal: Portal) -> None:
    OTPSettings.objects.filter(portal=portal).update(send_email=True)
    code = issue(portal)
    mail = Delivery.objects.get(code=code, channel=ChannelName.EMAIL)
    (event,) = sendgrid("bounce", f"<{code.pk}@otp.example.com>", type="bounce")
    assert post("sendgrid", [event]) == 200
    assert status(mail) == ("bounced", "bounced")


def test_it_takes_reports_about_mails_that_nobody_knows(mailed: Delivery) -> None:
    for message_id in ("other", "", "0107-abc'--", str(UUID(int=1))):
        assert post("postmark", postmark("Bounce", message_id)) == 200
    assert post("postmark", postmark("Bounce", "other", Metadata={"reference": "0107-abc"})) == 200
    assert status(mailed) == ("sent", "")


def test_it_ignores_what_says_nothing_about_arrival(mailed: Delivery) -> None:
    for kind in ("SubscriptionChange", "NewInventedByPostmark"):
        assert post("postmark", postmark(kind)) == 200
    assert status(mailed) == ("sent", "")


@pytest.mark.parametrize("secret", [None, "postman:wrong", "nobody:a-long-random-word", "", "ünï:cödé"])
@pytest.mark.parametrize("provider", ["postmark", "amazon_ses", "sendgrid"])
def test_it_believes_only_who_knows_the_secret(mailed: Delivery, provider: str, secret: str | None) -> None:
    body, headers = ses("Bounce") if provider == "amazon_ses" else (postmark("Bounce"), {})
    if provider == "sendgrid":
        assert post(provider, sendgrid("bounce"), secret=secret) == 401
    else:
        assert post(provider, body, secret=secret, **headers) == 401
    assert status(mailed) == ("sent", "")


@pytest.mark.filterwarnings("ignore:Your Anymail webhooks are insecure")
def test_it_never_stands_open(mailed: Delivery, settings: Any) -> None:
    settings.ANYMAIL = {}
    assert post("postmark", postmark("Bounce"), secret=None) == 404
    assert post("sendgrid", sendgrid("bounce"), secret=None) == 404
    assert post("mailgun", {}, secret=None) == 404
    assert status(mailed) == ("sent", "")


@pytest.mark.parametrize("provider", ["test", "inbound", "postal", "POSTMARK", "postmark2"])
def test_it_knows_no_other_addresses(provider: str, db: None) -> None:
    assert post(provider, {}) == 404


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json",
        "[]",
        "{}",
        "null",
        "[1]",
        '"ada@example.com"',
        '{"RecordType": 7}',
        '{"RecordType": []}',
        '{"RecordType": "Bounce", "Metadata": 3, "MessageID": {"a": 1}}',
        '{"RecordType": "Delivery", "DeliveredAt": "yesterday ada@example.com"}',
        '{"Type": "Notification", "Message": "ada@example.com"}',
        "\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
@pytest.mark.parametrize("provider", ["postmark", "amazon_ses", "sendgrid"])
def test_it_survives_what_is_no_report_and_keeps_it_out_of_the_log(
    provider: str, body: str, mailed: Delivery, logged: Callable[[], str]
) -> None:
    headers = {"x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": "<<missing>>"}
    assert post(provider, body, **(headers if provider == "amazon_ses" else {})) in {200, 400, 401}
    assert "example.com" not in logged()
    assert status(mailed) == ("sent", "")


def test_it_logs_no_address(mailed: Delivery, logged: Callable[[], str]) -> None:
    assert post("postmark", postmark("Bounce")) == 200
    lines = logged()
    assert "mail_status_changed" in lines
    assert not re.search(r"\bada\b", lines, re.IGNORECASE)  # as a word: a reference may hold the letters


def test_it_does_not_mail_an_address_again_within_the_hour_after_a_bounce(hubspot: HubSpot) -> None:
    portal = hubspot.connect(send_email=True)
    first = issue(portal)
    engine.drain(portal_id=portal.id, channel=ChannelName.EMAIL, clock=timezone.now)
    assert (
        post(
            "postmark",
            postmark("Bounce", "x", Metadata={"reference": str(first.pk)}, BouncedAt=timezone.now().isoformat()),
        )
        == 200
    )
    again, other = issue(portal), issue(portal, 2, "bob@example.com")
    engine.drain(portal_id=portal.id, channel=ChannelName.EMAIL, clock=timezone.now)
    assert [mail["recipients"] for mail in hubspot.mails()] == [["ada@example.com"], ["bob@example.com"]]
    assert Delivery.objects.get(code=again).status == DeliveryStatus.BOUNCED
    assert Delivery.objects.get(code=other).status == DeliveryStatus.SENT
    Delivery.objects.filter(code=first).update(provider_status_at=timezone.now() - dt.timedelta(minutes=61))
    issue(portal)
    engine.drain(portal_id=portal.id, channel=ChannelName.EMAIL, clock=timezone.now)
    assert len(hubspot.mails("ada@example.com")) == 2


def test_it_says_bounced_in_the_outputs_and_on_the_card(hubspot: HubSpot) -> None:
    from otp.workflow_outputs import outputs_of  # noqa: PLC0415 (one test's)

    portal = hubspot.connect(send_email=True)
    code = issue(portal)
    engine.drain(portal_id=portal.id, channel=ChannelName.EMAIL, clock=timezone.now)
    assert post("postmark", postmark("Bounce", "x", Metadata={"reference": str(code.pk)})) == 200
    outputs = outputs_of(code, Delivery.objects.filter(code=code), timezone.now())
    assert outputs["otp_email_status"] == "bounced"
