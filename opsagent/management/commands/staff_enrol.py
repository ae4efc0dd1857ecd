"""`manage.py staff_enrol NAME`: a one-time link with which a member of staff sets up their authenticator app."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from opsagent.staff import enrolment


class Command(BaseCommand):
    """Print the link, once; it is stored nowhere."""

    help = (
        "Prints a link with which a member of staff sets up the authenticator app that every login asks for. "
        "Their password is needed besides. Hand it over where nobody else reads."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Say whose."""
        parser.add_argument("username")

    def handle(self, *_: Any, username: str, **__: Any) -> None:
        """Print the link. Raises CommandError, naming the remedy."""
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username}. Make one with `manage.py createsuperuser` or at /admin/.")
        if not (user.is_active and user.is_staff):
            raise CommandError(f"{username} is not active, or not in staff. An administrator ticks both at /admin/.")
        if not user.has_usable_password():
            raise CommandError(f"{username} has no password. Set one with `manage.py changepassword {username}`.")
        self.stderr.write(
            f"For {username}, once, within {enrolment.HOURS} hours and before the next login. The password is needed besides; "
            "an app that is set up already is replaced."
        )
        self.stdout.write(enrolment.link(user))
