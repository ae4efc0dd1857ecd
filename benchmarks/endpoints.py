"""Figures 1 and 2: the Generate OTP and Verify OTP endpoints against the limit program, interleaved, as ratios.

The portal stores, mails and waits; worker and beat do not run. Alone: `python -m benchmarks.endpoints`.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import psycopg

from benchmarks import limit, load, runner
from benchmarks.figures import Measured
from benchmarks.stage import Stage, in_shell, say
from sandbox.local.system import CLIENT_SECRET, System

ANSWERS: Final = ("generate", "verify")
PATHS: Final = {"generate": "/hubspot/actions/generate-otp", "verify": "/hubspot/actions/verify-otp"}
CODE: Final = "482951"
CONNECTIONS: Final = (1, 16)
WARM_UP: Final = 4  # requests per connection, at the beginning of each round
INPUTS: Final[dict[str, Mapping[str, str]]] = {
    "generate": MappingProxyType({}),
    "verify": MappingProxyType({"submitted_code": CODE, "delete_after_success": "false"}),
}
_DONE: Final = """
    SELECT (SELECT count(*) FROM otp_verification WHERE portal_id = %(portal_id)s AND reason = 'verified'),
           (SELECT count(*) FROM otp_onetimecode WHERE portal_id = %(portal_id)s),
           (SELECT count(*) FROM otp_delivery WHERE portal_id = %(portal_id)s AND channel <> 'property_clearing'),
           (SELECT count(*) FROM otp_auditevent WHERE portal_id = %(portal_id)s)
"""


def measure(stage: Stage) -> Iterator[Measured]:
    """Send rounds of the same requests to both, in turn; the first round warms up and does not count."""
    rounds, count = stage.scale.pick(3, 9), stage.scale.pick(300, 1500)
    with stage.web(stage.database()) as system, stage.program("limit:application", with_limit(system)) as limit_port:
        contacts = Contacts(system, verifications=(rounds + 1) * sum(_amount(count, c) for c in CONNECTIONS))
        ratios: dict[tuple[str, int], list[float]] = {}
        rates: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for number in range(rounds + 1):
            for name in ANSWERS:
                for connections in CONNECTIONS:
                    requests = contacts.requests(name, _amount(count, connections))
                    ports = (limit_port, system.web_port)
                    limits, ours = rates_in_turn(requests, ports, connections, backwards=number % 2 == 1)
                    if number:
                        ratios.setdefault((name, connections), []).append(ours / limits)
                        rates.setdefault((name, connections), []).append((ours, limits))
                        say(
                            f"  round {number}/{rounds}  {name:8} c={connections:<2}  {ours:6.0f}/s  {ours / limits:.3f}"
                        )
        contacts.check()
        for name in ANSWERS:
            detail = {
                f"c={connections}": {
                    "ratio": round(statistics.median(ratios[name, connections]), 4),
                    "lowest": round(min(ratios[name, connections]), 4),
                    "highest": round(max(ratios[name, connections]), 4),
                    "per_second": round(statistics.median(ours for ours, _ in rates[name, connections])),
                    "limit_per_second": round(statistics.median(limits for _, limits in rates[name, connections])),
                }
                for connections in CONNECTIONS
            }
            yield Measured(name, statistics.median(ratios[name, 16]), {"rounds": rounds, **detail})


@dataclass
class Contacts:
    """A portal's contacts, each used for one request of a kind; as many have a live code as will be verified."""

    system: System
    verifications: int
    portal_id: int = 0
    _before: tuple[int, ...] = ()
    _next: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.portal_id = int(in_shell(self.system, "portal()"))
        self.add_live_codes(self.verifications)

    def add_live_codes(self, count: int) -> None:
        """Give the first `count` contacts a live code, and begin to count what is done."""
        self.verifications = count
        self._next = {"verify": 1, "generate": count + 1}
        if count:
            in_shell(self.system, f"live_codes({self.portal_id}, 1, {count})")
        self._before = self._done()

    def requests(self, name: str, amount: int) -> list[bytes]:
        """Return signed requests for contacts that had none of the kind."""
        first = self._next[name]
        self._next[name] += amount
        bodies = load.executions(portal_id=self.portal_id, first=first, count=amount, inputs=INPUTS[name])
        return load.signed(bodies, base_url=self.system.app_url, path=PATHS[name], secret=CLIENT_SECRET)

    def check(self) -> None:
        """Make sure that every request did its work: fast refusals are no achievement. Raises RuntimeError."""
        verified, issued = self._next["verify"] - 1, self._next["generate"] - 1 - self.verifications
        done = tuple(after - before for before, after in zip(self._before, self._done(), strict=True))
        wanted = (verified, issued, 3 * issued, issued + verified)
        if done != wanted:
            raise RuntimeError(f"Verified, codes, deliveries and audit lines are {done}, not {wanted}.")

    def _done(self) -> tuple[int, ...]:
        with psycopg.connect(self.system.database_url) as connection:
            return connection.execute(_DONE, {"portal_id": self.portal_id}).fetchone() or ()


def with_limit(system: System) -> dict[str, str]:
    """Give a system's database the limit program's table; return the environment to run that program in."""
    with psycopg.connect(system.database_url, autocommit=True) as connection:
        connection.execute(limit.CREATE)
    return system.environment


def rates_in_turn(
    requests: list[bytes], ports: Sequence[int], connections: int, *, backwards: bool = False
) -> list[float]:
    """Send the same requests to each port, one after the other; return the rates in the order of the ports."""
    order = list(enumerate(ports))
    rates = {
        position: rate(requests, port, connections) for position, port in (reversed(order) if backwards else order)
    }
    return [rates[position] for position, _ in order]


def rate(requests: list[bytes], port: int, connections: int) -> float:
    """Return the answers per second; every one must be a 200. Raises RuntimeError.

    The first few warm up and do not count: after a pause every connection makes its plans anew.
    """
    warm = WARM_UP * connections
    for some in (requests[:warm], requests[warm:]):
        result = load.volley(some, port=port, connections=connections)
        if result.statuses != {200: len(some)}:
            raise RuntimeError(f"Port {port} answered {result.statuses}.")
    return result.rate


def _amount(count: int, connections: int) -> int:
    return count if connections > 1 else count // 3


if __name__ == "__main__":
    runner.alone("endpoints")
