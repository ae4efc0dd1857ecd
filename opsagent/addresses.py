"""E-mail addresses as mail systems want them: one spelling for each, the domain as DNS knows it. Pure.

A domain with letters beyond ASCII has two spellings, `straße.example` (a U-label) and `xn--strae-oqa.example` (an
A-label). Both are the same domain. The one conversion between them is IDNA 2008 with the mapping of UTS 46, as browsers
do it. The older IDNA 2003, which Python's and Django's own functions speak, makes `strasse.example` of the first: a
domain that somebody else can own.

Sources: RFC 5891; https://www.unicode.org/reports/tr46/ (non-transitional processing).
"""

import contextlib
from typing import Final

import idna
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

LONGEST: Final = 254
"""Characters of an address (RFC 5321, section 4.5.3.1.3)."""
_LONGEST_LOCAL: Final = 64  # section 4.5.3.1.1

_A_LABEL: Final = "xn--"
# `=?utf-8?q?ada?=@b.example` is an address by its letters, and some servers deliver it to ada@b.example (RFC 2047).
_ENCODED_WORD: Final = "=?"


def normalise(address: str) -> str:
    """Return the one spelling of an address: no space around it, the domain in lower case and in ASCII.

    Never fails: what is no address, or has no such domain, comes back as it is, in lower case behind the @.
    """
    local, at, domain = address.strip().rpartition("@")
    try:
        return f"{local}{at}{_to_ascii(domain)}"
    except idna.IDNAError:
        return f"{local}{at}{domain.lower()}"


def checked(address: str) -> str:
    """Return the one spelling of an address that mail can be sent to.

    Raises ValueError for everything else: more than one address, a local part beyond ASCII (it would need SMTPUTF8,
    RFC 6531, which few servers and providers speak), one of more than 64, with a control character or one that mail
    programs decode; a domain that IDNA 2008 does not know, or an IP address in its place, which would let whoever fills
    in a form choose the machine that our mail server speaks to.
    """
    address = normalise(address)
    local, _, domain = address.rpartition("@")
    # A quoted local part may hold control characters (RFC 5322, obs-qtext), among them some that end a line for Python.
    if not (address.isascii() and address.isprintable()) or len(address) > LONGEST or len(local) > _LONGEST_LOCAL:
        raise ValueError("it is no address that mail can be sent to")
    if _ENCODED_WORD in address or domain.startswith("["):
        raise ValueError("it is no address that mail can be sent to")
    try:
        validate_email(address)
        for label in domain.split("."):
            if label.startswith(_A_LABEL):
                idna.ulabel(label)
    except (ValidationError, idna.IDNAError):
        raise ValueError("it is no address that mail can be sent to") from None
    return address


def for_people(address: str) -> str:
    """Return an address as people write it: `ada@xn--strae-oqa.example` is `ada@straße.example`. Never fails."""
    local, at, domain = address.rpartition("@")
    if _A_LABEL not in domain:
        return address
    with contextlib.suppress(idna.IDNAError):
        domain = ".".join(idna.ulabel(label) if label.startswith(_A_LABEL) else label for label in domain.split("."))
    return f"{local}{at}{domain}"


def _to_ascii(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    labels = idna.uts46_remap(domain).split(".")
    return ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels)
