"""The login of support staff, through the real form."""

import html
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from opsagent.staff import client_address

LOGIN, INDEX, FACTOR = "/admin/login/", "/admin/", "/admin/second-factor/"
PASSWORD = "a-long-password-of-staff"
ADDRESS = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("sam", password=PASSWORD, is_staff=True)


def log_in(client: Client, password: str = PASSWORD, token: str = "", **headers: str) -> Any:
    form = {"username": "sam", "password": password, "otp_token": token, "next": INDEX}
    return client.post(LOGIN, form, headers={**ADDRESS, **headers}, secure=True)


def text_of(response: Any) -> str:
    return html.unescape(response.content.decode())


def token_of(device: TOTPDevice) -> str:
    totp = TOTP(device.bin_key)
    totp.time = time.time()
    return f"{totp.token():06d}"


def wrong(token: str) -> str:
    return f"{(int(token) + 1) % 1_000_000:06d}"


def set_up(user: User) -> tuple[Client, TOTPDevice]:
    """Set a second factor up through its page; return the browser that did it."""
    client = Client()
    assert log_in(client).status_code == 302
    assert "Set up an authenticator app" in text_of(client.get(FACTOR, secure=True))
    page = text_of(client.post(FACTOR, {"step": "begin"}, secure=True, follow=True))
    assert re.search(r"<svg [^>]*role=\"img\"", page)
    assert not TOTPDevice.objects.filter(confirmed=True).exists()
    device = TOTPDevice.objects.get()
    page = text_of(client.post(FACTOR, {"step": "confirm", "otp_token": token_of(device)}, secure=True, follow=True))
    assert "The second factor is set up." in page
    return client, device


def test_a_password_is_enough_without_a_second_factor(user: User) -> None:
    client = Client()
    assert client.get(INDEX, secure=True).status_code == 302
    assert log_in(client)["Location"] == INDEX
    assert client.get(INDEX, secure=True).status_code == 200


def test_who_is_not_in_staff_does_not_get_in(user: User) -> None:
    User.objects.update(is_staff=False)
    assert log_in(Client()).status_code == 200


def test_five_failures_lock_the_user_name_for_that_address_only(user: User) -> None:
    client = Client()
    for _ in range(4):
        assert log_in(client, "wrong").status_code == 200
    locked = log_in(client, "wrong")
    assert locked.status_code == 429
    assert "Too many failed logins" in text_of(locked)
    assert log_in(client).status_code == 429
    assert log_in(Client(), **{"X-Forwarded-For": "203.0.113.8"}).status_code == 302


def test_a_lock_ends_by_itself_and_trying_does_not_prolong_it(user: User) -> None:
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False) as clock:
        for _ in range(5):
            log_in(Client(), "wrong")
        clock.move_to("2026-11-23T12:14:00Z")
        assert log_in(Client()).status_code == 429
        clock.move_to("2026-11-23T12:15:01Z")
        assert log_in(Client()).status_code == 302


def test_made_up_proxies_do_not_help_who_guesses(user: User) -> None:
    for number in range(5):
        log_in(Client(), "wrong", **{"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.7"})
    assert log_in(Client()).status_code == 429


@pytest.mark.parametrize(
    ("proxies", "header", "expected"),
    [
        (0, "198.51.100.1", "127.0.0.1"),
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (1, "", "127.0.0.1"),
        (2, "203.0.113.7", "127.0.0.1"),
    ],
)
def test_the_address_is_what_our_own_proxies_saw(settings: Settings, proxies: int, header: str, expected: str) -> None:
    settings.PROXY_COUNT = proxies
    request = RequestFactory().get("/", headers={"X-Forwarded-For": header} if header else {})
    assert client_address(request) == expected


def test_neither_logs_nor_tables_keep_what_was_typed(user: User, logged: Callable[[], str]) -> None:
    _, device = set_up(user)
    TOTPDevice.objects.update(last_t=-1)
    log_in(Client(), "wrong-password-typed")
    log_in(Client(), token=wrong(token_of(device)))
    kept, lines = " ".join(str(list(AccessAttempt.objects.values()))), logged()
    for typed in ("wrong-password-typed", PASSWORD, wrong(token_of(device))):
        assert typed not in lines
        assert typed not in kept.replace(" ", "")


