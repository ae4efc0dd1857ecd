"""Faults on demand: what a route does instead of, before or after its work."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

HTTP_KINDS = frozenset({"status", "slow", "drop", "drop_after", "hold"})
BATCH_KINDS = frozenset({"half_batch"})
# for calls that change something
LATE_KINDS = frozenset({"late"})
REFRESH_KINDS = frozenset({"revoked", "rotate"})
TOKEN_KINDS = frozenset({"bad_hub", "bad_client_secret"}) | REFRESH_KINDS
SMTP_KINDS = frozenset({"refuse", "slow", "drop", "drop_after", "hold"})
# The routes that can fail, with the ways in which each can.
ROUTES = {
    "oauth.token": HTTP_KINDS | TOKEN_KINDS,
    "oauth.introspect": HTTP_KINDS,
    "oauth.revoke": HTTP_KINDS,
    "appinstalls.uninstall": HTTP_KINDS,
    "account.details": HTTP_KINDS,
    "properties.list": HTTP_KINDS,
    "properties.read": HTTP_KINDS,
    "properties.create": HTTP_KINDS,
    "groups.list": HTTP_KINDS,
    "groups.create": HTTP_KINDS,
    "contacts.read": HTTP_KINDS,
    "contacts.update": HTTP_KINDS | LATE_KINDS,
    "contacts.batch_read": HTTP_KINDS,
    "contacts.batch_update": HTTP_KINDS | BATCH_KINDS | LATE_KINDS,
    "callbacks.complete": HTTP_KINDS | LATE_KINDS,
    "callbacks.complete_batch": HTTP_KINDS | LATE_KINDS,
    "smtp.connect": SMTP_KINDS,
    "smtp.mail": SMTP_KINDS,
    "smtp.rcpt": SMTP_KINDS,
    "smtp.data": SMTP_KINDS,
    "smtp.after_data": SMTP_KINDS,
    "smtp.answer": SMTP_KINDS - {"refuse", "drop_after"},
}
# These pass the request on to the next fault and at last to the route itself.
DELAYS = frozenset({"slow", "hold"})


@dataclass(slots=True)
class Fault:
    """One fault that is switched on.

    ``route`` is a route's name or the beginning of it; ``match`` a part of the request's path, or of the recipient's
    address for SMTP; ``member`` an id, of a contact or a callback, that a batch must hold; ``times`` how often it may
    still fire, for ever when None.
    """

    id: int
    route: str
    kind: str
    portal_id: int | None = None
    match: str = ""
    member: str = ""
    status: int = 503
    body: str = ""
    retry_after: str = ""
    seconds: float = 0.0
    code: int = 451
    text: str = "Temporary failure"
    times: int | None = None
    fired: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def concerns(self, route: str, portal_id: int | None, subject: str, members: frozenset[str]) -> bool:
        """Return whether the fault fires for such a request."""
        return (
            route.startswith(self.route)
            and (self.portal_id is None or self.portal_id == portal_id)
            and self.match in subject
            and (not self.member or self.member in members)
            and (self.times is None or self.fired < self.times)
        )

    async def delay(self) -> None:
        """Wait as long as the fault says, or until it is removed."""
        if self.kind == "hold":
            await self.released.wait()
        else:
            await asyncio.sleep(self.seconds)

    async def until_late(self) -> None:
        """Wait until the time has come to do what nobody was told of: so many seconds later, or when switched off."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.released.wait(), self.seconds)


class Faults:
    """Keep the faults in the order in which they were switched on."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._ids = count(1)

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._faults.values()))

    def next_id(self) -> int:
        """Return the id for a new fault."""
        return next(self._ids)

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        self._faults[fault.id] = fault

    def remove(self, fault_id: int) -> bool:
        """Switch a fault off, let go what it held, and return whether there was one."""
        fault = self._faults.pop(fault_id, None)
        if fault is not None:
            fault.released.set()
        return fault is not None

    def clear(self) -> None:
        """Switch all faults off."""
        for fault_id in list(self._faults):
            self.remove(fault_id)

    async def meet(
        self,
        route: str,
        *,
        kinds: frozenset[str],
        portal_id: int | None = None,
        subject: str = "",
        members: frozenset[str] = frozenset(),
    ) -> Fault | None:
        """Sit out the delays for a request and return the first fault that does more than delay, if any.

        Only faults of the kinds that the caller can carry out fire and count.
        """
        if not self._faults:
            return None
        for fault in self:
            if fault.kind in kinds and fault.concerns(route, portal_id, subject, members):
                fault.fired += 1
                if fault.kind not in DELAYS:
                    return fault
                await fault.delay()
        return None
