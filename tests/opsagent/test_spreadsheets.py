"""Cells that no spreadsheet program takes for a formula, and files that Excel reads."""

import csv
import io
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsagent.spreadsheets import csv_response, neutralised


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1", "+1", "-1", "@SUM(A1)", "|calc", "%0A", "＝1+1", "＋1", "－1", "＠SUM(A1)", "﹣1", "﹢1", "﹦1", "﹫x", "\u22121",
        "\t=1", "\r=1", "\n=1", "\t1", " =1", "\u00a0=1", "\u3000=1", "\u200b=1", "\ufeff=1", "\u202e=1", "\0=1",
        ";=1", ",=1", ";x", ",x", "；x", "，=1",
    ],
)  # fmt: skip
def test_a_cell_that_begins_with_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert neutralised(cell)[0] == "'"
    assert neutralised(cell).replace("'", "") == cell


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("a;=1+1", "a;'=1+1"),
        ("a\n=1+1", "a\n'=1+1"),
        ("a\r\n =1", "a\r\n' =1"),
        ("a\t＝1", "a\t'＝1"),
        ("a;b;-1;c", "a;b;'-1;c"),
        (";=1", "';'=1"),
        ("\x1c@x", "'\x1c'@x"),
        ("a\x1e=1", "a\x1e'=1"),
    ],
)
def test_a_formula_behind_another_countrys_separator_gets_one_too(cell: str, shown: str) -> None:
    assert neutralised(cell) == shown


@pytest.mark.parametrize(
    ("cell", "shown"),
    [(None, ""), (0, "0"), (12, "12"), ("", ""), ("Ada", "Ada"), ("a-b; c", "a-b; c"), ("x=1", "x=1"), ("'=1", "'=1"),
     ("a***@e***.com", "a***@e***.com"), ("2026-11-23T12:00:00+00:00", "2026-11-23T12:00:00+00:00")],
)  # fmt: skip
def test_other_cells_stay(cell: object, shown: str) -> None:
    assert neutralised(cell) == shown


def read(rows: list[list[str]]) -> tuple[bytes, list[list[str]]]:
    response: Any = csv_response(filename="x.csv", header=["Who", "Why"], rows=rows)
    content = b"".join(response.streaming_content)
    return content, list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_excel_is_told_the_encoding() -> None:
    content, rows = read([["Ünï", "日本"]])
    assert content.startswith(b"\xef\xbb\xbfWho,Why\r\n")
    assert rows == [["Who", "Why"], ["Ünï", "日本"]]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=2, max_size=2), max_size=5))
def test_every_cell_stays_one(rows: list[list[str]]) -> None:
    _, found = read(rows)
    assert found[1:] == [[neutralised(cell) for cell in row] for row in rows]


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("=;\n\t ＝\u200b'"), max_size=20))
def test_no_line_and_no_cell_begins_with_a_formula(text: str) -> None:
    for line in neutralised(text).splitlines():
        for piece in line.split(";"):
            seen = "".join(one for one in piece if not one.isspace() and unicodedata.category(one) not in {"Cc", "Cf"})
            assert unicodedata.normalize("NFKC", seen[:1])[:1] not in {"=", "+", "-", "@"} or seen == ""
