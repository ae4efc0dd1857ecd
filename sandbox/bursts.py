"""Bursts: contacts enrolled together, and how far they have come.

Everything is counted as it happens, so that watching ten thousand executions costs no more than watching one.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sandbox.times import milliseconds

_FAILED = ("FAIL_CONTINUE", "REJECTED", "GAVE_UP", "UNENROLLED")


@dataclass(slots=True)
class Span:
    """The first and the last moment at which something happened."""

    first: float | None = None
    last: float | None = None

    def add(self, moment: float) -> None:
        """Take one moment in."""
        if self.first is None or moment < self.first:
            self.first = moment
        if self.last is None or moment > self.last:
            self.last = moment


@dataclass(slots=True)
class Burst:
    """Contacts enrolled by one click or one call, with running totals.

    ``property`` is the contact property whose writes count; any that the app writes when empty.
    """

    id: int
    portal_id: int
    workflow_id: int
    started_at: float
    property: str = ""
    enrolled: int = 0
    states: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    answered: int = 0
    mailed: int = 0
    lost_completions: int = 0
    violations: int = 0
    written: set[int] = field(default_factory=set)
    answer_ms: list[float] = field(default_factory=list)
    answers: Span = field(default_factory=Span)
    writes: Span = field(default_factory=Span)
    mails: Span = field(default_factory=Span)
    completions: Span = field(default_factory=Span)
    ends: Span = field(default_factory=Span)

    def note_write(self, contact_id: int, values: dict[str, str], at: float) -> None:
        """Count a contact once the app has written a value to it."""
        if any(value for name, value in values.items() if self.property in ("", name)):
            self.written.add(contact_id)
            self.writes.add(at)

    def note_mail(self, at: float) -> None:
        """Count a mail to one of the contacts."""
        self.mailed += 1
        self.mails.add(at)

    def summary(self) -> dict[str, Any]:
        """Return counts, first and last moments, and percentiles of the app's answer times."""
        states = self.states
        return {
            "burstId": self.id,
            "portalId": self.portal_id,
            "workflowId": self.workflow_id,
            "startedAt": milliseconds(self.started_at),
            "enrolled": self.enrolled,
            "executions": states.total(),
            "answered": self.answered,
            "written": len(self.written),
            "mailed": self.mailed,
            "completed": states["SUCCESS"],
            "failed": sum(states[state] for state in _FAILED),
            "expired": states["EXPIRED"],
            "blocked": states["BLOCKED"],
            "retrying": states["RETRYING"],
            "waiting": states["QUEUED"] + states["SENDING"],
            "attempts": self.attempts,
            "lostCompletions": self.lost_completions,
            "violations": self.violations,
            **_moments("Answer", self.answers),
            **_moments("Write", self.writes),
            **_moments("Mail", self.mails),
            **_moments("Completion", self.completions),
            **_moments("End", self.ends),
            "answerMs": _percentiles(sorted(self.answer_ms)),
        }


def _moments(what: str, span: Span) -> dict[str, int | None]:
    return {
        f"first{what}At": None if span.first is None else milliseconds(span.first),
        f"last{what}At": None if span.last is None else milliseconds(span.last),
    }


def _percentiles(ordered: list[float]) -> dict[str, float]:
    """Return nearest-rank percentiles, rounded to a hundredth of a millisecond."""
    if not ordered:
        return {}
    ranks = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[min(last, int(rank * len(ordered)))], 2) for name, rank in ranks.items()}
