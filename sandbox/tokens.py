"""Authorization codes, access tokens and refresh tokens of the app.

https://developers.hubspot.com/docs/api-reference/latest/authentication/manage-oauth-tokens
"""

import base64
import hashlib
import secrets
import uuid
from dataclasses import dataclass

CODE_SECONDS = 60


class GrantError(Exception):
    """A code or refresh token that buys nothing, with HubSpot's status word."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Authorization:
    """What an installer granted: the app may act in this portal with these scopes."""

    portal_id: int
    user_id: int
    scopes: tuple[str, ...]
    hublet: str


@dataclass(frozen=True, slots=True)
class _Code:
    authorization: Authorization
    redirect_uri: str
    challenge: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token of one portal."""

    token: str
    authorization: Authorization
    expires_at: float


class Tokens:
    """Keep every token the sandbox has given out."""

    def __init__(self) -> None:
        self._codes: dict[str, _Code] = {}
        self._refresh: dict[str, Authorization] = {}
        self._access: dict[str, AccessToken] = {}

    def issue_code(self, authorization: Authorization, *, redirect_uri: str, challenge: str, now: float) -> str:
        """Return a code that can be redeemed once within a minute."""
        code = _identifier(authorization.hublet)
        self._codes[code] = _Code(authorization, redirect_uri, challenge, now + CODE_SECONDS)
        return code

    def redeem(self, code: str, *, redirect_uri: str, verifier: str, now: float) -> tuple[str, Authorization]:
        """Exchange a code for a refresh token. The first attempt uses the code up. Raises GrantError."""
        known = self._codes.pop(code, None)
        if known is None or known.expires_at <= now:
            raise GrantError("BAD_AUTH_CODE", "missing or unknown auth code")
        if known.redirect_uri != redirect_uri:
            raise GrantError("BAD_REDIRECT_URI", "missing or invalid redirect uri")
        if known.challenge and known.challenge != code_challenge(verifier):
            raise GrantError("BAD_CODE_VERIFIER", "missing or invalid code verifier")
        return self.grant(known.authorization), known.authorization

    def grant(self, authorization: Authorization) -> str:
        """Return a refresh token, valid until it is revoked or the app is uninstalled."""
        refresh_token = _identifier(authorization.hublet)
        self._refresh[refresh_token] = authorization
        return refresh_token

    def owner(self, refresh_token: str) -> Authorization:
        """Return whose refresh token this is. Raises GrantError."""
        try:
            return self._refresh[refresh_token]
        except KeyError:
            message = "refresh token is invalid, expired or revoked"
            raise GrantError("BAD_REFRESH_TOKEN", message) from None

    def rotate(self, refresh_token: str) -> str:
        """Replace a refresh token by a new one; the old one is void."""
        return self.grant(self._refresh.pop(refresh_token))

    def revoke(self, refresh_token: str) -> None:
        """Void a refresh token. Access tokens already issued live on until they expire."""
        self._refresh.pop(refresh_token, None)

    def issue_access(self, authorization: Authorization, *, seconds: float, now: float) -> AccessToken:
        """Return a new access token."""
        token = AccessToken("CL" + secrets.token_urlsafe(220), authorization, now + seconds)
        self._access[token.token] = token
        return token

    def access(self, token: str) -> AccessToken | None:
        """Return an access token, expired or not, unless it was never issued or the app was uninstalled."""
        return self._access.get(token)

    def expire(self, portal_id: int, now: float) -> int:
        """Let all access tokens of a portal run out now and return how many did."""
        live = [t for t in self._access.values() if t.authorization.portal_id == portal_id and t.expires_at > now]
        for token in live:
            self._access[token.token] = AccessToken(token.token, token.authorization, now)
        return len(live)

    def uninstall(self, portal_id: int) -> None:
        """Void every token and code of a portal."""
        self._codes = {k: v for k, v in self._codes.items() if v.authorization.portal_id != portal_id}
        self._refresh = {k: v for k, v in self._refresh.items() if v.portal_id != portal_id}
        self._access = {k: v for k, v in self._access.items() if v.authorization.portal_id != portal_id}


def code_challenge(verifier: str) -> str:
    """Return the PKCE S256 challenge of a verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _identifier(hublet: str) -> str:
    return f"{hublet}-{uuid.uuid4()}"
