"""What operators' probes ask: is the process alive, can everything do its work."""

import sys
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils.module_loading import import_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.defaults import server_error
from redis import RedisError

from opsagent import broker

PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
BUSY_SECONDS: Final = 30.0
"""A delivery that has been due for longer waits for workers: they look at the oldest first, every few seconds."""
_STATEMENT_TIMEOUT: Final = "2s"
_AGAIN_AFTER: Final = "5"


class AnyHost:
    """Middleware: probes call by IP address or service name, so what they ask is answered whatever host they name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.host = urlsplit(settings.PUBLIC_BASE_URL).netloc

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        if request.path_info in PROBES:
            request.META["HTTP_HOST"] = self.host
        return self.get_response(request)


@require_safe
@never_cache
def healthz(_: HttpRequest) -> JsonResponse:
    """Answer 200 while the process answers at all: what load balancers and restarts go by."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(_: HttpRequest) -> JsonResponse:
    """Tell broken from busy: 503 names what is away; 200 says `ok`, or `busy` when deliveries have waited too long.

    For roll-outs and alarms. Codes are issued without a broker too, so no load balancer should go by this.
    """
    report: dict[str, object] = {"database": database(), "broker": broker_state()}
    if set(report.values()) != {"ok"}:
        return JsonResponse({"status": "unavailable", **report}, status=503)
    overdue = _overdue()
    status = "busy" if overdue is None or overdue > BUSY_SECONDS else "ok"
    return JsonResponse({"status": status, **report, "oldest_due_delivery_seconds": overdue})


def broken(request: HttpRequest) -> HttpResponse:
    """Answer a request that failed: with 503 where the database did not answer, else with 500. Django calls it for both.

    What HubSpot signs is answered in the same way by its door.
    """
    if not isinstance(sys.exception(), OperationalError | InterfaceError):
        return server_error(request)
    return HttpResponse(render_to_string("503.html"), status=503, headers={"Retry-After": _AGAIN_AFTER})


def database() -> str:
    """Return "ok", or what is wrong with the database, in two words."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"unavailable: {type(error).__name__}"
    return "ok"


def broker_state() -> str:
    """Return "ok", or what is wrong with the broker, in two words."""
    try:
        broker.redis().ping()
    except RedisError as error:
        return f"unavailable: {type(error).__name__}"
    return "ok"


def _overdue() -> float | None:
    """Return for how many seconds the oldest due delivery has waited; None when counting takes too long."""
    oldest: Callable[[], float] = import_string(settings.OVERDUE_SECONDS)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [_STATEMENT_TIMEOUT])
            return round(oldest(), 1)
    except DatabaseError:
        return None
