"""A browser in which a portal's admin is signed in."""

from django.test import Client

from hubspot_integration import access
from hubspot_integration.models import Portal
from tests import factories


def signed_in(portal: Portal, *, email: str = "admin@company.example") -> Client:
    """Return a client whose session is an admin's of this portal."""
    client = Client()
    session = client.session
    session[access._SESSION_KEY] = factories.PortalMemberFactory.create(portal=portal, email=email).pk
    session.save()
    return client
