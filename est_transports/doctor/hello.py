"""A ClientHello of TLS 1.2 and older, and the server's flight that answers it. No I/O.

OpenSSL, as it is built today, offers neither TLS 1.1 nor suites without encryption, and says little
of what a server sent. Up to TLS 1.2 that flight is in clear: version, suite, extensions, chain and
CertificateRequest can be read without a key. So one record is written here, the answer is read as
far as ServerHelloDone or an alert, and the handshake goes no further. RFC 5246 7.4.
"""

from __future__ import annotations

from dataclasses import field
from typing import Final

from est_core.values import unchecked_value_class

TLS_1_1: Final = 0x0302
TLS_1_2: Final = 0x0303
FLIGHT_BYTES: Final = 128 * 1024

USUAL_SUITES: Final = (
    *(0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8),  # ECDHE, AEAD
    *(0xC0AE, 0xC0AC, 0x009E, 0x009F, 0xCCAA),  # CCM, DHE with AEAD
    *(0xC023, 0xC027, 0xC024, 0xC028, 0xC009, 0xC013, 0xC00A, 0xC014, 0x0033, 0x0039, 0x0067),
    *(0x009C, 0x009D, 0x003C, 0x003D, 0x002F, 0x0035),  # RSA key transport
)
GOOD_SUITES: Final = frozenset(USUAL_SUITES[:11])
"""Ephemeral keys and authenticated encryption. RFC 9325 4.2."""
FORBIDDEN_SUITES: Final = (
    *(0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC00B, 0xC010, 0xC015),  # NULL
    *(0x0003, 0x0006, 0x0008, 0x000B, 0x000E, 0x0011, 0x0014, 0x0017, 0x0019),  # EXPORT
    *(0x0018, 0x001A, 0x001B, 0x0034, 0x003A, 0x006C, 0x006D, 0x00A6, 0x00A7),  # anonymous
    *(0xC016, 0xC017, 0xC018, 0xC019),
    *(0x0004, 0x0005, 0xC002, 0xC007, 0xC00C, 0xC011),  # RC4
    *(0x0009, 0x000C, 0x000F, 0x0012, 0x0015),  # DES
)
"""RFC 7030 3.2.3 and 6, RFC 7465, RFC 9325 4.1."""
WEAK_SUITES: Final = (
    *(0x000A, 0x0016, 0xC008, 0xC012),  # 3DES
    *(0x002F, 0x0035, 0x003C, 0x003D, 0x009C, 0x009D),  # RSA key transport
)
SUITE_NAMES: Final = {
    0x0001: "NULL-MD5", 0x0002: "NULL-SHA", 0x003B: "NULL-SHA256", 0xC006: "ECDHE-ECDSA-NULL-SHA",
    0xC010: "ECDHE-RSA-NULL-SHA", 0x0004: "RC4-MD5", 0x0005: "RC4-SHA", 0x0009: "DES-CBC-SHA",
    0x0034: "ADH-AES128-SHA", 0x003A: "ADH-AES256-SHA", 0x006C: "ADH-AES128-SHA256",
    0x006D: "ADH-AES256-SHA256", 0x00A6: "ADH-AES128-GCM-SHA256",
    0x00A7: "ADH-AES256-GCM-SHA384", 0xC018: "AECDH-AES128-SHA", 0xC019: "AECDH-AES256-SHA",
    0xC015: "AECDH-NULL-SHA", 0x000A: "DES-CBC3-SHA", 0x0016: "DHE-RSA-DES-CBC3-SHA",
    0xC008: "ECDHE-ECDSA-DES-CBC3-SHA", 0xC012: "ECDHE-RSA-DES-CBC3-SHA", 0x002F: "AES128-SHA",
    0x0035: "AES256-SHA", 0x003C: "AES128-SHA256", 0x003D: "AES256-SHA256",
    0x009C: "AES128-GCM-SHA256", 0x009D: "AES256-GCM-SHA384",
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384", 0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305", 0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
    0xC0AE: "ECDHE-ECDSA-AES128-CCM8", 0xC0AC: "ECDHE-ECDSA-AES128-CCM",
    0x009E: "DHE-RSA-AES128-GCM-SHA256", 0x009F: "DHE-RSA-AES256-GCM-SHA384",
    0xC023: "ECDHE-ECDSA-AES128-SHA256", 0xC027: "ECDHE-RSA-AES128-SHA256",
    0xC009: "ECDHE-ECDSA-AES128-SHA", 0xC013: "ECDHE-RSA-AES128-SHA",
    0xC00A: "ECDHE-ECDSA-AES256-SHA", 0xC014: "ECDHE-RSA-AES256-SHA",
}  # fmt: skip
VERSION_NAMES: Final = {
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
}

SERVER_NAME: Final = 0
SESSION_TICKET: Final = 35
EXTENDED_MASTER_SECRET: Final = 23
RENEGOTIATION_INFO: Final = 0xFF01

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _CERTIFICATE, _REQUEST, _DONE = 2, 11, 13, 14
GOODBYE: Final = bytes.fromhex("150303000201 5a 15030300020100".replace(" ", ""))
"""user_canceled and close_notify: the handshake ends here, and nothing was wrong. RFC 5246 7.2."""


class NotTls(Exception):  # noqa: N818 - an answer
    """What came is no handshake of TLS."""


