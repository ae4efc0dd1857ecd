"""What operators' probes ask: is the process alive, can it do its work."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from redis import RedisError

from opsagent import broker


@require_GET
@never_cache
def healthz(_: HttpRequest) -> JsonResponse:
    """Answer 200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


@require_GET
@never_cache
def readyz(_: HttpRequest) -> JsonResponse:
    """Answer 200 when the database answers, else 503.

    A missing broker is reported but does not take the process out of service: codes are issued without it, and the
    sweep delivers them when it is back.
    """
    report = {"database": _database(), "broker": _broker()}
    ready = report["database"] == "ok"
    return JsonResponse({"status": "ok" if ready else "unavailable", **report}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"unavailable: {type(error).__name__}"
    return "ok"


def _broker() -> str:
    try:
        broker.redis().ping()
    except RedisError as error:
        return f"unavailable: {type(error).__name__}"
    return "ok"
