"""Account details, and uninstalling from the app's side."""

from datetime import datetime
from zoneinfo import ZoneInfo

from starlette.responses import Response
from starlette.routing import BaseRoute

from sandbox.api.gate import Call, route
from sandbox.replies import JSONReply


def routes() -> list[BaseRoute]:
    """Return the dated routes and the v3 twin of uninstalling."""
    path = "/appinstalls/{}/external-install"
    return [
        route("/account-info/{version}/details", "GET", "account.details", details, "oauth"),
        route(path.format("v3"), "DELETE", "appinstalls.uninstall", uninstall, "oauth"),
        route(path.format("{version}"), "DELETE", "appinstalls.uninstall", uninstall, "oauth"),
    ]


def details(call: Call) -> Response:
    """Answer what kind of account the portal is."""
    portal = call.portal
    offset = datetime.now(ZoneInfo(portal.time_zone)).strftime("%z")
    milliseconds = int(offset[:3]) * 3_600_000 + int(offset[0] + offset[3:]) * 60_000
    return JSONReply({
        "portalId": portal.id,
        "accountType": "STANDARD",
        "timeZone": portal.time_zone,
        "companyCurrency": portal.currency,
        "additionalCurrencies": [],
        "utcOffset": f"{offset[:3]}:{offset[3:]}",
        "utcOffsetMilliseconds": milliseconds,
        "uiDomain": portal.ui_domain,
        "dataHostingLocation": portal.hublet,
    })  # fmt: skip


def uninstall(call: Call) -> Response:
    """Remove the app from the portal; its tokens are void from now on.

    https://developers.hubspot.com/changelog/app-listing-and-app-certification-requirement-updates-for-may-2026
    """
    call.hubspot.uninstall(call.portal)
    return Response(status_code=204)
