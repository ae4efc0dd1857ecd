"""What a portal's admins are mailed, through a real mail server."""

import pytest
from django.utils import timezone

from hubspot_integration import tokens
from hubspot_integration.models import Portal
from otp.mails import to_admins
from tests import factories
from tests.hubspot import HubSpot
from tests.queued import queued

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("subject", "happened", "remedy"),
    [
        (to_admins.DISCONNECTED, "no longer connected", "Install the app again"),
        (to_admins.DISCONNECTED_BY_ADMIN, "by one of its admins", "install the app again"),
        ("property:otp_code", "contact property otp_code", "Sync Properties"),
        ("contacts", "permission", "Reconnect"),
        ("everything", "every call", "tried again every two minutes"),
    ],
)
def test_it_says_what_happened_and_what_to_do(hubspot: HubSpot, subject: str, happened: str, remedy: str) -> None:
    portal = hubspot.connect()
    if subject.startswith("disconnected"):
        Portal.objects.filter(pk=portal.pk).update(disconnected_at=timezone.now())
    else:
        reason = {"contacts": "missing_scopes", "everything": "invalid_authentication"}.get(subject, "read_only_value")
        portal.refused_features.create(feature=subject, reason=reason, refused_at=timezone.now())
    factories.PortalMemberFactory.create(portal=portal, email="admin@company.example")
    factories.PortalMemberFactory.create(portal=portal, email="")
    factories.PortalMemberFactory.create(email="stranger@company.example")
    assert to_admins.tell_admins(portal.id, subject) == 1
    (mail,) = hubspot.mails()
    assert mail["recipients"] == ["admin@company.example"]
    for part in (mail["text"], mail["html"]):
        assert happened in part
        assert remedy in part
        assert "/settings/" in part
    assert str(portal.hub_domain) in mail["subject"]


@pytest.mark.parametrize("subject", [to_admins.DISCONNECTED, "contacts"])
def test_it_says_nothing_that_is_not_true_any_more(hubspot: HubSpot, subject: str) -> None:
    portal = hubspot.connect()
    factories.PortalMemberFactory.create(portal=portal, email="admin@company.example")
    assert to_admins.tell_admins(portal.id, subject) == 0
    assert hubspot.mails() == []


def test_it_asks_a_worker_to_tell_when_the_connection_breaks(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    tokens.mark_disconnected(portal.id)
    tokens.mark_disconnected(portal.id)
    assert len(queued("otp.tasks.tell_admins")) == 1
