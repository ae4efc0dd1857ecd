"""Random histories of one contact, played to the product and to a simple model of its promises at once.

The model is lists and loops in memory: no database, no digests, no locks. Whatever happens in whatever order, the two
must never disagree about an answer or about what is left behind.
"""

import datetime as dt
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from otp import tasks
from otp.audit import Actor, ActorKind
from otp.codes import EXPIRY_MINUTES, LENGTHS, CodeType
from otp.contact.issuing import issue_code
from otp.contact.order import Checked, Issued, Overrides, RateLimited
from otp.contact.verifying import lift_lock, verify_code
from otp.models import ContactGuard, OneTimeCode, ResendPolicy, Source
from tests import factories

START: Final = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
ADDRESSES: Final = ("ada@example.com", "ada@elsewhere.example")
SYMBOLS: Final = {"numeric": "[0-9]", "alphanumeric": "[A-HJ-NP-Z2-9]", "alpha": "[A-HJ-NP-Z]"}
MINUTE: Final = dt.timedelta(minutes=1)
DAY: Final = dt.timedelta(days=1)

contact_ids = itertools.count(1)


@dataclass
class Code:
    """A code as the model knows it."""

    text: str
    kind: str
    address: str
    made_at: dt.datetime
    expires_at: dt.datetime
    end: str = ""
    wrong: int = 0

    def looks_like(self, text: str) -> bool:
        return re.fullmatch(f"{SYMBOLS[self.kind]}{{{len(self.text)}}}", text) is not None

    def end_at(self, now: dt.datetime) -> str:
        return self.end or ("expired" if now >= self.expires_at else "")


@dataclass
class Contact:
    """What is promised about one contact."""

    keeps_both: bool
    codes: list[Code] = field(default_factory=list)
    wrong: int = 0
    locks: int = 0
    locked_until: dt.datetime = START

    def may_issue_at(self, now: dt.datetime, source: Source) -> dt.datetime:
        """Return the first moment from `now` on at which no limit forbids another code."""
        limits = [(5, 10 * MINUTE), (20, DAY)]
        if source is Source.CARD:
            limits.append((1, MINUTE / 2))
        ends = [code.made_at + period for code in self.codes for _, period in limits]
        return min(
            moment
            for moment in [now, *ends]
            if moment >= now
            and all(sum(moment - period < code.made_at for code in self.codes) < most for most, period in limits)
        )

    def issue(self, code: Code, now: dt.datetime) -> None:
        if not self.keeps_both:
            for older in self.codes:
                if not older.end_at(now):
                    older.end = "superseded"
        self.codes.append(code)

    def check(self, address: str, text: str, now: dt.datetime) -> tuple[str, int]:
        """Return reason and attempts remaining."""
        if now < self.locked_until:
            return "rate_limited", 0
        known = [code for code in self.codes if code.address == address and now < code.expires_at + DAY]
        live = [code for code in known if not code.end_at(now)]
        reason = self._reason(known, live, text, now)
        if reason == "verified":
            for code in self.codes:
                if not code.end_at(now):
                    code.end = "used"
            self.wrong = self.locks = 0
            return "verified", 0
        if reason == "wrong_code":
            self._count(live, now)
        if not live or now < self.locked_until:
            return reason, 0
        return reason, min(5 - live[-1].wrong, 10 - self.wrong)

    def _reason(self, known: list[Code], live: list[Code], text: str, now: dt.datetime) -> str:  # noqa: PLR0911 (one return per line of the table)
        is_locked = bool(known) and known[-1].end == "locked" and now < known[-1].expires_at
        guessable = known[-1:] if is_locked else live
        if guessable and not any(code.looks_like(text) for code in guessable):
            return "malformed"
        if not any(re.fullmatch(f"(?:{symbols}{{4}}){{1,2}}|{symbols}{{6}}", text) for symbols in SYMBOLS.values()):
            return "malformed"
        if is_locked:
            return "locked"
        if any(code.text == text for code in live):
            return "verified"
        for code in reversed(known):
            if code.text == text and code.end_at(now) in {"superseded", "used", "expired"}:
                return {"used": "already_used"}.get(code.end_at(now), code.end_at(now))
        if live:
            return "wrong_code"
        newest = known[-1].end_at(now) if known else ""
        return {"used": "already_used", "expired": "expired", "locked": "locked"}.get(newest, "not_found")

    def _count(self, live: list[Code], now: dt.datetime) -> None:
        for code in live:
            code.wrong += 1
            if code.wrong == 5:
                code.end = "locked"
        self.wrong += 1
        if self.wrong == 10:
            self.locked_until = now + min(15 * MINUTE * 2**self.locks, DAY)
            self.wrong, self.locks = 0, self.locks + 1

    def lift(self, now: dt.datetime) -> bool:
        was_locked = now < self.locked_until
        if was_locked:
            self.locked_until, self.wrong, self.locks = START, 0, 0
        return was_locked


