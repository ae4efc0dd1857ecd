"""Django settings. Every value an operator chooses comes from the environment and is listed in `.env.example`."""

import datetime as dt
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from celery.schedules import crontab
from csp.constants import NONE, SELF

from opsagent import broker, environment, errors, logs, servers

BASE_DIR = Path(__file__).resolve().parent.parent
environ.Env.read_env(BASE_DIR / ".env")  # a convenience for one machine; real variables win over the file

# ------------------------------------------------------------------ the operator's values
environment.collect_complaints()
SECRET_KEY = environment.read(
    "SECRET_KEY", environment.secret_key, remedy="Run `python manage.py generate_keys` and copy the line it prints."
)
DEBUG = environment.read("DEBUG", environment.boolean, default="false", remedy="Use true or false.")
PUBLIC_BASE_URL = environment.read(
    "PUBLIC_BASE_URL",
    servers.origin,
    remedy="Use the https address under which HubSpot and browsers reach this app, such as https://otp.example.com.",
)
ALLOWED_HOSTS = environment.read(
    "ALLOWED_HOSTS",
    servers.allowed_hosts,
    default=servers.host_of(PUBLIC_BASE_URL or "https://localhost"),
    remedy="List the host names this app answers to, separated by commas, such as otp.example.com.",
)
ENCRYPTION_KEYS = environment.read(
    "ENCRYPTION_KEYS",
    environment.fernet_keys,
    remedy="Run `python manage.py generate_keys` and copy the line it prints.",
)
CODE_PEPPERS = environment.read(
    "CODE_PEPPERS", environment.peppers, remedy="Run `python manage.py generate_keys` and copy the line it prints."
)
REDIS_URL = environment.read(
    "REDIS_URL",
    broker.checked,
    remedy="Use the address of a Redis or Valkey server, such as redis://localhost:6379/0.",
)
REDIS_TLS_VERIFY = environment.read(
    "REDIS_TLS_VERIFY",
    environment.boolean,
    default="true",
    remedy="Use true, or false where nobody can come between this app and Redis.",
)
PROXY_COUNT = environment.read(
    "PROXY_COUNT",
    environment.number_of_proxies,
    # Something in front of this app speaks https.
    default="1" if (PUBLIC_BASE_URL or "").startswith("https://") else "0",
    remedy="Say how many proxies of yours stand between browsers and this app, such as 1.",
)
HUBSPOT_APP_ID = environment.read(
    "HUBSPOT_APP_ID", environment.positive_integer, remedy="Copy it from the app's Auth tab in HubSpot."
)
HUBSPOT_CLIENT_ID = environment.read(
    "HUBSPOT_CLIENT_ID", environment.word, remedy="Copy it from the app's Auth tab in HubSpot."
)
HUBSPOT_CLIENT_SECRETS = environment.read(
    "HUBSPOT_CLIENT_SECRETS",
    environment.words,
    remedy="Copy the secret from the app's Auth tab in HubSpot; after a rotation keep the old one behind it, with a comma.",
)
HUBSPOT_ALLOW_V2 = environment.read(
    "HUBSPOT_ALLOW_V2",
    environment.one_of("auto", "true", "false"),
    default="auto",
    remedy="Use auto, true or false; see docs/operations.md.",
)
HUBSPOT_API_VERSION = environment.read(
    "HUBSPOT_API_VERSION", environment.hubspot_version, default="2026-09", remedy="Use a version such as 2026-09."
)
HUBSPOT_API_BASE_URL = environment.read(
    "HUBSPOT_API_BASE_URL", servers.origin, default="https://api.hubapi.com", remedy="Leave it out."
)
HUBSPOT_APP_BASE_URL = environment.read(
    "HUBSPOT_APP_BASE_URL", servers.origin, default="https://app.hubspot.com", remedy="Leave it out."
)
DEFAULT_FROM_EMAIL = environment.read(
    "DEFAULT_FROM_EMAIL",
    servers.mailbox,
    remedy="Use the address that mail is sent from, such as codes@example.com.",
)
SENTRY_DSN = environment.read_optional(
    "SENTRY_DSN", servers.sentry, remedy="Copy it from the project's settings in Sentry, or leave it out."
)
METRICS_TOKEN = environment.read_optional(
    "METRICS_TOKEN",
    environment.token,
    remedy="Use a random text of at least 32 characters, or leave it out: then private addresses alone see the metrics.",
)
LOG_LEVEL = environment.read(
    "LOG_LEVEL", environment.log_level, default="INFO", remedy=f"Use {', '.join(environment.LOG_LEVELS)}."
)
_database = environment.read(
    "DATABASE_URL",
    servers.postgresql,
    remedy="Use a PostgreSQL address, such as postgres://user:password@localhost:5432/opsagent.",
)
# Empty: mail goes through the server that EMAIL_URL names.
EMAIL_BACKEND = environment.read_optional(
    "EMAIL_BACKEND",
    servers.email_backend,
    remedy="Use a provider's backend, such as anymail.backends.postmark.EmailBackend, or leave it out and set EMAIL_URL.",
)
ANYMAIL: dict[str, Any] = environment.prefixed(
    "ANYMAIL_", servers.anymail, remedy="See docs/mail-providers.md and https://anymail.dev."
)
for _name in servers.NEEDED.get((EMAIL_BACKEND or "").rpartition(".")[0], ()):
    if _name not in ANYMAIL:
        environment.read(f"ANYMAIL_{_name}", environment.text, remedy="Copy it from the provider's account.")
