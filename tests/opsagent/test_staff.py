"""The login of support staff, through the real forms: both factors, how often, for how long, and the apps themselves."""

import datetime as dt
import html
import io
import re
from base64 import b32encode
from collections.abc import Callable
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client, RequestFactory
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from opsagent.staff import proof
from opsagent.staff.enrolment import link
from opsagent.staff.throttle import client_address
from tests.staff import INDEX, LOGIN, PASSWORD, forget_used_tokens, signed_in, token_of, with_app, wrong

FACTOR, ENROL, PROVE, CHANGE = "/admin/second-factor/", "/admin/enrol/", "/admin/prove/", "/admin/password_change/"
REFUSED = "User name, password and authentication code do not fit together."
UNUSABLE = "This link cannot be used"


@pytest.fixture(autouse=True)
def _cheap_hashes(settings: Settings) -> None:
    """A real hash takes a second of a busy machine, and there are hundreds here."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("sam", password=PASSWORD, is_staff=True)


@pytest.fixture
def app(user: User) -> TOTPDevice:
    return with_app(user)


def log_in(
    client: Client | None = None,
    password: str = PASSWORD,
    token: str = "",
    *,
    at: str = "203.0.113.7",
    name: str = "sam",
) -> Any:
    form = {"username": name, "password": password, "otp_token": token, "next": INDEX}
    return (client or Client()).post(LOGIN, form, headers={"X-Forwarded-For": at}, secure=True)


def rightly(device: TOTPDevice, client: Client | None = None, *, at: str = "203.0.113.7") -> int:
    """Log in with what is right; return the status."""
    forget_used_tokens()
    return int(log_in(client, token=token_of(device), at=at).status_code)


def text_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def post(client: Client, path: str, **form: str) -> Any:
    return client.post(path, form, secure=True, follow=True)


# ---------------------------------------------------------------- both factors, one answer


def test_both_factors_let_somebody_in(app: TOTPDevice) -> None:
    client = Client()
    assert client.get(INDEX, secure=True).status_code == 302
    assert log_in(client, token=token_of(app))["Location"] == INDEX
    assert client.get(INDEX, secure=True).status_code == 200


def test_digits_may_be_typed_with_spaces(app: TOTPDevice) -> None:
    token = token_of(app)
    assert log_in(token=f" {token[:3]} {token[3:]} ").status_code == 302


@pytest.mark.parametrize("rank", ["is_staff", "is_superuser"])
def test_nobody_gets_in_with_a_password_alone(user: User, rank: str) -> None:
    User.objects.update(is_superuser=rank == "is_superuser")
    client = Client()
    assert REFUSED in text_of(log_in(client))
    assert client.get(INDEX, secure=True).status_code == 302


def test_who_is_not_in_staff_does_not_get_in(app: TOTPDevice) -> None:
    User.objects.update(is_staff=False)
    assert REFUSED in text_of(log_in(token=token_of(app)))


def test_whatever_was_wrong_the_answer_the_count_and_the_work_are_the_same(app: TOTPDevice) -> None:
    right, other = token_of(app), wrong(token_of(app))
    attempts = {
        "no such user": {"name": "nobody", "token": right},
        "wrong password, no code": {"password": "wrong"},
        "wrong password, right code": {"password": "wrong", "token": right},
        "right password, no code": {},
        "right password, wrong code": {"token": other},
        "right password, letters": {"token": "abcdef"},
        "right password, code of 20 digits": {"token": "9" * 20},
        "right password, no code but a space": {"token": " "},
    }
    found = {}
    for number, (what, attempt) in enumerate(attempts.items()):
        place = f"198.51.100.{number}"
        with mock.patch.object(
            MD5PasswordHasher, "encode", autospec=True, side_effect=MD5PasswordHasher.encode
        ) as hashed:
            answer = log_in(at=place, **attempt)  # type: ignore[arg-type]
        said = re.sub(r'value="(nobody|sam)"|value="\w{64}"|(?<=name="otp_token") value="[^"]*"', "", text_of(answer))
        counted = AccessAttempt.objects.get(ip_address=place).failures_since_start
        found[what] = (answer.status_code, said, counted, hashed.call_count)
    assert len(set(found.values())) == 1, found
    assert found["right password, no code"][2:] == (1, 1)
    assert REFUSED in found["right password, no code"][1]


def test_a_right_password_of_an_account_without_an_app_is_not_confirmed_either(user: User) -> None:
    ours, theirs = log_in(), log_in(password="wrong")
    assert re.sub(r"value=\"\w{64}\"", "", text_of(ours)) == re.sub(r"value=\"\w{64}\"", "", text_of(theirs))
    assert AccessAttempt.objects.get().failures_since_start == 2


def test_a_code_is_accepted_once(app: TOTPDevice) -> None:
    token = token_of(app)
    assert log_in(token=token).status_code == 302
    assert REFUSED in text_of(log_in(token=token))


def test_neither_logs_nor_tables_keep_what_was_typed(app: TOTPDevice, logged: Callable[[], str]) -> None:
    log_in(password="wrong-password-typed")
    log_in(token=wrong(token_of(app)))
    kept, lines = " ".join(str(list(AccessAttempt.objects.values()))), logged()
    for typed in ("wrong-password-typed", PASSWORD, wrong(token_of(app))):
        assert typed not in lines
        assert typed not in kept.replace(" ", "")


# ---------------------------------------------------------------- how often


@pytest.mark.parametrize("length", [151, 256, 100_000])
def test_a_name_may_be_longer_than_any_that_there_is(app: TOTPDevice, length: int) -> None:
    form = {"username": "x" * length, "password": PASSWORD, "otp_token": "123456"}
    answer = Client().post(LOGIN, form, secure=True)
    assert answer.status_code == 200
    assert "at most 150 characters" in text_of(answer)


def test_five_failures_lock_the_account_for_that_network_only(app: TOTPDevice) -> None:
    for _ in range(4):
        assert log_in(password="wrong").status_code == 200
    locked = log_in(password="wrong")
    assert locked.status_code == 429
    assert "Too many failed logins" in text_of(locked)
    assert rightly(app) == 429
    assert rightly(app, at="203.0.113.8") == 302


def test_wrong_codes_count_like_wrong_passwords(app: TOTPDevice) -> None:
    statuses = [log_in(token=wrong(token_of(app))).status_code for _ in range(3)]
    assert [*statuses, *(log_in().status_code for _ in range(2))] == [200, 200, 200, 200, 429]


def test_a_lock_ends_by_itself_and_trying_does_not_prolong_it(app: TOTPDevice) -> None:
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False) as clock:
        for _ in range(5):
            log_in(password="wrong")
        clock.move_to("2026-11-23T12:14:00Z")
        assert rightly(app) == 429
        clock.move_to("2026-11-23T12:15:01Z")
        assert rightly(app) == 302


def test_forty_addresses_of_one_subscriber_are_one(app: TOTPDevice) -> None:
    statuses = [log_in(password="wrong", at=f"2001:db8:1:2::{number:x}").status_code for number in range(40)]
    assert statuses == [200] * 4 + [429] * 36
    assert rightly(app, at="2001:db8:1:2:ffff::1") == 429
    assert rightly(app, at="2001:db8:1:3::1") == 302


def test_one_network_guesses_at_many_accounts_twenty_times_only(app: TOTPDevice) -> None:
    statuses = [log_in(password="wrong", name=f"user{number}").status_code for number in range(25)]
    assert statuses == [200] * 19 + [429] * 6
    assert rightly(app) == 429
    assert rightly(app, at="203.0.113.8") == 302


def test_an_account_that_many_networks_guess_at_is_throttled_and_its_owner_gets_in(app: TOTPDevice) -> None:
    statuses = [log_in(password="wrong", at=f"198.51.100.{number}").status_code for number in range(40)]
    assert statuses == [200] * 19 + [429] * 21
    hash_it = mock.patch.object(MD5PasswordHasher, "encode", autospec=True, side_effect=MD5PasswordHasher.encode)
    with hash_it as hashed:
        assert log_in(at="192.0.2.1").status_code == 429  # the right password alone is not even looked at
    assert hashed.call_count == 0
    assert log_in(password="wrong", token=token_of(app), at="192.0.2.2").status_code == 429
    assert log_in(token=wrong(token_of(app)), at="192.0.2.3").status_code == 429
    assert rightly(app, at="192.0.2.4") == 302


def test_whoever_knows_the_password_alone_keeps_nobody_out_for_long(app: TOTPDevice) -> None:
    """Wrong codes slow each other down, up to one in five minutes; the owner's browser does not wait."""
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False) as clock:
        known = Client()
        assert rightly(app, known, at="192.0.2.1") == 302
        TOTPDevice.objects.update(throttling_failure_count=proof.FREE_GUESSES - 1)
        log_in(token=wrong(token_of(app)), at="198.51.100.1")
        for number in range(2, 60):
            clock.shift(600)
            log_in(token=wrong(token_of(app)), at=f"198.51.100.{number}")
        clock.shift(1)
        assert rightly(app, at="192.0.2.2") == 200
        known.cookies.pop("__Host-opsagent_session")
        assert rightly(app, known, at="192.0.2.3") == 302
        TOTPDevice.objects.update(throttling_failure_count=10**6)
        clock.shift(301)
        assert rightly(app, at="192.0.2.4") == 302
        assert TOTPDevice.objects.get().throttling_failure_count == 0


