"""Targets: records of DTLS, records of passwords, and certificate chains."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError
from est_transports.authority.stores.passwords import verify_password
from est_transports.channel.dtls_records import (
    RECORD_BYTES,
    client_random,
    datagrams,
    fragment_bytes,
    is_dtls,
    latest_hello,
    renumbered,
    sequence_number,
)
from est_transports.pki.certificate_checks import Purpose, flaw, unreadable_part
from est_transports.pki.certificates import read_der, shown, shown_der
from est_transports.pki.chains import chain_problem, is_ca, issuer_problem, leading_to
from est_transports.pki.library_warnings import ignore_library_warnings
from fuzz import cast, corpus
from fuzz.choices import pack, unpack
from fuzz.target import Result, Shape, Target, accepted, passed, stopped
from fuzz.tree import Node, parse

_FRAGMENTS: Final = (512, 1024, 2048, 4096, RECORD_BYTES)
_HEADER_BYTES: Final = 13
_COST_MAX: Final = 1 << 12
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


def dtls_records(data: bytes) -> Result:
    """A datagram is looked at without a state, and whole records are packed and numbered right."""
    random = client_random(data)
    if random is not None:
        assert is_dtls(data)
        assert len(random) == 32
        assert random in data
        assert fragment_bytes(data) in _FRAGMENTS
        latest = latest_hello(data, random)
        assert latest in data
        assert client_random(latest) == random
    records = _whole_records(data)
    if not records:
        return (stopped if random is None else passed)(f"{is_dtls(data)}")
    run = b"".join(records)
    for mtu in (1, 64, 1200):
        packed = datagrams(run, mtu)
        assert b"".join(packed) == run
        assert all(len(each) <= mtu or each in records for each in packed)
    changed = renumbered(run, 3)
    assert len(changed) == len(run)
    assert renumbered(changed, (1 << 48) - 3) == run
    assert renumbered(renumbered(run, 1), 2) == changed
    protected = [each for each in records if each[3:5] != b"\0\0"]
    assert protected == [each for each in _whole_records(changed) if each[3:5] != b"\0\0"]
    if records[0][3:5] == b"\0\0":
        assert sequence_number(changed) == (sequence_number(run) + 3) % (1 << 48)
    return (accepted if random is not None else passed)(f"{min(len(records), 3)} {is_dtls(data)}")


def _whole_records(data: bytes) -> list[bytes]:
    """Return the records that data consists of, none where the last one is cut."""
    records, at = list[bytes](), 0
    while at + _HEADER_BYTES <= len(data):
        end = at + _HEADER_BYTES + int.from_bytes(data[at + 11 : at + 13], "big")
        records.append(data[at:end])
        at = end
    return records if at == len(data) else []


def password_records(data: bytes) -> Result:
    """A record of a password is refused, or says of each password what its hash says."""
    first, second = (*unpack(data), b"", b"")[:2]
    password, record = first.decode("utf-8", "replace"), second.decode("utf-8", "replace")
    parts = record.split("$")
    if len(parts) == 6 and _cost(parts[1:4]) > _COST_MAX:
        return passed("costly")
    try:
        is_right = verify_password(password, record)
    except LocalProtocolError as error:
        return (passed if parts[0] == "scrypt" and len(parts) == 6 else stopped)(error.message)
    name, n, r, p, salt, digest = parts
    assert name == "scrypt"
    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    salt_bytes, expected = base64.b64decode(salt), base64.b64decode(digest)
    again = hashlib.scrypt(text, salt=salt_bytes, n=int(n), r=int(r), p=int(p), dklen=32)
    assert is_right == (0 < len(password) <= 1024 and hmac.compare_digest(again, expected))
    return accepted(f"{is_right}")


def _cost(numbers: Sequence[str]) -> int:
    cost = 1
    for number in numbers:
        cost *= int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 1
    return cost


@cache
def _records() -> tuple[bytes, ...]:
    """Return passwords with their records: right ones, a wrong one, one in another form."""
    pairs = (("secret", "secret"), ("De\u0301vice", "D\u00e9vice"), ("wrong", "secret"))
    return tuple(
        pack((said.encode(), f"scrypt${n}${r}${p}${_scrypt(real, n, r, p)}".encode()))
        for said, real in pairs
        for n, r, p in ((2, 1, 1), (16, 8, 2))
    )


def _scrypt(password: str, n: int, r: int, p: int) -> str:
    salt = b"salt of 16 bytes"
    digest = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=32)
    return "$".join(base64.b64encode(each).decode() for each in (salt, digest))


def chains(data: bytes) -> Result:
    """A path that is found is one: signed link by link by CAs that are allowed to.

    Each part is a certificate that is changed and signed anew; its first octet says by whom.
    """
    ignore_library_warnings()  # as whoever reads certificates here has done
    signed = [each for each in map(_signed_anew, unpack(data)[:6]) if each is not None]
    if not signed:
        return stopped("no certificate")
    leaf, others = signed[0], signed[1:]
    for purpose in Purpose:
        assert flaw(leaf, purpose) or not unreadable_part(leaf)
    assert "\n" not in shown(leaf) + shown_der(leaf.public_bytes(Encoding.DER))
    anchors = (cast.ca().certificate,)
    problem = chain_problem(leaf, anchors=anchors, others=others, now=_NOW)
    as_issuer = issuer_problem(leaf, anchors=anchors, others=others, now=_NOW)
    assert as_issuer or (is_ca(leaf) and not problem)
    led = leading_to(anchors, signed, now=_NOW)
    assert (leaf in led) == (leaf in anchors or not as_issuer)
    if problem:
        return passed(problem)
    assert _is_valid(leaf)
    assert leaf in anchors or _has_path(leaf, (*others, *anchors), frozenset())
    return accepted(f"{len(led)} {as_issuer}")


def _is_valid(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_before_utc <= _NOW <= certificate.not_valid_after_utc


def _has_path(
    certificate: x509.Certificate, others: Sequence[x509.Certificate], seen: frozenset[bytes]
) -> bool:
    """Look for a path by signatures, dates and basicConstraints alone. RFC 5280 6.1, in part.

    Names are left to OpenSSL, which takes two spellings for one.
    """
    for issuer in others:
        key = issuer.public_bytes(Encoding.DER)
        is_known_ca = is_ca(issuer) or unreadable_part(issuer)  # OpenSSL reads it leniently
        if key in seen or not _is_valid(issuer) or not is_known_ca:
            continue
        try:
            _verify(certificate, issuer.public_key())
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        if issuer == cast.ca().certificate or _has_path(issuer, others, seen | {key}):
            return True
    return False


def _verify(certificate: x509.Certificate, key: object) -> None:
    algorithm = certificate.signature_hash_algorithm
    if not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
        raise TypeError("no key of ours")
    key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))


def _signed_anew(part: bytes) -> x509.Certificate | None:
    """Return the certificate in a part, signed by the key whose number its first octet says."""
    number, tree = part[0] % 5 if part else 0, parse(part[1:])
    if not tree or not tree[0].children or len(tree[0].children) != 3:
        return None
    tbs, algorithm, signature = tree[0].children
    if number:
        made = cast.signature(tbs.der(), cast.key_of(number))
        signature = Node(tag=0x03, content=b"\0" + made)
    certificate = Node(tag=0x30, children=[tbs, algorithm, signature]).der()
    with suppress(ValueError, TypeError):
        return read_der(certificate)
    return None


@cache
def _intermediate(name: str, number: int, issuer: str, issuer_number: int) -> bytes:
    """Return a CA below another."""
    ca = cast.ca().certificate
    builder = x509.CertificateBuilder(
        issuer_name=cast.name_of(issuer),
        subject_name=cast.name_of(name),
        public_key=cast.key_of(number).public_key(),
        serial_number=100 + number,
        not_valid_before=ca.not_valid_before_utc,
        not_valid_after=ca.not_valid_after_utc,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(
        cast.key_of(issuer_number), hashes.SHA256(), ecdsa_deterministic=True
    )
    return certificate.public_bytes(Encoding.DER)


def _paths() -> Iterator[bytes]:
    """Yield chains of one, two and three certificates, and some that lack one."""
    ca, device = (
        each.certificate.public_bytes(Encoding.DER) for each in (cast.ca(), cast.client())
    )
    below = b"\1" + _intermediate("below", 4, "fuzz CA", 1)
    lower = b"\4" + _intermediate("lower", 2, "below", 4)
    for parts in (
        (b"\1" + device,),
        (b"\1" + ca,),
        (below, b"\1" + ca),
        (lower, below),
        (lower, below, b"\1" + device),
        (lower,),
        (b"\2" + device, lower, below),
        (b"\0" + corpus.certificates()[0], below),
    ):
        yield pack(parts)


def _hellos() -> tuple[bytes, ...]:
    hello = corpus.recorded("dtls-1.2-client-hello.bin")
    alert = b"\x15\xfe\xfd\0\0\0\0\0\0\0\1\0\2\2\x28"
    later = b"\x17\xfe\xfd\0\1\xff\xff\xff\xff\xff\xff\0\4abcd"
    small = hello[:-2] + b"\0\5\0\1\0\1\2"  # asks for fragments of 1024 bytes, in odd lengths
    return (hello, alert, later, hello + alert, alert * 3 + later, small)


TARGETS: Final = (
    Target(
        run=dtls_records,
        seeds=_hellos,
        words=(b"\x16\xfe\xfd\0\0", b"\x17\xfe\xfd\0\1", b"\0\1\0\1\2", b"\0\0", b"\xff\xff"),
        max_bytes=1500,
        gate="begins with a ClientHello, or is whole records",
        goal="is a ClientHello in whole records",
        modules=("est_transports.channel.dtls_records",),
    ),
    Target(
        run=password_records,
        seeds=_records,
        shape=Shape.PARTS,
        words=(b"$", b"scrypt", b"=", b"0", b"1", b"2", b"\xcc\x81"),
        max_bytes=1024,
        gate="has the parts of a record",
        goal="is a record",
        modules=("est_transports.authority.stores.passwords",),
    ),
    Target(
        run=chains,
        seeds=_paths,
        shape=Shape.PARTS,
        max_bytes=8192,
        gate="has a readable certificate",
        goal="has a path to the CA",
        modules=(
            "est_transports.pki.chains",
            "est_transports.pki.certificate_checks",
            "est_transports.channel.peer_certificates",
            "est_transports.pki.certificates",
        ),
    ),
)