@unchecked_value_class
class Flight:
    """What a server answered: a ServerHello with what follows, or an alert.

    `version` and `suite` are as on the wire, 0 where there was an alert. `has_request`: it asked
    for a certificate, with `ca_names` in DER. `alert` is the description of RFC 5246 7.2.
    """

    version: int = 0
    suite: int = 0
    session_id_bytes: int = 0
    extensions: frozenset[int] = frozenset()
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    has_request: bool = False
    ca_names: tuple[bytes, ...] = field(default=(), repr=False)
    alert: int | None = None

    @property
    def suite_name(self) -> str:
        """The suite as OpenSSL calls it, or its number."""
        return SUITE_NAMES.get(self.suite, f"suite {self.suite:#06x}")

    @property
    def version_name(self) -> str:
        """The version in words."""
        return VERSION_NAMES.get(self.version, f"version {self.version:#06x}")


def client_hello(
    random: bytes, suites: tuple[int, ...], *, version: int = TLS_1_2, server_name: str = ""
) -> bytes:
    """Return the record of a ClientHello. `random` has 32 bytes; no name is sent for ""."""
    extensions = [
        _extension(10, _list16(0x001D, 0x0017, 0x0018, 0x0019)),  # X25519, P-256, P-384, P-521
        _extension(11, b"\1\0"),
        _extension(16, _vector(b"\x08http/1.1", 2)),
        _extension(EXTENDED_MASTER_SECRET, b""),
        _extension(SESSION_TICKET, b""),
        _extension(RENEGOTIATION_INFO, b"\0"),
    ]
    if version >= TLS_1_2:
        algorithms = (0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806)
        rsa = (0x0401, 0x0501, 0x0601, 0x0201, 0x0203)  # the last two are over SHA-1
        extensions.append(_extension(13, _list16(*algorithms, *rsa)))
    if server_name:
        name = b"\0" + _vector(server_name.encode("ascii"), 2)
        extensions.insert(0, _extension(SERVER_NAME, _vector(name, 2)))
    body = (
        version.to_bytes(2, "big")
        + random
        + b"\0"  # no session
        + _list16(*suites)
        + b"\1\0"  # no compression
        + _vector(b"".join(extensions), 2)
    )
    handshake = b"\1" + _vector(body, 3)
    return b"\x16\x03\x01" + _vector(handshake, 2)


class FlightReader:
    """Reads the answer from bytes as they arrive: `receive` returns it once it is complete.

    Raises NotTls for anything that is no TLS, or ends too early, or does not end.
    """

    def __init__(self) -> None:
        self._unread = bytearray()
        self._messages = bytearray()
        self._received = 0
        self._parts: dict[int, bytes] = {}

    def receive(self, data: bytes) -> Flight | None:
        """Take bytes; b"" is the end of the server's side."""
        if not data:
            raise NotTls("it closed the connection in the handshake")
        self._received += len(data)
        if self._received > FLIGHT_BYTES:
            raise NotTls(f"its handshake has more than {FLIGHT_BYTES} bytes")
        self._unread += data
        while len(self._unread) >= 5:
            kind, major = self._unread[0], self._unread[1]
            if kind not in (_ALERT, _HANDSHAKE) or major != 3:
                raise NotTls("what it sends is no TLS")
            size = int.from_bytes(self._unread[3:5], "big")
            if len(self._unread) < 5 + size:
                return None
            content = bytes(self._unread[5 : 5 + size])
            del self._unread[: 5 + size]
            if kind == _ALERT:
                return Flight(alert=content[1] if len(content) == 2 else 0)
            self._messages += content
            if self._take_messages():
                return _flight(self._parts)
        return None

    def _take_messages(self) -> bool:
        while len(self._messages) >= 4:
            kind, size = self._messages[0], int.from_bytes(self._messages[1:4], "big")
            if len(self._messages) < 4 + size:
                return False
            self._parts.setdefault(kind, bytes(self._messages[4 : 4 + size]))
            del self._messages[: 4 + size]
            if kind == _DONE:
                return True
        return False


def _flight(parts: dict[int, bytes]) -> Flight:
    try:
        return _flight_untrusted(parts)
    except (IndexError, KeyError) as exc:
        raise NotTls("its handshake cannot be read") from exc


def _flight_untrusted(parts: dict[int, bytes]) -> Flight:
    hello = _Reader(parts[_SERVER_HELLO])
    version = hello.number(2)
    hello.take(32)
    session_id = hello.vector(1)
    suite = hello.number(2)
    hello.take(1)
    extensions = set()
    if hello.left:
        inner = _Reader(hello.vector(2))
        while inner.left:
            extensions.add(inner.number(2))
            inner.vector(2)
    request = parts.get(_REQUEST)
    return Flight(
        version=version,
        suite=suite,
        session_id_bytes=len(session_id),
        extensions=frozenset(extensions),
        certificates=_certificates(parts.get(_CERTIFICATE, b"\0\0\0")),
        has_request=request is not None,
        ca_names=() if request is None else _ca_names(request, version),
    )


def _certificates(message: bytes) -> tuple[bytes, ...]:
    reader, found = _Reader(_Reader(message).vector(3)), []
    while reader.left:
        found.append(reader.vector(3))
    return tuple(found)


def _ca_names(message: bytes, version: int) -> tuple[bytes, ...]:
    outer, found = _Reader(message), []
    outer.vector(1)
    if version >= TLS_1_2:
        outer.vector(2)
    names = _Reader(outer.vector(2))
    while names.left:
        found.append(names.vector(2))
    return tuple(found)


class _Reader:
    """Takes numbers and vectors off the front of bytes. Raises IndexError past the end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    @property
    def left(self) -> int:
        return len(self._content) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise IndexError
        self._at += size
        return self._content[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def _vector(content: bytes, size: int) -> bytes:
    return len(content).to_bytes(size, "big") + content


def _list16(*numbers: int) -> bytes:
    return _vector(b"".join(number.to_bytes(2, "big") for number in numbers), 2)


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(content, 2)
