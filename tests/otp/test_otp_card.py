"""The card's endpoints, spoken to as HubSpot's proxy speaks: a signed address with portal and user in it."""

import datetime as dt
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from urllib.parse import quote

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from hubspot_integration.models import ContactPropertyList, OAuthGrant, Portal
from otp import audit
from otp.hubspot.card import CONTACT_TIMEOUT
from otp.models import AuditEvent, AuditNote, Delivery, DeliveryStatus, OneTimeCode, OTPSettings, Verification
from tests import factories
from tests.hubspot import HubSpot
from tests.signing import signed_headers

CARD = "/hubspot/cards/otp"
AGENT = "ann.agent@example.com"
START = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


def address(path: str, portal: Portal, *, agent: str = AGENT, contact: int | None = None, **changes: Any) -> str:
    """Return a path with HubSpot's four parameters behind the card's own; a change of None leaves one out."""
    query: dict[str, str | None] = {} if contact is None else {"contactId": str(contact)}
    query |= {"userId": "7", "portalId": str(portal.id), "userEmail": agent, "appId": str(settings.HUBSPOT_APP_ID)}
    query |= changes
    return (
        path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items() if value is not None)
    )


def call(method: str, path: str, body: Any = None, **options: Any) -> Any:
    """Send a signed call; return Django's response."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = signed_headers(path, raw, method=method, **{"versions": ("v3",), **options})
    client = Client(raise_request_exception=False)
    return client.generic(method, path, raw, content_type="application/json", headers=headers, secure=True)


def answer(method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
    """Send a signed call; return its JSON, after checking what is true of every answer."""
    response = call(method, path, body, **options)
    assert response.status_code == 200, response.content
    assert response["Cache-Control"] == "no-store"
    fields: dict[str, Any] = response.json()
    assert isinstance(fields["ok"], bool)
    if not fields["ok"]:
        assert set(fields["error"]) <= {"code", "message", "retryAfterSeconds"}
        assert fields["error"]["message"].endswith((".", "!"))
    return fields


class Card:
    """The card of one agent on one contact's record."""

    def __init__(self, portal: Portal, contact: int, agent: str = AGENT) -> None:
        self.portal, self.contact, self.agent = portal, contact, agent
        self._keys = 0

    def look(self) -> dict[str, Any]:
        return answer("GET", address(CARD, self.portal, agent=self.agent, contact=self.contact))

    def post(self, what: str, **body: Any) -> dict[str, Any]:
        self._keys += 1
        key = f"{self.agent.partition('@')[0].replace('.', '-')}-{id(self)}-{self._keys}"
        body = {"contactId": self.contact, "idempotencyKey": key, **body}
        return answer("POST", address(f"{CARD}/{what}", self.portal, agent=self.agent), body)

    def generate(self, **body: Any) -> dict[str, Any]:
        return self.post("generate", **body)

    def verify(self, code: str, **body: Any) -> dict[str, Any]:
        return self.post("verify", code=code, **body)


@pytest.fixture
def connected(hubspot: HubSpot) -> Portal:
    """A portal of the sandbox with the app installed."""
    return hubspot.connect()


@pytest.fixture
def contact(hubspot: HubSpot, connected: Portal) -> dict[str, Any]:
    """One of its contacts."""
    found: dict[str, Any] = hubspot.contacts(connected.id)[0]
    return found


@pytest.fixture
def card(connected: Portal, contact: dict[str, Any]) -> Card:
    """An agent's card on that contact."""
    return Card(connected, contact["contactId"])


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """A clock that moves only when told to."""
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


def change(portal: Portal, **values: Any) -> None:
    OTPSettings.objects.filter(portal=portal).update(**values)


def wrong(code: str) -> str:
    return "".join(str((int(digit) + 1) % 10) for digit in code)


