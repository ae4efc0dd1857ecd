"""What the ground itself keeps in the database."""

from django.db import models


class FernetPermit(models.Model):
    """The permit to read secrets as releases before bound values stored them (`opsagent.encryption`).

    There is none in new installations, and none after `rotate_keys` has rewritten everything.
    """

    proof = models.BinaryField()

    def __str__(self) -> str:
        return "permit to read Fernet tokens"
