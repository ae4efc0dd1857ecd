"""What the outputs sum up."""

import pytest

from otp.workflow_outputs import DeliverySummary, delivery_status


@pytest.mark.parametrize(
    ("stored", "emailed", "expected"),
    [
        ("off", "off", "off"),
        ("written", "off", "delivered"),
        ("off", "sent", "delivered"),
        ("written", "sent", "delivered"),
        ("written", "failed", "partly"),
        ("written", "bounced", "partly"),
        ("failed", "sent", "partly"),
        ("failed", "off", "failed"),
        ("off", "failed", "failed"),
        ("off", "bounced", "failed"),
        ("failed", "bounced", "failed"),
        ("pending", "off", "pending"),
        ("pending", "failed", "pending"),
        ("written", "pending", "pending"),
    ],
)
def test_one_word_for_all_deliveries(stored: str, emailed: str, expected: str) -> None:
    assert delivery_status(stored, emailed) is DeliverySummary(expected)