# ------------------------------------------------------------------ what is shown
def test_it_shows_nothing_where_there_is_no_code(card: Card) -> None:
    shown = card.look()
    assert shown["ok"] is True
    assert shown["active"] is None
    assert shown["lastVerification"] is None
    assert shown["settings"]["codeVisibility"] == "always"
    assert shown["settings"]["expiryMinutes"] == 10
    assert shown["settings"]["sendsEmail"] is shown["settings"]["storesInProperty"] is False


def test_it_generates_for_the_contact_that_hubspot_knows(card: Card, contact: dict[str, Any]) -> None:
    shown = card.generate(email="attacker@evil.example", recipient="attacker@evil.example", portalId=1)
    code = OneTimeCode.objects.get()
    assert code.address == contact["properties"]["email"]
    assert code.source == "card"
    active = shown["active"]
    assert active["code"] == code.code
    assert active["recipient"] == contact["properties"]["email"]
    assert active["reference"] == str(code.id)
    assert dt.datetime.fromisoformat(active["expiresAt"]) == code.expires_at
    assert active["attemptsRemaining"] == 5
    assert active["emailStatus"] == active["propertyStatus"] == "off"
    assert card.look()["active"] == active


def test_it_generates_in_the_contacts_language(hubspot: HubSpot, card: Card) -> None:
    hubspot.patch(f"/portals/{card.portal.id}/contacts/{card.contact}", properties={"hs_language": "pt-br"})
    card.generate()
    assert OneTimeCode.objects.get().language == "pt-br"


def test_it_reads_the_address_from_the_property_that_the_portal_chose(hubspot: HubSpot, card: Card) -> None:
    change(card.portal, email_property="company")
    hubspot.patch(f"/portals/{card.portal.id}/contacts/{card.contact}", properties={"company": "second@example.com"})
    assert card.generate()["active"]["recipient"] == "second@example.com"


def test_it_stores_and_mails_as_the_action_does(card: Card) -> None:
    change(card.portal, send_email=True, store_in_property=True, property_name="otp_code")
    ContactPropertyList.objects.update_or_create(
        portal=card.portal,
        defaults={"properties": [{"name": "otp_code", "label": "One-time code"}], "fetched_at": timezone.now()},
    )
    shown = card.generate()
    assert shown["active"]["emailStatus"] == shown["active"]["propertyStatus"] == "pending"
    assert shown["settings"]["propertyLabel"] == "One-time code"
    Delivery.objects.filter(channel="email").update(
        status=DeliveryStatus.SENT, next_attempt_at=None, settled_at=timezone.now()
    )
    Delivery.objects.filter(channel="contact_property").update(
        status=DeliveryStatus.FAILED, next_attempt_at=None, settled_at=timezone.now()
    )
    active = card.look()["active"]
    assert (active["emailStatus"], active["propertyStatus"]) == ("sent", "failed")


def test_it_shows_an_expired_code_no_longer(card: Card, clock: time_machine.Traveller) -> None:
    card.generate()
    clock.shift(dt.timedelta(minutes=10))
    assert card.look()["active"] is None


def test_a_get_changes_no_code_and_no_delivery(card: Card) -> None:
    card.generate()
    before = list(OneTimeCode.objects.values()), list(Delivery.objects.values())
    card.look()
    assert (list(OneTimeCode.objects.values()), list(Delivery.objects.values())) == before


# ------------------------------------------------------------------ once is once
def test_the_same_key_generates_one_code(card: Card) -> None:
    first = card.generate(idempotencyKey="the-same-key")
    again = card.generate(idempotencyKey="the-same-key")
    assert OneTimeCode.objects.count() == 1
    assert again["active"] == first["active"]
    assert AuditEvent.objects.filter(action="code_issued").count() == 1


