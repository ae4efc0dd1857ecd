"""One-time passwords as such: alphabets, generation, normalisation, keyed digests. Pure but for the randomness."""

import datetime as dt
import enum
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Iterable
from typing import Final

from opsagent import addresses


class CodeType(enum.StrEnum):
    """What a code is made of."""

    NUMERIC = "numeric"
    ALPHANUMERIC = "alphanumeric"
    ALPHA = "alpha"


# Without the characters that people confuse when they read a code aloud or type it: I and O, 1 and 0.
ALPHABETS: Final = {
    CodeType.NUMERIC: "0123456789",
    CodeType.ALPHANUMERIC: "ABCDEFGHJKLMNPQRSTUVWXYZ23456789",
    CodeType.ALPHA: "ABCDEFGHJKLMNPQRSTUVWXYZ",
}
LENGTHS: Final = (4, 6, 8)
EXPIRY_MINUTES: Final = (5, 10, 15, 30, 60)
# What people put between the characters of a code: dashes, and what has no width. Spaces are told by `isspace`.
_SEPARATING: Final = frozenset({"Pd", "Cf", "Zs", "Zl", "Zp"})
_SEPARATORS: Final = frozenset(
    "\u2212"  # minus sign
    "\u30fc"  # prolonged sound mark: where the hyphen is on a Japanese keyboard
    "\u02d7\u2043\u2500\u2501\u2796"  # modifier minus, hyphen bullet, box-drawing lines, heavy minus
    "\u2800\u115f\u1160\u3164"  # blanks: Braille and Hangul
    "\u034f\ufe0e\ufe0f\u20e3"  # what digits of an emoji keyboard bring along
)
_LEFT_OUT_OF_ASCII: Final = dict.fromkeys(map(ord, "-\t\n\v\f\r\x1c\x1d\x1e\x1f "))
REMEMBERED_FOR: Final = dt.timedelta(hours=24)
"""So long after its expiry a code can still be told apart from one that never was."""


def generate(code_type: CodeType, length: int) -> str:
    """Return a code of `length` characters, every one of the possible codes equally likely."""
    alphabet = ALPHABETS[code_type]
    base = len(alphabet)
    # One number below base ** length, written in that base: unbiased, and one call instead of one per character.
    number = secrets.randbelow(base**length)
    characters = []
    for _ in range(length):
        number, digit = divmod(number, base)
        characters.append(alphabet[digit])
    return "".join(characters)


def normalise(submitted: str) -> str:
    """Return what a person typed as we compare it: NFKC, digits of any script as ASCII, no spaces or hyphens, upper case.

    So full-width letters count, and whatever a keyboard has for a space or a hyphen does not. The same for its own
    result. NFKC makes up to 18 characters of one: whoever calls bounds the length.
    """
    if submitted.isascii():
        return submitted.translate(_LEFT_OUT_OF_ASCII).upper()
    # Digits in circles and brackets first: NFKC would leave the brackets of some of them.
    before, text = "", "".join(map(_digit, submitted))
    while text != before:  # upper case may be written in another form than NFKC
        before, text = text, "".join(map(_typed, unicodedata.normalize("NFKC", text)))
    return text


def _digit(character: str) -> str:
    value = unicodedata.digit(character, None)
    return character if value is None else str(value)


def _typed(character: str) -> str:
    """Return what one character of a typed code stands for."""
    if character.isspace() or character in _SEPARATORS or unicodedata.category(character) in _SEPARATING:
        return ""
    return _digit(character).upper()


def fits(code: str, *, code_type: CodeType | None = None, length: int | None = None) -> bool:
    """Whether a normalised text has the shape of a code: of this type and length, or of any where None is given."""
    lengths = LENGTHS if length is None else (length,)
    alphabets = ALPHABETS.values() if code_type is None else (ALPHABETS[code_type],)
    return len(code) in lengths and any(set(code) <= set(alphabet) for alphabet in alphabets)


def normalise_address(address: str) -> str:
    """Return an e-mail address as codes are bound to it: the domain in lower case and in ASCII, no space around it.

    So `ada@straße.example` and `ada@xn--strae-oqa.example` are one address (see opsagent.addresses). Never fails.
    """
    return addresses.normalise(address)


def is_address(address: str) -> bool:
    """Whether mail can be sent to a normalised address, and codes bound to it."""
    try:
        addresses.checked(address)
    except ValueError:
        return False
    return True


def mask_address(address: str) -> str:
    """Return an address as lists show it: `ann@example.com` as `a***@e***.com`."""
    local, separator, domain = addresses.for_people(address).rpartition("@")
    if not separator:
        return "***"
    name, _, last = domain.rpartition(".")
    return f"{local[:1]}***@{name[:1]}***.{last}" if name else f"{local[:1]}***@{domain[:1]}***"


def digest(*, pepper: str, portal_id: int, contact_id: int, address: str, code: str) -> bytes:
    """Return the keyed digest (HMAC-SHA256, 32 bytes) that stands for a code at rest.

    It is bound to the portal, the contact and the address, so that equal codes have unequal digests. The pepper is
    what protects it: without it, any hash of six digits is searched through in under a second.
    """
    message = f"{portal_id}\0{contact_id}\0{address}\0{code}".encode(errors="surrogatepass")
    return hmac.digest(pepper.encode(), message, hashlib.sha256)


def digests(*, peppers: Iterable[str], portal_id: int, contact_id: int, address: str, code: str) -> list[bytes]:
    """Return the digests under every pepper, the current one first: one statement then finds a code of any age."""
    return [
        digest(pepper=pepper, portal_id=portal_id, contact_id=contact_id, address=spelling, code=code)
        for pepper in peppers
        for spelling in _spellings(address)
    ]


def address_digests(*, peppers: Iterable[str], portal_id: int, address: str) -> list[bytes]:
    """Return what stands for an address in searches, under every pepper, the current one first. 32 bytes each."""
    messages = [f"{portal_id}\0{spelling}".encode(errors="surrogatepass") for spelling in _spellings(address)]
    return [hmac.digest(pepper.encode(), message, hashlib.sha256) for pepper in peppers for message in messages]


def _spellings(address: str) -> tuple[str, ...]:
    """Return the spellings that digests were made of: today's first, then the one of rows from before it was ASCII."""
    earlier = addresses.for_people(address)
    return (address,) if earlier == address else (address, earlier)