def test_a_known_browser_is_not_locked_out_by_others(app: TOTPDevice) -> None:
    known = Client()
    assert rightly(app, known) == 302
    cookie = known.cookies["__Host-opsagent_staff_browser"]
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
    for _ in range(6):
        log_in(password="wrong")
    assert rightly(app) == 429
    known.cookies.pop("__Host-opsagent_session")
    assert rightly(app, known) == 302


def test_a_known_browser_has_five_guesses_like_everybody(app: TOTPDevice) -> None:
    known = Client()
    assert rightly(app, known) == 302
    known.cookies.pop("__Host-opsagent_session")
    statuses = [log_in(known, "wrong", at=f"198.51.100.{number}").status_code for number in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]
    assert rightly(app, known) == 429


@pytest.mark.parametrize("name", ["", "x", "x:y:z", "W10:1x:y", "\x00", "ü"])
def test_a_made_up_browser_is_unknown(app: TOTPDevice, name: str) -> None:
    client = Client(headers={"User-Agent": "known browser known browser x"})
    client.cookies["__Host-opsagent_staff_browser"] = name
    statuses = [log_in(client, "wrong").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]


def test_a_browser_is_known_for_its_own_account_and_password_only(app: TOTPDevice) -> None:
    known = Client()
    assert rightly(app, known) == 302
    known.cookies.pop("__Host-opsagent_session")
    other = User.objects.create_user("kim", password=PASSWORD, is_staff=True)
    statuses = [log_in(known, "wrong", name="kim").status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]
    User.objects.get(username="sam").set_password("another-long-password")
    user = User.objects.get(username="sam")
    user.set_password("another-long-password")
    user.save()
    assert [log_in(known, "wrong").status_code for _ in range(5)][-1] == 429
    assert AccessAttempt.objects.filter(user_agent__contains="known browser").count() == 0
    assert other.pk


