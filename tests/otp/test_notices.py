"""What a portal's admins are mailed, through a real mail server."""

import pytest

from hubspot_integration import oauth
from otp import notices
from tests import factories
from tests.hubspot import HubSpot
from tests.queued import queued

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("subject", "happened", "remedy"),
    [
        (notices.DISCONNECTED, "no longer connected", "Install the app again"),
        (notices.DISCONNECTED_BY_ADMIN, "by one of its admins", "install the app again"),
        ("property:otp_code", "contact property otp_code", "Sync Properties"),
        ("contacts", "permission", "Reconnect"),
        ("everything", "every call", "Reconnect"),
    ],
)
def test_it_says_what_happened_and_what_to_do(hubspot: HubSpot, subject: str, happened: str, remedy: str) -> None:
    portal = hubspot.connect()
    factories.PortalMemberFactory.create(portal=portal, email="admin@company.example")
    factories.PortalMemberFactory.create(portal=portal, email="")
    factories.PortalMemberFactory.create(email="stranger@company.example")
    assert notices.tell_admins(portal.id, subject) == 1
    (mail,) = hubspot.mails()
    assert mail["recipients"] == ["admin@company.example"]
    for part in (mail["text"], mail["html"]):
        assert happened in part
        assert remedy in part
        assert "/settings/" in part
    assert str(portal.hub_domain) in mail["subject"]


def test_it_asks_a_worker_to_tell_when_the_connection_breaks(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    oauth.mark_disconnected(portal.id)
    oauth.mark_disconnected(portal.id)
    assert len(queued("otp.tasks.tell_admins")) == 1
