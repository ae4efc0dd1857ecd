"""What the addresses of admin pages may say: no answer to what is not shown, and no 500 to whatever somebody types."""

import itertools
import re
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubspot_integration.models import Portal
from otp import audit
from otp.audit import Action, ActorKind
from otp.models import ContactGuard, OneTimeCode
from tests import factories
from tests.staff import signed_in

pytestmark = pytest.mark.django_db
FINE = {200, 301, 302, 400, 403, 404}
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def base(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


@pytest.fixture
def rows(portal: Portal) -> Portal:
    """Something in every list."""
    code = factories.OneTimeCodeFactory.create(portal=portal)
    factories.ContactGuardFactory.create(portal=portal)
    factories.DeliveryFactory.create(code=code)
    audit.record(portal=portal, at=timezone.now(), actor="x", actor_kind=ActorKind.SYSTEM, action=Action.CODE_VIEWED)
    where = {
        "ip_address": "203.0.113.7",
        "username": "x",
        "user_agent": "x",
        "http_accept": "x",
        "path_info": "/admin/",
    }
    AccessAttempt.objects.create(**where, failures_since_start=5)
    AccessLog.objects.create(**where)
    AccessFailureLog.objects.create(**where)
    return portal


@pytest.fixture
def boss(rows: Portal) -> Client:
    return ready(signed_in(User.objects.create_superuser("boss")))


@pytest.fixture
def support(rows: Portal) -> Client:
    user = User.objects.create_user("sam", is_staff=True)
    user.groups.add(Group.objects.get(name="Support"))
    return ready(signed_in(user))


def ready(client: Client) -> Client:
    client.raise_request_exception = False
    return client


def statuses(client: Client, addresses: Iterable[str]) -> dict[str, int]:
    """Return what is answered otherwise than it may be."""
    answered = {address: client.get(address, secure=True).status_code for address in addresses}
    return {address: status for address, status in answered.items() if status not in FINE}


NUMBERS = "9" * 5000
VALUES = (
    "%00", NUMBERS, "-1", "abc", "²", "99999999999", "%ED%A0%80", "", "'", "0001-01-01", "9999-12-31",
    "9999-12-31%2023:59:59%2B00:00", "0001-01-01%2000:00:00%2B23:59", "2026-02-30",
)  # fmt: skip
FEW = ("%00", NUMBERS, "abc", "%FF", "-1", "")
QUERIES = (
    *(f"{name}={value}" for value in FEW for name in ("q", "p", "o", "all", "e", "_facets", "_popup", "_to_field")),
    "o=1.2.3", "o=99.-99", "p=99999999999999999999999", "all=&p=5", "e=1&q=x", "_to_field=digest", "_to_field=code",
    "_to_field=id&_popup=1", "q=address:x", "q=contact:", "q=" + "x%20" * 900, "x" * 5000, "%00=1", "=", "a=1&" * 900,
    "_changelist_filters=%00", "_changelist_filters=a%3D%2500", "_source_model=%00",
)  # fmt: skip
LOOKUPS = ("", "__exact", "__gte", "__isnull", "__regex", "__year", "__range", "__")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_list_ends_in_an_error_whatever_its_address_says(boss: Client, support: Client, model: type[Model]) -> None:
    for client in (boss, support):
        assert statuses(client, (f"{base(model)}?{query}" for query in QUERIES)) == {}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_filter_ends_in_an_error_whatever_its_value(boss: Client, model: type[Model]) -> None:
    of_admin = admin.site._registry[model]
    names = {
        *(one if isinstance(one, str) else getattr(one, "parameter_name", "x") for one in of_admin.list_filter),
        *filter(None, [of_admin.date_hierarchy]),
        "groups__id",
    }
    addresses = (
        f"{base(model)}?{name}{lookup}={value}{more}"
        for name in names
        for lookup in LOOKUPS
        for value in (*VALUES, "1", "True")
        for more in (("", "&_facets=True") if lookup == "__exact" else ("",))
    )
    assert statuses(boss, addresses) == {}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_date_hierarchies_and_what_no_day_is(boss: Client, model: type[Model]) -> None:
    name = admin.site._registry[model].date_hierarchy or "created_at"
    dates = [(year, month, day) for year in ("0", "1", "2026", "9998", "9999", "10000")
        for month, day in (("0", "1"), ("2", "30"), ("12", "31"), ("13", "0"))]  # fmt: skip
    assert (
        statuses(boss, (f"{base(model)}?{name}__year={y}&{name}__month={m}&{name}__day={d}" for y, m, d in dates)) == {}
    )
    assert (
        statuses(boss, (f"{base(model)}?{name}__{part}={value}" for part in ("month", "day") for value in VALUES)) == {}
    )


PATHS = ("%00", "_00", "abc", "-1", NUMBERS, "99999999999999999999", "a/b", str(uuid4()))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_page_of_a_row_that_cannot_be_ends_in_an_error(boss: Client, support: Client, model: type[Model]) -> None:
    tails = ("change/", "history/", "delete/", "password/", "audit.csv")
    for client in (boss, support):
        assert statuses(client, (f"{base(model)}{pk}/{tail}" for pk in PATHS for tail in tails)) == {}
    assert statuses(boss, (f"{base(model)}add/?{query}" for query in QUERIES[::5])) == {}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_action_on_rows_that_cannot_be_ends_in_an_error(boss: Client, support: Client, model: type[Model]) -> None:
    actions = ("", "x", "delete_selected", "disconnect", "retry", "lift", "cleanup_expired_attempts", "\0")
    rows_that_cannot_be = ("abc", "\0", NUMBERS, "99999999999999999999", str(uuid4()))
    for client, action, chosen in itertools.product((boss, support), actions, rows_that_cannot_be):
        form = {"action": action, "_selected_action": chosen, "confirmed": "yes", "post": "yes", "index": "x"}
        assert client.post(base(model), form, secure=True).status_code in FINE, form
    assert boss.post(base(model), {"typed": "x\0"}, secure=True).status_code in FINE


@pytest.mark.parametrize("who", ["boss", "support"])
def test_no_other_page_ends_in_an_error(who: str, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(who)
    addresses = [
        *(f"/admin/r/{kind}/{pk}/" for kind in ("%00", "abc", "7", NUMBERS) for pk in PATHS[::2]),
        *(f"/admin/autocomplete/?app_label={a}&model_name={m}&field_name={f}&term={t}" for a in ("otp", "x", "%00") for m in ("onetimecode", "%00") for f in ("portal", "digest") for t in FEW),
        *(f"/admin/{page}?{name}={value}" for page in ("", "prove/", "second-factor/", "password_change/", "enrol/", "login/", "jsi18n/", "otp/") for name in ("next", "key") for value in FEW),
        "/admin/%00", "/admin/%00/", "/admin/x/", "/admin/otp/x/", "/admin/prove/?next=//evil.example",
    ]  # fmt: skip
    assert statuses(client, addresses) == {}


def test_a_search_of_five_thousand_characters_is_refused_with_a_sentence(support: Client) -> None:
    answer = support.post("/admin/otp/onetimecode/", {"typed": "9" * 5000}, secure=True, follow=True)
    assert "Nothing was searched: that is longer than 300 characters." in answer.content.decode()


# ---------------------------------------------------------------- what lists do not tell


def fields_of(model: type[Model]) -> list[str]:
    own = [field.name for field in model._meta.get_fields()]
    others = [
        f"{field.name}__{other.name}"
        for field in model._meta.get_fields()
        if field.is_relation and field.related_model is not None and not isinstance(field.related_model, str)
        for other in field.related_model._meta.get_fields()
    ]
    return own + others


@pytest.mark.parametrize("who", ["boss", "support"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_is_filtered_by_what_it_offers_only(
    who: str, model: type[Model], request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(who)
    if client.get(base(model), secure=True).status_code == 403:
        return  # Support does not see this one
    of_admin = admin.site._registry[model]
    offered = {one for one in of_admin.list_filter if isinstance(one, str)} | {of_admin.date_hierarchy}
    allowed = []
    for name in fields_of(model):
        for lookup in ("", "__gt", "__isnull"):
            if name not in offered and client.get(f"{base(model)}?{name}{lookup}=1", secure=True).status_code != 400:
                allowed.append(name + lookup)  # noqa: PERF401 (three loops in one line read badly)
    assert set(allowed) <= {"groups__id__exact", "groups__id"}


@pytest.mark.parametrize(
    "query",
    [
        "digest__gt=a", "address_digest__gt=a", "code__isnull=1", "address__contains=x", "first_name=x", "portal__grant__access_token__isnull=0",
        "deliveries__status=failed", "expires_at__year=99999999999", "expires_at__year=2026", "id__in=1", "pk=1", "portal_id=1",
    ],
)  # fmt: skip
def test_support_cannot_ask_a_list_about_what_it_does_not_show(support: Client, query: str) -> None:
    assert support.get(f"/admin/otp/onetimecode/?{query}", secure=True).status_code == 400


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/admin/otp/delivery/", "status__exact=failed"),
        ("/admin/otp/delivery/", "status=failed"),
        ("/admin/auth/user/", "is_staff__exact=1"),
        ("/admin/auth/user/", "groups__id__exact=1"),
        ("/admin/axes/accessattempt/", "locked_out=yes"),
        ("/admin/axes/accessattempt/", "attempt_time__gte=2026-01-01+00%3A00%3A00%2B00%3A00&attempt_time__lt=2999-01-01+00%3A00%3A00%2B00%3A00"),
        ("/admin/axes/accesslog/", "logout_time__isnull=True"),
        ("/admin/axes/accesslog/", f"attempt_time__year={timezone.now().year}&attempt_time__month={timezone.now().month}"),
        ("/admin/axes/accessattempt/", "path_info=%2Fadmin%2F"),
        ("/admin/axes/accessattempt/", "q=203.0.113.7"),
    ],
)  # fmt: skip
def test_what_lists_offer_works(boss: Client, path: str, query: str) -> None:
    assert boss.get(f"{path}?{query}", secure=True).status_code == 200


@pytest.mark.parametrize(
    "path", ["/admin/axes/accessattempt/", "/admin/auth/user/", "/admin/otp/delivery/", "/admin/axes/accesslog/"]
)
def test_every_link_that_a_list_draws_leads_somewhere(boss: Client, path: str) -> None:
    page = boss.get(f"{path}?_facets=True", secure=True).content.decode().replace("&amp;", "&")
    links = set(re.findall(r'href="(\?[^"]*)"', page))
    assert len(links) > 2
    assert {link for link in links if boss.get(path + link, secure=True).status_code != 200} == set()


text = st.text(max_size=30)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=st.sampled_from(MODELS), query=st.dictionaries(text, text, max_size=4), field=st.data())
def test_no_list_ends_in_an_error_whatever_is_made_up(
    boss: Client, model: type[Model], query: dict[str, str], field: Any
) -> None:
    name = field.draw(st.sampled_from([f.name for f in model._meta.get_fields()]))
    for asked in (query, {name + field.draw(st.sampled_from(LOOKUPS)): field.draw(text)}):
        assert boss.get(base(model), asked, secure=True).status_code in FINE, asked


def test_there_was_something_to_look_at(boss: Client) -> None:
    assert OneTimeCode.objects.exists()
    assert ContactGuard.objects.exists()