def test_a_repeated_order_is_answered_although_hubspot_is_away(hubspot: HubSpot, card: Card) -> None:
    code = card.generate(idempotencyKey="the-same-key")["active"]["code"]
    checked = card.verify(wrong(code), idempotencyKey="the-same-check")
    hubspot.fault("contacts.read", "status", status=503)
    assert card.generate(idempotencyKey="the-same-key")["active"]["code"] == code
    again = card.verify(wrong(code), idempotencyKey="the-same-check")
    assert (again["reason"], again["attemptsRemaining"]) == (checked["reason"], checked["attemptsRemaining"])
    assert again["active"]["attemptsRemaining"] == 4


def test_a_key_belongs_to_one_contact(hubspot: HubSpot, card: Card) -> None:
    other = Card(card.portal, hubspot.contacts(card.portal.id, 2)[1]["contactId"])
    card.generate(idempotencyKey="the-same-key")
    assert other.generate(idempotencyKey="the-same-key")["error"]["code"] == "invalid_input"


def test_a_cards_key_is_no_workflows_key(card: Card) -> None:
    card.generate(idempotencyKey="ap-102670506")
    assert OneTimeCode.objects.get().request_key == "card:ap-102670506"


@pytest.mark.parametrize(
    "key", ["", "short", "x" * 101, "with space", "with:colon", "line\n", "null\0byte", None, 5, []]
)
def test_it_refuses_keys_that_are_none(card: Card, key: Any) -> None:
    assert card.generate(idempotencyKey=key)["error"]["code"] == "invalid_input"
    assert OneTimeCode.objects.count() == 0


# ------------------------------------------------------------------ limits
def test_it_says_how_long_to_wait(card: Card, clock: time_machine.Traveller) -> None:
    card.generate()
    clock.shift(dt.timedelta(seconds=7))
    error = card.generate()["error"]
    assert error["code"] == "rate_limited"
    assert error["retryAfterSeconds"] == 23
    assert OneTimeCode.objects.count() == 1
    clock.shift(dt.timedelta(seconds=23))
    assert card.generate()["ok"]


def test_of_two_agents_at_once_the_second_gets_the_firsts_code(card: Card) -> None:
    second = Card(card.portal, card.contact, "bob@example.com")
    code = card.generate()["active"]["code"]
    assert second.generate()["error"]["code"] == "rate_limited"
    assert second.look()["active"]["code"] == code


# ------------------------------------------------------------------ resend
def test_it_resends_with_a_new_code(card: Card, clock: time_machine.Traveller) -> None:
    change(card.portal, send_email=True)
    first = card.generate()["active"]
    clock.shift(dt.timedelta(seconds=31))
    second = card.post("resend")["active"]
    assert second["reference"] != first["reference"]
    assert second["emailStatus"] == "pending"
    assert OneTimeCode.objects.get(id=first["reference"]).end_reason == "superseded"
    assert AuditEvent.objects.get(action="code_resent").actor == AGENT


def test_it_resends_nothing_where_mail_is_off(card: Card) -> None:
    assert card.post("resend")["error"]["code"] == "email_off"
    assert OneTimeCode.objects.count() == 0


# ------------------------------------------------------------------ verify
def test_it_verifies_and_remembers(card: Card) -> None:
    code = card.generate()["active"]["code"]
    checked = card.verify(f" {code[:3]}-{code[3:]} ")
    assert (checked["ok"], checked["result"], checked["reason"]) == (True, "valid", "verified")
    assert checked["active"] is None
    last = card.look()["lastVerification"]
    assert (last["result"], last["reason"]) == ("valid", "verified")
    assert dt.datetime.fromisoformat(last["at"]) == Verification.objects.get().verified_at


def test_it_counts_wrong_codes_until_the_code_is_locked(card: Card) -> None:
    code = card.generate()["active"]["code"]
    for remaining in (4, 3, 2, 1, 0):
        checked = card.verify(wrong(code))
        assert (checked["result"], checked["reason"]) == ("invalid", "wrong_code")
        assert checked["attemptsRemaining"] == remaining
    assert checked["active"] is None
    locked = card.verify(code)
    assert (locked["reason"], locked["attemptsRemaining"]) == ("locked", 0)
    assert card.look()["lastVerification"]["reason"] == "locked"


