"""The runner knows every figure, and says what came out as it is. Nothing is measured here."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import runner
from benchmarks.figures import FIGURES, Measured
from benchmarks.stage import Scale, Stage

ROOT = Path(__file__).resolve().parent.parent.parent


class Theme:
    """A theme that knows its answers beforehand, and fails when they run out."""

    ANSWERS = ("generate", "refused_share")

    def __init__(self, *answers: Measured) -> None:
        self._answers = answers

    def measure(self, _: Stage) -> Iterator[Measured]:
        yield from self._answers
        if len(self._answers) < len(self.ANSWERS):
            raise RuntimeError("the rest could not be measured")


def measure(results: Path, *measured: Measured, scale: Scale = Scale.DEFAULT) -> dict[str, dict[str, Any]]:
    """Let there be one theme; no servers start before somebody enters the stage."""
    return runner.measure({"made up": Theme(*measured)}, Stage(scale), results)


def test_it_knows_all_thirteen_figures_and_each_has_one_goal() -> None:
    assert {figure.number for figure in FIGURES.values()} == set(range(1, 14))
    assert all((figure.at_least is None) != (figure.at_most is None) for figure in FIGURES.values())


def test_every_figure_is_measured_by_exactly_one_theme() -> None:
    measured = [name for theme in runner.THEMES for name in runner.theme(theme).ANSWERS]
    assert sorted(measured) == sorted(FIGURES)


def test_every_figure_and_theme_is_explained() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    explained = set(re.findall(r"^\| (\d+) \| .* \| `(\w+)` \|$", page, re.MULTILINE))
    assert explained == {
        (str(FIGURES[name].number), theme) for theme in runner.THEMES for name in runner.theme(theme).ANSWERS
    }


def test_a_goal_that_is_not_reached_is_said_and_written(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    lines = measure(results, Measured("generate", 0.39), Measured("refused_share", 1.0, {"calls": 400}))
    written = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(line["figure"], line["value"], line["met"]) for line in written] == [(1, 0.39, False), (7, 1.0, True)]
    assert written[1]["detail"] == {"calls": 400}
    table = runner.table({"made up": Theme()}, lines)
    assert re.search(r"^1 .* 0\.39 .* NOT MET +0\.11$", table, re.MULTILINE)
    assert re.search(r"^7 .* 1 % .* met$", table, re.MULTILINE)


def test_a_figure_that_cannot_be_measured_is_said_and_takes_no_other_with_it(tmp_path: Path) -> None:
    lines = measure(tmp_path / "results.jsonl", Measured("generate", 0.5))
    assert set(lines) == {"generate"}
    table = runner.table({"made up": Theme()}, lines)
    assert re.search(r"^1 .* met +0\.11$", table, re.MULTILINE)
    assert re.search(r"^7 .* NOT MEASURED", table, re.MULTILINE)


def test_the_table_for_the_documentation_prefers_what_was_not_measured_in_haste(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    measure(results, Measured("generate", 0.5), Measured("refused_share", 3.0))
    measure(results, Measured("generate", 0.2), Measured("refused_share", 4.0), scale=Scale.QUICK)
    table = runner.markdown(runner.latest(results))
    assert re.search(r"^\| 1 \| .* \| 0\.5 \| ≥ 0\.4 \| yes \| 0\.11 \| default, ", table, re.MULTILINE)
    assert re.search(r"^\| 7 \| .* \| 3 % \| ≤ 1 % \| no \| ", table, re.MULTILINE)
    assert re.search(r"^\| 2 \| .* \| not measured \| ", table, re.MULTILINE)


def test_an_unknown_theme_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.main(["weather"])
    assert "there is no theme 'weather'; there are: endpoints, " in capsys.readouterr().err
