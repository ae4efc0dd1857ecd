"""The odds of a guess, counted by hand and by trying, and the standards' verdicts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp import strength
from otp.codes import EXPIRY_MINUTES, LENGTHS, CodeType
from otp.strength import Assessment, Choice, Standing, Verdict

DEFAULTS = Choice(
    code_type=CodeType.NUMERIC,
    code_length=6,
    expiry_minutes=10,
    keeps_older_codes=False,
    sends_email=False,
    attempts_per_code=5,
    attempts_per_contact=10,
    lock_minutes=15,
    longest_lock_minutes=1440,
    codes_in_10_minutes=5,
    codes_a_day=20,
)


def verdict(assessment: Assessment, standard: str, section: str, words: str = "") -> Verdict:
    return next(
        item
        for item in assessment.verdicts
        if item.standard.startswith(standard) and item.section == section and words in item.rule
    )


def standings(choice: Choice, standard: str, section: str, words: str = "") -> Standing:
    return verdict(strength.assess(choice), standard, section, words).standing


def test_it_counts_the_guesses_of_a_day() -> None:
    # Locks of 15, 30, 60, 120, 240 and 480 minutes end before the day does, the one of 960 does not: seven times ten.
    found = strength.assess(DEFAULTS)
    assert (found.possible_codes, found.guesses_a_day, found.one_in) == (1_000_000, 70, 14_285)
    assert found.bits == pytest.approx(19.93, abs=0.01)


def test_it_counts_the_codes_where_they_are_the_narrower_door() -> None:
    assert strength.assess(replace(DEFAULTS, codes_a_day=2)).guesses_a_day == 10


def test_it_counts_that_a_guess_meets_several_codes_where_older_ones_stay() -> None:
    kept = strength.assess(replace(DEFAULTS, keeps_older_codes=True))
    # Twenty codes of five attempts each: no guess can be worth more than that.
    assert (kept.guesses_a_day, kept.one_in) == (70, 10_000)


def test_it_counts_every_round_of_locks_that_do_not_grow() -> None:
    choice = replace(DEFAULTS, lock_minutes=60, longest_lock_minutes=60, codes_a_day=1000, codes_in_10_minutes=100)
    assert strength.assess(choice).guesses_a_day == 240


@pytest.mark.parametrize(
    ("code_type", "length", "standing"),
    [
        (CodeType.NUMERIC, 4, Standing.NOT_MET),
        (CodeType.NUMERIC, 6, Standing.MET),
        (CodeType.ALPHA, 4, Standing.NOT_MET),
        (CodeType.ALPHA, 6, Standing.MET),
        (CodeType.ALPHANUMERIC, 4, Standing.MET),
        (CodeType.ALPHANUMERIC, 8, Standing.MET),
    ],
)
def test_it_measures_length_as_the_standards_do(code_type: CodeType, length: int, standing: Standing) -> None:
    choice = replace(DEFAULTS, code_type=code_type, code_length=length)
    assert standings(choice, "NIST", "3.1.3.2", "six decimal digits") is standing
    assert standings(choice, "OWASP", "6.5.4") is standing


@pytest.mark.parametrize(
    ("minutes", "standing"), [(5, Standing.MET), (10, Standing.MET), (15, Standing.NOT_MET), (60, Standing.NOT_MET)]
)
def test_it_wants_ten_minutes_at_most(minutes: int, standing: Standing) -> None:
    choice = replace(DEFAULTS, expiry_minutes=minutes)
    assert standings(choice, "NIST", "3.1.3.2", "10 minutes") is standing
    assert standings(choice, "OWASP", "6.5.5") is standing


def test_it_says_plainly_that_mail_is_no_factor() -> None:
    mailed = replace(DEFAULTS, sends_email=True)
    assert standings(mailed, "NIST", "3.1.3.1") is Standing.NOT_MET
    assert standings(mailed, "OWASP", "6.3.6") is Standing.NOT_MET
    assert standings(DEFAULTS, "NIST", "3.1.3.1") is Standing.PARTLY


def test_it_does_not_call_several_live_codes_bound_to_a_request() -> None:
    assert standings(replace(DEFAULTS, keeps_older_codes=True), "OWASP", "6.6.2") is Standing.NOT_MET


@given(
    st.builds(
        Choice,
        code_type=st.sampled_from(CodeType),
        code_length=st.sampled_from(LENGTHS),
        expiry_minutes=st.sampled_from(EXPIRY_MINUTES),
        keeps_older_codes=st.booleans(),
        sends_email=st.booleans(),
        attempts_per_code=st.just(5),
        attempts_per_contact=st.integers(1, 100),
        lock_minutes=st.integers(1, 1440),
        longest_lock_minutes=st.integers(1, 1440),
        codes_in_10_minutes=st.integers(1, 100),
        codes_a_day=st.integers(1, 1000),
    )
)
def test_it_never_promises_more_than_the_counts_allow(choice: Choice) -> None:
    found = strength.assess(choice)
    assert 1 <= found.one_in <= found.possible_codes
    assert found.guesses_a_day <= choice.codes_a_day * choice.attempts_per_code
    # Every guess counts at least once against every code.
    assert found.one_in <= found.possible_codes // found.guesses_a_day
    assert all(item.why.endswith(".") for item in found.verdicts)
