"""Codes as such."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otp import codes
from otp.codes import ALPHABETS, LENGTHS, CodeType

DIGIT_SYSTEMS = [
    start for start in range(0x110000) if unicodedata.decimal(chr(start), None) == 0
]  # the zero of every script


def test_it_uses_exactly_the_promised_alphabets() -> None:
    assert ALPHABETS[CodeType.NUMERIC] == "0123456789"
    assert len(ALPHABETS[CodeType.ALPHANUMERIC]) == 32
    assert not set("IO10") & set(ALPHABETS[CodeType.ALPHANUMERIC])
    assert len(ALPHABETS[CodeType.ALPHA]) == 24
    assert not set("IO") & set(ALPHABETS[CodeType.ALPHA])
    assert all(len(set(alphabet)) == len(alphabet) for alphabet in ALPHABETS.values())


@pytest.mark.parametrize("code_type", CodeType)
@pytest.mark.parametrize("length", LENGTHS)
def test_it_generates_the_wanted_length_from_the_alphabet(code_type: CodeType, length: int) -> None:
    for _ in range(200):
        code = codes.generate(code_type, length)
        assert len(code) == length
        assert set(code) <= set(ALPHABETS[code_type])


@pytest.mark.parametrize("code_type", CodeType)
def test_it_uses_every_symbol_at_every_position_equally_often(code_type: CodeType) -> None:
    alphabet, draws = ALPHABETS[code_type], 20_000
    sample = [codes.generate(code_type, 4) for _ in range(draws)]
    for position in range(4):
        counts = dict.fromkeys(alphabet, 0)
        for code in sample:
            counts[code[position]] += 1
        expected = draws / len(alphabet)
        chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
        # Six standard deviations above the mean of the distribution: fails by chance once in some million runs.
        degrees = len(alphabet) - 1
        assert chi_squared < degrees + 6 * (2 * degrees) ** 0.5 + 6


def test_it_keeps_leading_zeros() -> None:
    assert any(codes.generate(CodeType.NUMERIC, 4).startswith("0") for _ in range(500))


@pytest.mark.parametrize("zero", DIGIT_SYSTEMS)
def test_it_reads_the_digits_of_every_script(zero: int) -> None:
    assert codes.normalise("".join(chr(zero + digit) for digit in (4, 8, 2, 9, 5, 1))) == "482951"


def test_it_knows_more_than_forty_scripts() -> None:
    assert len(DIGIT_SYSTEMS) > 40


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (" 482 951 ", "482951"),
        ("482-951", "482951"),
        ("a7k3m2", "A7K3M2"),
        ("482‑951", "482951"),
        ("482\u00a0951\u200b", "482951"),
        ("", ""),
        ("Ａ７Ｋ３Ｍ２", "A7K3M2"),
        ("ａ７ｋ３ｍ２", "A7K3M2"),
        ("ⓐ⑦ⓚ③ⓜ②", "A7K3M2"),
        ("𝟒𝟖𝟐𝟗𝟓𝟏", "482951"),
        ("4️⃣8️⃣2️⃣9️⃣5️⃣1️⃣", "482951"),
        ("٤٨٢-٩٥١", "482951"),
        ("\t482\r\n951\x1f", "482951"),
        ("❹❽❷➒➎➊", "482951"),
        ("⑷⑻⑵⒐⒌⒈", "482951"),
        ("⁴₈²⁹₅¹", "482951"),
        ("፬፰፪፱፭፩", "482951"),
        ("\ufeff482951\u2028", "482951"),
    ],
)
def test_it_forgives_how_people_type(typed: str, meant: str) -> None:
    assert codes.normalise(typed) == meant


SPACES = "\u0020\u00a0\u1680\u2000\u2003\u2007\u2009\u202f\u205f\u3000\u2028\u2029\u0085\u180e\u200b\u200c\u200d\u2060\ufeff\u2800\u3164"
HYPHENS = (
    "-\u00ad\u058a\u05be\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u207b\u208b\u2212\u2796\u2e3a\u301c\u3030\u30fc\uff70"
    "\ufe31\ufe58\ufe63\uff0d\u02d7\u2500"
)


@pytest.mark.parametrize("separator", [*SPACES, *HYPHENS], ids=lambda character: f"U+{ord(character):04X}")
def test_it_forgives_spaces_and_hyphens_of_every_kind(separator: str) -> None:
    assert codes.normalise(f"{separator}482{separator}951{separator}") == "482951"
    assert codes.normalise(f"Ａ7k{separator}３m2") == "A7K3M2"


@given(
    st.sampled_from(["482951", "A7K3M2P9", "JKRF"]),
    st.lists(st.sampled_from([*SPACES, *HYPHENS]), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_a_code_is_known_however_it_is_written(code: str, between: list[str], is_wide: bool, is_small: bool) -> None:
    shown = code.lower() if is_small else code
    if is_wide:
        shown = "".join(chr(ord(character) + 0xFEE0) for character in shown)
    assert codes.normalise("".join(between).join(shown)) == code


def test_one_character_that_stands_for_many_is_no_code() -> None:
    assert not codes.fits(codes.normalise("\ufdfa" * 1000))
    assert not codes.fits(codes.normalise("ﬃ" * 2))


@given(st.text(st.characters(codec=None)))
@example("ŉ")
@example("ΐ")
@example("ª")
@example("\ufdfa")
@example("ﬀ")
def test_it_normalises_any_text_once_and_for_all(typed: str) -> None:
    once = codes.normalise(typed)
    assert codes.normalise(once) == once


def test_it_binds_the_digest_to_portal_contact_address_and_pepper() -> None:
    base = {"pepper": "p" * 32, "portal_id": 1, "contact_id": 2, "address": "a@b.example", "code": "482951"}
    made = codes.digest(**base)  # type: ignore[arg-type]
    assert len(made) == 32
    assert made == codes.digest(**base)  # type: ignore[arg-type]
    for change in (
        {"pepper": "q" * 32},
        {"portal_id": 3},
        {"contact_id": 3},
        {"address": "c@b.example"},
        {"code": "482952"},
    ):
        assert codes.digest(**{**base, **change}) != made  # type: ignore[arg-type]


def test_it_does_not_confuse_where_one_part_ends_and_the_next_begins() -> None:
    assert codes.digest(pepper="p", portal_id=1, contact_id=23, address="a", code="b") != codes.digest(
        pepper="p", portal_id=12, contact_id=3, address="a", code="b"
    )


def test_it_lowers_the_domain_and_leaves_the_local_part() -> None:
    assert codes.normalise_address(" Ada.Lovelace@EXAMPLE.Com ") == "Ada.Lovelace@example.com"


def test_both_spellings_of_a_domain_are_one_address() -> None:
    assert codes.normalise_address("ada@Straße.example") == codes.normalise_address("ada@xn--strae-oqa.example")
    assert codes.normalise_address("ada@straße.example") != codes.normalise_address("ada@strasse.example")
    assert codes.mask_address("ada@xn--strae-oqa.example") == "a***@s***.example"


def test_digests_find_what_was_stored_under_the_earlier_spelling() -> None:
    base = {"pepper": "p" * 32, "portal_id": 1, "contact_id": 2, "code": "482951"}
    earlier = codes.digest(**base, address="ada@straße.example")  # type: ignore[arg-type]
    today = codes.digest(**base, address="ada@xn--strae-oqa.example")  # type: ignore[arg-type]
    rest = {name: value for name, value in base.items() if name != "pepper"}
    found = codes.digests(peppers=["p" * 32], address="ada@xn--strae-oqa.example", **rest)  # type: ignore[arg-type]
    assert found == [today, earlier]
    assert len(codes.digests(peppers=["p" * 32], address="ada@example.com", **rest)) == 1  # type: ignore[arg-type]


def test_half_a_surrogate_pair_in_an_address_is_no_crash() -> None:
    address = codes.normalise_address("a\ud83d@b.example")
    assert codes.address_digests(peppers=["p"], portal_id=1, address=address)
    assert codes.digests(peppers=["p"], portal_id=1, contact_id=2, address=address, code="482951")
