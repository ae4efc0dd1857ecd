"""What a password of staff may not be."""

from django_zxcvbn_password_validator import ZxcvbnPasswordValidator


class HardToGuess(ZxcvbnPasswordValidator):  # type: ignore[misc]  # the package has no types
    """zxcvbn's estimate, as settings.PASSWORD_MINIMAL_STRENGTH wants it, introduced in plain words."""

    def get_help_text(self) -> str:
        """Say what to choose."""
        return (
            "It has at most 72 characters and is hard to guess: no word, name, date or row of keys with a number behind it. "
            "Four words that do not belong together are good; what a password manager makes is better."
        )