def test_the_same_key_is_one_attempt(card: Card) -> None:
    code = card.generate()["active"]["code"]
    for _ in range(3):
        assert card.verify(wrong(code), idempotencyKey="the-same-check")["attemptsRemaining"] == 4


def test_what_cannot_be_a_code_costs_nothing_and_is_no_check(card: Card) -> None:
    card.generate()
    checked = card.verify("hello")
    assert (checked["reason"], checked["attemptsRemaining"]) == ("malformed", 5)
    assert checked["lastVerification"] is None


def test_a_locked_contact_is_told_when_to_come_back(card: Card, clock: time_machine.Traveller) -> None:
    change(card.portal, wrong_attempts_limit=1)
    code = card.generate()["active"]["code"]
    card.verify(wrong(code))
    clock.shift(dt.timedelta(minutes=5))
    limited = card.verify(code)
    assert limited["ok"] is False
    assert limited["error"]["code"] == limited["reason"] == "rate_limited"
    assert limited["error"]["retryAfterSeconds"] == 600


def test_a_code_counts_only_for_the_address_it_was_made_for(hubspot: HubSpot, card: Card) -> None:
    code = card.generate()["active"]["code"]
    hubspot.patch(f"/portals/{card.portal.id}/contacts/{card.contact}", properties={"email": "new@example.com"})
    assert card.verify(code)["reason"] == "not_found"


# ------------------------------------------------------------------ who may see a code
def test_it_hides_codes_until_somebody_says_why(card: Card) -> None:
    change(card.portal, code_visibility="reveal")
    shown = card.generate()
    assert shown["active"]["code"] is None
    assert card.look()["active"]["code"] is None
    code = OneTimeCode.objects.get()
    assert code.code is not None
    assert code.code not in json.dumps(shown)
    for _ in range(2):
        revealed = card.post("reveal", idempotencyKey="the-same-look", reason="No access to the mail")
        assert revealed["active"]["code"] == code.code
    event = AuditEvent.objects.get(action="code_revealed")
    assert (event.actor, event.reference) == (AGENT, code.id)
    note = AuditNote.objects.get()
    assert event.detail == {"note": str(note.id)}
    assert (note.contact_id, json.loads(note.typed)) == (card.contact, {"why": "No access to the mail"})
    assert card.look()["active"]["code"] is None


def test_each_agents_look_at_each_code_is_a_deed_of_its_own(card: Card) -> None:
    change(card.portal, code_visibility="reveal")
    card.generate()
    card.post("reveal", idempotencyKey="one-and-the-same", reason="Mine")
    Card(card.portal, card.contact, "bob@example.com").post("reveal", idempotencyKey="one-and-the-same", reason="Bob's")
    change(card.portal, resend_cooldown_seconds=0)
    card.generate()
    card.post("reveal", idempotencyKey="one-and-the-same", reason="The next code")
    lines = AuditEvent.objects.filter(action="code_revealed").order_by("id")
    assert [line.actor for line in lines] == [AGENT, "bob@example.com", AGENT]
    assert len({line.reference for line in lines}) == 2
    assert [what and what["why"] for what in audit.typed_in(lines).values()] == ["Mine", "Bob's", "The next code"]


@pytest.mark.django_db(transaction=True)
def test_of_many_repetitions_at_the_same_moment_one_is_recorded(card: Card) -> None:
    change(card.portal, code_visibility="reveal")
    card.generate()

    def reveal(_: int) -> Any:
        try:
            return card.post("reveal", idempotencyKey="the-same-look", reason="No access to the mail")["ok"]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(reveal, range(8)))
    assert AuditEvent.objects.filter(action="code_revealed").count() == AuditNote.objects.count() == 1


