"""Connecting the app: the page, the token endpoint, and the ways back."""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from sandbox.local.waiting import PATIENCE, becomes
from tests.sandbox.app import App
from tests.sandbox.client import APP_ID, CLIENT_ID, CLIENT_SECRET, Sandbox

VERIFIER = "a-verifier-that-is-long-enough-for-anybody-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REQUIRED = "oauth crm.objects.contacts.read"


class Installation:
    """One person's way through the app's installation."""

    def __init__(self, sandbox: Sandbox, app: App) -> None:
        self.sandbox = sandbox
        self.redirect_uri = f"{app.url}/oauth/callback"
        self.portals = sandbox.get("/portals")["portals"]

    def admin(self, number: int = 0) -> int:
        return next(int(user["userId"]) for user in self.portals[number]["users"] if user["mayInstall"])

    def url(self, *, to: str = "", **changes: str | None) -> str:
        query = {
            "client_id": CLIENT_ID,
            "redirect_uri": self.redirect_uri,
            "scope": REQUIRED,
            "optional_scope": "automation",
            "state": "s-1",
            **changes,
        }
        kept = {name: value for name, value in query.items() if value is not None}
        return f"/oauth/authorize{to}?{urlencode(kept)}"

    def decide(self, url: str, *, user: int | None = None, decision: str = "connect") -> httpx.Response:
        form = {"decision": decision, "user": str(self.admin() if user is None else user)}
        return self.sandbox.web.post(url, data=form)

    def answer(self, response: httpx.Response) -> dict[str, str]:
        assert response.status_code == 302, response.text
        location = response.headers["Location"]
        assert location.startswith(f"{self.redirect_uri}?")
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    def code(self, **changes: str | None) -> str:
        return self.answer(self.decide(self.url(to="", **changes)))["code"]

    def token(self, path: str = "", **form: str) -> httpx.Response:
        body = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **form}
        return self.sandbox.web.post(f"/oauth/2026-09/token{path}", data=body)

    def redeem(self, code: str, **changes: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, **changes}
        return self.token(**form)

    def refresh(self, refresh_token: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)


@pytest.fixture
def installation(sandbox: Sandbox, app: App) -> Installation:
    return Installation(sandbox, app)


@pytest.fixture
def tokens(installation: Installation) -> dict[str, Any]:
    """The answer to a whole installation in the first portal."""
    answer: dict[str, Any] = installation.redeem(installation.code()).json()
    return answer


def _refusal(response: httpx.Response) -> tuple[str, str]:
    body = response.json()
    assert response.status_code == 400
    assert body["error_description"] == body["message"]
    return body["error"], body["status"]


def test_it_connects_a_portal(installation: Installation, sandbox: Sandbox) -> None:
    page = sandbox.web.get(installation.url())
    assert "Badges" in page.text
    assert "crm.objects.contacts.read" in page.text
    answer = installation.answer(installation.decide(installation.url()))
    assert answer["state"] == "s-1"
    assert not sandbox.get(f"/portals/{sandbox.portal}")["installed"]  # not before the code is redeemed

    token = installation.redeem(answer["code"]).json()

    assert token["hub_id"] == sandbox.portal
    assert token["user_id"] == installation.admin()
    assert token["expires_in"] == 1800
    assert set(token["scopes"]) == {"oauth", "crm.objects.contacts.read", "automation"}
    assert token["token_use"] == "access_token"
    portal = sandbox.get(f"/portals/{sandbox.portal}")
    assert portal["installed"]
    assert portal["scopes"] == sorted(token["scopes"])
    details = sandbox.api("GET", "/account-info/2026-09/details", token["access_token"]).json()
    assert details["portalId"] == sandbox.portal
    assert details["timeZone"] == "US/Eastern"
    assert details["utcOffset"] == f"-0{-details['utcOffsetMilliseconds'] // 3_600_000}:00"


