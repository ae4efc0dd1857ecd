"""The peer: django-otp's e-mail device behind the same signed requests, in the smallest Django project there can be.

Served by granian as `benchmarks.peer_django_otp:application`; `python -m benchmarks.peer_django_otp COUNT` makes the
tables, and COUNT users with a device each. One Django process per program: nothing of the product is imported.
"""

import json
import os
import sys
from typing import Final

import django
import environ
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from hubspot_integration import signatures

TOKEN: Final = "482951"
DEVICE: Final = "otp_email.emaildevice"
BASE_URL = os.environ.get("PUBLIC_BASE_URL", "")
SECRETS = os.environ.get("HUBSPOT_CLIENT_SECRETS", "").split(",")

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY", ""),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django_otp",
        "django_otp.plugins.otp_email",
    ],
    MIDDLEWARE=[],
    # A connection that is kept, as the product's: what is compared is the work.
    DATABASES={
        "default": {**environ.Env.db_url_config(os.environ.get("DATABASE_URL", "sqlite://")), "CONN_MAX_AGE": 600}
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402 (models come after the settings)
from django_otp import verify_token  # noqa: E402
from django_otp.plugins.otp_email.models import EmailDevice  # noqa: E402

_USERS: Final = """
    INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
                           date_joined)
    SELECT n, '', false, 'contact' || n, 'Ada', '', 'contact' || n || '@example.com', false, true, now()
    FROM generate_series(1, %s) AS n
"""
_DEVICES: Final = """
    INSERT INTO otp_email_emaildevice (id, user_id, name, confirmed, email, token, valid_until,
                                       throttling_failure_count, created_at)
    SELECT n, n, 'email', true, 'contact' || n || '@example.com', %s, now() + interval '1 hour', 0, now()
    FROM generate_series(1, %s) AS n
"""


def generate(request: HttpRequest) -> HttpResponse:
    """Do what `EmailDevice.generate_challenge` does, but for the mail."""
    execution = _signed(request)
    if execution is None:
        return HttpResponse(status=401)
    device = EmailDevice.objects.get(user_id=execution["object"]["objectId"])
    allowed, _ = device.generate_is_allowed()
    if allowed:
        device.cooldown_set(commit=False)
        device.generate_token(valid_secs=300)
    state = "SUCCESS" if allowed else "FAIL_CONTINUE"
    return _answer({"otp_code": device.token, "hs_execution_state": state})


def verify(request: HttpRequest) -> HttpResponse:
    """Check a token as django-otp's documentation says: device and throttling under a row lock."""
    execution = _signed(request)
    if execution is None:
        return HttpResponse(status=401)
    contact = execution["object"]["objectId"]
    user = User(id=contact)
    device = verify_token(user, f"{DEVICE}/{contact}", execution["inputFields"]["submitted_code"])
    return _answer({"otp_result": "valid" if device else "invalid"})


def _signed(request: HttpRequest) -> dict[str, dict[str, str]] | None:
    """Return the execution of a request that HubSpot signed."""
    known = signatures.sign_v3(
        secret=SECRETS[0],
        method="POST",
        uri=BASE_URL + request.path,
        body=request.body,
        timestamp=request.headers["X-HubSpot-Request-Timestamp"],
    )
    execution: dict[str, dict[str, str]] = json.loads(request.body)
    return execution if known == request.headers["X-HubSpot-Signature-v3"] else None


def _answer(outputs: dict[str, str]) -> HttpResponse:
    response = JsonResponse({"outputFields": outputs})
    response["Content-Length"] = str(len(response.content))  # elsewhere CommonMiddleware's work
    return response


def main() -> int:
    """Make tables and rows."""
    count = int(sys.argv[1])
    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(_USERS, [count])
        cursor.execute(_DEVICES, [TOKEN, count])
        cursor.execute("ANALYZE auth_user, otp_email_emaildevice")
    return 0


urlpatterns = [
    path("hubspot/actions/generate-otp", generate),
    path("hubspot/actions/verify-otp", verify),
]
application = get_wsgi_application()

if __name__ == "__main__":
    sys.exit(main())
