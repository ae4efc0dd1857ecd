"""Tables that people download: streamed, and harmless in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator
from typing import Final

from django.http import StreamingHttpResponse

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_response(*, filename: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> StreamingHttpResponse:
    """Return a download that is written while it is sent: memory does not grow with the number of rows."""
    return StreamingHttpResponse(
        _lines(header, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
    )


def neutralised(value: object) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula: such text gets an apostrophe in front.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, line: str) -> str:
        return line


def _lines(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([neutralised(cell) for cell in row])
