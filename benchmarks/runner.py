"""Runs themes one after the other, says how it goes, and puts what came out into a table and a file."""

import argparse
import datetime as dt
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

from benchmarks import earlier
from benchmarks.figures import FIGURES, Figure, Measured
from benchmarks.stage import Scale, Stage, python_build, say

RESULTS: Final = Path(__file__).parent / "results.jsonl"
THEMES: Final = (
    "endpoints",
    "peer",
    "growth",
    "memory_and_start",
    "mail",
    "single",
    "answers",
    "burst",
    "scale_out",
    "earlier",
)


class Theme(Protocol):
    """A module of this package that measures some figures."""

    @property
    def ANSWERS(self) -> tuple[str, ...]:  # noqa: N802 (a constant of the module)
        """The names of its figures."""

    def measure(self, stage: Stage, /) -> Iterator[Measured]:
        """Measure, and yield each figure of `ANSWERS` once."""


def theme(name: str) -> Theme:
    """Return the module of a theme."""
    return cast(Theme, importlib.import_module(f"benchmarks.{name}"))


def main(arguments: Sequence[str] = ()) -> int:
    """Read the command line and do what it asks for; return the exit status.

    0: everything was measured, whether or not it reached its goal. 1: something could not be measured.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure. QUICK=1 makes it short and rough; FULL=1 stores 10 million codes for the growth "
        "figure; EARLIER=COMMIT compares the rates with those of another commit.",
    )
    parser.add_argument("themes", nargs="*", metavar="THEME", help=f"some of: {', '.join(THEMES)} (default: all)")
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="measure nothing: print the last results as a table for the documentation",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.themes if name not in THEMES]
    if unknown:
        parser.error(f"there is no theme {unknown[0]!r}; there are: {', '.join(THEMES)}")
    if options.markdown:
        print(markdown(latest(RESULTS)))
        return 0
    return run(options.themes or [name for name in THEMES if name != "earlier" or earlier.commit()])


def run(names: Sequence[str]) -> int:
    """Measure some themes; print the table and append to the file. Return the exit status of `main`."""
    # However the run is ended, it ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    themes = {name: theme(name) for name in names}
    scale = Scale.chosen()
    began = time.monotonic()
    say(
        f"{scale.value} run on {os.cpu_count()} cores with {python_build()}; "
        f"load average {os.getloadavg()[0]:.1f} before it begins"
    )
    with Stage(scale) as stage:
        lines = measure(themes, stage, RESULTS)
    print(f"\n{table(themes, lines)}")
    say(f"\n{time.monotonic() - began:.0f} s in all; every line stands in {RESULTS.name} with its details")
    return 0 if set(lines) == set(_expected(themes)) else 1


def alone(name: str) -> None:
    """Run one theme as a program of its own."""
    sys.exit(run([name]))


def measure(themes: Mapping[str, Theme], stage: Stage, results: Path) -> dict[str, dict[str, Any]]:
    """Let each theme measure, saying how it goes; append each figure's line to a file, and return all by name.

    A theme that fails is said to have failed, and takes no other with it.
    """
    lines: dict[str, dict[str, Any]] = {}
    for name, one in themes.items():
        began = time.monotonic()
        say(f"\n{name}")
        try:
            for measured in one.measure(stage):
                figure = FIGURES[measured.name]
                lines[measured.name] = _line(measured, figure, stage.scale)
                with results.open("a") as file:
                    file.write(json.dumps(lines[measured.name], ensure_ascii=False) + "\n")
                say(f"  → {figure.what}: {figure.show(measured.value)} (goal {figure.goal})")
        except Exception:  # noqa: BLE001 (whatever it was, it is shown, and the figure counts as not measured)
            traceback.print_exc()
        say(f"  {name}: {time.monotonic() - began:.0f} s")
    return lines


def table(themes: Mapping[str, Theme], lines: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the themes' figures as people read them, in the order of their numbers."""
    rows = [("#", "figure", "measured", "goal", "", "conventional")]
    for name in sorted(_expected(themes), key=list(FIGURES).index):
        figure = FIGURES[name]
        if name in lines:
            measured, verdict = figure.show(lines[name]["value"]), "met" if lines[name]["met"] else "NOT MET"
        else:
            measured, verdict = "-", "NOT MEASURED"
        rows.append((str(figure.number), figure.what, measured, figure.goal, verdict, figure.conventional))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(lines: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the same as the block that `docs/benchmarks.md` shows."""
    rows = ["| # | figure | measured | goal | met | conventional | run |", "|---|---|---|---|---|---|---|"]
    for name, figure in FIGURES.items():
        line = lines.get(name)
        measured = f"{figure.show(line['value'])} | {figure.goal} | {'yes' if line['met'] else 'no'}" if line else None
        when = f"{line['scale']}, {line['at'][:10]}" if line else ""
        rows.append(
            f"| {figure.number} | {figure.what} | {measured or f'not measured | {figure.goal} | '} "
            f"| {figure.conventional} | {when} |"
        )
    return "\n".join(["<!-- python -m benchmarks --markdown -->", *rows, "<!-- end -->"])


def latest(results: Path) -> dict[str, dict[str, Any]]:
    """Return the last line of each figure; a quick run's only where there is no other."""
    latest: dict[str, dict[str, Any]] = {}
    for text in results.read_text().splitlines() if results.exists() else ():
        line = json.loads(text)
        name = line.get("name")
        known = latest.get(name)
        if name in FIGURES and (line["scale"] != "quick" or known is None or known["scale"] == "quick"):
            latest[name] = line
    return latest


def _expected(themes: Mapping[str, Theme]) -> list[str]:
    return [figure for one in themes.values() for figure in one.ANSWERS]


def _line(measured: Measured, figure: Figure, scale: Scale) -> dict[str, Any]:
    return {
        "figure": figure.number,
        "name": measured.name,
        "value": round(measured.value, 4),
        "unit": figure.unit,
        "goal": figure.goal,
        "met": figure.is_met(measured.value),
        "scale": scale.value,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "python": python_build(),
        "load_average": round(os.getloadavg()[0], 1),
        "detail": measured.detail,
    }
