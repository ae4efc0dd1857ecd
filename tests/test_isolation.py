"""No address of the app lets one portal see or touch what is another's.

Every pattern of the resolver has an entry here: how portal A's admin, card or workflow calls it with what is portal B's.
A new address without an entry fails the first test.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.apps import apps
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from hubspot_integration.models import OAuthGrant, Portal, PortalMember
from otp import audit
from otp.audit import Action, ActorKind
from otp.models import AuditEvent, DeliveryStatus, EmailTexts, OneTimeCode, OTPSettings, Verification
from otp.pages import activity
from otp.upkeep import audit_chain
from tests import factories
from tests.portal_admin import signed_in
from tests.signing import signed_headers

# A contact id, a workflow's callback and texts that only portal B has.
CONTACT_OF_B = 918_273_645
MARKS = (
    "bea@portal-b.example",
    "b***@p***.example",
    "portal-b.example",
    "Texts of portal B",
    str(CONTACT_OF_B),
    "771177",
    "Bea of portal B called",
)


def patterns(entries: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield every pattern of the resolver."""
    for entry in get_resolver().url_patterns if entries is None else entries:
        if isinstance(entry, URLResolver):
            yield from patterns(entry.url_patterns, prefix + str(entry.pattern))
        else:
            assert isinstance(entry, URLPattern)
            yield prefix + str(entry.pattern)


@dataclass
class World:
    """Portal A with an admin who is signed in, and portal B with one of everything."""

    a: Portal
    b: Portal
    code: OneTimeCode
    admin: Client

    def signed(self, method: str, path: str, body: Any = None) -> Any:
        """Call as HubSpot calls for portal A."""
        raw = b"" if body is None else json.dumps(body).encode()
        headers = signed_headers(path, raw, method=method, versions=("v3",))
        return Client().generic(method, path, raw, content_type="application/json", headers=headers, secure=True)

    def from_card(self, method: str, path: str, **values: Any) -> Any:
        """Call as the card of an agent of portal A does, with a contact of portal B."""
        query = {"userId": "7", "portalId": str(self.a.id), "userEmail": "agent@portal-a.example"}
        query["appId"] = str(settings.HUBSPOT_APP_ID)
        if method == "GET":
            return self.signed(method, f"{path}?{urlencode(query | {'contactId': CONTACT_OF_B})}")
        body = {"contactId": CONTACT_OF_B, "idempotencyKey": uuid4().hex, **values}
        return self.signed(method, f"{path}?{urlencode(query)}", body)

    def from_workflow(self, path: str, **inputs: str) -> Any:
        """Call as a workflow of portal A does, about a contact of portal B."""
        execution = {
            "callbackId": "callback-of-b",
            "origin": {"portalId": self.a.id, "actionDefinitionId": 2},
            "context": {"source": "WORKFLOWS", "workflowId": 1},
            "object": {"objectType": "CONTACT", "objectId": CONTACT_OF_B},
            "inputFields": {"email": "bea@portal-b.example", **inputs},
        }
        return self.signed("POST", path, execution)

    def rows_of_b(self) -> dict[str, list[Any]]:
        """Return everything that is portal B's."""
        found = {}
        for model in apps.get_models():
            names = {field.name for field in model._meta.fields}
            if model is Portal:
                rows: Any = Portal.objects.filter(id=self.b.id)
            elif "portal" in names:
                rows = model._default_manager.filter(portal=self.b)
            else:
                continue
            found[model._meta.label] = list(rows.order_by("pk").values_list())
        return found