_mail: dict[str, Any] = (
    environment.read(
        "EMAIL_URL",
        servers.smtp,
        remedy="Use an SMTP address, such as smtp+tls://user:password@smtp.example.com:587, or set EMAIL_BACKEND.",
    )
    if EMAIL_BACKEND == ""
    else {}
)
environment.raise_complaints()  # nothing is made of the values before here

# ------------------------------------------------------------------ storage
DATABASES = {
    "default": {
        **_database,
        "ATOMIC_REQUESTS": False,
        # A fresh connection costs more than the whole request; a thread keeps its own.
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        # `?host=/socket/directory` in the address arrives in OPTIONS: merge, never overwrite.
        "OPTIONS": {
            "connect_timeout": 5,
            "application_name": "opsagent",
            # A server that is gone without a word holds a thread for twenty seconds, not for the kernel's minutes
            # (https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-KEEPALIVES).
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 20_000,
            **_database.get("OPTIONS", {}),
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ------------------------------------------------------------------ mail
ANYMAIL |= {
    "REQUESTS_TIMEOUT": (3, 10),  # seconds to connect and to answer: within a delivery's lease
    # the same for Amazon's SDK, which would wait a minute and try four times; the delivery has its own next attempt
    "AMAZON_SES_CLIENT_PARAMS": {
        "config": {"connect_timeout": 3, "read_timeout": 10, "retries": {"total_max_attempts": 1}}
    },
}
if _mail:
    EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
    EMAIL_HOST, EMAIL_PORT = _mail["EMAIL_HOST"], _mail["EMAIL_PORT"]
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_USER"], _mail["EMAIL_HOST_PASSWORD"]
    EMAIL_USE_TLS, EMAIL_USE_SSL = _mail["EMAIL_USE_TLS"], _mail["EMAIL_USE_SSL"]
# Of one exchange. A message is four of them: twenty seconds at most, whatever the server does (emails.messages).
EMAIL_TIMEOUT = 5

# ------------------------------------------------------------------ the application
INSTALLED_APPS = [
    "opsagent.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "anymail",
    "csp",
    "django_htmx",
    "axes",
    "django_otp",
    "opsagent.apps.SecondFactorConfig",
    "opsagent",
    "hubspot_integration",
    "emails",
    "otp",
]
MIDDLEWARE = [
    "hubspot_integration.door.Middleware",  # first: nothing below means anything to a call that HubSpot signs
    "opsagent.health.AnyHost",
    "opsagent.request_log.RequestLog",
    "opsagent.calls.BodyLimit",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",  # last: it turns a login that was locked into an answer
]
ROOT_URLCONF = "opsagent.urls"
SIGNED_CALLS = "hubspot_integration.door.signed_calls"  # what stands before Django for them
OVERDUE_SECONDS = "otp.gauges.overdue_seconds"  # what /readyz asks the product
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "hubspot_integration.access.who",
            ]
        },
    }
]
STATIC_URL = "static/"
# A handful of files, read at the start from where they lie: no collectstatic step to forget.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 3600
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
# HubSpot's envelope is a few kilobytes and hubspot.fetch sends at most 1 MB.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    # Words, names, keyboard rows, dates and leaked passwords, and what people make of them; up to 72 characters.
    {"NAME": "opsagent.staff.passwords.HardToGuess"},
]
PASSWORD_MINIMAL_STRENGTH = 3  # of 4: at least 10^8 guesses
PASSWORD_EXTRA_DICTIONARY = ["opsagent", "hubspot"]
# ------------------------------------------------------------------ the login of support staff
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_HANDLER = "opsagent.staff.throttle.StaffThrottle"
# Together and each alone; how much is too much of each stands in opsagent/staff/throttle.py, in this order.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"], "ip_address", "username"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = dt.timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or whoever guesses could keep staff out for ever
AXES_CLIENT_IP_CALLABLE = "opsagent.staff.throttle.client_address"
AXES_LOCKOUT_TEMPLATE = "admin/locked_out.html"
AXES_VERBOSE = False
# Nothing that was typed is kept with a failed attempt but the user name, in a column of its own.
AXES_SENSITIVE_PARAMETERS = [
    "username", "ip_address", "otp_token", "csrfmiddlewaretoken", "key", "old_password", "new_password1", "new_password2",
]  # fmt: skip
PASSWORD_RESET_TIMEOUT = 24 * 3600  # how long a link of staff_enrol is valid; no password is reset by link here
OTP_TOTP_THROTTLE_FACTOR = 0  # its pause doubles without end; ours, in opsagent/staff/proof.py, does not
OTP_TOTP_ISSUER = "OpsAgent OTP support"
OTP_ADMIN_HIDE_SENSITIVE_DATA = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is a method like any other that an endpoint does not have
    "EXCEPTION_HANDLER": "opsagent.api.handle_exception",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "OpsAgent OTP",
    "DESCRIPTION": "What HubSpot calls: workflow actions and the card. Every call is signed by HubSpot.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVERS": [{"url": PUBLIC_BASE_URL}],
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

