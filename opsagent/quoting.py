"""What somebody else wrote, as it may stand in a sentence of ours. Pure."""

import unicodedata
from typing import Final

LONGEST: Final = 80

# Control, format (zero width, turning the order of letters), half a surrogate pair, private use, unassigned; and the two
# separators that break lines. No encoding carries a surrogate, and nobody sees the others.
_NEVER_QUOTED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def quoted(text: str, *, longest: int = LONGEST) -> str:
    r"""Return a text as messages, logs and names of files can carry it, whatever it holds.

    What nobody can see, and what no encoding can carry, is spelled out as `\u200b`. Longer than `longest` characters of
    the original, it is cut and ends in `…`.
    """
    shown = "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _NEVER_QUOTED
        else character
        for character in text[:longest]
    )
    return shown if len(text) <= longest else f"{shown}…"
