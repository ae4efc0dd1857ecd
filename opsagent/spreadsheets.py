"""Tables that people download: streamed, and harmless in a spreadsheet."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from django.http import StreamingHttpResponse

# By these Excel tells UTF-8 from the encoding of the machine's country.
BYTE_ORDER_MARK: Final = "\ufeff"

# What begins a formula or a command in some spreadsheet program.
_FORMULA: Final = frozenset("=+-@|%\u2212")
# Where a program of another country divides the line: then a formula stands at the beginning of a cell after all.
_SEPARATORS: Final = frozenset(",;\t\r\n")
_DIVIDED: Final = re.compile("([;\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])")


def csv_response(*, filename: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> StreamingHttpResponse:
    """Return a download that is written while it is sent: memory does not grow with the number of rows."""
    return StreamingHttpResponse(
        _lines(header, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
    )


def neutralised(value: object) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula: such text gets an apostrophe in front.

    Also behind what divides cells elsewhere: `;=1+1` is a formula where the semicolon separates. Full-width signs
    count, which some programs take for the others, and so does what stands behind invisible characters and spaces.
    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = "" if value is None else str(value)
    first, *others = _DIVIDED.split(text)
    if not others:
        return f"'{first}" if _begins(first) else first
    # separator, piece, separator, piece …
    pieces = [f"'{piece}" if at % 2 and _begins(piece) else piece for at, piece in enumerate(others)]
    return "".join([f"'{first}" if _begins(text) else first, *pieces])


def _begins(text: str) -> bool:
    """Whether a text begins with a sign of a formula or with a separator, as somebody sees it."""
    for character in text:
        if character in _SEPARATORS:
            return True
        if character.isspace() or unicodedata.category(character) in {"Cc", "Cf", "Cs"}:
            continue
        plain = unicodedata.normalize("NFKC", character)
        return plain[:1] in _FORMULA or plain[:1] in _SEPARATORS
    return False


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def _lines(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield BYTE_ORDER_MARK + writer.writerow(header)
    for row in rows:
        yield writer.writerow([neutralised(cell) for cell in row])