class Histories(RuleBasedStateMachine):
    """One contact: codes are issued, resent, guessed at and expire; staff lift locks; HubSpot repeats itself."""

    @initialize(policy=st.sampled_from(ResendPolicy))
    def begin(self, policy: ResendPolicy) -> None:
        self.portal = factories.OAuthGrantFactory.create().portal
        factories.OTPSettingsFactory.create(portal=self.portal, resend_policy=policy)
        self.contact_id = next(contact_ids)
        self.model = Contact(keeps_both=policy is ResendPolicy.KEEP_BOTH)
        self.now = START
        self.requests = 0
        self.issued: list[tuple[dict[str, Any], Issued]] = []
        self.decided: list[tuple[dict[str, Any], Checked]] = []

    @rule(
        source=st.sampled_from([Source.WORKFLOW, Source.CARD]),
        kind=st.sampled_from(CodeType),
        length=st.sampled_from(LENGTHS),
        minutes=st.sampled_from(EXPIRY_MINUTES),
        address=st.sampled_from([ADDRESSES[0], *ADDRESSES]),
    )
    def issue(self, source: Source, kind: CodeType, length: int, minutes: int, address: str) -> None:
        """Generate a code, or send another one."""
        request = self._request(source, address) | {
            "first_name": "",
            "language": "",
            "workflow_id": "",
            "callback_id": None,
            "overrides": Overrides(code_type=kind, code_length=length, expiry_minutes=minutes),
        }
        possible_at = self.model.may_issue_at(self.now, source)
        if possible_at > self.now:
            with pytest.raises(RateLimited) as raised:
                issue_code(**request, now=self.now)
            assert raised.value.retry_at == possible_at
            return
        issued = issue_code(**request, now=self.now)
        assert not issued.repeated
        assert issued.code.code is not None
        self.model.issue(Code(issued.code.code, kind.value, address, self.now, self.now + minutes * MINUTE), self.now)
        self.issued.append((request, issued))

    @precondition(lambda self: self.model.codes)
    @rule(
        back=st.integers(0, 3),
        address=st.sampled_from([None, None, *ADDRESSES]),
        typed=st.sampled_from(["{}", " {} ", "lower", "arabic", "spaced"]),
    )
    def submit_a_code(self, back: int, address: str | None, typed: str) -> None:
        """Submit a code that was issued, the newest one first of all."""
        code = self.model.codes[max(0, len(self.model.codes) - 1 - back)]
        self._submit(address or code.address, code.text, _typed(code.text, typed))

    @precondition(lambda self: self.model.codes)
    @rule(times=st.integers(1, 6), address=st.sampled_from([None, None, None, *ADDRESSES]), seed=st.integers(0, 2**32))
    def submit_wrong_codes(self, times: int, address: str | None, seed: int) -> None:
        """Guess at the newest code, some times in a row."""
        newest = self.model.codes[-1]
        symbols = {"numeric": "0123456789"}.get(newest.kind, "ABCDEFGHJKLMNPQRSTUVWXYZ")
        for number in range(times):
            digits = itertools.islice(itertools.cycle(f"{seed + number:010d}"), len(newest.text))
            text = "".join(symbols[int(digit)] for digit in digits)
            self._submit(address or newest.address, text, text)

    @rule(
        text=st.sampled_from(
            ["", "-", "12", "123456", "ABCDEFGH", "A7K3M2", "0000", "OIOI", "1234567", "12345٤", "é" * 6]
        ),
        address=st.sampled_from(ADDRESSES),
    )
    def submit_anything(self, text: str, address: str) -> None:
        """Submit something that may or may not be a code."""
        self._submit(address, text.replace("-", "").replace("٤", "4").upper(), text)

    @precondition(lambda self: self.decided or self.issued)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Send a request again that has been answered."""
        if self.decided:
            request, decision = data.draw(st.sampled_from(self.decided))
            again = verify_code(**{**request, "submitted": "whatever"}, now=self.now)
            assert _answer(again) == _answer(decision)
        if self.issued:
            request, issued = data.draw(st.sampled_from(self.issued))
            repeated = issue_code(**request, now=self.now)
            assert (repeated.repeated, repeated.code.id) == (True, issued.code.id)

    @rule(
        wait=st.sampled_from(
            [dt.timedelta(seconds=seconds) for seconds in (1, 29, 30)]
            + [minutes * MINUTE for minutes in (1, 5, 10, 15, 60, 61)]
            + [DAY - 11 * MINUTE, DAY, DAY + 61 * MINUTE]
        )
    )
    def let_time_pass(self, wait: dt.timedelta) -> None:
        """Wait."""
        self.now += wait

    @rule()
    def wait_until_something_changes(self) -> None:
        """Wait until exactly the next moment at which a code, a lock or a memory of a code ends."""
        moments = [moment for code in self.model.codes for moment in (code.expires_at, code.expires_at + DAY)]
        self.now = min(
            (moment for moment in [*moments, self.model.locked_until] if moment > self.now), default=self.now
        )

    @rule()
    def sweep(self) -> None:
        """End what has expired."""
        with time_machine.travel(self.now, tick=False):
            tasks.end_expired()

    @rule()
    def lift_lock(self) -> None:
        """Let the contact try again."""
        lifted = lift_lock(portal=self.portal, contact_id=self.contact_id, lifted_by="grace", now=self.now)
        assert lifted == self.model.lift(self.now)

    @invariant()
    def they_leave_the_same_behind(self) -> None:
        """Compare what is stored with what the model remembers."""
        if not hasattr(self, "model"):
            return
        rows = {row.pk: row for row in OneTimeCode.objects.filter(portal=self.portal, contact_id=self.contact_id)}
        assert len(rows) == len(self.model.codes)
        for (_, issued), code in zip(self.issued, self.model.codes, strict=True):
            row = rows[issued.code.id]
            assert (row.end_reason_at(self.now) or "") == code.end_at(self.now)
            assert row.wrong_attempts == code.wrong
            assert row.code == (code.text if row.end_reason is None else None)
        guard = ContactGuard.objects.filter(portal=self.portal, contact_id=self.contact_id).first() or ContactGuard()
        assert (guard.wrong_attempts, guard.lock_count) == (self.model.wrong, self.model.locks)
        assert guard.is_locked(self.now) == (self.now < self.model.locked_until)

    def _submit(self, address: str, text: str, typed: str) -> None:
        request = self._request(Source.WORKFLOW, address) | {"submitted": typed, "clear_property": False}
        expected = self.model.check(address, text, self.now)
        decision = verify_code(**request, now=self.now)
        assert (decision.reason, decision.attempts_remaining) == expected
        assert decision.verified_at == (self.now if expected[0] == "verified" else None)
        self.decided.append((request, decision))

    def _request(self, source: Source, address: str) -> dict[str, Any]:
        self.requests += 1
        return {
            "portal_id": self.portal.id,
            "contact_id": self.contact_id,
            "address": address,
            "request_key": f"{source}:{self.requests}",
            "source": source,
            "actor": Actor(ActorKind.WORKFLOW, "workflow 1"),
        }


def _answer(decision: Checked) -> tuple[Any, ...]:
    return decision.id, decision.reason, decision.result, decision.attempts_remaining, decision.verified_at


def _typed(text: str, how: str) -> str:
    match how:
        case "lower":
            return text.lower()
        case "arabic":
            return "".join(chr(0x0660 + int(one)) if one.isdecimal() else one for one in text)
        case "spaced":
            return " - ".join(text)
    return how.format(text)


@pytest.mark.django_db
def test_the_product_never_disagrees_with_the_model() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
