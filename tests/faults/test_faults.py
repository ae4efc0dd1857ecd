"""What fails around us, one fault at a time, with codes in play; the promise is: none lost, none late, none doubled."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psycopg
import pytest
from redis import Redis

from sandbox.local.system import ROOT
from sandbox.local.waiting import PATIENCE, eventually
from tests.faults.world import Verdict, World

Enter = Callable[..., None]
CODES = 30


def test_worker_killed_before_the_call(world: World, table: Enter) -> None:
    world.expire_tokens()
    held = world.hubspot.fault("oauth.token", "hold")
    run = world.enrol(CODES)
    world.struck(held)
    world.mailed(run)  # so that the kill meets this call and no mail
    world.system.kill("worker")
    world.hubspot.release(held)
    world.system.start("worker")
    table(world.judge("worker killed before the call", 1, run))


def test_worker_killed_after_the_call_and_before_the_record(world: World, table: Enter) -> None:
    held = world.hubspot.fault("contacts.batch_update", "hold")
    run = world.enrol(CODES)
    world.struck(held)
    world.mailed(run)
    world.system.kill("worker")
    world.hubspot.release(held)  # HubSpot does what it was asked; nobody is there to hear of it
    world.system.start("worker")
    table(world.judge("worker killed after the call, before the record", 1, run))


def test_worker_killed_in_the_middle_of_a_mail_batch(world: World, table: Enter) -> None:
    held = world.hubspot.fault("smtp.rcpt", "hold", times=1)
    run = world.enrol(CODES)
    world.struck(held)
    world.system.kill("worker")
    world.hubspot.release(held)
    world.system.start("worker")
    table(world.judge("worker killed in the middle of a mail batch", 1, run))


def test_worker_killed_between_the_mail_servers_ok_and_our_commit(world: World, table: Enter) -> None:
    held = world.hubspot.fault("smtp.answer", "hold", times=1)
    run = world.enrol(CODES)
    world.struck(held)
    world.system.kill("worker")
    world.hubspot.release(held)
    world.system.start("worker")
    verdict = world.judge("worker killed between the mail server's OK and our commit", 1, run)
    verdict.remark = "the one moment in which a mail can double"
    table(verdict, doubles=1)


def test_worker_killed_again_and_again(world: World, table: Enter) -> None:
    run = world.enrol(4 * CODES)
    for kill in range(1, 5):
        # at work each time: a fifth of the mails further
        eventually(lambda done=kill * 4 * CODES // 5: world.progress(run, "mailed") >= done)  # type: ignore[misc]
        world.system.kill("worker")
        world.system.start("worker")
    table(world.judge("worker killed again and again", 4, run), doubles=4)


def test_worker_asked_to_end_returns_its_claim(world: World, table: Enter) -> None:
    held = world.hubspot.fault("smtp.rcpt", "slow", seconds=2)
    run = world.enrol(CODES)
    world.struck(held)
    world.answered(run)
    asked_at = time.monotonic()
    world.system.kill("worker", signal.SIGTERM)
    took = time.monotonic() - asked_at
    assert world.mails_of(run, "d.status = 'pending'")
    assert world.mails_of(run, "d.status = 'pending' AND d.next_attempt_at > now()") == 0  # nobody waits for a lease
    world.hubspot.release(held)
    world.system.start("worker")
    verdict = world.judge("worker asked to end (SIGTERM) in the middle of a batch", 1, run)
    verdict.remark = f"ended in {took:.1f} s"
    table(verdict)


def test_redis_flushed(world: World, table: Enter) -> None:
    run = world.enrol(2 * CODES)
    flushed = 0
    with Redis.from_url(world.system.redis_url) as redis:
        while flushed < 10 or world.progress(run, "answered") < len(run.callback_ids):
            redis.flushall()
            flushed += 1
    table(world.judge("Redis flushed", flushed, run))


def test_redis_stopped_and_restarted(world: World, table: Enter) -> None:
    before = world.enrol(CODES)
    port = world.valkey.port
    world.valkey.stop()
    during = world.enrol(CODES)
    world.answered(during)
    world.valkey._desired_port = port  # the same address, as a restarted server has
    world.valkey.start()
    table(world.judge("Redis stopped: codes issued before", 1, before))
    table(world.judge("Redis stopped: codes issued while it was away", 1, during))


def test_redis_hangs(world: World, table: Enter) -> None:
    assert world.valkey._process is not None
    os.kill(world.valkey._process.pid, signal.SIGSTOP)
    try:
        run = world.enrol(CODES)
        world.answered(run)
    finally:
        os.kill(world.valkey._process.pid, signal.SIGCONT)
    table(world.judge("Redis hangs while codes are issued", 1, run))


def test_postgresql_restarted_under_load(world: World, table: Enter) -> None:
    run = world.enrol(4 * CODES)
    world.answered(run, CODES)
    world.postgres.restart()
    table(world.judge("PostgreSQL crashed and restarted under load", 1, run), doubles=1)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("HubSpot answers after 8 s", {"kind": "slow", "seconds": 8, "times": 2}),
        ("HubSpot answers too late (12 s)", {"kind": "slow", "seconds": 12, "times": 2}),
        ("HubSpot answers 429 with Retry-After", {"kind": "status", "status": 429, "retryAfter": "3", "times": 2}),
        ("HubSpot answers 500", {"kind": "status", "status": 500, "times": 3}),
        ("HubSpot answers 502, 503, 504 for a while", {"kind": "status", "status": 503, "times": 5}),
        ("HubSpot is locked (423)", {"kind": "status", "status": 423, "times": 2}),
        ("HubSpot migrates (477)", {"kind": "status", "status": 477, "retryAfter": "5", "times": 1}),
        ("HubSpot drops the connection", {"kind": "drop", "times": 3}),
        ("HubSpot does it, then drops the connection", {"kind": "drop_after", "times": 3}),
    ],
)
@pytest.mark.parametrize("route", ["contacts.batch_update", "callbacks.complete"])
def test_hubspot_in_trouble(world: World, table: Enter, name: str, fault: dict[str, object], route: str) -> None:
    fault_id = world.hubspot.fault(route, **fault)  # type: ignore[arg-type]
    run = world.enrol(CODES)
    what = "writing" if route.startswith("contacts") else "completing"
    verdict = world.judge(f"{name}, {what}", 0, run)
    verdict.injected = world.hubspot.fired(fault_id)
    assert verdict.injected
    table(verdict)


def test_hubspot_refuses_half_a_batch(world: World, table: Enter) -> None:
    fault_id = world.hubspot.fault("contacts.batch_update", "half_batch", times=1)
    run = world.enrol(CODES)
    executions = world.settle(run)
    failed = sum(one["outputFields"]["otp_property_status"] == "failed" for one in executions)
    verdict = world.judge("HubSpot refuses half a batch (207)", world.hubspot.fired(fault_id), run, failing=failed)
    assert verdict.injected
    assert 0 < failed < CODES
    verdict.remark = f"{failed} refused by HubSpot, said so in the outputs"
    table(verdict)


def test_eight_processes_refresh_at_once(world: World, table: Enter) -> None:
    world.expire_tokens()
    before = len(world.hubspot.requests("oauth.token"))
    script = f"from hubspot_integration import tokens; print('token', len(tokens.access_token_for({world.portal_id})))"
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", script],
            cwd=ROOT, env=world.system.environment, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(8)
    ]  # fmt: skip
    answers = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert all(answer.startswith("token ") for answer in answers)
    assert len(world.hubspot.requests("oauth.token")) - before == 1
    verdict = world.judge("eight processes refresh one token at once", 8, world.enrol(CODES))
    verdict.remark = "one refresh"
    table(verdict)


def test_wrong_client_secret_disconnects_nobody(world: World, table: Enter) -> None:
    world.expire_tokens()
    fault_id = world.hubspot.fault("oauth.token", "bad_client_secret")
    run = world.enrol(CODES)
    world.struck(fault_id, times=3)
    assert world.connected()
    world.hubspot.release(fault_id)
    table(world.judge("wrong client secret for a while", 1, run))


def test_revoked_token_disconnects_the_portal(world: World, table: Enter) -> None:
    world.hubspot.delete(f"/portals/{world.portal_id}/install")
    world.enrol(1)
    world.expire_tokens()
    eventually(lambda: not world.connected())
    world.install()
    verdict = world.judge("app uninstalled, noticed, installed again", 1, world.enrol(CODES))
    table(verdict)


@pytest.mark.parametrize(
    ("name", "route", "fault", "doubles"),
    [
        ("mail server down", "smtp.connect", {"kind": "drop", "times": 6}, 0),
        ("mail server busy (421)", "smtp.connect", {"kind": "refuse", "code": 421, "text": "busy", "times": 3}, 0),
        (
            "mail server greylists (451)",
            "smtp.rcpt",
            {"kind": "refuse", "code": 451, "text": "later", "times": CODES},
            0,
        ),
        ("mail server closes before it takes the message", "smtp.data", {"kind": "drop", "times": 3}, 0),
        ("mail server takes the message and closes", "smtp.after_data", {"kind": "drop_after", "times": 3}, 3),
        ("mail server slow", "smtp.mail", {"kind": "slow", "seconds": 1, "times": 10}, 0),
    ],
)
def test_mail_server_in_trouble(
    world: World, table: Enter, name: str, route: str, fault: dict[str, object], doubles: int
) -> None:
    fault_id = world.hubspot.fault(route, **fault)  # type: ignore[arg-type]
    run = world.enrol(CODES)
    verdict = world.judge(name, 0, run)
    verdict.injected = world.hubspot.fired(fault_id)
    assert verdict.injected
    if doubles:
        verdict.remark = "accepted, but we were not told: sent again under the same Message-ID"
    table(verdict, doubles=doubles)


def test_one_recipient_refused(world: World, table: Enter) -> None:
    contact_ids = world.create(CODES)
    fault_id = world.hubspot.fault(
        "smtp.rcpt", "refuse", code=550, text="no such user", match=world.address(contact_ids[3])
    )
    run = world.enrol(contact_ids)
    verdict = world.judge("one recipient refused (550)", 0, run, failing=1)
    verdict.injected = world.hubspot.fired(fault_id)
    assert verdict.injected == 1
    verdict.remark = "the others got theirs; the step says failed for this one"
    table(verdict)


def test_nothing_is_delivered_after_its_end(world: World, table: Enter) -> None:
    """HubSpot and the mail server are away for longer than the codes live (the clock is moved in the database)."""
    faults = [
        world.hubspot.fault("contacts.batch_update", "status", status=503),
        world.hubspot.fault("smtp.connect", "drop"),
    ]
    run = world.enrol(CODES)
    for fault_id in faults:
        world.struck(fault_id)
    world.answered(run)
    with psycopg.connect(world.postgres.url) as connection:
        connection.execute(
            "UPDATE otp_onetimecode SET created_at = now() - interval '20 minutes', expires_at = now() WHERE ended_at IS NULL"
        )
        connection.execute("UPDATE otp_delivery SET next_attempt_at = now() WHERE status = 'pending'")
    for fault_id in faults:
        world.hubspot.release(fault_id)
    executions = world.settle(run)
    assert {one["outputFields"]["otp_error"] for one in executions} == {"expired"}
    assert {one["outputFields"]["otp_code"] for one in executions} == {""}
    assert world.hubspot.get("/mails")["total"] == 0
    verdict = Verdict("HubSpot and mail away for longer than the codes live", len(faults), CODES)
    verdict.remark = "every step ended as expired, nothing was sent"
    table(verdict)
