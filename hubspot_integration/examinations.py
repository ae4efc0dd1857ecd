"""What `manage.py doctor` examines of HubSpot: credentials, the uploaded app, stored tokens, the clock."""

import datetime as dt
import http.client
from email.utils import parsedate_to_datetime
from typing import Final

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from hubspot_integration import installing, signature_versions, tokens
from hubspot_integration.models import OAuthGrant, SignatureCount
from hubspot_integration.tokens import Refusal
from hubspot_integration.transport import HubSpotError
from opsagent.doctor import Finding, ask, examination, failed, ok, warning
from opsagent.encryption import DecryptionError

SAMPLE: Final = 100
# Signatures are accepted for five minutes; a minute of that is enough to notice.
CLOCK_MATTERS: Final = dt.timedelta(minutes=1)
CLOCK_BREAKS: Final = dt.timedelta(minutes=4)
REFUSALS_MATTER: Final = dt.timedelta(days=7)


@examination("credentials")
def examine_credentials() -> Finding:
    """Ask HubSpot about a refresh token that nobody has: whom it does not know it refuses for another reason."""
    refusal = tokens.refusal_of_an_unknown_token()
    if refusal is Refusal.REVOKED:
        return ok("HubSpot knows client id and client secret")
    if refusal is Refusal.CONFIGURATION:
        return failed(
            "HubSpot does not accept HUBSPOT_CLIENT_ID with HUBSPOT_CLIENT_SECRETS",
            "Copy both from the app's Auth tab in HubSpot; the current secret comes first.",
        )
    return failed(
        f"HubSpot did not answer at {settings.HUBSPOT_API_BASE_URL}",
        "Let this machine connect there with https, and see status.hubspot.com.",
    )


@examination("tokens")
def examine_tokens() -> Finding:
    """Read stored tokens with the keys that there are."""
    seen = 0
    try:
        for grant in OAuthGrant.objects.order_by("-refreshed_at")[:SAMPLE]:
            seen += bool(grant.access_token and grant.refresh_token)  # they are decrypted when they are read
    except DecryptionError:
        return failed(
            "a stored token was written with a key that is not in ENCRYPTION_KEYS",
            "Put that key back, behind the first. See docs/operations.md.",
        )
    return ok(f"{seen} of the latest read" if seen else "none stored yet")


@examination("uploaded app")
def examine_app() -> Finding:
    """Ask HubSpot whose token the latest installation is, and hold that against the settings."""
    grant = OAuthGrant.objects.order_by("-refreshed_at").only("portal_id").first()
    if grant is None:
        return ok("not installed anywhere yet; what was uploaded shows after the first installation")
    try:
        facts = tokens.introspect(tokens.access_token_for(grant.portal_id))
    except HubSpotError as error:
        return warning(f"HubSpot does not tell ({error.reason})", "Run it again, or see what the settings page says.")
    if facts.get("app_id") not in {None, settings.HUBSPOT_APP_ID}:
        return failed(
            f"portals have installed app {facts['app_id']}, HUBSPOT_APP_ID says {settings.HUBSPOT_APP_ID}",
            "Copy app id, client id and client secret from one and the same app's Auth tab.",
        )
    missing = sorted(set(installing.REQUIRED_SCOPES) - set(facts.get("scopes") or installing.REQUIRED_SCOPES))
    if missing:
        return failed(
            f"the latest installation lacks {', '.join(missing)}",
            "Upload the project again and let the portal's admin choose Reconnect. See docs/hubspot-project.md.",
        )
    return ok(f"app {settings.HUBSPOT_APP_ID}, with every scope it requires")


@examination("clock")
def examine_clock() -> Finding:
    """Compare this machine's clock with HubSpot's: signatures carry the time."""
    try:
        said = ask(settings.HUBSPOT_API_BASE_URL).headers.get("date", "")
        difference = abs(timezone.now() - parsedate_to_datetime(said))
    except (OSError, http.client.HTTPException):
        return failed("HubSpot did not answer, so nothing to compare with", "Mend the connection to HubSpot first.")
    except ValueError:
        return warning("HubSpot's answer bears no date", "Check the clock by other means.")
    seconds = round(difference.total_seconds())
    if difference >= CLOCK_BREAKS:
        return failed(
            f"{seconds} seconds off: HubSpot's signatures are taken for old ones",
            "Set the clock; keep it right with NTP.",
        )
    if difference >= CLOCK_MATTERS:
        return warning(f"{seconds} seconds off", "Set the clock; keep it right with NTP.")
    return ok(f"{seconds} seconds off")


@examination("signatures")
def examine_signatures() -> Finding:
    """Say which versions of its signature HubSpot sends, and whether version 2 alone was refused lately."""
    try:
        counts = list(SignatureCount.objects.order_by("action"))
        refusing = set(signature_versions.enough().values_list("action", flat=True))
    except DatabaseError as error:
        return failed(f"cannot be told: {type(error).__name__}", "Mend the database first.")
    policy = settings.HUBSPOT_ALLOW_V2
    refuses_all = policy == "false"
    said = [
        f"{_name(count)}: version 2 alone is "
        f"{'refused' if refuses_all or (policy == 'auto' and count.action in refusing) else 'accepted'}, "
        f"{count.v3_calls} of version 3, {count.v2_calls} of version 2 alone"
        for count in counts
    ]
    seen = f"HUBSPOT_ALLOW_V2={policy}; {'; '.join(said) if said else 'no calls yet'}"
    lately = timezone.now() - REFUSALS_MATTER
    refused = [count for count in counts if count.v2_refused and count.last_v2_at and count.last_v2_at > lately]
    if not refused:
        return ok(seen)
    told = ", ".join(f"{_name(count)} {count.v2_refused}, last {count.last_v2_at:%Y-%m-%d %H:%M}" for count in refused)
    return warning(
        f"valid calls with version 2 alone were refused: {told}. {seen}",
        "If workflow steps fail with 401, HubSpot has stopped sending version 3: set HUBSPOT_ALLOW_V2=true. Otherwise "
        "somebody sends captured calls again: replace the client secret. See docs/operations.md.",
    )


def _name(count: SignatureCount) -> str:
    return count.action.rpartition("/")[2]
