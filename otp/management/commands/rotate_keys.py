"""Bring what is stored under the first of ENCRYPTION_KEYS and CODE_PEPPERS, and say which of the others can go."""

import time
from typing import Any, Final

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser

from opsagent import encryption, rotation
from opsagent.rotation import Rewritten, Secrets
from otp.upkeep.rotation import Peppers, rewrite_address_digests

STEP: Final = 500
TRIES: Final = 30
PAUSE_SECONDS: Final = 1.0


class Command(BaseCommand):
    """Rewrite in small steps while the product runs. Can be stopped and started again at any time."""

    help = "Rewrite stored secrets with the first key and pepper, and say which of the others can be removed."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the size of a step."""
        parser.add_argument("--step", type=int, default=STEP, help=f"rows at a time ({STEP})")

    def handle(self, *_: Any, step: int, **__: Any) -> None:
        """Rewrite everything; fail with a sentence when something is left."""
        if step < 1:
            raise CommandError("--step must be at least 1.")
        problems = [problem for secrets in rotation.secrets() if (problem := self._rewrite(secrets, step))]
        if problems:
            raise CommandError("\n".join([*problems, "Keep every key of ENCRYPTION_KEYS."]))
        if encryption.end_fernet():
            self.stdout.write(
                "Every secret is bound to its row now. What older releases stored otherwise is read no longer, in every "
                f"process, {encryption.PERMIT_SECONDS:.0f} seconds from now."
            )
        self._say(
            "ENCRYPTION_KEYS", "Everything is under the first key.", len(settings.ENCRYPTION_KEYS) - 1, kept=set()
        )
        peppers = Peppers()
        for peppers in rewrite_address_digests(step):
            self._progress("address digests", peppers.seen, peppers.rewritten)
        for position, (count, until) in sorted(peppers.needed.items()):
            self.stdout.write(
                f"CODE_PEPPERS: {count} codes need pepper number {position} until {until:%Y-%m-%d %H:%M} UTC at the latest. "
                "Keep it, and run this command again after that."
            )
        self._say(
            "CODE_PEPPERS",
            "Every other digest is under the first pepper.",
            len(settings.CODE_PEPPERS) - 1,
            kept=set(peppers.needed),
        )
        if len(settings.HUBSPOT_CLIENT_SECRETS) > 1:
            self.stdout.write(
                "HUBSPOT_CLIENT_SECRETS: Nothing is stored under a client secret. Remove the old one when HubSpot shows "
                "the new one as the only one."
            )

    def _rewrite(self, secrets: Secrets, step: int) -> str:
        """Rewrite one model's secrets; return a sentence when some are left, else nothing."""
        name = secrets.model._meta.label  # noqa: SLF001 (Django's public way to a model's name)
        seen, total = 0, Rewritten()
        for found in secrets.steps(step):
            done = secrets.rewrite(found.stale) if found.stale else Rewritten()
            seen += found.seen
            total.values += done.values
            total.held += done.held
            total.unreadable += done.unreadable
            self._progress(name, seen, total.values)
        for _ in range(TRIES):
            if not total.held:
                break
            time.sleep(PAUSE_SECONDS)
            done = secrets.rewrite(total.held)
            total.values += done.values
            total.held = done.held
            total.unreadable += done.unreadable
        self.stdout.write(f"{name}: {seen} rows, {total.values} values rewritten")
        if total.unreadable:
            return (
                f"{name}: {len(total.unreadable)} rows cannot be read with any key. Put the key that wrote them back."
            )
        if total.held:
            return f"{name}: {len(total.held)} rows were in use all the time. Run this command again."
        return ""

    def _progress(self, name: str, seen: int, rewritten: int) -> None:
        if self.stdout.isatty():
            self.stdout.write(f"{name}: {seen} rows, {rewritten} rewritten …", ending="\r")

    def _say(self, variable: str, sentence: str, others: int, kept: set[int]) -> None:
        removable = [number for number in range(2, others + 2) if number not in kept]
        if not removable:
            advice = "" if kept else "There is no other one."
        elif len(removable) == others:
            advice = "Remove the others, then restart."
        else:
            advice = f"Remove number {', '.join(map(str, removable))}, then restart."
        self.stdout.write(f"{variable}: {sentence} {advice}".rstrip())