def test_a_second_factor_is_asked_for_once_it_is_set_up(user: User) -> None:
    client, device = set_up(user)
    assert client.get(INDEX, secure=True).status_code == 200  # this browser has just shown it
    without = log_in(Client())
    assert "Enter the authentication code" in text_of(without)
    TOTPDevice.objects.update(last_t=-1)
    refused = log_in(Client(), token=wrong(token_of(device)))
    assert "This authentication code is wrong" in text_of(refused)
    TOTPDevice.objects.update(throttling_failure_timestamp=None, throttling_failure_count=0)
    other = Client()
    assert log_in(other, token=token_of(device)).status_code == 302
    assert other.get(INDEX, secure=True).status_code == 200


def test_a_token_is_accepted_once(user: User) -> None:
    with time_machine.travel("2026-11-23T12:00:00Z", tick=False):  # half a minute later the app shows another one
        _, device = set_up(user)
        assert "was used before" in text_of(log_in(Client(), token=token_of(device)))


def test_a_browser_that_has_shown_the_password_only_is_out_from_then_on(user: User) -> None:
    older = Client()
    log_in(older)
    set_up(user)
    assert older.get(INDEX, secure=True).status_code == 302


def test_wrong_tokens_lock_like_wrong_passwords(user: User) -> None:
    _, device = set_up(user)
    statuses = [log_in(Client(), token=wrong(token_of(device))).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]


def test_removing_a_second_factor_needs_its_code(user: User) -> None:
    client, device = set_up(user)
    TOTPDevice.objects.update(last_t=-1)
    page = client.post(FACTOR, {"step": "remove", "otp_token": wrong(token_of(device))}, secure=True, follow=True)
    assert "Nothing was removed" in text_of(page)
    TOTPDevice.objects.update(throttling_failure_timestamp=None, throttling_failure_count=0)
    page = client.post(FACTOR, {"step": "remove", "otp_token": token_of(device)}, secure=True, follow=True)
    assert "The second factor is removed." in text_of(page)
    assert log_in(Client()).status_code == 302


def test_nobody_replaces_a_second_factor_without_its_code(user: User) -> None:
    client, device = set_up(user)
    page = client.post(FACTOR, {"step": "begin"}, secure=True, follow=True)
    assert "is set up already" in text_of(page)
    assert TOTPDevice.objects.get() == device
    assert "the page was damaged" in text_of(client.post(FACTOR, {"step": "x"}, secure=True, follow=True))


def test_a_wrong_code_confirms_nothing(user: User) -> None:
    client = Client()
    log_in(client)
    client.post(FACTOR, {"step": "begin"}, secure=True)
    device = TOTPDevice.objects.get()
    answer = client.post(FACTOR, {"step": "confirm", "otp_token": wrong(token_of(device))}, secure=True, follow=True)
    assert "This code is wrong" in text_of(answer)
    assert not TOTPDevice.objects.get().confirmed
    assert log_in(Client()).status_code == 302


def test_a_lost_app_is_forgotten_by_a_superuser_who_never_sees_its_key(user: User) -> None:
    _, device = set_up(user)
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"), backend="django.contrib.auth.backends.ModelBackend")
    page = boss.get(f"/admin/otp_totp/totpdevice/{device.pk}/change/", secure=True)
    assert device.key not in text_of(page)
    boss.post(f"/admin/otp_totp/totpdevice/{device.pk}/delete/", {"post": "yes"}, secure=True)
    assert log_in(Client()).status_code == 302


def test_the_admin_keeps_to_the_strict_content_security_policy(user: User) -> None:
    client = Client()
    log_in(client)
    for path in (LOGIN, INDEX, FACTOR, "/admin/otp/onetimecode/"):
        response = client.get(path, secure=True)
        page = response.content.decode()
        assert "script-src 'self'" in response["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)[^>]*>(?!\s*</script>)", page), path
