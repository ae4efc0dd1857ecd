"""How strong a portal's codes are: the odds of a guess, and what the standards say about the choice. Pure.

Sources: NIST SP 800-63B-4 (https://pages.nist.gov/800-63-4/sp800-63b/authenticators/), sections 3.1.3.1, 3.1.3.2 and
3.2.2; OWASP ASVS 5.0.0 (https://github.com/OWASP/ASVS/tree/v5.0.0/5.0), chapter V6.
"""

import enum
import math
from dataclasses import dataclass
from typing import Final

from otp.codes import ALPHABETS, CodeType

NIST: Final = "NIST SP 800-63B-4"
ASVS: Final = "OWASP ASVS 5.0"

_SIX_DIGITS: Final = 10**6
_LONGEST_LIFE: Final = 10
"""Minutes, in both standards."""
_DAY: Final = 24 * 60
_WINDOW: Final = 10
"""Minutes that the shorter limit of codes per contact looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of a portal's settings decides how hard a code is to guess. Times in minutes; every number is positive."""

    code_type: CodeType
    code_length: int
    expiry_minutes: int
    keeps_older_codes: bool
    sends_email: bool
    attempts_per_code: int
    attempts_per_contact: int
    lock_minutes: int
    longest_lock_minutes: int
    codes_in_10_minutes: int
    codes_a_day: int


class Standing(enum.StrEnum):
    """How a choice stands to a rule."""

    MET = "met"
    PARTLY = "partly"
    NOT_MET = "not_met"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One rule: which, what it asks for, whether the choice meets it, and why."""

    standard: str
    section: str
    rule: str
    standing: Standing
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What can be said about a choice.

    `guesses_a_day`: wrong codes that somebody can submit for one contact in 24 hours before every door is shut.
    `one_in`: the odds that one of them is right are at most one in this many.
    """

    possible_codes: int
    bits: float
    guesses_a_day: int
    one_in: int
    verdicts: tuple[Verdict, ...]


