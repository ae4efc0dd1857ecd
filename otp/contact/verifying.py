"""Verifying what somebody submitted: one decision per request, every wrong answer counted, one success per code."""

import datetime as dt
from functools import partial
from typing import Final

import structlog
from django.db import transaction

from hubspot_integration.models import Portal
from otp import audit, codes
from otp.audit import Action, Actor, ActorKind
from otp.contact import ledger
from otp.contact.decisions import check_address
from otp.contact.order import Checked, Submission
from otp.contact.verdicts import judge, with_full_budget
from otp.counters import VERIFICATIONS
from otp.models import Source

log = structlog.get_logger(__name__)

# Longer than anybody types, separators included.
MAXIMUM_SUBMITTED_LENGTH: Final = 1000


def verify_code(
    *,
    portal_id: int,
    contact_id: int,
    address: str,
    submitted: str,
    clear_property: bool,
    request_key: str,
    source: Source,
    actor: Actor,
    now: dt.datetime,
) -> Checked:
    """Decide whether what somebody submitted is the contact's code, and write the decision down.

    A code belongs to the portal, the contact and the address it was made for; codes for another address do not exist
    here. The same `request_key` gives the first decision again, however often, simultaneously or late it comes. Of any
    number of simultaneous right answers one is `verified`; five wrong answers lock a code, and a portal's number of
    wrong answers since the last success (10) locks the contact for a while, whatever new codes are made.

    `attempts_remaining` counts the wrong answers that the newest live code and the contact still bear after this one;
    it is 0 when there is nothing left to guess, as after a success. With `clear_property` a success also asks for the
    contact property to be cleared: the request is recorded on every code that the success ends. The decision, and
    whatever it locked, stands in the audit log as `actor`'s deed. One round trip to the database for the right answer;
    otherwise three.

    Raises NotInstalled, MissingAddress, InvalidAddress, RequestKeyTaken; nothing has changed then.
    """
    submission = Submission(
        portal_id=portal_id, contact_id=contact_id, address=codes.normalise_address(address), guess=_guess(submitted),
        clear_property=clear_property, request_key=request_key, source=source, actor=actor, now=now,
    )  # fmt: skip
    checked = ledger.one_at_a_time(partial(_attempt, submission), portal_id=portal_id, contact_id=contact_id)
    _tell(submission, checked)
    return checked


def _attempt(submission: Submission) -> Checked:
    """Decide and write once. Raises Overtaken."""
    if codes.fits(submission.guess):
        checked = ledger.accept_right_answer(submission)
        if checked is not None:
            return checked
    facts = ledger.read_for_check(submission)
    if facts.earlier is not None:
        return ledger.repeat_check(submission, facts.earlier)
    check_address(submission.address)
    return ledger.write_verdict(submission, judge(submission, facts))


def _guess(submitted: str) -> str:
    return codes.normalise(submitted) if len(submitted) <= MAXIMUM_SUBMITTED_LENGTH else ""


def _tell(submission: Submission, checked: Checked) -> None:
    """Count and log a check; one that is repeated is no news."""
    if checked.repeated:
        return
    VERIFICATIONS.add(submission.source, checked.reason)
    log.info(
        "code_checked",
        portal_id=submission.portal_id,
        reference=None if checked.code_id is None else str(checked.code_id),
        source=submission.source.value,
        reason=checked.reason.value,
    )


def lift_lock(*, portal: Portal, contact_id: int, lifted_by: str, now: dt.datetime) -> bool:
    """Let a contact that is locked verify again at once, with a full budget; record who allowed it, and when.

    `lifted_by` names a person in staff. Codes that are locked themselves stay so. Returns whether there was a lock.
    """
    with transaction.atomic():
        guard = ledger.lock_contact(portal_id=portal.id, contact_id=contact_id)
        if not guard.is_locked(now):
            return False
        ledger.save_budget(with_full_budget(guard))
        audit.record(
            portal=portal,
            at=now,
            actor=lifted_by,
            actor_kind=ActorKind.STAFF,
            action=Action.LOCK_LIFTED,
            contact_id=contact_id,
        )
    return True
