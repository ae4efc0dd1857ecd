"""Peppers in turn: addresses get digests under the first one; codes keep theirs until they are forgotten.

Which pepper a code's digest was made with can be told by the address digest beside it, made at the same moment, for the
address can be read and the code cannot. So the two are left alone together.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings
from django.db.models import QuerySet

from otp import codes
from otp.models import OneTimeCode


@dataclass(slots=True)
class Peppers:
    """What was found: digests of addresses made anew, and until when codes still need each pepper but the first.

    `needed`: position in CODE_PEPPERS, counted from 1 → how many codes, and when the last one is forgotten.
    """

    seen: int = 0
    rewritten: int = 0
    needed: dict[int, tuple[int, dt.datetime]] = field(default_factory=dict)

    def need(self, position: int, until: dt.datetime) -> None:
        """Count one more code that needs a pepper until then."""
        count, latest = self.needed.get(position, (0, until))
        self.needed[position] = count + 1, max(latest, until)


def rewrite_address_digests(size: int) -> Iterator[Peppers]:
    """Look at all codes in the order of their keys, `size` at a time; yield the sum so far after each step."""
    peppers, after = Peppers(), None
    while True:
        step = list((_rows() if after is None else _rows().filter(id__gt=after))[:size])
        if not step:
            return
        for code in step:
            _look_at(code, peppers)
        peppers.seen += len(step)
        after = step[-1].id
        yield peppers


def _rows() -> QuerySet[OneTimeCode]:
    return OneTimeCode.objects.order_by("id").only(
        "id", "portal_id", "address", "address_digest", "digest", "expires_at"
    )


def _look_at(code: OneTimeCode, peppers: Peppers) -> None:
    digests = codes.address_digests(
        peppers=settings.CODE_PEPPERS, portal_id=code.portal_id, address=codes.normalise_address(code.address)
    )
    found = bytes(code.address_digest)
    if found == digests[0]:
        return
    if code.digest:
        # An unknown one may be under any of them.
        number = len(settings.CODE_PEPPERS)
        spellings = len(digests) // number
        positions = [digests.index(found) // spellings + 1] if found in digests else range(2, number + 1)
        if positions == [1]:  # an earlier spelling of the address under the pepper that stays
            return
        for position in positions:
            peppers.need(position, code.expires_at + codes.REMEMBERED_FOR)
        return
    # Nobody writes these two columns any more, so nothing newer can be lost.
    same = OneTimeCode.objects.filter(id=code.id, address_digest=found, digest=b"")
    peppers.rewritten += same.update(address_digest=digests[0])