def test_made_up_proxies_do_not_help_who_guesses(app: TOTPDevice) -> None:
    for number in range(5):
        log_in(password="wrong", at=f"198.51.100.{number}, 203.0.113.7")
    assert rightly(app) == 429


@pytest.mark.parametrize(
    ("proxies", "header", "expected"),
    [
        (0, "198.51.100.1", "127.0.0.1"),
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (1, "", "127.0.0.1"),
        (2, "203.0.113.7", "127.0.0.1"),
        (1, "203.0.113.7:4711", "203.0.113.7"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (1, "[2001:db8:1:2::1]:443", "2001:db8:1:2::"),
        (1, "[2001:db8:1:2::1]", "2001:db8:1:2::"),
        (1, '"[2001:db8:1:2::1]:443"', "2001:db8:1:2::"),
        (1, "fe80::1%eth0", "fe80::"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
        (1, "unknown", None),
        (1, "_hidden, garbage", None),
        (1, "203.0.113.7, ", "203.0.113.7"),
        (1, ",,,", "127.0.0.1"),
        (1, "999.1.1.1", None),
        (1, "[", None),
        (1, "[::1", "::"),
        (1, "203.0.113.07", None),
        (1, "٢٠٣.0.113.7", None),
        (1, "x" * 100_000, None),
        (1, ", ".join(["198.51.100.1"] * 10_000 + ["203.0.113.7"]), "203.0.113.7"),
    ],
)
def test_the_network_is_what_our_own_proxies_saw(settings: Settings, proxies: int, header: str, expected: str) -> None:
    settings.PROXY_COUNT = proxies
    request = RequestFactory().get("/", headers={"X-Forwarded-For": header} if header else {})
    assert client_address(request) == expected


def test_behind_a_socket_nobody_knows_the_address_and_failures_count_all_the_same(app: TOTPDevice) -> None:
    client = Client(REMOTE_ADDR="")
    statuses = [log_in(client, "wrong", at="unknown").status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]


@pytest.mark.parametrize("at", ["203.0.113.7:4711", "[2001:db8::1]:443", "unknown", "garbage", "", "\x7f", "ü"])
def test_whatever_a_proxy_writes_a_login_works(app: TOTPDevice, at: str) -> None:
    assert log_in(password="wrong", at=at).status_code == 200
    assert rightly(app, at=at) == 302


# ---------------------------------------------------------------- how an app comes to an account


def enrol_link(name: str = "sam") -> tuple[str, str]:
    """Ask the command for a link; return its path with the query, and the key alone."""
    out = io.StringIO()
    call_command("staff_enrol", name, stdout=out, stderr=io.StringIO())
    url = out.getvalue().strip()
    assert url.startswith("https://otp.example.com/admin/enrol/?key=")
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}", parse_qs(parts.query)["key"][0]


def enrol(client: Client, key: str, password: str = PASSWORD) -> Any:
    """Walk through the link's page to the end."""
    page = post(client, ENROL, key=key, step="password", password=password)
    device = TOTPDevice.objects.filter(confirmed=False).first()
    if device is None:
        return page
    return post(client, ENROL, key=key, step="confirm", otp_token=token_of(device))


def test_a_link_and_the_password_set_an_app_up(user: User) -> None:
    client = Client()
    path, key = enrol_link()
    assert "sam" in text_of(client.get(path, secure=True))
    page = post(client, ENROL, key=key, step="password", password=PASSWORD)
    assert re.search(r"<svg [^>]*role=\"img\"", text_of(page))
    assert re.search(r"<rect [^>]*fill=\"white\"", text_of(page))  # or it would be black on black in the dark
    assert client.get(INDEX, secure=True).status_code == 302
    device = TOTPDevice.objects.get()
    assert not device.confirmed
    page = post(client, ENROL, key=key, step="confirm", otp_token=token_of(device))
    assert "Your authenticator app is set up." in text_of(page)
    assert client.get(INDEX, secure=True).status_code == 200
    assert rightly(device) == 302


def test_a_stolen_password_sets_no_app_up(user: User) -> None:
    client = Client()
    log_in(client)
    for path in (ENROL, FACTOR, f"{ENROL}?key={user.pk}-x-y"):
        for step in ("password", "change", "begin", "confirm"):
            client.post(path, {"step": step, "password": PASSWORD, "otp_token": "123456"}, secure=True)
    assert not TOTPDevice.objects.exists()


def test_a_link_without_the_password_sets_no_app_up_and_guessing_it_is_throttled(user: User) -> None:
    _, key = enrol_link()
    client = Client()
    statuses = [post(client, ENROL, key=key, step="password", password="wrong").status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]
    assert post(client, ENROL, key=key, step="password", password=PASSWORD).status_code == 429
    assert not TOTPDevice.objects.exists()


def test_the_last_step_needs_the_first_in_the_same_browser(user: User) -> None:
    _, key = enrol_link()
    post(Client(), ENROL, key=key, step="password", password=PASSWORD)
    device = TOTPDevice.objects.get()
    page = post(Client(), ENROL, key=key, step="confirm", otp_token=token_of(device))
    assert not TOTPDevice.objects.get().confirmed
    assert device.key not in text_of(page)


def test_a_wrong_code_confirms_nothing(user: User) -> None:
    _, key = enrol_link()
    client = Client()
    post(client, ENROL, key=key, step="password", password=PASSWORD)
    device = TOTPDevice.objects.get()
    assert "This code is wrong" in text_of(
        post(client, ENROL, key=key, step="confirm", otp_token=wrong(token_of(device)))
    )
    assert not TOTPDevice.objects.get().confirmed
    assert "is set up" in text_of(post(client, ENROL, key=key, step="confirm", otp_token=token_of(device)))


def spoil(why: str, user: User) -> str:
    """Return a link's path that cannot be used, for a reason."""
    path, key = enrol_link()
    if why.startswith("used"):
        enrol(Client(), key)
    if why == "used, and the app removed since":
        TOTPDevice.objects.all().delete()
    if why == "another password":
        user.set_password("another-long-password")
        user.save()
    if why == "deleted":
        user.delete()
    User.objects.update(is_active=why != "deactivated", is_staff=why != "no longer in staff")
    other = User.objects.create_user("kim", password=PASSWORD, is_staff=True)
    replaced = {"of another user": f"{other.pk}-{key.partition('-')[2]}", "damaged": key[:-1], "none": ""}
    return path.replace(key, replaced.get(why, key))


WHY = [
    "used", "used, and the app removed since", "deactivated", "no longer in staff", "another password", "of another user",
    "deleted", "damaged", "none",
]  # fmt: skip


@pytest.mark.parametrize("why", WHY)
def test_a_link_that_cannot_be_used_says_one_thing(user: User, why: str) -> None:
    path = spoil(why, user)
    answer = Client().get(path, secure=True)
    assert answer.status_code == 400
    assert UNUSABLE in text_of(answer)
    before = list(TOTPDevice.objects.values_list("pk", flat=True))
    key = parse_qs(urlsplit(path).query).get("key", [""])[0]
    answer = post(Client(), ENROL, key=key, step="password", password=PASSWORD)
    assert UNUSABLE in text_of(answer)
    assert list(TOTPDevice.objects.values_list("pk", flat=True)) == before


def test_a_link_lives_for_a_day(user: User) -> None:
    path, _ = enrol_link()
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=23)):
        assert Client().get(path, secure=True).status_code == 200
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=25)):
        assert UNUSABLE in text_of(Client().get(path, secure=True))