def test_a_path_may_preselect_the_account(installation: Installation, sandbox: Sandbox) -> None:
    page = sandbox.web.get(installation.url(to=f"/{sandbox.portal}")).text
    assert "Aurora Outdoor" in page
    assert "Brightwater Clinic" not in page


def test_without_a_state_none_comes_back(installation: Installation) -> None:
    assert set(installation.answer(installation.decide(installation.url(state=None)))) == {"code"}


def test_cancelling_is_access_denied(installation: Installation) -> None:
    answer = installation.answer(installation.decide(installation.url(), decision="cancel"))
    assert answer["error"] == "access_denied"
    assert answer["state"] == "s-1"
    assert "code" not in answer


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client_id": "another"}, "no app with this client ID"),
        ({"redirect_uri": "https://evil.example/"}, "not one the app has registered"),
        ({"scope": "oauth"}, "provided scopes are insufficient"),
        ({"scope": f"{REQUIRED} automation"}, "mismatch between the scopes in the install URL"),
        ({"scope": f"{REQUIRED} tickets"}, "mismatch between the scopes in the install URL"),
        ({"optional_scope": "crm.objects.contacts.write"}, "mismatch between the scopes in the install URL"),
        ({"code_challenge": "abc", "code_challenge_method": "plain"}, "Only the code challenge method S256"),
    ],
)
def test_a_wrong_install_url_shows_a_page_and_redirects_nowhere(
    installation: Installation, sandbox: Sandbox, changes: dict[str, str], words: str
) -> None:
    url = installation.url(**changes)
    for response in (sandbox.web.get(url), installation.decide(url)):
        assert response.status_code == 400
        assert words in response.text.replace("&#39;", "'")


def test_conditionally_required_scopes_may_be_asked_for(installation: Installation) -> None:
    code = installation.code(scope=f"{REQUIRED} crm.objects.contacts.write")
    assert "crm.objects.contacts.write" in installation.redeem(code).json()["scopes"]


def test_an_optional_scope_the_plan_lacks_is_dropped_in_silence(installation: Installation) -> None:
    answer = installation.answer(installation.decide(installation.url(), user=installation.admin(1)))
    assert "automation" not in installation.redeem(answer["code"]).json()["scopes"]


def test_who_may_not_install_apps_is_told_so(installation: Installation) -> None:
    other = next(user for user in installation.portals[0]["users"] if not user["mayInstall"])
    response = installation.decide(installation.url(), user=other["userId"])
    assert response.status_code == 400
    assert "cannot install apps" in response.text


def test_pkce_binds_the_code_to_its_verifier(installation: Installation) -> None:
    challenge = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert _refusal(installation.redeem(installation.code(**challenge))) == ("invalid_grant", "BAD_CODE_VERIFIER")
    wrong = installation.redeem(installation.code(**challenge), code_verifier="another")
    assert _refusal(wrong) == ("invalid_grant", "BAD_CODE_VERIFIER")
    assert installation.redeem(installation.code(**challenge), code_verifier=VERIFIER).status_code == 200


def test_a_code_is_good_once(installation: Installation) -> None:
    code = installation.code()
    assert installation.redeem(code).status_code == 200
    assert _refusal(installation.redeem(code)) == ("invalid_grant", "BAD_AUTH_CODE")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"grant_type": "password"}, ("unsupported_grant_type", "BAD_GRANT_TYPE")),
        ({"client_id": "another"}, ("invalid_client", "BAD_CLIENT_ID")),
        ({"client_secret": "another"}, ("invalid_client", "BAD_CLIENT_SECRET")),
        ({"redirect_uri": "http://localhost/else"}, ("invalid_request", "BAD_REDIRECT_URI")),
        ({"code": "na1-unknown"}, ("invalid_grant", "BAD_AUTH_CODE")),
    ],
)
def test_the_token_endpoint_says_what_is_wrong(
    installation: Installation, changes: dict[str, str], expected: tuple[str, str]
) -> None:
    form = {"code": installation.code(), **changes}
    assert _refusal(installation.redeem(**form)) == expected