@pytest.fixture
def world(portal: Portal) -> World:
    b = factories.OAuthGrantFactory.create(portal__hub_domain="portal-b.example").portal
    factories.OTPSettingsFactory.create(portal=b, greeting="Texts of portal B", send_email=True)
    EmailTexts.objects.create(portal=b, language="de", greeting="Texts of portal B in German")
    code = factories.OneTimeCodeFactory.create(
        portal=b, contact_id=CONTACT_OF_B, address="bea@portal-b.example", workflow_id="771177", code="314159",
        request_key="workflow:callback-of-b",
    )  # fmt: skip
    factories.DeliveryFactory.create(code=code, status=DeliveryStatus.FAILED, error="recipient_refused_550")
    audit.record(
        portal=b, at=timezone.now(), actor="agent@portal-b.example", actor_kind=ActorKind.AGENT,
        action=Action.CODE_VIEWED, contact_id=CONTACT_OF_B, reference=code.id,
    )  # fmt: skip
    note = audit.note(portal=b, at=timezone.now(), typed={"why": "Bea of portal B called"}, contact_id=CONTACT_OF_B)
    audit.record(
        portal=b, at=timezone.now(), actor="agent@portal-b.example", actor_kind=ActorKind.AGENT,
        action=Action.CODE_REVEALED, contact_id=CONTACT_OF_B, reference=code.id, detail={"note": str(note)},
    )  # fmt: skip
    audit_chain._add_links(list(AuditEvent.objects.filter(portal=b)))
    Verification.objects.create(
        portal=b, contact_id=CONTACT_OF_B, request_key="workflow:check-of-b", source="workflow", code=code,
        result="invalid", reason="wrong_code", attempts_remaining=4, created_at=timezone.now(),
    )  # fmt: skip
    PortalMember.objects.create(portal=b, hubspot_user_id=1, email="boss@portal-b.example", signed_in_at=timezone.now())
    return World(portal, b, code, signed_in(portal))


def digests_of_b(world: World) -> str:
    return ".".join(digest.hex() for digest in activity.digests_of(portal=world.b, address="bea@portal-b.example"))


def boss_of_b(world: World) -> int:
    return PortalMember.objects.get(portal=world.b).pk


def queries_of_b(world: World) -> list[dict[str, str]]:
    anywhere = str(activity.Place(timezone.now(), uuid4()))
    return [{}, {"recipient": digests_of_b(world)}, {"before": anywhere}, {"result": "delivery_failed"}]