@pytest.mark.parametrize(
    "key",
    ["x", "-", "1-", "1-x-y", "zzzzzzzzzzzzzzzz-1-a", "zzzzzzzzzzzzz-1-a", "-1-2-3", "٣-1-a", "a" * 1900, "%00", "\0"],
)
def test_a_made_up_key_is_refused(user: User, key: str) -> None:
    assert Client().get(ENROL, {"key": key}, secure=True).status_code == 400
    assert Client().post(ENROL, {"key": key, "step": "confirm", "otp_token": "1"}, secure=True).status_code == 400


def test_a_link_in_use_elsewhere_is_used_once(user: User) -> None:
    """Both browsers have got as far as the picture; the first to confirm has the app."""
    _, key = enrol_link()
    first, second = Client(), Client()
    post(first, ENROL, key=key, step="password", password=PASSWORD)
    post(second, ENROL, key=key, step="password", password=PASSWORD)
    device = TOTPDevice.objects.get()
    assert "is set up" in text_of(post(second, ENROL, key=key, step="confirm", otp_token=token_of(device)))
    assert UNUSABLE in text_of(post(first, ENROL, key=key, step="confirm", otp_token=token_of(device)))


def test_a_new_phone_takes_the_place_of_the_lost_one(app: TOTPDevice) -> None:
    _, key = enrol_link()
    enrol(Client(), key)
    device = TOTPDevice.objects.get()
    assert device.key != app.key
    assert rightly(device) == 302