def assess(choice: Choice) -> Assessment:
    """Compute the odds of a guess and hold the choice against the standards' rules."""
    possible = len(ALPHABETS[choice.code_type]) ** choice.code_length
    budget = choice.attempts_per_contact * _rounds_a_day(choice.lock_minutes, choice.longest_lock_minutes)
    codes = min(choice.codes_a_day, choice.codes_in_10_minutes * (_DAY // _WINDOW))
    # Each code takes so many guesses before it locks; each guess of the budget meets so many codes at once.
    chances = min(codes * choice.attempts_per_code, budget * _live_at_once(choice, codes))
    return Assessment(
        possible_codes=possible,
        bits=math.log2(possible),
        guesses_a_day=min(codes * choice.attempts_per_code, budget),
        one_in=max(1, possible // chances),
        verdicts=(*_nist(choice, possible), *_asvs(choice, possible)),
    )


def _rounds_a_day(lock: int, longest: int) -> int:
    """Return how often in 24 hours a contact's budget is there to be used up; every lock is twice as long."""
    rounds, elapsed = 0, 0
    while elapsed < _DAY:
        elapsed += min(lock * 2**rounds, max(lock, longest))
        rounds += 1
    return rounds


def _live_at_once(choice: Choice, codes: int) -> int:
    if not choice.keeps_older_codes:
        return 1
    return min(codes, choice.codes_in_10_minutes * math.ceil(choice.expiry_minutes / _WINDOW))


def _nist(choice: Choice, possible: int) -> tuple[Verdict, ...]:
    return (
        Verdict(
            standard=NIST,
            section="3.1.3.2",
            rule="At least six decimal digits, or their equivalent",
            standing=_met(possible >= _SIX_DIGITS),
            why=_size(possible),
        ),
        Verdict(
            standard=NIST,
            section="3.1.3.2",
            rule="Invalid after 10 minutes at the latest",
            standing=_met(choice.expiry_minutes <= _LONGEST_LIFE),
            why=_life(choice.expiry_minutes),
        ),
        Verdict(
            standard=NIST,
            section="3.1.3.2",
            rule="Accepted only once",
            standing=Standing.MET,
            why="A code that was accepted is never accepted again.",
        ),
        Verdict(
            standard=NIST,
            section="3.1.3.2",
            rule="Failed attempts are limited, and a new code does not reset their count",
            standing=Standing.MET,
            why=_limits(choice),
        ),
        Verdict(
            standard=NIST,
            section="3.2.2",
            rule="Disabled after 100 failed attempts in a row at the latest",
            standing=Standing.PARTLY,
            why=(
                "Each lock is longer than the one before, up to the longest you allow, but no contact is shut out for "
                "good: over several days more than 100 attempts are possible."
            ),
        ),
        Verdict(
            standard=NIST,
            section="3.1.3.1",
            rule="E-mail is not used for out-of-band authentication",
            standing=Standing.NOT_MET if choice.sends_email else Standing.PARTLY,
            why=(
                "A mailed code proves that somebody reads that mailbox. NIST does not accept it as a factor of signing "
                "in. The rule does not concern confirming an address, and recovering an account."
                if choice.sends_email
                else _WAY_OF_THE_WORKFLOW
            ),
        ),
    )


def _asvs(choice: Choice, possible: int) -> tuple[Verdict, ...]:
    return (
        Verdict(
            standard=ASVS,
            section="6.5.1",
            rule="Usable only once",
            standing=Standing.MET,
            why="Of any number of correct submissions one succeeds.",
        ),
        Verdict(
            standard=ASVS,
            section="6.5.3",
            rule="Made by a cryptographically secure generator",
            standing=Standing.MET,
            why="Codes come from the operating system's secure generator, each of them equally likely.",
        ),
        Verdict(
            standard=ASVS,
            section="6.5.4",
            rule="At least 20 bits; four random letters and digits or six random digits are enough",
            standing=_met(possible >= _SIX_DIGITS),
            why=_size(possible),
        ),
        Verdict(
            standard=ASVS,
            section="6.5.5",
            rule="A lifetime of 10 minutes at most",
            standing=_met(choice.expiry_minutes <= _LONGEST_LIFE),
            why=_life(choice.expiry_minutes),
        ),
        Verdict(
            standard=ASVS,
            section="6.6.2",
            rule="Bound to the request it was made for, of no use for another",
            standing=Standing.NOT_MET if choice.keeps_older_codes else Standing.PARTLY,
            why=(
                "Older codes stay valid beside a new one. Let a new code replace them to bind it more closely."
                if choice.keeps_older_codes
                else "A code counts for one contact and one address, and a new one ends it; it is not tied to one workflow."
            ),
        ),
        Verdict(
            standard=ASVS,
            section="6.6.3",
            rule="Protected against brute force by rate limiting",
            standing=Standing.MET,
            why=_limits(choice),
        ),
        Verdict(
            standard=ASVS,
            section="6.3.6",
            rule="Level 3 only: e-mail is not a mechanism of authentication",
            standing=Standing.NOT_MET if choice.sends_email else Standing.PARTLY,
            why=(
                "Levels 1 and 2 allow mailed codes. For level 3 use something other than e-mail."
                if choice.sends_email
                else _WAY_OF_THE_WORKFLOW
            ),
        ),
    )


_WAY_OF_THE_WORKFLOW: Final = (
    "It depends on your workflow: the app itself mails no codes, but a HubSpot e-mail with the code is e-mail too."
)


def _met(is_met: bool) -> Standing:  # noqa: FBT001 (a private translation of a truth value)
    return Standing.MET if is_met else Standing.NOT_MET


def _size(possible: int) -> str:
    if possible >= _SIX_DIGITS:
        return f"There are {possible:,} different codes; six digits make {_SIX_DIGITS:,}."
    return f"There are only {possible:,} different codes; six digits make {_SIX_DIGITS:,}. Choose a longer code."


def _life(minutes: int) -> str:
    if minutes <= _LONGEST_LIFE:
        return f"Codes are accepted for {minutes} minutes."
    return f"Codes are accepted for {minutes} minutes. Choose {_LONGEST_LIFE} minutes or less."


def _limits(choice: Choice) -> str:
    return (
        f"{choice.attempts_per_code} wrong attempts end a code; {choice.attempts_per_contact} lock the contact, whatever "
        f"new codes are made, for {choice.lock_minutes} minutes at first and then for twice as long each time."
    )
