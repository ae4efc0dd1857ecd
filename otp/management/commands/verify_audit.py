"""Check that the audit log is what was written, and print what to keep elsewhere."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from otp.upkeep import audit_chain, audit_check
from otp.upkeep.audit_check import Head, Report


class Command(BaseCommand):
    """Heads go to standard output, so that they can be kept as a file; everything else goes to standard error."""

    help = (
        "Follow the chain of every portal's audit log and say what is broken first, if anything is; print the head of each "
        "chain, to be kept where nobody who can write to the database can write. Changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to check, and against what."""
        parser.add_argument("--portal", type=int, metavar="ID", help="only this portal")
        parser.add_argument(
            "--head", "--anchor", type=_head, action="append", default=[], dest="kept", metavar="PORTAL:LINE:HASH",
            help="a head that was printed earlier: the chain must still contain it",
        )  # fmt: skip
        parser.add_argument("--heads", type=Path, metavar="FILE", help="a file with heads as this command printed them")
        parser.add_argument("--file", type=Path, metavar="CSV", help="check an export instead of the database")
        parser.add_argument(
            "--chain", action="store_true", help="first chain every line that has no place in the chain yet"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Check; fail with a sentence for each portal whose log does not hold."""
        kept = options["kept"] + (_heads_in(options["heads"]) if options["heads"] else [])
        if options["file"]:
            reports: Iterable[Report] = _reports_on(options["file"], kept)
        else:
            if options["chain"]:
                self._say(f"{audit_chain.chain_everything()} lines were chained.")
            reports = self._reports(options["portal"], kept)
        broken = [self._tell(report) for report in reports]
        if found := [sentence for sentence in broken if sentence]:
            raise CommandError("\n".join(found))

    def _reports(self, portal_id: int | None, kept: list[Head]) -> Iterable[Report]:
        for one in audit_check.portals(kept) if portal_id is None else [portal_id]:
            yield audit_check.check(portal_id=one, kept=kept, progress=self._say)

    def _tell(self, report: Report) -> str:
        """Say what was found in a portal's log; return what is broken."""
        name = f"portal {report.portal_id}"
        for remark in report.remarks:
            self._say(f"{name}: {remark}")
        if report.broken is not None:
            return f"{name}: BROKEN. {report.broken}"
        waiting = f"; {report.unchained} not chained yet" if report.unchained else ""
        if report.oldest_unchained is not None:
            waiting += f", the oldest recorded at {report.oldest_unchained:%Y-%m-%d %H:%M:%S} UTC"
        self._say(f"{name}: {report.lines} lines, all as they were written{waiting}.")
        if report.head is not None and report.head.sequence:
            self.stdout.write(str(report.head))
        return ""

    def _say(self, sentence: str) -> None:
        self.stderr.write(sentence, self.style.NOTICE)


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"“{text}” is no head. Give one as this command printed it: portal:line:hash."
        ) from None


def _heads_in(path: Path) -> list[Head]:
    try:
        lines = path.read_text(encoding="utf-8").split()
        return [Head.parse(line) for line in lines]
    except OSError as error:
        raise CommandError(f"--heads: {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise CommandError(f"--heads: {path} holds something that is no head: {error}") from None


def _reports_on(path: Path, kept: list[Head]) -> list[Report]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return audit_check.check_file(file, kept)
    except OSError as error:
        raise CommandError(f"--file: {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise CommandError(
            f"--file: {path} is not an export of the audit log. {error} Choose one that was exported in the settings or by staff."
        ) from None
