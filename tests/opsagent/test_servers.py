"""Types of the operator's values: what each accepts, what each refuses, and that no reason repeats the value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsagent import environment, servers

SECRET = "s3cr3t"


def reason(parse: Any, value: str) -> str:
    with pytest.raises(ValueError, match=r"\S") as caught:
        parse(value)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "https://otp.example.com", "https://otp.example.com:8443", "https://10.0.0.1", "https://[::1]:8443", "https://otp",
        "https://xn--strae-oqa.example", "http://localhost", "http://localhost:8000", "http://127.0.0.1:80000"[:-1],
        "http://[::1]:8000",
    ],
)  # fmt: skip
def test_an_origin_is_kept_as_it_is(value: str) -> None:
    assert servers.origin(value) == value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("https://s3cr3t.example.com/", "without a slash at its end"),
        ("https://s3cr3t.example.com//", "without a slash at its end"),
        ("https://s3cr3t.example.com/path", "scheme, host and port only"),
        ("https://s3cr3t.example.com?", "scheme, host and port only"),
        ("https://s3cr3t.example.com#", "scheme, host and port only"),
        ("https://s3cr3t@example.com", "scheme, host and port only"),
        ("https://@example.com", "scheme, host and port only"),
        ("https://example.com:s3cr3t", "port"),
        ("https://example.com:99999", "port"),
        ("https://example.com:0", "port"),
        ("https://example.com:", "as browsers write it"),
        ("https://example.com:443", "leave it out"),
        ("http://localhost:80", "leave it out"),
        ("https://example.com:0443", "as browsers write it"),
        ("https://Example.com", "in lower case"),
        ("HTTPS://example.com", "in lower case"),
        ("https://straße.example", "xn--"),
        ("https://exa mple.com", "space"),
        ("https://exa\nmple.com", "space"),
        ("https://exa\tmple.com", "space"),
        ("https://example.com.", "neither a name nor"),
        ("https://-example.com", "neither a name nor"),
        ("https://exa_mple.com", "neither a name nor"),
        ("https://300.1.1.1", "neither a name nor"),
        ("https://[::1", "not an absolute https URL"),
        ("https://[s3cr3t]", "not an absolute https URL"),
        ("https://", "not an absolute https URL"),
        ("https:/example.com", "not an absolute https URL"),
        ("example.com", "not an absolute https URL"),
        ("ftp://example.com", "not an absolute https URL"),
        ("//example.com", "not an absolute https URL"),
        ("http://otp.s3cr3t.com", "plain http"),
        ("http://127.0.0.2", "plain http"),
        ("http://localhost.example.com", "plain http"),
    ],
)
def test_an_origin_is_spelled_as_browsers_spell_it(value: str, why: str) -> None:
    assert why in reason(servers.origin, value)


def test_hosts_are_names_or_addresses() -> None:
    assert servers.allowed_hosts("OTP.example.com, .example.org,10.0.0.1,[::1],localhost") == [
        "otp.example.com", ".example.org", "10.0.0.1", "[::1]", "localhost"
    ]  # fmt: skip
    assert servers.host_of("https://[::1]:8443") == "[::1]"
    assert servers.host_of("https://otp.example.com:8443") == "otp.example.com"


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "https://otp.example.com",
        "otp.example.com:8000",
        "otp.example.com/",
        "otp example",
        "::1",
        "a,,*",
        ".",
        "..a",
        ",",
    ],
)
def test_what_is_no_host_is_refused(value: str) -> None:
    reason(servers.allowed_hosts, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("postgres://u:p%40%2F@db.example:5433/name", {"HOST": "db.example", "PORT": 5433, "PASSWORD": "p@/", "NAME": "name"}),
        ("postgresql://u@db/name?sslmode=verify-full", {"HOST": "db", "OPTIONS": {"sslmode": "verify-full"}}),
        ("postgres://u:x@/name?host=/run/postgresql", {"HOST": "", "OPTIONS": {"host": "/run/postgresql"}}),
        ("postgres://db_1/name?connect_timeout=3", {"HOST": "db_1", "OPTIONS": {"connect_timeout": 3}}),
        ("postgres://u:p@[::1]:5432/name", {"NAME": "name", "PORT": 5432}),
    ],
)  # fmt: skip
def test_a_database_is_one_of_postgresql(value: str, expected: dict[str, object]) -> None:
    found = servers.postgresql(value)
    assert found["ENGINE"] == "django.db.backends.postgresql"
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("mysql://u:s3cr3t@db/name", "PostgreSQL"),
        ("sqlite:///s3cr3t.db", "PostgreSQL"),
        (SECRET, "PostgreSQL"),
        ("postgres://u:s3cr3t@db", "name of the database"),
        ("postgres://u:s3cr3t@db/", "name of the database"),
        ("postgres://u:s3cr3t@db/a/b", "name of the database"),
        ("postgres://u:s3cr3t@/name", "host is missing"),
        ("postgres:///name", "host is missing"),
        ("postgres://u:s3cr3t@db:port/name", "port"),
        ("postgres://u:s3cr3t@db:99999/name", "port"),
        ("postgres://u:s3c#r3t@db/name", "%23"),
        ("postgres://u:s3cr3t@db/name?sslmode=s3cr3t", "sslmode"),
        ("postgres://u:s3cr3t@db/name?sslmode=", "sslmode"),
        ("postgres://u:s3cr3t@db/name?sslmode=require&sslmode=disable", "twice"),
        ("postgres://u:s3cr3t@db/name?ssl_mode=require", "option number 1"),
        ("postgres://u:s3cr3t@d b/name", "space"),
        ("postgres://u:s3cr3t@d!b/name", "neither a name nor"),
        ("postgres://[s3cr3t/name", "not an address"),
        ("postgres://u:s3cr3t@300.1.1.1/name", "neither a name nor"),
        ("postgres://u:s3cr3t@db/name?connect_timeout=soon", "option number 1 behind the ? is not a whole number"),
        (
            "postgres://u:s3cr3t@db/name?sslmode=require&port=s3cr3t",
            "option number 2 behind the ? is not a whole number",
        ),
        ("postgres://u:s3cr3t@db/na%00me", "%00"),
    ],
)
def test_a_database_that_cannot_be_is_refused(value: str, why: str) -> None:
    assert why in reason(servers.postgresql, value)


@pytest.mark.parametrize(
    ("value", "host", "port", "starts_tls", "is_tls"),
    [
        ("smtp://mail.example", "mail.example", 25, False, False),
        ("smtp://mail.example:2525", "mail.example", 2525, False, False),
        ("smtp://127.0.0.1:9", "127.0.0.1", 9, False, False),
        ("smtp://mail_relay", "mail_relay", 25, False, False),
        ("smtp://[::1]:2525", "::1", 2525, False, False),
        ("smtp+tls://u:p@mail.example", "mail.example", 587, True, False),
        ("smtp+tls://u:p@mail.example:25", "mail.example", 25, True, False),
        ("smtps://u:p@mail.example", "mail.example", 465, False, True),
        ("smtp+ssl://u:p@mail.example", "mail.example", 465, False, True),
        ("smtps://u:p@mail.example:8465/", "mail.example", 8465, False, True),
    ],
)
def test_an_smtp_server_is_spoken_to_as_its_scheme_says(
    value: str, host: str, port: int, starts_tls: bool, is_tls: bool
) -> None:
    found = servers.smtp(value)
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == (host, port)
    assert (found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (starts_tls, is_tls)
    assert found["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend"


def test_credentials_of_an_smtp_server_are_percent_encoded() -> None:
    found = servers.smtp("smtp+tls://codes%40example.com:p%2F%3F%23%40%3A%25@mail.example")
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("codes@example.com", "p/?#@:%")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("smtp://", "host"),
        ("smtp://:25", "host"),
        ("smtp://u:s3cr3t@", "host"),
        ("smtp:mail.example", "host"),
        ("mail.example:25", "begins with none of"),
        ("dummymail://", "begins with none of"),
        ("consolemail://", "begins with none of"),
        ("filemail:///s3cr3t", "begins with none of"),
        ("memorymail://", "begins with none of"),
        ("submission://u:s3cr3t@mail.example", "begins with none of"),
        ("http://mail.example", "begins with none of"),
        ("smtp://mail.example:s3cr3t", "port"),
        ("smtp://mail.example:99999", "port"),
        ("smtp://mail.example:0", "port"),
        ("smtp+tls://u:s3/cr3t@mail.example", "port"),
        ("smtp://mail.example/s3cr3t", "percent-encoded"),
        ("smtp://mail.example?tls=true", "percent-encoded"),
        ("smtp://mail.example?", "percent-encoded"),
        ("smtp+tls://u:s3#cr3t@mail.example", "host"),
        ("smtp+tls://u@mail.example", "belong together"),
        ("smtp+tls://:s3cr3t@mail.example", "belong together"),
        ("smtp+tls://u:pässwörd@mail.example", "cannot carry"),
        ("smtp+tls://u:p%0Aq@mail.example", "cannot carry"),
        ("smtps://u:s3cr3t@mail.example:587", "smtp+tls://"),
        ("smtp+ssl://u:s3cr3t@mail.example:25", "smtp+tls://"),
        ("smtp+tls://u:s3cr3t@mail.example:465", "smtps://"),
        ("smtp://mail.example:465", "smtps://"),
        ("smtp://ma il.example", "space"),
        ("smtp://ma!il.example", "host"),
        ("smtp://300.1.1.1", "host"),
        ("smtp://1.2.3", "host"),
    ],
)
def test_an_smtp_server_that_cannot_be_is_refused(value: str, why: str) -> None:
    assert why in reason(servers.smtp, value)


@pytest.mark.parametrize("module", ["anymail.backends.amazon_ses", *servers.NEEDED])
def test_providers_backends_are_known(module: str) -> None:
    assert servers.email_backend(f"{module}.EmailBackend")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("django.core.mail.backends.console.EmailBackend", "sends nothing"),
        ("django.core.mail.backends.dummy.EmailBackend", "sends nothing"),
        ("django.core.mail.backends.locmem.EmailBackend", "sends nothing"),
        ("django.core.mail.backends.filebased.EmailBackend", "sends nothing"),
        ("anymail.backends.test.EmailBackend", "sends nothing"),
        ("anymail.backends.console.EmailBackend", "sends nothing"),
        ("django.core.mail.backends.smtp.EmailBackend", "EMAIL_URL"),
        ("anymail.backends.postmark", "is no class"),
        ("anymail.backends.postmark.PostmarkPayload", "is no class"),
        ("anymail.backends.s3cr3t.EmailBackend", "cannot be imported (ModuleNotFoundError)"),
        ("anymail.backends.postmark.Backend", "cannot be imported (ImportError)"),
        ("postmark", "cannot be imported"),
        ("anymail.backends..EmailBackend", "cannot be imported"),
        ("os.system", "is no class"),
    ],
)
def test_what_sends_no_mail_is_refused(value: str, why: str) -> None:
    assert why in reason(servers.email_backend, value)


@pytest.mark.parametrize(
    ("value", "mailbox"),
    [
        ("codes@example.com", "codes@example.com"),
        ("<codes@example.com>", "codes@example.com"),
        ("Acme <codes@EXAMPLE.com>", "Acme <codes@example.com>"),
        ("Acme Inc. <codes@example.com>", '"Acme Inc." <codes@example.com>'),
        ('"Acme, Inc." <codes@example.com>', '"Acme, Inc." <codes@example.com>'),
        ('"Acme \\"A\\"" <codes@example.com>', '"Acme \\"A\\"" <codes@example.com>'),
        ("Ünï 株式会社 <codes@example.com>", "Ünï 株式会社 <codes@example.com>"),
        ("Acme <codes@straße.example>", "Acme <codes@xn--strae-oqa.example>"),
    ],
)
def test_a_sender_is_one_mailbox(value: str, mailbox: str) -> None:
    assert servers.mailbox(value) == mailbox
    assert servers.mailbox(mailbox) == mailbox


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("Acme, s3cr3t <otp@example.com>", '"Acme, Inc." <codes@example.com>'),
        ("Acme: s3cr3t <otp@example.com>", "quotation marks"),
        ("Acme (s3cr3t) <otp@example.com>", "quotation marks"),
        ("a@b.example <otp@example.com>", "quotation marks"),
        ('"Acme <otp@example.com>', "quotation marks"),
        ("otp@", "exactly one"),
        ("@example.com", "exactly one"),
        ("<>", "exactly one"),
        ("Acme <>", "exactly one"),
        ("Acme", "exactly one"),
        ("nobody", "exactly one"),
        ("otp@example.com, otp@example.org", "exactly one"),
        ("Acme <otp@example.com>, Beta <otp@example.org>", "more than one address"),
        ("otp@example.com otp@example.org", "exactly one"),
        ("otp@example.com (s3cr3t)", "exactly one"),
        ("Acme <otp@example.com> s3cr3t", "exactly one"),
        ("Acme <<otp@example.com>>", "one"),
        ("otp@exam ple.com", "exactly one"),
        ("ötp@example.com", "exactly one"),
        ("otp@i❤.ws", "exactly one"),
        ("Acme\n<otp@example.com>", "line break"),
        ("Ac\u202eme <otp@example.com>", "line break"),
    ],
)
def test_a_sender_that_cannot_be_is_refused(value: str, why: str) -> None:
    assert why in reason(servers.mailbox, value)


@pytest.mark.parametrize(
    "value",
    ["https://key@sentry.example/1", "https://key@o1.ingest.sentry.example:8443/path/42", "http://key:pw@10.0.0.1/7"],
)
def test_a_sentry_address_is_kept(value: str) -> None:
    assert servers.sentry(value) == value


@pytest.mark.parametrize(
    "value",
    [
        SECRET, "https://s3cr3t.example/1", "https://key@s3cr3t.example/project", "https://key@s3cr3t.example:port/1",
        "https://key@/1", "ftp://key@sentry.example/1", "https://key@sen try/1", "https://key@sentry.example/١",
        "https://key@[s3cr3t]/1",
    ],
)  # fmt: skip
def test_what_is_no_sentry_address_is_refused(value: str) -> None:
    reason(servers.sentry, value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WEBHOOK_SECRET", "a:b, c:d", ["a:b", "c:d"]),
        ("IGNORE_RECIPIENT_STATUS", "false", False),
        ("POSTMARK_USE_BULK_API", "True", True),
        ("DEBUG_API_REQUESTS", "false", False),
        ("MAILGUN_SENDER_DOMAIN", "mg.example.com", "mg.example.com"),
        ("MAILGUN_API_URL", "https://api.eu.mailgun.net/v3", "https://api.eu.mailgun.net/v3"),
        ("POSTMARK_API_URL", "http://127.0.0.1:8025/", "http://127.0.0.1:8025/"),
    ],
)
def test_anymails_values_have_types(name: str, value: str, expected: object) -> None:
    found = servers.anymail(name)(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_SECRET", SECRET), ("WEBHOOK_SECRET", "user:"), ("WEBHOOK_SECRET", ","), ("DEBUG_API_REQUESTS", "true"),
        ("MAILGUN_API_URL", "http://s3cr3t.example"), ("MAILGUN_API_URL", SECRET), ("POSTMARK_SERVER_TOKEN", "a\nb"),
    ],
)  # fmt: skip
def test_anymails_values_that_cannot_be_are_refused(name: str, value: str) -> None:
    reason(servers.anymail(name), value)


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (environment.word, "two words"), (environment.word, "wörd"), (environment.word, ""),
        (environment.words, "a,b c"), (environment.positive_integer, "0"), (environment.positive_integer, "-1"),
        (environment.positive_integer, "1.5"), (environment.positive_integer, "١"), (environment.positive_integer, "9" * 30),
        (environment.number_of_proxies, "21"), (environment.number_of_proxies, "-1"), (environment.number_of_proxies, "x"),
        (environment.number_of_proxies, "9" * 5000), (environment.hubspot_version, "v3"),
        (environment.hubspot_version, "2026-13"), (environment.hubspot_version, "2026-09/.."),
        (environment.hubspot_version, "2026-9"), (environment.hubspot_version, "٢٠٢٦-09"),
        (environment.token, "x" * 31), (environment.token, "x" * 30 + " é"),
    ],
)  # fmt: skip
def test_plain_values_have_types(parse: Any, value: str) -> None:
    reason(parse, value)


@given(st.text(st.characters(codec=None) | st.sampled_from('@:/?#[]<>,"% .x1\n'), max_size=60))
def test_no_value_breaks_a_type(value: str) -> None:
    for parse in (
        servers.origin,
        servers.allowed_hosts,
        servers.postgresql,
        servers.smtp,
        servers.mailbox,
        servers.sentry,
    ):
        for attempt in (value, f"https://{value}", f"postgres://{value}", f"smtp://{value}", f"Acme <{value}>"):
            try:
                parse(attempt)
            except ValueError as error:
                assert str(error)  # noqa: PT017 (the point is that nothing else is raised)
