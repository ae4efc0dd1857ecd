"""Durations and moments as HubSpot writes them."""

import pytest

from sandbox.times import duration, from_iso, iso


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT20M", 1_200), ("P1WT1H", 608_400), ("P1D", 86_400), ("PT0.25S", 0.25), ("P2DT3H4M5S", 183_845),
    ],
)  # fmt: skip
def test_it_reads_a_duration(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "P1Y", "P1M", "20M", "PT20", "pt20m", "P1DT", "-PT1M"])
def test_it_refuses_what_is_no_duration_of_fixed_length(text: str) -> None:
    with pytest.raises(ValueError, match="ISO-8601"):
        duration(text)


def test_moments_go_there_and_back() -> None:
    assert iso(1_795_000_000.125) == "2026-11-18T11:06:40.125Z"
    assert from_iso("2026-11-18T11:06:40.125Z") == 1_795_000_000.125
    assert from_iso("2026-11-18") == from_iso("2026-11-18T00:00:00+00:00")