def test_a_link_dies_with_the_next_login(app: TOTPDevice) -> None:
    path, _ = enrol_link()
    assert rightly(app) == 302
    assert Client().get(path, secure=True).status_code == 400


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"username": "kim"}, "There is no user sam"),
        ({"is_active": False}, "is not active"),
        ({"is_staff": False}, "not in staff"),
        ({"password": "!"}, "has no password"),
    ],
)
def test_the_command_refuses_who_cannot_use_a_link(user: User, change: dict[str, Any], complaint: str) -> None:
    User.objects.update(**change)
    with pytest.raises(CommandError, match=complaint):
        call_command("staff_enrol", "sam")


def test_no_log_holds_a_link(user: User, logged: Callable[[], str]) -> None:
    path, key = enrol_link()
    client = Client()
    client.get(path, secure=True)
    enrol(client, key, "wrong-one")
    enrol(client, key)
    assert key not in logged()
    assert key not in str(list(AccessAttempt.objects.values()))
    assert link(user) != path


# ---------------------------------------------------------------- another app, no app, another password


def test_another_app_needs_both_factors(app: TOTPDevice) -> None:
    client = signed_in(User.objects.get())
    for form in (
        {"password": "wrong", "otp_token": token_of(app)},
        {"password": PASSWORD, "otp_token": wrong(token_of(app))},
    ):
        assert "do not fit together" in text_of(post(client, FACTOR, step="change", **form))
    assert TOTPDevice.objects.get() == app
    forget_used_tokens()
    page = post(client, FACTOR, step="change", password=PASSWORD, otp_token=token_of(app))
    assert re.search(r"<svg [^>]*role=\"img\"", text_of(page))
    new = TOTPDevice.objects.get(confirmed=False)
    elsewhere = signed_in(User.objects.get())
    page = post(client, FACTOR, step="confirm", otp_token=token_of(new))
    assert "is set up" in text_of(page)
    assert TOTPDevice.objects.get() == new
    assert elsewhere.get(INDEX, secure=True).status_code == 302
    assert rightly(new) == 302


