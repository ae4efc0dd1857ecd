"""What somebody in front of a screen waits for is over in the time they were promised, whatever it takes on the way."""

import json
import socket
import threading
import time
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from hubspot_integration import client, transport
from hubspot_integration.models import OAuthGrant
from hubspot_integration.transport import HubSpotError
from tests.hubspot import HubSpot

pytestmark = pytest.mark.django_db(transaction=True)

PROMISED = 1.5
GRACE = 3.0  # a busy machine's


def took_its_time(hubspot: HubSpot, portal_id: int) -> float:
    """Ask for a contact as the card does; return how long that took until it failed for the moment."""
    began = time.monotonic()
    with pytest.raises(HubSpotError) as failed:
        client.contact(portal_id, 901, ["email"], timeout=PROMISED)
    assert not failed.value.permanent
    return time.monotonic() - began


def test_a_slow_refresh_counts(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    hubspot.fault("oauth.token", "slow", seconds=8)
    assert took_its_time(hubspot, portal.id) < PROMISED + GRACE


def test_a_refresh_with_two_secrets_counts_once(hubspot: HubSpot, settings: object) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    settings.HUBSPOT_CLIENT_SECRETS = ["new", "old"]  # type: ignore[attr-defined]
    refused = json.dumps({"status": "BAD_CLIENT_SECRET", "error": "invalid_client"})
    hubspot.fault("oauth.token", "slow", seconds=4)
    hubspot.fault("oauth.token", "status", status=400, body=refused)
    assert took_its_time(hubspot, portal.id) < PROMISED + GRACE


def test_an_answer_401_and_what_follows_count(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    hubspot.post(f"/portals/{portal.id}/expire-tokens")
    hubspot.fault("oauth.token", "slow", seconds=8)
    assert took_its_time(hubspot, portal.id) < PROMISED + GRACE


def test_waiting_for_somebody_elses_refresh_counts(hubspot: HubSpot) -> None:
    portal = hubspot.connect()
    OAuthGrant.objects.update(expires_at=timezone.now())
    locked, done = threading.Event(), threading.Event()

    def hold_the_grant() -> None:
        try:
            with transaction.atomic():
                OAuthGrant.objects.select_for_update().get()
                locked.set()
                done.wait(10)
        finally:
            connection.close()

    holder = threading.Thread(target=hold_the_grant)
    holder.start()
    locked.wait(10)
    try:
        assert took_its_time(hubspot, portal.id) < PROMISED + GRACE
    finally:
        done.set()
        holder.join()


def test_an_answer_that_drips_is_cut_off(settings: Any) -> None:
    """urllib3's time-out is that of each wait: a byte now and then would keep a thread for as long as somebody likes."""
    stop = threading.Event()

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.HUBSPOT_API_BASE_URL = f"http://127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(HubSpotError, match="did not end in time") as failed:
                transport.call("GET", "/crm/contacts", timeout=0.5)
        finally:
            stop.set()
            thread.join()
    assert (failed.value.permanent, failed.value.ambiguous) == (False, True)
