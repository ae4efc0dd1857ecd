"""What the documentation says exists, exists: files, headings, commands, variables, metrics, tests."""

import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.core.management import get_commands
from django.utils.module_loading import autodiscover_modules

from opsagent import metrics

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
GUIDES = [page for page in sorted(DOCS.glob("*.md")) if page.name != "README.md"]


def name(page: Path) -> str:
    """Return a page's path from the root."""
    return str(page.relative_to(ROOT))


def links(page: Path) -> list[str]:
    """Return the targets of a page's relative links and images."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [unquote(target) for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Return a page's headings as a Git host names them in addresses."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> str:
    """Return what a page shows as code."""
    text = page.read_text()
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_and_image_leads_somewhere(page: Path) -> None:
    lost = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)
    assert lost == []


def test_every_guide_and_decision_is_on_the_index() -> None:
    listed = {target.partition("#")[0] for target in links(DOCS / "README.md")}
    assert {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"} <= listed


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_nothing_is_said_twice(page: Path) -> None:
    """Merged line by line, a page keeps both versions of a row or a paragraph."""
    lines = page.read_text().splitlines()
    tables = [list(table) for is_row, table in groupby(lines, lambda line: line.startswith("|")) if is_row]
    for table in tables:
        rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in table]
        assert {len(row) for row in rows} == {len(rows[0])}, rows[0]
        named = Counter(row[0] for row in rows if re.search("[a-z]", row[0]))
        assert [subject for subject, times in named.items() if times > 1] == []
    long = Counter(line for line in lines if len(line) > 60)
    assert [line for line, times in long.items() if times > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_exists(page: Path) -> None:
    code = commands(page)
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z0-9]+)\b", code)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", code)) <= {*get_commands(), "generate_keys"}
    for module in re.findall(r"python -m (benchmarks\.\w+|sandbox[.\w]*)", code):
        path = ROOT / Path(*module.split("."))
        assert path.with_suffix(".py").exists() or path.is_dir(), module


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    tops = "otp|hubspot_integration|emails|opsagent|sandbox|tests|benchmarks|templates|docs|deploy"
    missing = []
    for path, test in re.findall(rf"`((?:{tops})/[\w./-]*)(?:::(\w+))?`", page.read_text()):
        file = ROOT / path
        if not file.exists() or (test and f"def {test}(" not in file.read_text()):
            missing.append(f"{path}::{test}")
    assert missing == []


def test_every_variable_is_explained_and_none_invented() -> None:
    example = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", (DOCS / "configuration.md").read_text(), re.MULTILINE))
    assert set(table) == set(example)
    settings = re.sub(r"\s+", " ", (ROOT / "opsagent" / "settings.py").read_text())
    for variable, default in re.findall(r'environment\.read\( ?"([A-Z_]+)"[^=]*?, default="([^"]+)"', settings):
        assert table[variable] == f"`{default}`"


def test_every_metric_is_explained_and_none_invented(db: None) -> None:
    autodiscover_modules("gauges")
    counted = set(metrics._declared)
    asked = {gauge.name for source in metrics._sources for gauge in source()} | {"opsagent_part_up"}
    text = (DOCS / "operations.md").read_text()
    table = set(re.findall(r"^\| `(opsagent_\w+)`", text, re.MULTILINE))
    assert table == counted | asked
    used = {re.sub(r"_bucket$", "", found) for found in re.findall(r"\bopsagent_\w+", text)}
    assert used - table == set()