def test_a_stolen_session_sets_no_other_app_up(app: TOTPDevice) -> None:
    client = signed_in(User.objects.get())
    for step in ("", "begin", "change", "confirm", "x"):
        client.post(FACTOR, {"step": step, "otp_token": "123456"}, secure=True)
    assert TOTPDevice.objects.get() == app


def test_whoever_steals_a_session_finds_no_key_that_its_owner_left_behind(app: TOTPDevice) -> None:
    """The owner has asked for another app and gone away before setting it up."""
    client = signed_in(User.objects.get())
    post(client, FACTOR, step="change", password=PASSWORD, otp_token=token_of(app))
    left = TOTPDevice.objects.get(confirmed=False)
    TOTPDevice.objects.filter(pk=left.pk).update(created_at=timezone.now() - dt.timedelta(minutes=15))
    page = post(client, FACTOR, step="confirm", otp_token=wrong(token_of(left)))
    assert b32encode(left.bin_key).decode() not in page.content.decode()
    post(client, FACTOR, step="confirm", otp_token=token_of(left))
    assert TOTPDevice.objects.get(confirmed=True) == app


def test_guessing_with_a_stolen_session_is_throttled(app: TOTPDevice) -> None:
    client = signed_in(User.objects.get())
    statuses = [
        post(client, CHANGE, old_password=f"{n}", otp_token="123456", new_password1="x", new_password2="x").status_code
        for n in range(3)
    ]
    statuses += [post(client, FACTOR, step="remove", password="x", otp_token="1").status_code for _ in range(2)]
    assert statuses == [200, 200, 200, 200, 429]


