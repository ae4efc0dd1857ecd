"""What /metrics tells, and whom: real requests and deliveries, then Prometheus' own parser."""

import datetime as dt
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from hubspot_integration.models import Portal
from opsagent import broker, metrics
from otp import tasks
from otp.models import ChannelName, OTPSettings
from tests import factories
from tests import generating as generate
from tests.hubspot import HubSpot
from tests.otp import test_verify_otp_action as verify

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-more-than-thirty-two-characters"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    metrics._counted.clear()


def scrape() -> Samples:
    """Ask as Prometheus does; return every sample under its name and labels."""
    response = Client().get("/metrics")
    assert response.status_code == 200, response.content
    assert response["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one sample; 0 when nothing was counted."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_it_tells_how_codes_were_issued_delivered_and_checked(hubspot: HubSpot) -> None:
    portal = hubspot.connect(store_in_property=True, property_name="otp_code", send_email=True)
    (contact,) = hubspot.contacts(portal.id, 1)
    payload = generate.execution(portal, object={"objectId": contact["contactId"], "objectType": "CONTACT"})
    code = generate.outputs(payload)["otp_code"]
    generate.outputs(payload)  # HubSpot repeats it
    generate.outputs(generate.execution(portal, callbackId="ap-2", inputFields={"email": ""}))
    for number, submitted in enumerate(["not a code", code]):
        changes: dict[str, Any] = {"callbackId": f"ap-v{number}", "object": payload["object"]}
        inputs = {"email": payload["inputFields"]["email"], "submitted_code": submitted}
        if number == 1:
            tasks.drain(portal.id, ChannelName.CONTACT_PROPERTY)
            tasks.drain(portal.id, ChannelName.EMAIL)
        verify.outputs(verify.execution(portal, inputs=inputs, **changes))
    told = scrape()
    assert value(told, "opsagent_codes_issued_total", source="workflow") == 1
    assert value(told, "opsagent_codes_refused_total", error="missing_email") == 1
    assert value(told, "opsagent_verifications_total", source="workflow", reason="malformed") == 1
    assert value(told, "opsagent_verifications_total", source="workflow", reason="verified") == 1
    for channel in ("contact_property", "email"):
        assert value(told, "opsagent_deliveries_total", channel=channel, status="sent") == 1
        assert value(told, "opsagent_delivery_seconds_count", channel=channel) == 1
        assert value(told, "opsagent_delivery_seconds_bucket", channel=channel, le="+Inf") == 1
        assert value(told, "opsagent_delivery_seconds_sum", channel=channel) > 0
    assert value(told, "opsagent_hubspot_calls_total", status="200") >= 1


def test_it_tells_what_hubspot_refuses(hubspot: HubSpot) -> None:
    portal = hubspot.connect(store_in_property=True, property_name="otp_code")
    hubspot.fault("contacts.batch_update", kind="status", status=429)
    generate.outputs(generate.execution(portal))
    tasks.drain(portal.id, ChannelName.CONTACT_PROPERTY)
    told = scrape()
    assert value(told, "opsagent_hubspot_calls_total", status="429") == 1
    assert value(told, "opsagent_deliveries_total", channel="contact_property", status="pending") == 1
    assert value(told, "opsagent_deliveries_pending", channel="contact_property") == 1


def test_it_tells_that_tokens_were_refreshed_or_not(hubspot: HubSpot) -> None:
    portal = hubspot.connect(store_in_property=True, property_name="otp_code")
    portal.grant.expires_at = timezone.now()
    portal.grant.save()
    hubspot.fault("oauth.token", kind="bad_client_secret")
    generate.outputs(generate.execution(portal))
    tasks.drain(portal.id, ChannelName.CONTACT_PROPERTY)
    assert value(scrape(), "opsagent_token_refreshes_total", outcome="configuration") == 1


def test_it_tells_which_deliveries_and_how_many_portals_wait(portal: Portal) -> None:
    OTPSettings.objects.filter(portal=portal).update(store_in_property=True, property_name="otp_code")
    with time_machine.travel(timezone.now(), tick=False) as clock:
        generate.outputs(generate.execution(portal))
        factories.PortalFactory.create(disconnected_at=timezone.now())
        assert value(scrape(), "opsagent_portals_overdue", channel="contact_property") == 0
        clock.shift(dt.timedelta(minutes=11))
        told = scrape()
    assert value(told, "opsagent_portals_overdue", channel="contact_property") == 1
    assert value(told, "opsagent_portals_overdue", channel="email") == 0
    assert value(told, "opsagent_deliveries_due", channel="contact_property") == 1
    assert value(told, "opsagent_oldest_due_delivery_seconds", channel="contact_property") == 660
    assert value(told, "opsagent_oldest_unwiped_code_seconds") == 60
    assert value(told, "opsagent_portals", state="connected") == 1
    assert value(told, "opsagent_portals", state="disconnected") == 1


def test_it_tells_whether_audit_lines_are_chained(portal: Portal) -> None:
    assert value(scrape(), "opsagent_oldest_unchained_audit_line_seconds") == 0
    generate.outputs(generate.execution(portal))
    with time_machine.travel(timezone.now() + dt.timedelta(minutes=11)):
        assert 660 <= value(scrape(), "opsagent_oldest_unchained_audit_line_seconds") < 700
        tasks.chain_audit_lines()
        assert value(scrape(), "opsagent_oldest_unchained_audit_line_seconds") == 0


def test_it_tells_when_the_work_was_last_swept_up() -> None:
    assert value(scrape(), "opsagent_last_sweep_timestamp_seconds") == 0
    with time_machine.travel(timezone.now(), tick=False):
        tasks.requeue_due()
        assert value(scrape(), "opsagent_last_sweep_timestamp_seconds") == timezone.now().timestamp()


def test_it_adds_up_what_every_process_counted(portal: Portal) -> None:
    generate.outputs(generate.execution(portal))
    other = (
        "import django; django.setup(); from otp.counters import CODES_ISSUED; "
        "CODES_ISSUED.add('workflow', amount=4); from opsagent import metrics; metrics.flush()"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opsagent.settings", "REDIS_URL": settings.REDIS_URL}
    subprocess.run([sys.executable, "-c", other], cwd=ROOT, env=environment, check=True)
    assert value(scrape(), "opsagent_codes_issued_total", source="workflow") == 5


def test_it_brings_what_it_counted_to_redis_when_a_process_ends() -> None:
    other = "import django; django.setup(); from otp.counters import CODES_ISSUED; CODES_ISSUED.add('card')"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opsagent.settings", "REDIS_URL": settings.REDIS_URL}
    subprocess.run([sys.executable, "-c", other], cwd=ROOT, env=environment, check=True)
    assert value(scrape(), "opsagent_codes_issued_total", source="card") == 1


def test_it_loses_no_count_of_simultaneous_threads(portal: Portal) -> None:
    def count() -> None:
        for _ in range(1000):
            metrics._declared["opsagent_codes_refused_total"].add("internal")  # type: ignore[union-attr]

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(scrape(), "opsagent_codes_refused_total", error="internal") == 8000


def test_it_keeps_counting_while_redis_is_away(portal: Portal, no_redis: None, settings: Any) -> None:
    generate.outputs(generate.execution(portal))
    told = scrape()
    assert value(told, "opsagent_part_up", part="broker") == 0
    assert value(told, "opsagent_part_up", part="database") == 1
    assert value(told, "opsagent_portals", state="connected") == 1
    settings.REDIS_URL = os.environ["REDIS_URL"]
    broker.redis.cache_clear()
    assert value(scrape(), "opsagent_codes_issued_total", source="workflow") == 1


def test_it_names_no_portal_contact_or_address(hubspot: HubSpot) -> None:
    portal = hubspot.connect(store_in_property=True, property_name="otp_code", send_email=True)
    answer = generate.outputs(generate.execution(portal))
    tasks.drain(portal.id, ChannelName.EMAIL)
    tasks.drain(portal.id, ChannelName.CONTACT_PROPERTY)
    text = Client().get("/metrics").content.decode()
    for secret in (str(portal.id), "904", answer["otp_code"], answer["otp_reference"], "@", "otp_code"):
        assert f'"{secret}"' not in text
    assert "@" not in text
    labels = {key for _, pairs in scrape() for key, _ in pairs}
    assert labels == {"channel", "status", "source", "state", "part", "le", "outcome"} & labels


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "172.18.0.5", "192.168.1.1", "::1", "fd00::5", "::ffff:10.0.0.1"]
)
def test_it_answers_private_addresses(address: str) -> None:
    assert Client(REMOTE_ADDR=address).get("/metrics").status_code == 200


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "100.64.0.1", "", "unknown"])
def test_it_refuses_everybody_else(address: str) -> None:
    response = Client(REMOTE_ADDR=address).get("/metrics")
    assert response.status_code == 403
    assert b"METRICS_TOKEN" in response.content
    assert b"opsagent_" not in response.content


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Via"])
@pytest.mark.parametrize("claim", ["127.0.0.1", "8.8.8.8", ""])
def test_it_refuses_what_comes_through_a_proxy_whatever_it_claims(header: str, claim: str) -> None:
    assert Client(REMOTE_ADDR="172.18.0.2").get("/metrics", headers={header: claim}).status_code == 403
    assert Client(REMOTE_ADDR="8.8.8.8").get("/metrics", headers={header: claim}).status_code == 403


def test_it_answers_from_anywhere_with_the_token(settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    client = Client(REMOTE_ADDR="8.8.8.8")
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "8.8.8.8"}
    assert client.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer é"]
)
def test_it_asks_for_the_token_where_there_is_one(settings: Any, authorization: str) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert Client().get("/metrics", headers={"Authorization": authorization}).status_code == 403
