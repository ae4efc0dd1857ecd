"""What strangers wrote, as a mail of ours may hold it. Pure.

A contact's name comes from whoever filled in a form. In a mail that comes from a trusted sender it must neither become a
letter, nor turn the words around it, nor bring a link along.
"""

import re
import unicodedata
from typing import Final

MAXIMUM_LENGTH: Final = 100
"""Characters of one value."""

NEVER_SHOWN: Final = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and lone surrogates, which no encoding of a mail can carry."""

REORDERING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Embeddings, overrides and isolates of the bidirectional algorithm: they give text another order than it has."""

_ISOLATED: Final = "\u2068{}\u2069"
_LOOKED_THROUGH: Final = 1000
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL", "AN"})
# What programs make a link of: a scheme, www., an address of mail or IPv4, a share of Windows, a telephone number, or
# words with a dot between (or a picture: there are such domains) and a last one of two letters or more. "St.John" is
# taken for a domain too; who is called so is greeted without a name.
_LINK: Final = re.compile(
    r"://|//\w|\\\\\w|\b[a-z][a-z0-9+.-]{1,20}:[^\s\w]*\w|\bwww\d?\.|@\w"
    r"|\d{1,3}(?:\.\d{1,3}){3}"
    r"|\d(?:[\s().\u2010-\u2015/-]{0,3}\d){6}"
    r"|[^\s.][\w-]*\.(?:[^\W\d_]{2,}|xn--\w)",
    re.IGNORECASE,
)
# Full stops of other scripts that IDNA takes for dots (UTS 46), and one that fonts draw like one.
_DOTS: Final = str.maketrans("。．｡․", "....")


def in_one_line(text: str) -> str:
    """Return a text in one line: every run of white space, line breaks of all kinds included, becomes one space."""
    return NEVER_SHOWN.sub("", " ".join(text.split()))


def fitting(text: str, *, right_to_left: bool) -> str:
    """Return a value for a placeholder of a mail in this direction: one line of at most MAXIMUM_LENGTH characters.

    What reads in the other direction is isolated from the words around it (U+2068, U+2069): in a left-to-right mail
    what holds right-to-left letters, in a right-to-left mail all but numbers.
    """
    value = REORDERING.sub("", in_one_line(text))[:MAXIMUM_LENGTH].rstrip()
    if value.isascii() and not right_to_left:
        return value
    if right_to_left:
        turns = bool(value) and not value.isdigit()
    else:
        turns = any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in value)
    return _ISOLATED.format(value) if turns else value


def holds_a_link(text: str) -> bool:
    """Whether mail programs may make a link of a text: an address of the web or of mail, or a bare domain.

    However it is written: full-width letters, full stops of other scripts, invisible characters between.
    """
    if len(text) > _LOOKED_THROUGH:
        return True  # no name
    if text.isalpha() and text.isascii():
        return False
    plain = unicodedata.normalize("NFKD", text).translate(_DOTS)
    # Marks belong to letters: without them the words of Indian scripts are letters throughout.
    kept = (character for character in plain if unicodedata.category(character)[0] not in {"M", "C"})
    return _LINK.search("".join(kept)) is not None