LOG = "/settings/log"
SETTINGS_OF_A = {"code_type": "numeric", "code_length": "6", "expiry_minutes": "10"}
# For every pattern outside the admin: what portal A sends there, and the statuses that are right. None: the address
# knows no portal at all.
CALLS: dict[str, tuple[Callable[[World], list[Any]], set[int]] | None] = {
    "healthz": None,
    "readyz": None,
    "metrics": None,
    "api/schema": None,
    "favicon.ico": None,
    "": (lambda w: [w.admin.get("/", secure=True)], {200}),
    "help": None,
    "privacy": None,
    "terms": None,
    "hubspot/install": None,
    "hubspot/oauth/callback": None,
    "hubspot/webhooks": None,  # HubSpot speaks for all portals at once: the signature is the app's
    "sign-in": None,
    "sign-out": None,
    "robots.txt": None,
    "settings/confirm": (
        lambda w: [w.admin.post("/settings/confirm", {"portal": w.b.id, "next": "/settings/"}, secure=True)],
        {302},
    ),
    "settings/members": (lambda w: [w.admin.get("/settings/members", {"portal": w.b.id}, secure=True)], {200}),
    "settings/members/<int:member_id>/end-sessions": (
        lambda w: [w.admin.post(f"/settings/members/{boss_of_b(w)}/end-sessions", secure=True)],
        {404},
    ),
    "settings/members/<int:member_id>/remove": (
        lambda w: [
            w.admin.get(f"/settings/members/{boss_of_b(w)}/remove", secure=True),
            w.admin.post(f"/settings/members/{boss_of_b(w)}/remove", secure=True),
        ],
        {404},
    ),
    "email-events/<slug:provider>/tracking/": None,  # a provider reports by its own message ids, with its own secret
    "portal": (
        lambda w: [
            w.admin.post("/portal", {"portal": w.b.id}, secure=True),
            w.admin.post("/portal", {"portal": f"{w.b.id} "}, secure=True),
        ],
        {404},
    ),
    "settings/policy": (
        lambda w: [w.admin.get("/settings/policy", {"portal": str(w.b.id), "code_length": "4"}, secure=True)],
        {200},
    ),
    "settings/properties/create": (
        lambda w: [w.admin.post("/settings/properties/create", {"portal": w.b.id}, secure=True)],
        {302},
    ),
    "settings/disconnect": (
        lambda w: [
            w.admin.get("/settings/disconnect", {"portal": w.b.id}, secure=True),
            w.admin.post("/settings/disconnect", {"portal": w.b.id}, secure=True),
        ],
        {200, 302},
    ),
    "settings/texts": (lambda w: [w.admin.get("/settings/texts", {"portal": w.b.id}, secure=True)], {200}),
    "settings/texts/export": (
        lambda w: [w.admin.get("/settings/texts/export", {"portal": w.b.id}, secure=True)],
        {200},
    ),
    "settings/texts/import": (
        lambda w: [w.admin.post("/settings/texts/import", {"portal": w.b.id}, secure=True)],
        {400},
    ),
    "settings/texts/in/<str:language>": (
        lambda w: [
            w.admin.get("/settings/texts/in/de", {"portal": w.b.id}, secure=True),
            w.admin.post("/settings/texts/in/de", {"portal": w.b.id, "greeting": "Changed by A,"}, secure=True),
        ],
        {200, 302, 409},
    ),
    "settings/texts/in/<str:language>/preview": (
        lambda w: [
            w.admin.get("/settings/texts/in/de/preview", {"portal": w.b.id}, secure=True),
            w.admin.post("/settings/texts/in/de/preview", {"portal": w.b.id}, secure=True),
        ],
        {200},
    ),
    "settings/texts/in/<str:language>/test": (
        lambda w: [w.admin.post("/settings/texts/in/de/test", {"portal": w.b.id}, secure=True)],
        {200},
    ),
    "hubspot/actions/generate-otp": (lambda w: [w.from_workflow("/hubspot/actions/generate-otp")], {200}),
    "hubspot/actions/verify-otp": (
        lambda w: [w.from_workflow("/hubspot/actions/verify-otp", submitted_code="314159")],
        {200},
    ),
    "hubspot/cards/otp": (lambda w: [w.from_card("GET", "/hubspot/cards/otp")], {200}),
    "hubspot/cards/otp/generate": (lambda w: [w.from_card("POST", "/hubspot/cards/otp/generate")], {200}),
    "hubspot/cards/otp/resend": (lambda w: [w.from_card("POST", "/hubspot/cards/otp/resend")], {200}),
    "hubspot/cards/otp/verify": (lambda w: [w.from_card("POST", "/hubspot/cards/otp/verify", code="314159")], {200}),
    "hubspot/cards/otp/reveal": (lambda w: [w.from_card("POST", "/hubspot/cards/otp/reveal", reason="x")], {200}),
    "hubspot/cards/settings": (lambda w: [w.from_card("GET", "/hubspot/cards/settings")], {200}),
    "settings/": (
        lambda w: [
            w.admin.get("/settings/", {"portal": w.b.id}, secure=True),
            w.admin.post("/settings/", SETTINGS_OF_A | {"portal": w.b.id, "portal_id": w.b.id}, secure=True),
        ],
        {200, 302},
    ),
    "settings/properties/sync": (
        lambda w: [w.admin.post("/settings/properties/sync", {"portal": w.b.id}, secure=True)],
        {302},
    ),
    "settings/log": (
        lambda w: [w.admin.get(LOG, query, secure=True) for query in queries_of_b(w)],
        {200},
    ),
    "settings/log/export": (
        lambda w: [
            w.admin.post(f"{LOG}/export", {"recipient": digests_of_b(w)}, secure=True),
            w.admin.post(f"{LOG}/export", {"portal": w.b.id}, secure=True),
        ],
        {200},
    ),
    "settings/log/audit/export": (
        lambda w: [w.admin.post(f"{LOG}/audit/export", {"portal": w.b.id}, secure=True)],
        {200},
    ),
    "settings/log/<uuid:reference>": (lambda w: [w.admin.get(f"{LOG}/{w.code.id}", secure=True)], {404}),
    "settings/log/<uuid:reference>/send-again": (
        lambda w: [
            w.admin.get(f"{LOG}/{w.code.id}/send-again", secure=True),
            w.admin.post(f"{LOG}/{w.code.id}/send-again", {"idempotency_key": uuid4().hex}, secure=True),
        ],
        {404},
    ),
    "settings/log/contacts/<int:contact_id>": (
        lambda w: [w.admin.get(f"{LOG}/contacts/{CONTACT_OF_B}", secure=True)],
        {404},
    ),
    "settings/log/contacts/<int:contact_id>/export": (
        lambda w: [w.admin.post(f"{LOG}/contacts/{CONTACT_OF_B}/export", secure=True)],
        {404},
    ),
}


