"""Building the app cards for the sandbox's contact pages, with node and npm, where something has changed."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sandbox.local.system import PROJECT, ROOT

HOST: Final = ROOT / "sandbox" / "card_host"
_PROBLEM: Final = HOST / "problem.txt"
_LONGEST: Final = 600


class NotBuilt(Exception):
    """The cards could not be built. The message is a sentence for the person who wanted to see them."""


def build(say: Callable[[str], None]) -> None:
    """See to it that the contact pages can show the project's cards as they are now.

    `say` is told what takes its time. Raises NotBuilt; the contact pages then say the same.
    """
    _PROBLEM.unlink(missing_ok=True)
    try:
        _build(say)
    except NotBuilt as problem:
        _PROBLEM.write_text(str(problem), "utf-8")
        raise


def _build(say: Callable[[str], None]) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotBuilt("The card is not shown: node 20 and npm were not found. Install them, then run “make demo”.")
    for folder in (PROJECT, HOST):
        if not _is_installed(folder):
            say(f"installing what {folder.relative_to(ROOT)} needs, once")
            _run(["npm", "ci", "--silent"], folder)
    if _is_stale():
        _run(["node", "build.mjs", str(PROJECT)], HOST)


def _is_installed(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        installed = (folder / "node_modules" / ".package-lock.json").stat().st_mtime
        return installed >= (folder / "package-lock.json").stat().st_mtime
    return False


def _is_stale() -> bool:
    built = HOST / "dist" / "cards"
    if not built.exists():
        return True
    sources = [path for folder in (HOST, PROJECT / "tools") for path in folder.glob("*.*")]
    sources += [path for path in (PROJECT / "src").rglob("*") if path.is_file()]
    return max(path.stat().st_mtime for path in sources) > built.stat().st_mtime


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_LONGEST, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"The card is not shown: “{' '.join(command[:2])}” did not end in time.") from None
    if done.returncode:
        tail = (done.stderr or done.stdout).strip()[-500:]
        raise NotBuilt(f"The card is not shown: “{' '.join(command[:2])}” failed. {tail}")