def test_the_token_endpoint_takes_forms_only(installation: Installation, sandbox: Sandbox) -> None:
    form = {
        "grant_type": "authorization_code", "code": installation.code(), "redirect_uri": installation.redirect_uri,
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
    }  # fmt: skip
    assert _refusal(sandbox.web.post("/oauth/2026-09/token", json=form))[0] == "invalid_request"
    assert _refusal(sandbox.web.post("/oauth/2026-09/token", params=form))[0] == "invalid_request"
    in_both = sandbox.web.post("/oauth/2026-09/token", params={"client_id": CLIENT_ID}, data=form)
    assert _refusal(in_both)[0] == "invalid_request"
    assert sandbox.web.post("/oauth/v3/token", data=form).status_code == 200
    assert sandbox.web.post("/oauth/v1/token", data=form).status_code == 404


def test_refreshing_gives_a_new_access_token_and_the_same_refresh_token(
    installation: Installation, sandbox: Sandbox, tokens: dict[str, Any]
) -> None:
    refreshed = installation.refresh(tokens["refresh_token"]).json()
    assert refreshed["refresh_token"] == tokens["refresh_token"]
    assert refreshed["access_token"] != tokens["access_token"]
    for token in (tokens, refreshed):
        assert sandbox.api("GET", "/account-info/2026-09/details", token["access_token"]).status_code == 200


def test_tokens_carry_the_hublet(installation: Installation) -> None:
    answer = installation.answer(installation.decide(installation.url(), user=installation.admin(1)))
    assert answer["code"].startswith("eu1-")
    assert installation.redeem(answer["code"]).json()["refresh_token"].startswith("eu1-")


def test_an_expired_token_says_since_when(sandbox: Sandbox) -> None:
    token = sandbox.token()
    assert sandbox.post(f"/portals/{sandbox.portal}/expire-tokens") == {"expired": 1}
    response = sandbox.api("GET", "/account-info/2026-09/details", token)
    assert response.status_code == 401
    body = response.json()
    assert body["category"] == "EXPIRED_AUTHENTICATION"
    assert re.fullmatch(r"The OAuth token used to make this call expired \d+ second\(s\) ago\.", body["message"])
    assert list(body["context"]) == ["expire time"]


def test_access_tokens_run_out_by_themselves(sandbox: Sandbox) -> None:
    sandbox.patch("/options", accessTokenSeconds=1)
    try:
        token = sandbox.post(f"/portals/{sandbox.portal}/tokens")
    finally:
        sandbox.patch("/options", accessTokenSeconds=1800)
    assert token["expires_in"] == 1
    becomes(lambda: sandbox.api("GET", "/account-info/2026-09/details", token["access_token"]).status_code, 401)


