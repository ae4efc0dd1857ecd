"""Addresses: one spelling for each, by IDNA 2008, and never somebody else's domain."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opsagent import addresses

any_address = st.text(max_size=80) | st.builds(
    lambda local, domain: f"{local}@{domain}",
    st.text(max_size=10),
    st.text(st.characters(codec=None) | st.sampled_from("aßÄ.。．xn-\u200b\u200dא٠"), max_size=80),
)


@pytest.mark.parametrize(
    ("spelling", "mailed"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada.Lovelace@EXAMPLE.Com\n", "Ada.Lovelace@example.com"),
        # what IDNA 2003 turns into strasse, fass and another Greek letter: other domains
        ("ada@straße.example", "ada@xn--strae-oqa.example"),
        ("ada@STRAẞE.example", "ada@xn--strae-oqa.example"),
        ("ada@faß.de", "ada@xn--fa-hia.de"),
        ("ada@βόλος.com", "ada@xn--nxasmm1c.com"),
        ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ("ada@bu\u0308cher.example", "ada@xn--bcher-kva.example"),
        ("ada@XN--STRAE-OQA.example", "ada@xn--strae-oqa.example"),
        ("ada@例え。jp", "ada@xn--r8jz45g.jp"),
        ("ada@ｅｘａｍｐｌｅ．com", "ada@example.com"),
        ("ada@exa\u200bmp\u00adle.com", "ada@example.com"),
        ("ada@пример.рф", "ada@xn--e1afmkfd.xn--p1ai"),
        ("ada@\u0430pple.com", "ada@xn--pple-43d.com"),  # begins with a Cyrillic letter: another domain than apple.com
        ("ada@r3---sn.faß.de", "ada@r3---sn.xn--fa-hia.de"),
        ("ada@localhost", "ada@localhost"),
    ],
)
def test_it_has_one_spelling_for_each_address(spelling: str, mailed: str) -> None:
    assert addresses.checked(spelling) == mailed
    assert addresses.normalise(spelling) == mailed
    assert addresses.normalise(addresses.for_people(mailed)) == mailed


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
        "ada＠example.com",
        "ada@eve＠example.com",
        "ada@example.com.",
        "ada@example.com。",
        "ada@example..com",
        "a@b.example,c@d.example",
        "a@b.example c@d.example",
        "Ada <ada@example.com>",
        "ådå@example.com",  # would need SMTPUTF8
        "\u212aate@example.com",  # the sign for kelvin, which a case-insensitive A-Z takes for a letter
        "ada\u200b@example.com",
        "=?utf-8?q?ada?=@example.com",  # some servers deliver it to ada@example.com
        "ada@i❤.ws",  # no symbols in IDNA 2008
        "ada@xn--i-7iq.ws",
        "ada@xn--a.example",  # decodes to nothing
        "ada@xn--.example",
        "ada@\u200d.example",
        "ada@a\u0627.example",  # Latin and Arabic in one label (RFC 5893)
        "ada@\ud83d.example",
        "ada@" + "ß" * 64 + ".example",
        "ada@" + "ß" * 100_000 + ".example",
        "ada@" + "ä." * 120 + "example",
        "a" * 250 + "@example.com",
        "a" * 65 + "@example.com",
        '"\x0bBcc:evil@x"@example.com',  # Python ends a line there
        '"a\x1cb"@example.com',
        '"a\x7f"@example.com',
        "ada@[127.0.0.1]",
        "ada@[169.254.169.254]",
        "ada@[::1]",
    ],
)
def test_it_refuses_what_mail_cannot_be_sent_to(address: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        addresses.checked(address)


@given(any_address)
@example("a@b＠c")
@example('"a@b"＠c.example')
def test_it_never_fails_and_finds_the_same_again(address: str) -> None:
    once = addresses.normalise(address)
    assert addresses.normalise(once) == once
    addresses.for_people(address)
    try:
        checked = addresses.checked(address)
    except ValueError:
        return
    assert checked == once
    assert checked.isascii()
    assert addresses.checked(addresses.for_people(checked)) == checked


def test_it_shows_people_their_own_letters() -> None:
    assert addresses.for_people("ada@xn--strae-oqa.example") == "ada@straße.example"
    assert addresses.for_people("ada@xn--a.example") == "ada@xn--a.example"
    assert addresses.for_people("no address") == "no address"