def test_removing_an_app_needs_both_factors_and_then_a_link(app: TOTPDevice) -> None:
    client = signed_in(User.objects.get())
    page = post(client, FACTOR, step="remove", password=PASSWORD, otp_token=wrong(token_of(app)))
    assert "do not fit together" in text_of(page)
    page = post(client, FACTOR, step="remove", password=PASSWORD, otp_token=token_of(app))
    assert "The app is removed." in text_of(page)
    assert client.get(INDEX, secure=True).status_code == 302
    assert REFUSED in text_of(log_in())
    _, key = enrol_link()
    assert "is set up" in text_of(enrol(Client(), key))


def test_a_new_password_needs_both_factors(app: TOTPDevice) -> None:
    client, elsewhere = signed_in(User.objects.get()), signed_in(User.objects.get())
    new = {"new_password1": "a-new-long-password", "new_password2": "a-new-long-password"}
    for old, token in ((PASSWORD, wrong(token_of(app))), ("wrong", token_of(app)), (PASSWORD, "")):
        post(client, CHANGE, old_password=old, otp_token=token, **new)
        assert User.objects.get().check_password(PASSWORD)
    forget_used_tokens()
    page = post(client, CHANGE, old_password=PASSWORD, otp_token=token_of(app), **new)
    assert "Your password was changed" in text_of(page)
    assert User.objects.get().check_password("a-new-long-password")
    assert client.get(INDEX, secure=True).status_code == 200
    assert elsewhere.get(INDEX, secure=True).status_code == 302


@pytest.mark.parametrize(
    "password", ["short-one", "password1234567", "123456789012", "qwertyuiop12", "OpsAgent2026!", "x" * 73, "x" * 5000]
)
def test_a_weak_password_is_refused(app: TOTPDevice, password: str) -> None:
    client = signed_in(User.objects.get())
    post(client, CHANGE, old_password=PASSWORD, otp_token=token_of(app), new_password1=password, new_password2=password)
    assert User.objects.get().check_password(PASSWORD)


def test_a_lost_app_is_deleted_by_an_administrator_who_never_sees_its_key(app: TOTPDevice) -> None:
    boss = signed_in(User.objects.create_superuser("boss"))
    page = boss.get(f"/admin/otp_totp/totpdevice/{app.pk}/change/", secure=True)
    assert app.key not in text_of(page)
    boss.post(f"/admin/otp_totp/totpdevice/{app.pk}/delete/", {"post": "yes"}, secure=True)
    assert not TOTPDevice.objects.filter(pk=app.pk).exists()
    assert REFUSED in text_of(log_in())


def test_an_administrator_makes_no_app_and_hands_none_over(app: TOTPDevice) -> None:
    boss = signed_in(User.objects.create_superuser("boss"))
    assert boss.get("/admin/otp_totp/totpdevice/add/", secure=True).status_code == 403
    form = {"user": User.objects.get(username="boss").pk, "name": "x", "confirmed": "on"}
    assert boss.post(f"/admin/otp_totp/totpdevice/{app.pk}/change/", form, secure=True).status_code == 403
    app.refresh_from_db()
    assert app.user.username == "sam"