# ------------------------------------------------------------------ safety; follows the scheme of PUBLIC_BASE_URL, never DEBUG
_https = PUBLIC_BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _https
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False
# The operator's other hosts are not ours to decide on: no HSTS for subdomains, no entry in browsers' preload lists.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# What a load balancer or a mail provider calls is answered where it is called: they follow no redirect.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$", r"^email-events/"]
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS = [PUBLIC_BASE_URL]
CSRF_COOKIE_HTTPONLY = True
# Browsers take a cookie of such a name from this host alone, over https, for every path: no other host of the domain can
# plant one. Over http, which is for this machine only, there is no such thing.
_only_ours = "__Host-" if _https else ""
CSRF_COOKIE_NAME = f"{_only_ours}csrftoken"
SESSION_COOKIE_NAME = f"{_only_ours}opsagent_session"
STAFF_BROWSER_COOKIE_NAME = f"{_only_ours}opsagent_staff_browser"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # no cookie of its own
SESSION_COOKIE_SAMESITE = "Lax"  # HubSpot's redirect back to us must carry it
SESSION_COOKIE_AGE = 8 * 3600
SESSION_ENGINE = "opsagent.sessions"  # an hour without use ends a session
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        # A posted form may end in a redirect to HubSpot's authorize page.
        "form-action": [SELF, HUBSPOT_APP_BASE_URL],
        "frame-src": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# ------------------------------------------------------------------ Celery: wakes drains, keeps nothing
CELERY_BROKER_URL = broker.parse(REDIS_URL).celery_url()
CELERY_BROKER_USE_SSL = broker.parse(REDIS_URL).tls(verify=REDIS_TLS_VERIFY) or None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_PUBLISH_RETRY = False  # a web request never waits for a dead broker: the sweep finds what it forgot
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 1,
    "ack_emulation": False,  # spares two writes a task; see opsagent/celery.py
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    # `expires`: a sweep that nobody ran in time is worth nothing, the next one does its work
    "requeue due deliveries": {"task": "otp.tasks.requeue_due", "schedule": 3.0, "options": {"expires": 3.0}},
    "end expired codes": {"task": "otp.tasks.end_expired", "schedule": 20.0, "options": {"expires": 20.0}},
    "notice uninstalls": {"task": "otp.tasks.notice_uninstalls", "schedule": 300.0, "options": {"expires": 300.0}},
    "forget codes": {"task": "otp.tasks.forget_codes", "schedule": 60.0, "options": {"expires": 60.0}},
    "delete old records": {
        "task": "otp.tasks.delete_old_records",
        "schedule": crontab(minute="17"),
        "options": {"expires": 1800.0},
    },
    "delete ended sessions": {
        "task": "otp.tasks.delete_ended_sessions",
        "schedule": 300.0,
        "options": {"expires": 300.0},
    },
    "chain audit lines": {"task": "otp.tasks.chain_audit_lines", "schedule": 10.0, "options": {"expires": 10.0}},
    "erase deleted contacts": {"task": "otp.tasks.erase_contacts", "schedule": 5.0, "options": {"expires": 5.0}},
}

if SENTRY_DSN:
    errors.report_to(SENTRY_DSN, environment=str(urlsplit(PUBLIC_BASE_URL).hostname))

LOGGING_CONFIG = "opsagent.logs.configure"
LOGGING = logs.logging_config(LOG_LEVEL)
