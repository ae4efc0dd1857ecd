"""The limit of a signed, durable request: bare WSGI, one HMAC-SHA256 over the body, one committed INSERT.

Whatever a framework or a product does comes on top of this. Served like the product: granian, same processes and threads.
"""

import base64
import hmac
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

SECRET = os.environ.get("HUBSPOT_CLIENT_SECRETS", "").encode()
BASE_URL = os.environ.get("PUBLIC_BASE_URL", "").encode()
_local = threading.local()

CREATE = "CREATE TABLE IF NOT EXISTS limit_rows (id bigserial PRIMARY KEY, body bytea NOT NULL)"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Check the signature, store the body, answer."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    message = b"POST" + BASE_URL + environ["PATH_INFO"].encode() + body
    message += environ["HTTP_X_HUBSPOT_REQUEST_TIMESTAMP"].encode()
    signature = base64.b64encode(hmac.digest(SECRET, message, "sha256"))
    if not hmac.compare_digest(signature, environ["HTTP_X_HUBSPOT_SIGNATURE_V3"].encode()):
        start_response("401 Unauthorized", [("Content-Length", "0")])
        return [b""]
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    connection.execute("INSERT INTO limit_rows (body) VALUES (%s)", (body,), prepare=True)
    answer = b'{"outputFields":{"hs_execution_state":"SUCCESS"}}'
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