# ---------------------------------------------------------------- how long


def test_a_session_ends_after_an_hour_without_use(app: TOTPDevice) -> None:
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False) as clock:
        client = signed_in(User.objects.get())
        clock.shift(59 * 60)
        assert client.get(INDEX, secure=True).status_code == 200
        clock.shift(59 * 60)
        assert client.get(INDEX, secure=True).status_code == 200
        clock.shift(61 * 60)
        assert client.get(INDEX, secure=True).status_code == 302


def test_a_session_ends_after_eight_hours_however_much_it_is_used(app: TOTPDevice) -> None:
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False) as clock:
        client = signed_in(User.objects.get())
        for _ in range(16):
            assert client.get(INDEX, secure=True).status_code == 200
            clock.shift(30 * 60)
        clock.shift(1)
        assert client.get(INDEX, secure=True).status_code == 302


def test_both_factors_are_asked_for_once_more_after_a_while(app: TOTPDevice) -> None:
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False) as clock:
        client = signed_in(User.objects.get())
        clock.shift(16 * 60)
        page = client.get(f"{PROVE}?next=/admin/password_change/", secure=True)
        assert "Is it still you?" in text_of(page)
        page = post(client, PROVE, next=CHANGE, password="wrong", otp_token=token_of(app))
        assert "do not fit together" in text_of(page)
        page = client.post(PROVE, {"next": CHANGE, "password": PASSWORD, "otp_token": token_of(app)}, secure=True)
        assert page["Location"] == CHANGE
        forget_used_tokens()
        elsewhere = {"next": "https://evil.example/", "password": PASSWORD, "otp_token": token_of(app)}
        assert client.post(PROVE, elsewhere, secure=True)["Location"] == INDEX


def test_who_gets_in_is_decided_by_whoever_has_just_shown_both_factors(app: TOTPDevice) -> None:
    boss = User.objects.create_superuser("boss", password=PASSWORD)
    sam = User.objects.get(username="sam")
    pages = [
        "/admin/auth/user/add/", f"/admin/auth/user/{sam.pk}/change/", f"/admin/auth/user/{sam.pk}/password/",
        f"/admin/auth/user/{sam.pk}/delete/", "/admin/auth/group/add/", f"/admin/otp_totp/totpdevice/{app.pk}/delete/",
    ]  # fmt: skip
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False) as clock:
        client = signed_in(boss)
        assert {client.get(page, secure=True).status_code for page in pages} == {200}
        clock.shift(16 * 60)
        for page in pages:
            assert client.get(page, secure=True)["Location"].startswith(PROVE)
            assert client.post(page, {"post": "yes"}, secure=True)["Location"].startswith(PROVE)
        chosen = {"action": "delete_selected", "_selected_action": sam.pk, "post": "yes"}
        assert client.post("/admin/auth/user/", chosen, secure=True)["Location"].startswith(PROVE)
        assert client.get("/admin/auth/user/", secure=True).status_code == 200
        assert User.objects.filter(pk=sam.pk).exists()


# ---------------------------------------------------------------- the pages


def test_cookies_are_this_hosts_alone(app: TOTPDevice) -> None:
    client = Client()
    client.get(LOGIN, secure=True)
    assert rightly(app, client) == 302
    assert set(client.cookies) == {"__Host-csrftoken", "__Host-opsagent_session", "__Host-opsagent_staff_browser"}
    for cookie in client.cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")


def test_the_admin_keeps_to_the_strict_content_security_policy(app: TOTPDevice) -> None:
    client = signed_in(User.objects.get())
    path, _ = enrol_link()
    for address in (LOGIN, INDEX, FACTOR, PROVE, CHANGE, path, ENROL, "/admin/otp_totp/totpdevice/"):
        response = client.get(address, secure=True)
        page = response.content.decode()
        assert "script-src 'self'" in response["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)[^>]*>(?!\s*</script>)", page), address
