"""Codes by the hundred thousand, written by the database itself: for tests and benchmarks of pages that show them."""

import datetime as dt

from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connection

from opsagent.encryption import new_permit
from opsagent.models import FernetPermit
from otp import codes

SECONDS_APART = 2
"""So far apart a portal's codes are, the newest at the moment given."""

_CODES = """
INSERT INTO otp_onetimecode (
    id, portal_id, contact_id, request_key, source, workflow_id, address, address_digest, language, digest, code_type,
    code_length, expiry_minutes, outputs_code, created_at, expires_at, ended_at, end_reason)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(%(portal)s || ':' || n), 1, 19))::uuid,
       %(portal)s, 1000 + n %% %(contacts)s, 'many:' || n, CASE WHEN n %% 50 = 0 THEN 'card' ELSE 'workflow' END, '77',
       %(address)s, CASE WHEN n %% 1000 = 0 THEN %(address_digest)s ELSE sha256(n::text::bytea) END, 'en',
       sha256(n::text::bytea), 'numeric', 6, 10, true, at, at + interval '10 minutes', at + interval '40 seconds',
       CASE WHEN n %% 10 < 6 THEN 'used' WHEN n %% 10 < 8 THEN 'expired' WHEN n %% 1000 = 9 THEN 'locked' ELSE 'superseded' END
FROM (SELECT n, %(now)s::timestamptz - n * interval '1 second' * %(apart)s AS at FROM generate_series(1, %(count)s) AS n) AS moments
"""
_DELIVERIES = """
INSERT INTO otp_delivery (code_id, portal_id, channel, target, status, attempts, error, settled_at)
SELECT id, portal_id, 'email', '', CASE WHEN contact_id %% 100 = 0 THEN 'failed' ELSE 'sent' END, 1, '', ended_at
FROM otp_onetimecode WHERE portal_id = %(portal)s
"""


def insert(*, portal_id: int, count: int, now: dt.datetime, contacts: int = 1000) -> None:
    """Give a portal ended codes with a mail each, SECONDS_APART apart; every thousandth is for ann@example.com."""
    values: dict[str, int | bytes | str | dt.datetime] = {
        "portal": portal_id,
        "count": count,
        "contacts": contacts,
        "now": now,
        "apart": SECONDS_APART,
        "address": Fernet(settings.ENCRYPTION_KEYS[0]).encrypt(b"ann@example.com"),
        "address_digest": codes.address_digests(
            peppers=settings.CODE_PEPPERS, portal_id=portal_id, address="ann@example.com"
        )[0],
    }
    # One value for all rows, as only a release before bound values could have stored it.
    FernetPermit.objects.get_or_create(proof=new_permit())
    with connection.cursor() as cursor:
        cursor.execute(_CODES, values)
        cursor.execute(_DELIVERIES, values)
        cursor.execute("ANALYZE otp_onetimecode, otp_delivery")
