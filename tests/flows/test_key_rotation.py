"""All three kinds of key change under load, one process after the other, and nobody outside notices."""

import itertools
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet
from django.test import override_settings
from psycopg import sql

from hubspot_integration.models import Portal
from opsagent.encryption import FORMAT, bound_to, decrypt, new_permit
from sandbox.local.administrator import Administrator
from sandbox.local.control import Control
from sandbox.local.system import CLIENT_SECRET, System
from sandbox.local.waiting import PATIENCE, eventually
from tests import environment, generating
from tests.otp import test_verify_otp_action
from tests.signing import signed_headers

GENERATE, VERIFY = generating.PATH, test_verify_otp_action.PATH
DATABASE = "opsagent_rotation"
THREADS = 3


class Load:
    """HubSpot, calling two web processes as a load balancer spreads its calls, and repeating those that found none."""

    def __init__(self, portal_id: int, base_url: str, slots: list[str]) -> None:
        self.secret = CLIENT_SECRET
        self.problems: list[str] = []
        self.done = 0
        self._portal = Portal(id=portal_id)
        self._base_url, self._slots = base_url, slots
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, rounds: int = 15) -> None:
        """Wait for some more codes to be generated and verified."""
        enough = self.done + rounds
        eventually(lambda: self.done >= enough or self.problems)

    def issue(self) -> tuple[int, str]:
        """Have a code generated; return contact and code."""
        number = next(self._numbers)
        target = {"objectId": number, "objectType": "CONTACT", "properties": {"firstname": "Ada"}}
        payload = generating.execution(
            self._portal, callbackId=f"generate-{number}", object=target, inputs={"email": address(number)}
        )
        outputs = self._post(GENERATE, payload)
        if outputs.get("otp_status") != "success":
            self.problems.append(f"generate: {outputs}")
        return number, outputs.get("otp_code", "")

    def verify(self, number: int, code: str) -> None:
        """Have a code verified, which must succeed."""
        target = {"objectId": number, "objectType": "CONTACT"}
        payload = test_verify_otp_action.execution(
            self._portal,
            callbackId=f"verify-{number}",
            object=target,
            inputs={"email": address(number), "submitted_code": code},
        )
        outputs = self._post(VERIFY, payload)
        if outputs.get("otp_result") != "valid":
            self.problems.append(f"verify: {outputs}")

    def _run(self) -> None:
        while not self._stop.is_set():
            self.verify(*self.issue())
            self.done += 1

    def _post(self, path: str, payload: Any) -> dict[str, str]:
        body = json.dumps(payload).encode()
        for attempt in itertools.count(next(self._numbers)):
            headers = signed_headers(path, body, secret=self.secret, base_url=self._base_url)
            headers["Content-Type"] = "application/json"
            try:
                answer = httpx.post(self._slots[attempt % 2] + path, content=body, headers=headers, timeout=PATIENCE)
            except httpx.TransportError:  # this one is being restarted
                self._stop.wait(0.05)
                continue
            if answer.status_code != 200:
                self.problems.append(f"{path}: {answer.status_code}")
                return {}
            outputs: dict[str, str] = answer.json()["outputFields"]
            return outputs
        raise AssertionError("unreachable")


def address(number: int) -> str:
    return f"contact{number}@rotation.example"