def test_a_code_needs_no_eye_to_be_verified(card: Card) -> None:
    change(card.portal, code_visibility="never")
    card.generate()
    assert card.look()["active"]["code"] is None
    assert card.post("reveal", reason="Please")["error"]["code"] == "not_allowed"
    code = OneTimeCode.objects.get().code
    assert code is not None
    assert card.verify(code)["reason"] == "verified"
    assert not AuditEvent.objects.filter(action__in=["code_viewed", "code_revealed"]).exists()


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, None, 5])
def test_it_reveals_nothing_without_a_reason(card: Card, reason: Any) -> None:
    change(card.portal, code_visibility="reveal")
    card.generate()
    assert card.post("reveal", reason=reason)["error"]["code"] == "invalid_input"
    assert not AuditEvent.objects.filter(action="code_revealed").exists()


def test_there_is_nothing_to_reveal_without_a_code(card: Card) -> None:
    change(card.portal, code_visibility="reveal")
    assert card.post("reveal", reason="Curious")["error"]["code"] == "no_active_code"


def test_it_records_who_issued_and_who_saw_a_code_once(card: Card) -> None:
    second = Card(card.portal, card.contact, "bob@example.com")
    code = card.generate()["active"]["code"]
    for _ in range(3):
        card.look()
        second.look()
    second.verify(wrong(code))
    events = [(event.actor, event.action) for event in AuditEvent.objects.order_by("id")]
    assert events == [(AGENT, "code_issued"), ("bob@example.com", "code_viewed"), ("bob@example.com", "code_checked")]
    assert code not in json.dumps([event.detail for event in AuditEvent.objects.all()])


def test_audit_events_are_only_ever_added(card: Card) -> None:
    card.generate()
    event = AuditEvent.objects.get()
    event.actor = "somebody else"
    for attempt in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(actor=""),
    ):
        with pytest.raises(TypeError):
            attempt()


# ------------------------------------------------------------------ contacts
def test_it_says_so_when_the_contact_has_no_address(hubspot: HubSpot, card: Card) -> None:
    hubspot.patch(f"/portals/{card.portal.id}/contacts/{card.contact}", properties={"email": ""})
    assert card.generate()["error"]["code"] == "missing_email"
    assert OneTimeCode.objects.count() == 0


def test_it_knows_no_contact_of_another_portal(hubspot: HubSpot, connected: Portal) -> None:
    newest = hubspot.post(f"/portals/{connected.id}/contacts", properties={"email": "only.here@example.com"})
    card = Card(connected, newest["contactId"])
    card.generate()
    stranger = Card(hubspot.connect(1), card.contact, "eve@example.com")
    assert stranger.look()["active"] is None
    assert stranger.generate()["error"]["code"] == "not_found"
    code = OneTimeCode.objects.get().code
    assert code is not None
    assert stranger.verify(code)["error"]["code"] == "not_found"
    assert OneTimeCode.objects.get().is_live(timezone.now())


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 500}, {"kind": "status", "status": 429}, {"kind": "drop"}]
)
def test_it_says_so_when_hubspot_does_not_answer(hubspot: HubSpot, card: Card, fault: dict[str, Any]) -> None:
    hubspot.fault("contacts.read", **fault)
    assert card.generate()["error"]["code"] == "hubspot_unavailable"
    assert OneTimeCode.objects.count() == 0


def test_it_waits_three_seconds_for_hubspot(hubspot: HubSpot, card: Card) -> None:
    assert CONTACT_TIMEOUT < 3
    held = hubspot.fault("contacts.read", "hold")  # for ever, were it not for the limit
    assert card.generate()["error"]["code"] == "hubspot_unavailable"
    hubspot.release(held)


def test_it_says_so_when_reading_contacts_is_not_granted(hubspot: HubSpot, card: Card) -> None:
    hubspot.fault("contacts.read", "status", status=403, body='{"category": "MISSING_SCOPES"}')
    assert card.generate()["error"]["code"] == "not_connected"


