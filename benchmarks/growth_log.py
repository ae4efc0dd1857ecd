"""Pages that show codes, with a million codes in one portal against ten thousand.

`python -m benchmarks.growth_log` (QUICK=1: a hundred thousand). Prints, for every page, the queries it makes and how long
it takes as a ratio; appends one JSON line a figure to benchmarks/results.jsonl.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sandbox.local import servers
from tests import environment

FEW = 10_000
ROUNDS = 15
RESULTS = Path(__file__).parent / "results.jsonl"


def main() -> int:
    """Measure and print."""
    many = 100_000 if os.environ.get("QUICK") == "1" else 1_000_000
    print("Starting PostgreSQL and Valkey …", flush=True)
    with servers.postgres() as postgres, servers.valkey() as valkey:
        os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = postgres.url, valkey.connection_url + "/0"
        environment.install()
        os.environ["DJANGO_SETTINGS_MODULE"] = "opsagent.settings"
        os.environ["LOG_LEVEL"] = "WARNING"
        import django  # noqa: PLC0415 (the settings read the addresses above)

        django.setup()
        small, large = _measure(FEW), _measure(many)
    print(f"\n{'page':34} {'queries':>9} {FEW:>12,} {many:>12,} {'ratio':>7}")
    for page, (queries, seconds) in large.items():
        few_queries, few_seconds = small[page]
        ratio = seconds / few_seconds
        same = str(queries) if queries == few_queries else f"{few_queries} → {queries}"
        print(f"{page:34} {same:>9} {few_seconds * 1000:>9.1f} ms {seconds * 1000:>9.1f} ms {ratio:>7.2f}")
        with RESULTS.open("a") as file:
            figure = {"figure": f"log: {page}", "codes": many, "ratio_to": FEW, "ratio": round(ratio, 3)}
            file.write(json.dumps(figure | {"queries": queries}) + "\n")
    return 0


def _measure(count: int) -> dict[str, tuple[int, float]]:
    """Return queries and the best seconds of every page, in a fresh database with so many codes."""
    from django.core.management import call_command  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from tests import factories, many_codes  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    portal = factories.OAuthGrantFactory.create().portal
    factories.OTPSettingsFactory.create(portal=portal)
    print(f"Writing {count:,} codes …", flush=True)
    many_codes.insert(portal_id=portal.id, count=count, now=timezone.now(), contacts=max(1000, count // 20))
    try:
        return {name: _time(page) for name, page in _pages(portal).items()}
    finally:
        call_command("migrate", "otp", "zero", verbosity=0)


def _pages(portal: Any) -> dict[str, Callable[[], Any]]:
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from otp.models import OneTimeCode  # noqa: PLC0415
    from otp.pages import activity  # noqa: PLC0415
    from otp.staff.support import Search  # noqa: PLC0415
    from tests import staff as members_of_staff  # noqa: PLC0415
    from tests.portal_admin import signed_in  # noqa: PLC0415

    boss, _ = User.objects.get_or_create(username="boss", is_staff=True, is_superuser=True)
    admin, staff = signed_in(portal), members_of_staff.signed_in(boss)
    codes = OneTimeCode.objects.filter(portal=portal)
    oldest = codes.order_by("created_at")[100]
    place = str(activity.Place(oldest.created_at, oldest.id))
    recipient = ".".join(digest.hex() for digest in activity.digests_of(portal=portal, address="ann@example.com"))
    log, listed = "/settings/log", "/admin/otp/onetimecode/"

    def page(client: Client, path: str, **query: str) -> Callable[[], Any]:
        return lambda: client.get(path, query, secure=True)

    return {
        "log, newest, chart of a day": page(admin, log, period="day"),
        "log, oldest": page(admin, log, before=place),
        "log, one contact": page(admin, log, contact="1500"),
        "log, one address": page(admin, log, recipient=recipient),
        "log, verified": page(admin, log, result="verified"),
        "log, no such source": page(admin, log, source="test"),
        "log, newest, chart of 30 days": page(admin, log, period="month"),
        "log, one code": page(admin, f"{log}/{oldest.id}"),
        "admin, codes": page(staff, listed),
        "admin, codes of a contact": page(staff, listed, q="contact:1500"),
        "admin, codes of an address": page(staff, listed, q=Search.sealed("ann@example.com")),
        "admin, failed deliveries": page(staff, "/admin/otp/delivery/", status__exact="failed"),
    }


def _time(page: Callable[[], Any]) -> tuple[int, float]:
    from django.db import connection  # noqa: PLC0415

    queries = 0

    def count(execute: Any, *arguments: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(*arguments)

    with connection.execute_wrapper(count):
        response = page()
    if response.status_code != HTTPStatus.OK:
        raise SystemExit(f"A page was not shown: {response}")
    seconds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        page()
        seconds.append(time.perf_counter() - begun)
    return queries, min(seconds)


if __name__ == "__main__":
    sys.exit(main())
