"""A mail as the bytes that SMTP carries. Pure.

Django's own way, through the standard library's message objects, costs about a millisecond and a half a mail, more than
the server takes to accept it. All our mails have one shape (RFC 2046, section 5.1.4: the same words as text and as
HTML), so they are put together here.
"""

import functools
from binascii import b2a_qp
from collections.abc import Mapping
from email.header import Header
from email.utils import formataddr, parseaddr
from typing import Final

from django.core.mail.message import BadHeaderError

from emails.content import Content
from opsagent import addresses

# "=_" cannot occur in a quoted-printable body, where every "=" is followed by two hexadecimal digits or a line's end.
_BOUNDARY: Final = "=_the_same_words"
_ADDRESSES: Final = frozenset({"From", "To", "Reply-To"})
# Words that begin so are decoded by whoever reads the mail (RFC 2047): typed by a person, they are encoded themselves.
_ENCODED_WORD: Final = "=?"


def to_bytes(headers: Mapping[str, str], content: Content) -> bytes:
    """Return the whole mail, with CRLF line ends and in seven bits.

    `headers`: all but those about MIME. Raises BadHeaderError for a value of more than one line.
    """
    head = "".join(f"{name}: {_field(name, value)}\r\n" for name, value in headers.items())
    return b"".join(
        (
            head.encode("ascii"),
            _MULTIPART,
            _PLAIN,
            _quoted_printable(content.text),
            _HTML,
            _quoted_printable(content.html),
            _END,
        )
    )


def _part(kind: str) -> bytes:
    return (
        f"\r\n--{_BOUNDARY}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()


_MULTIPART: Final = f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{_BOUNDARY}"\r\n'.encode()
_PLAIN: Final = _part("plain")
_HTML: Final = _part("html")
_END: Final = f"\r\n--{_BOUNDARY}--\r\n".encode()


def _quoted_printable(text: str) -> bytes:
    return b2a_qp(text.encode()).replace(b"\n", b"\r\n")


def _field(name: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise BadHeaderError(f"The header {name} has more than one line.")
    if name in _ADDRESSES:
        return value if value.isascii() and "<" not in value else _address(name, value)
    return _encoded(name, value) if name == "Subject" or not _is_plain(value) else value


def _is_plain(text: str) -> bool:
    return text.isascii() and _ENCODED_WORD not in text


# A portal's mails have the same sender and mostly the same subject, and encoding one takes as long as all the rest.


@functools.lru_cache(maxsize=256)
def _encoded(name: str, value: str) -> str:
    return Header(value, "us-ascii" if _is_plain(value) else "utf-8", header_name=name).encode(linesep="\r\n")


@functools.lru_cache(maxsize=256)
def _address(name: str, value: str) -> str:
    display, address = parseaddr(value)
    address = addresses.normalise(address)
    if not display:
        return address
    if _is_plain(display):
        return formataddr((display, address))
    return f"{_encoded(name, display)}\r\n <{address}>"