@pytest.mark.parametrize(("status", "times"), [(403, 1), (401, 2)])
def test_a_refusal_that_may_pass_asks_to_try_again(hubspot: HubSpot, card: Card, status: int, times: int) -> None:
    hubspot.fault("contacts.read", "status", status=status, times=times)
    error = card.generate()["error"]
    assert error["code"] == "hubspot_unavailable"
    assert "refused for the moment" in error["message"]
    assert card.generate()["ok"]


# ------------------------------------------------------------------ who is speaking
def test_it_says_so_when_the_portal_is_not_connected(portal: Portal) -> None:
    Portal.objects.update(disconnected_at=timezone.now())
    assert Card(portal, 1).look()["error"]["code"] == "not_connected"
    assert Card(portal, 1).generate()["error"]["code"] == "not_connected"


def test_it_says_so_when_the_tokens_are_gone(portal: Portal) -> None:
    OAuthGrant.objects.all().delete()
    assert Card(portal, 1).generate()["error"]["code"] == "not_connected"


@pytest.mark.django_db
def test_an_unknown_portal_is_not_connected() -> None:
    assert Card(factories.PortalFactory.build(id=99), 1).look()["error"]["code"] == "not_connected"


@pytest.mark.parametrize("name", ["userId", "portalId", "userEmail", "appId"])
@pytest.mark.parametrize("how", ["missing", "empty", "twice"])
def test_each_of_hubspots_parameters_counts_exactly_once(portal: Portal, name: str, how: str) -> None:
    path = address(CARD, portal, contact=1)
    if how == "twice":
        path = path.replace("?", f"?{name}=1&", 1)
    else:
        path = address(CARD, portal, contact=1, **cast("dict[str, Any]", {name: None if how == "missing" else ""}))
    assert answer("GET", path)["error"]["code"] == "invalid_input"


def test_it_serves_its_own_app_only(portal: Portal) -> None:
    assert answer("GET", address(CARD, portal, contact=1, appId="42"))["error"]["code"] == "invalid_input"


def test_it_takes_the_portal_from_the_address_and_from_nowhere_else(card: Card, portal: Portal) -> None:
    shown = card.generate(portalId=portal.id, userEmail="boss@example.com")
    assert OneTimeCode.objects.get(id=shown["active"]["reference"]).portal_id == card.portal.id
    assert AuditEvent.objects.get().actor == AGENT


@pytest.mark.parametrize(
    "options",
    [
        {"versions": ()},
        {"versions": ("v2",)},
        {"secret": "another-secret"},
        {"timestamp": "1600000000000"},
        {"base_url": "https://evil.example"},
    ],
)
def test_it_answers_nobody_but_hubspot(portal: Portal, options: dict[str, Any]) -> None:
    response = call("GET", address(CARD, portal, contact=1), **options)
    assert response.status_code == 401
    assert response["Cache-Control"] == "no-store"


def test_a_signature_is_for_one_address(portal: Portal) -> None:
    headers = signed_headers(address(CARD, portal, contact=1), b"", method="GET", versions=("v3",))
    other = address(CARD, portal, contact=2)
    assert Client().get(other, headers=headers, secure=True).status_code == 401