@pytest.fixture
def first(tmp_path: Path) -> Iterator[System]:
    """Every process, on a database of its own: its keys are nobody else's."""
    name = sql.Identifier(DATABASE)
    with psycopg.connect(environment.database_url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
    system = System(
        database_url=environment.database_url(DATABASE),
        redis_url=environment.redis_of_processes(2),
        logs=tmp_path / "first",
        settings=keys(["old"]),
    )
    with system:
        yield system
    with psycopg.connect(environment.database_url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


FERNET = {"old": Fernet.generate_key().decode(), "new": Fernet.generate_key().decode()}
SECRETS = {"old": CLIENT_SECRET, "new": "the-client-secret-after-its-rotation"}


def keys(order: list[str], peppers: list[str] | None = None) -> dict[str, str]:
    """Return the three lists of keys in an order."""
    return {
        "ENCRYPTION_KEYS": ",".join(FERNET[name] for name in order),
        "CODE_PEPPERS": ",".join(f"the-{name}-pepper-of-more-than-thirty-two-characters" for name in peppers or order),
        "HUBSPOT_CLIENT_SECRETS": ",".join(SECRETS[name] for name in order),
    }


def test_no_verification_and_no_signature_fails_while_every_key_is_rotated(first: System, tmp_path: Path) -> None:
    second = System(
        database_url=first.database_url,
        redis_url=first.redis_url,
        logs=tmp_path / "second",
        app_url=first.app_url,
        settings=first.settings,
    )
    second.sandbox_url, second.smtp_address = first.sandbox_url, first.smtp_address
    slots = [f"http://localhost:{one.web_port}" for one in (first, second)]

    def restart_one_after_the_other(values: dict[str, str]) -> None:
        for system, slot in zip((first, second), slots, strict=True):
            system.settings = values
            if "web" in system.processes:
                system.kill("web", signal.SIGTERM)
            system.start("web")
            until_it_answers(slot)
            load.go_on()  # old and new side by side
        first.kill("worker", signal.SIGTERM)
        first.start("worker")

    with Control(first.sandbox_url) as hubspot:
        portal = hubspot.get("/portals")["portals"][0]
        admin = Administrator(first)
        admin.install(next(user["userId"] for user in portal["users"] if user["mayInstall"]))
        admin.save_settings(send_email=True, wait_until_delivered=False)
        try:
            second.start("web")
            until_it_answers(slots[1])
            with Load(portal["portalId"], first.app_url, slots) as load:
                kept = [load.issue() for _ in range(5)]
                load.go_on()
                unbind(first)  # what an older release has stored lies beside what this one stores
                restart_one_after_the_other(keys(["old", "new"]))
                load.secret = SECRETS["new"]  # the admin presses Rotate in HubSpot
                restart_one_after_the_other(keys(["new", "old"]))
                said = first.manage("rotate_keys")
                assert "Everything is under the first key. Remove the others" in said
                assert "need pepper number 2" in said
                assert "Every secret is bound to its row now" in said
                assert unbound(first) == 0
                restart_one_after_the_other(keys(["new"], peppers=["new", "old"]))
                for number, code in kept:  # made before anything was rotated
                    load.verify(number, code)
            assert load.problems == []
            assert load.done >= 90
            (mail,) = eventually(lambda: hubspot.mails(address(kept[0][0])))
            assert kept[0][1] in mail["text"]
        finally:
            second.stop()
    assert "DecryptionError" not in first.log("web") + first.log("worker") + second.log("web")


COLUMNS = {
    "hubspot_integration_oauthgrant": ("portal_id", ["access_token", "refresh_token"]),
    "otp_onetimecode": ("id", ["address", "code"]),
}


def unbind(system: System) -> None:
    """Store every secret as releases before bound values did, with the permit that their upgrade would have given."""
    key = FERNET["old"]
    with psycopg.connect(system.database_url, autocommit=True) as database, override_settings(ENCRYPTION_KEYS=[key]):
        database.execute("INSERT INTO opsagent_fernetpermit (proof) VALUES (%s)", [new_permit()])
        for table, (row, columns) in COLUMNS.items():
            for column in columns:
                names = {"table": sql.Identifier(table), "row": sql.Identifier(row), "column": sql.Identifier(column)}
                found = database.execute(
                    sql.SQL("SELECT {row}, {column} FROM {table} WHERE {column} IS NOT NULL").format(**names)
                ).fetchall()
                for identifier, value in found:
                    old = Fernet(key).encrypt(decrypt(value, bound_to(table, column, identifier)).encode())
                    # only if nobody has written it meanwhile
                    database.execute(
                        sql.SQL("UPDATE {table} SET {column} = %s WHERE {row} = %s AND {column} = %s").format(**names),
                        [old, identifier, value],
                    )
    assert unbound(system) > 0


def unbound(system: System) -> int:
    """Count values that are not bound to their rows."""
    count = 0
    with psycopg.connect(system.database_url) as database:
        for table, (_, columns) in COLUMNS.items():
            for column in columns:
                query = sql.SQL("SELECT count(*) FROM {} WHERE substring({} FROM 1 FOR 1) <> %s")
                (found,) = database.execute(
                    query.format(sql.Identifier(table), sql.Identifier(column)), [FORMAT]
                ).fetchone() or (0,)
                count += found
    return count


def until_it_answers(slot: str) -> None:
    """Wait until a web process is there."""
    eventually(lambda: httpx.get(f"{slot}/healthz", timeout=10).is_success)
