"""Where a chain of the audit log begins: nobody moves it through a trigger of their own."""

import pytest
from django.db import DatabaseError, connection, transaction

from hubspot_integration.models import Portal
from tests.audit_log import run
from tests.otp.test_audit_chain import chained, checked

pytestmark = pytest.mark.django_db(transaction=True)

NOUGHT = "decode(repeat('00', 32), 'hex')"
OTHER = "decode(repeat('ab', 32), 'hex')"


def in_a_trigger(statement: str) -> None:
    """Run a statement as deep in triggers as the product's own, by a temporary table such as anybody may create."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE lever (x int) ON COMMIT DROP")
        cursor.execute(
            "CREATE OR REPLACE FUNCTION pg_temp.pull() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {statement}; RETURN NEW; END $$"
        )
        cursor.execute("CREATE TRIGGER pull AFTER INSERT ON lever FOR EACH ROW EXECUTE FUNCTION pg_temp.pull()")
        cursor.execute("INSERT INTO lever VALUES (1)")


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE otp_auditchain SET sequence = 2, hash = {OTHER}",
        f"UPDATE otp_auditchain SET hash = {OTHER}",
        f"UPDATE otp_auditchain SET sequence = 7, hash = {OTHER}",
        "UPDATE otp_auditchain SET portal_id = 1",
        "DELETE FROM otp_auditchain",
        f"INSERT INTO otp_auditchain (portal_id, sequence, hash) VALUES (1, 5, {NOUGHT})",
        f"INSERT INTO otp_auditchain (portal_id, sequence, hash) VALUES (1, 0, {OTHER})",
    ],
)
def test_a_beginning_that_its_links_do_not_tell_of_is_refused(portal: Portal, statement: str) -> None:
    chained(portal, 3)
    with pytest.raises(DatabaseError, match="follows from its links"):
        in_a_trigger(statement)
    assert checked(portal).broken is None


def test_moving_the_beginning_by_hand_is_refused_as_before(portal: Portal) -> None:
    chained(portal, 1)
    with pytest.raises(DatabaseError, match="follows from its links"):
        run(f"UPDATE otp_auditchain SET sequence = 5, hash = {OTHER}")
