"""Statements through libpq: what they give, what they raise, and what becomes of the transaction around them."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError, connection, transaction

from opsagent import database
from opsagent.database import Statement, execute, once_more_when_disconnected
from sandbox.local.waiting import pace


class Name(NamedTuple):
    first: str
    last: str | None


class Person(NamedTuple):
    name: Name
    age: int


class Told(NamedTuple):
    whole: str
    age: int


GREET = Statement("SELECT %(name.first)s || COALESCE(%(name.last)s, ''), %(age)s::bigint", feed=Person, row=Told)


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements ORDER BY prepare_time")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.django_db
def test_it_feeds_a_document_from_attributes_and_makes_its_rows() -> None:
    assert GREET.rows(Person(Name("Ada", "L"), 36)) == [Told("AdaL", 36)]
    assert GREET.rows(Person(Name("Ada", None), 2**40)) == [Told("Ada", 2**40)]


@pytest.mark.django_db(transaction=True)
def test_it_prepares_once_for_each_combination_of_types() -> None:
    connection.close()
    for age in (1, 2, 3):
        GREET.rows(Person(Name("Ada", "L"), age))
    assert len(prepared()) == 1
    GREET.rows(Person(Name("Ada", None), 2**40))
    assert len(prepared()) == 2


@pytest.mark.django_db(transaction=True)
def test_it_keeps_no_more_statements_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setattr(database, "_PREPARED_AT_MOST", 3)
    for number in range(8):
        assert execute(f"SELECT {number} AS one, %(two)s::int AS two", {"two": 2})[0] == (number, 2)
    assert len(prepared()) <= 3


@pytest.mark.django_db(transaction=True)
def test_it_plans_anew_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setattr(database, "PLAN_SECONDS", 0.0)
    plans = "SELECT generic_plans FROM pg_prepared_statements WHERE statement LIKE %(text)s AND %(other)s = 1"
    for _ in range(3):
        GREET.rows(Person(Name("Ada", "L"), 1))
    assert execute(plans, {"text": "%COALESCE($%", "other": 1})[0].generic_plans == 3
    with connection.cursor() as cursor:
        cursor.execute("SHOW plan_cache_mode")
        assert cursor.fetchone() == ("force_generic_plan",)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sql", "value", "raised"),
    [
        ("INSERT INTO django_site_that_is_not (id) VALUES (%(value)s)", 1, ProgrammingError),
        ("INSERT INTO django_migrations (app, name, applied) VALUES (%(value)s, NULL, now())", "x", IntegrityError),
        ("SELECT 1 / %(value)s::int", 0, DataError),
        ("SELECT %(value)s::int", "no number", DataError),
        ("SELECT %(value)s::text", "a\0b", DataError),
        ("SELECT pg_sleep(5), %(value)s::int", 1, OperationalError),
    ],
)
def test_it_raises_what_django_raises_and_undoes_that_statement_only(
    sql: str, value: Any, raised: type[Exception]
) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT 1 AS one")
            cursor.execute("SET LOCAL statement_timeout = '300ms'")
        with pytest.raises(raised):
            execute(sql, {"value": value})
        assert execute("SELECT one, %(two)s::int AS two FROM kept", {"two": 2})[0].one == 1


@pytest.mark.django_db
def test_an_error_names_the_constraint() -> None:
    with pytest.raises(IntegrityError, match="django_content_type_app_label_model"):
        execute(
            "INSERT INTO django_content_type (app_label, model) SELECT app_label, model FROM django_content_type "
            "WHERE %(one)s = 1 LIMIT 1",
            {"one": 1},
        )


def end_this_connection() -> None:
    """Have the server end it, as a restart does."""
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    other.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_prepared", [True, False])
def test_a_lost_connection_is_an_operational_error_and_the_next_one_serves(*, is_prepared: bool) -> None:
    connection.close()
    connection.ensure_connection()
    ada = Person(Name("Ada", "L"), 36)
    if is_prepared:
        GREET.rows(ada)
    end_this_connection()
    with pytest.raises(OperationalError):
        GREET.rows(ada)
    assert once_more_when_disconnected(lambda: GREET.rows(ada)) == [Told("AdaL", 36)]


@pytest.mark.django_db(transaction=True)
def test_it_is_a_transaction_of_its_own_outside_of_one() -> None:
    execute("CREATE TABLE kept_for_a_moment AS SELECT %(one)s::int AS one", {"one": 1})
    try:
        connection.close()
        assert execute("SELECT one FROM kept_for_a_moment WHERE one = %(one)s", {"one": 1}).fetchall() == [(1,)]
    finally:
        execute("DROP TABLE kept_for_a_moment", {})


@pytest.mark.django_db(transaction=True)
def test_it_begins_the_transaction_that_it_is_in() -> None:
    with transaction.atomic():
        execute("CREATE TABLE never AS SELECT %(one)s::int AS one", {"one": 1})
        transaction.set_rollback(True)
    with pytest.raises(ProgrammingError):
        execute("SELECT one FROM never WHERE one = %(one)s", {"one": 1})


@pytest.mark.django_db(transaction=True)
def test_other_threads_go_on_while_one_waits_for_the_database() -> None:
    def wait() -> None:
        try:
            execute("SELECT pg_sleep(%(seconds)s)", {"seconds": 1.0})
        finally:
            connection.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    turns = count_while(waiting.is_alive)
    waiting.join()
    assert turns > 20


def count_while(goes_on: Callable[[], bool]) -> int:
    turns = 0
    while goes_on():
        pace(0.005)
        turns += 1
    return turns
