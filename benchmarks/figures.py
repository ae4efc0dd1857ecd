"""The figures that the benchmarks answer for: what each is, its goal, and what conventional code reaches."""

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. Exactly one of `at_least` and `at_most` is the goal, in `unit` (none: a ratio).

    `number` is the figure's in the documentation; two figures that are judged apart share one. `conventional` is what
    was measured or calculated for code without the measures that this product takes.
    """

    number: int
    what: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    conventional: str = ""

    @property
    def goal(self) -> str:
        """The goal in words."""
        if self.at_least is not None:
            return f"≥ {self.show(self.at_least)}"
        return f"≤ {self.show(self.at_most or 0.0)}"

    def show(self, value: float) -> str:
        """Return a value with its unit, in three significant digits."""
        digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 (1e+03 is for nobody)
        return f"{digits} {self.unit}".rstrip()

    def is_met(self, value: float) -> bool:
        """Whether a value reaches the goal."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out for one figure. `detail`: whatever else the same measurement says, by name."""

    name: str
    value: float
    detail: dict[str, Any] = field(default_factory=dict)


FIGURES: Final = {
    "generate": Figure(
        number=1,
        what="Generate OTP, 16 connections, of the limit program",
        at_least=0.40,
        conventional="0.11",
    ),
    "verify": Figure(
        number=2,
        what="Verify OTP, 16 connections, of the limit program",
        at_least=0.40,
        conventional="0.12",
    ),
    "generate_against_earlier": Figure(
        number=1,
        what="Generate OTP, 16 connections, against the commit that EARLIER names",
        at_least=1,
    ),
    "verify_against_earlier": Figure(
        number=2,
        what="Verify OTP, 16 connections, against the commit that EARLIER names",
        at_least=1,
    ),
    "against_django_otp": Figure(
        number=3,
        what="Generate OTP against django-otp's e-mail device without its mail",
        at_least=2,
    ),
    "answer_p99": Figure(
        number=4,
        what="answer, p99, 10,000 executions over 16 connections, everything running",
        unit="ms",
        at_most=100,
    ),
    "last_completion": Figure(
        number=5,
        what="10,000 at once, stored: last completion after the later of last answer and budget",
        unit="s",
        at_most=5,
        conventional="1,800 s",
    ),
    "calls_per_code": Figure(
        number=6,
        what="HubSpot calls per code in 5, the confirming completion included",
        at_most=0.05,
        conventional="2.0",
    ),
    "refused_share": Figure(
        number=7,
        what="share of calls that HubSpot refused in 5",
        unit="%",
        at_most=1,
    ),
    "single_code": Figure(
        number=8,
        what="single code, idle system: property written and mail accepted, beyond HubSpot and SMTP",
        unit="ms",
        at_most=60,
    ),
    "other_portal": Figure(
        number=9,
        what="another portal's single code during 5, p99, against idle",
        unit="times",
        at_most=2,
    ),
    "growth": Figure(
        number=10,
        what="1 and 2 with many stored codes (full: 10 million) against 10,000, the worse",
        at_least=0.9,
    ),
    "mail": Figure(
        number=11,
        what="mails a second of one worker, of smtplib on one open connection",
        at_least=0.6,
        conventional="0.1",
    ),
    "web_memory": Figure(number=12, what="web worker's resident memory, warm", unit="MB", at_most=110),
    "cold_start": Figure(number=12, what="cold start to ready", unit="s", at_most=2),
    "web_scale_out": Figure(
        number=13,
        what="two web processes against one, of the limit program's own gain",
        at_least=0.9,
    ),
    "worker_scale_out": Figure(
        number=13,
        what="two worker processes against one, of the limit program's own gain; nothing twice",
        at_least=0.9,
    ),
}