@pytest.mark.parametrize("header", ["", "Bearer unknown", "Basic abc", "Bearer"])
def test_unknown_credentials_are_refused(sandbox: Sandbox, header: str) -> None:
    response = sandbox.web.get("/account-info/2026-09/details", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.json()["category"] == "INVALID_AUTHENTICATION"


def test_introspection_tells_about_both_kinds_of_token(installation: Installation, tokens: dict[str, Any]) -> None:
    access = installation.token("/introspect", token=tokens["access_token"], token_type_hint="access_token").json()
    assert access["active"] is True
    assert access["user"] == "ines@aurora-outdoor.example"
    assert access["signed_access_token"]["appId"] == APP_ID
    assert 1800 - PATIENCE < access["expires_in"] <= 1800
    refresh = installation.token("/introspect", token=tokens["refresh_token"], token_type_hint="refresh_token").json()
    assert (refresh["active"], refresh["token_use"]) == (True, "refresh_token")
    assert installation.token("/introspect", token="nothing").json() == {"active": False}
    assert installation.token("/introspect", token="x", client_secret="wrong").status_code == 400


def test_revoking_ends_refreshing_but_neither_access_nor_the_installation(
    installation: Installation, sandbox: Sandbox, tokens: dict[str, Any]
) -> None:
    response = installation.token("/revoke", token=tokens["refresh_token"], token_type_hint="refresh_token")
    assert response.status_code == 200
    assert _refusal(installation.refresh(tokens["refresh_token"])) == ("invalid_grant", "BAD_REFRESH_TOKEN")
    assert installation.token("/introspect", token=tokens["refresh_token"]).json() == {"active": False}
    assert sandbox.api("GET", "/account-info/2026-09/details", tokens["access_token"]).status_code == 200
    assert sandbox.get(f"/portals/{sandbox.portal}")["installed"]


@pytest.mark.parametrize("by", ["app", "page", "control"])
def test_uninstalling_voids_every_token(
    installation: Installation, sandbox: Sandbox, tokens: dict[str, Any], by: str
) -> None:
    other = sandbox.token(installation.portals[1]["portalId"])
    if by == "app":
        path = "/appinstalls/2026-09/external-install"
        assert sandbox.api("DELETE", path, tokens["access_token"]).status_code == 204
    elif by == "page":
        assert sandbox.web.post(f"/contacts/{sandbox.portal}/uninstall").status_code == 303
    else:
        sandbox.delete(f"/portals/{sandbox.portal}/install")
    assert not sandbox.get(f"/portals/{sandbox.portal}")["installed"]
    assert sandbox.api("GET", "/account-info/2026-09/details", tokens["access_token"]).status_code == 401
    assert _refusal(installation.refresh(tokens["refresh_token"])) == ("invalid_grant", "BAD_REFRESH_TOKEN")
    assert sandbox.api("GET", "/account-info/2026-09/details", other).status_code == 200


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("revoked", ("invalid_grant", "BAD_REFRESH_TOKEN")),
        ("bad_hub", ("access_denied", "BAD_HUB")),
        ("bad_client_secret", ("invalid_client", "BAD_CLIENT_SECRET")),
    ],
)
def test_faults_refuse_a_refresh_in_one_portal(
    installation: Installation, sandbox: Sandbox, tokens: dict[str, Any], kind: str, expected: tuple[str, str]
) -> None:
    sandbox.fault("oauth.token", kind, portalId=installation.portals[1]["portalId"])
    assert installation.refresh(tokens["refresh_token"]).status_code == 200
    fault = sandbox.fault("oauth.token", kind, portalId=sandbox.portal, times=1)
    assert _refusal(installation.refresh(tokens["refresh_token"])) == expected
    assert sandbox.fired(fault) == 1
    assert installation.refresh(tokens["refresh_token"]).status_code == 200


def test_a_refused_refresh_refuses_no_exchange(installation: Installation, sandbox: Sandbox) -> None:
    sandbox.fault("oauth.token", "revoked")
    assert installation.redeem(installation.code()).status_code == 200


def test_a_fault_rotates_the_refresh_token(
    installation: Installation, sandbox: Sandbox, tokens: dict[str, Any]
) -> None:
    sandbox.fault("oauth.token", "rotate", times=1)
    rotated = installation.refresh(tokens["refresh_token"]).json()["refresh_token"]
    assert rotated != tokens["refresh_token"]
    assert _refusal(installation.refresh(tokens["refresh_token"])) == ("invalid_grant", "BAD_REFRESH_TOKEN")
    assert installation.refresh(rotated).status_code == 200


def test_the_log_keeps_no_secret(installation: Installation, sandbox: Sandbox, tokens: dict[str, Any]) -> None:
    installation.refresh(tokens["refresh_token"])
    installation.token("/introspect", token=tokens["access_token"])
    sandbox.api("GET", "/account-info/2026-09/details", tokens["access_token"])
    log = sandbox.control("GET", "/requests").text
    assert "oauth.introspect" in log
    assert "account.details" in log
    for secret in (CLIENT_SECRET, tokens["access_token"], tokens["refresh_token"]):
        assert secret not in log
