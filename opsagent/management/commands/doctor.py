"""`manage.py doctor`: is everything in place that the app needs, and if not, what to do."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.module_loading import autodiscover_modules

from opsagent import doctor
from opsagent.doctor import Finding, Verdict


class Command(BaseCommand):
    """Run every examination, one after the other; end with 1 when one has failed."""

    help = (
        "Examines keys, database, broker, mail, the public address, HubSpot and the workers; names a remedy for each."
    )
    requires_system_checks = ()  # examined as one of many, so that their errors end nothing early

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer machine-readable findings."""
        parser.add_argument("--json", action="store_true", help="print the findings as JSON; progress goes to stderr")

    def handle(self, *_: Any, **options: Any) -> None:
        """Examine."""
        autodiscover_modules("examinations")
        progress = self.stderr if options["json"] else self.stdout
        findings: dict[str, Finding] = {}
        for name, examine in doctor.examinations().items():
            progress.write(f"{name:<15} … ", ending="")
            progress.flush()
            findings[name] = found = _examined(examine)
            progress.write(self._styled(found))
        failures = sum(found.verdict is Verdict.FAILED for found in findings.values())
        if options["json"]:
            listed = [
                {"examination": name, "verdict": found.verdict, "seen": found.seen, "remedy": found.remedy}
                for name, found in findings.items()
            ]
            self.stdout.write(json.dumps({"ok": failures == 0, "findings": listed}, indent=2))
        else:
            self.stdout.write(f"\n{failures} of {len(findings)} examinations failed." if failures else "\nAll is well.")
        if failures:
            raise SystemExit(1)

    def _styled(self, found: Finding) -> str:
        style = {Verdict.OK: self.style.SUCCESS, Verdict.WARNING: self.style.WARNING, Verdict.FAILED: self.style.ERROR}
        lines = [f"{style[found.verdict](found.verdict)}: {found.seen}"]
        if found.remedy:
            lines.append(f"{'':15}   → {found.remedy}")
        return "\n".join(lines)


def _examined(examine: doctor.Examination) -> Finding:
    try:
        return examine()
    except Exception as error:  # noqa: BLE001 (one examination that breaks must not hide the findings of the others)
        return doctor.failed(
            f"could not be examined: {type(error).__name__}", "Mend what failed above, then run it again."
        )