def body_of(response: Any) -> str:
    streamed = getattr(response, "streaming_content", None)
    content: bytes = b"".join(streamed) if streamed is not None else response.content
    return content.decode()


def test_every_address_has_an_entry() -> None:
    missing = {pattern for pattern in patterns() if not pattern.startswith("admin/")} - set(CALLS)
    assert not missing, f"Say in CALLS how another portal's admin, card or workflow would call {sorted(missing)}."


@pytest.mark.parametrize("pattern", [pattern for pattern, call in CALLS.items() if call is not None])
def test_an_address_shows_and_changes_nothing_of_another_portal(world: World, pattern: str) -> None:
    call = CALLS[pattern]
    assert call is not None
    calls, statuses = call
    before = world.rows_of_b()
    responses = calls(world)
    # Read first: a download writes while it is read.
    bodies = [body_of(response) for response in responses]
    assert {response.status_code for response in responses} <= statuses
    secrets = [*MARKS, "314159", str(world.code.id), str(world.b.id)]
    assert not [mark for mark in secrets for body in bodies if mark in body]
    assert not [mark for mark in secrets for response in responses if mark in response.headers.get("Location", "")]
    assert world.rows_of_b() == before


def test_the_same_calls_find_it_for_the_portal_that_it_belongs_to(world: World) -> None:
    world.admin = signed_in(world.b)
    assert str(world.code.id) in body_of(world.admin.get(LOG, {"recipient": digests_of_b(world)}, secure=True))
    for path in (f"{LOG}/{world.code.id}", f"{LOG}/{world.code.id}/send-again", f"{LOG}/contacts/{CONTACT_OF_B}"):
        assert world.admin.get(path, secure=True).status_code == 200


def admin_addresses(world: World) -> Iterator[str]:
    """Yield every address of the admin, with portal B's rows where one is named."""
    for pattern in patterns():
        if not pattern.startswith("admin/"):
            continue
        address = "/" + pattern
        for piece, value in (
            ("<path:object_id>", str(world.code.pk)),
            ("<id>", "1"),
            ("<int:pk>", "1"),
            ("<path:content_type_id>", "1"),
            ("<int:content_type_id>", "1"),
            ("<app_label>", "otp"),
            ("^(?P<app_label>auth|otp)/$", "otp/"),
        ):
            address = address.replace(piece, value)
        if "(?P" in address:
            address = address.partition("(?P")[0].rstrip("^")
        yield address


OPEN = {"/admin/login/", "/admin/enrol/"}  # they ask for a password before they show anything


def test_a_portals_admin_is_a_stranger_in_the_staffs_admin(world: World) -> None:
    before = world.rows_of_b()
    addresses = list(admin_addresses(world))
    assert len(addresses) > 30
    for address in addresses:
        for method in ("get", "post"):
            response = getattr(world.admin, method)(address, secure=True)
            assert response.status_code in {301, 302, 403, 404, 405} or address in OPEN, (method, address)
            assert not [mark for mark in MARKS if mark in body_of(response)], (method, address)
    assert world.rows_of_b() == before


def test_nobody_who_is_not_signed_in_gets_beyond_the_landing_page(world: World) -> None:
    stranger = Client()
    for address in (
        "/settings/", LOG, f"{LOG}/{world.code.id}", f"{LOG}/{world.code.id}/send-again", f"{LOG}/contacts/{CONTACT_OF_B}",
    ):  # fmt: skip
        assert stranger.get(address, secure=True).status_code == 302
    for address in (f"{LOG}/export", f"{LOG}/audit/export", f"{LOG}/contacts/{CONTACT_OF_B}/export"):
        assert stranger.post(address, secure=True).status_code == 302
    assert AuditEvent.objects.filter(portal=world.b).count() == 2
    assert OAuthGrant.objects.filter(portal=world.b).exists()
    assert OTPSettings.objects.get(portal=world.b).greeting == "Texts of portal B"