# ------------------------------------------------------------------ broken calls
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"[" * 100_000, b'{"contactId": 1e400}']
)
def test_a_broken_body_is_the_callers_mistake(portal: Portal, body: bytes) -> None:
    assert answer("POST", address(f"{CARD}/generate", portal), body)["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("contact_id", ["", "x", "0", "-1", "1.5", str(2**63), "١٢x", None, "1&contactId=2"])
def test_a_contact_is_a_positive_whole_number(portal: Portal, contact_id: str | None) -> None:
    path = address(CARD, portal, contactId=contact_id)
    if contact_id and "&" in contact_id:
        path = address(CARD, portal, contact=1).replace("?", "?contactId=2&", 1)
    assert answer("GET", path)["error"]["code"] == "invalid_input"


def test_the_settings_screen_learns_whether_the_portal_is_connected(portal: Portal) -> None:
    path = address("/hubspot/cards/settings", portal)
    shown = answer("GET", path)
    assert shown["ok"] is True
    assert shown["settings"]["sendsEmail"] is False
    Portal.objects.update(disconnected_at=timezone.now())
    assert answer("GET", path)["error"]["code"] == "not_connected"


# ------------------------------------------------------------------ what is true first
def test_a_locked_contact_is_known_on_opening_and_gets_no_code(card: Card, clock: time_machine.Traveller) -> None:
    change(card.portal, wrong_attempts_limit=3, resend_cooldown_seconds=0)
    code = card.generate()["active"]["code"]
    assert card.look()["lockedUntil"] is None
    for _ in range(3):
        card.verify(wrong(code))
    shown = card.look()
    assert dt.datetime.fromisoformat(shown["lockedUntil"]) == timezone.now() + dt.timedelta(minutes=15)
    assert shown["settings"]["wrongAttemptsLimit"] == 3
    change(card.portal, send_email=True)
    for refused in (card.generate(), card.post("resend")):
        assert (refused["error"]["code"], refused["error"]["retryAfterSeconds"]) == ("rate_limited", 900)
    assert OneTimeCode.objects.count() == 1
    clock.shift(dt.timedelta(minutes=15))
    assert card.look()["lockedUntil"] is None
    assert card.generate()["active"]["code"]


def test_a_repeated_order_is_answered_although_the_contact_is_locked_meanwhile(card: Card) -> None:
    change(card.portal, wrong_attempts_limit=1)
    first = card.generate(idempotencyKey="asked-before-the-lock")
    card.verify(wrong(first["active"]["code"]))
    again = card.generate(idempotencyKey="asked-before-the-lock")
    assert again["ok"]
    assert again["lockedUntil"]


def test_a_missing_address_is_known_before_generate(hubspot: HubSpot, card: Card) -> None:
    assert card.look()["missingAddress"] is False
    hubspot.patch(f"/portals/{card.portal.id}/contacts/{card.contact}", properties={"email": ""})
    assert card.look()["missingAddress"] is True
    assert OneTimeCode.objects.count() == 0


def test_not_knowing_the_address_is_no_reason_to_advise_anything(hubspot: HubSpot, card: Card) -> None:
    hubspot.fault("contacts.read", "slow", seconds=3)
    assert card.look()["missingAddress"] is False


@pytest.mark.parametrize(
    ("written", "mailed", "expected"),
    [
        ("sent", "sent", "delivered"),
        ("sent", "failed", "partly"),
        ("failed", "bounced", "failed"),
        ("pending", "sent", "pending"),
    ],
)
def test_it_sums_up_what_became_of_the_deliveries(card: Card, written: str, mailed: str, expected: str) -> None:
    change(card.portal, store_in_property=True, property_name="otp_code", send_email=True)
    shown = card.generate()
    assert (shown["deliveryStatus"], shown["active"]["deliveryStatus"]) == ("pending", "pending")
    for channel, status in (("contact_property", written), ("email", mailed)):
        done = None if status == "pending" else timezone.now()
        due = timezone.now() if status == "pending" else None
        Delivery.objects.filter(channel=channel).update(status=status, settled_at=done, next_attempt_at=due)
    assert card.look()["deliveryStatus"] == expected


def test_it_says_when_the_next_code_may_be_asked_for(card: Card, clock: time_machine.Traveller) -> None:
    shown = card.generate()
    assert dt.datetime.fromisoformat(shown["active"]["resendAt"]) == timezone.now() + dt.timedelta(seconds=30)
    assert shown["settings"]["newCodeEndsOlder"] is True
    change(card.portal, resend_policy="keep_both")
    assert card.look()["settings"]["newCodeEndsOlder"] is False
