"""Servers that are out to break an examination: it ends, and no check breaks on what they send."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import EstUri, Instant
from est_transports import _clock
from est_transports.client_config import ClientTimeouts
from est_transports.doctor import DoctorConfig, Report, Severity, examine
from est_transports.pki import TrustAnchors
from tests.core.asn1.build import oid, seq, tlv
from tests.interop import foreign_answers as foreign
from tests.interop.foreign_answers import answer
from tests.interop.foreign_server import Asked, Said, Then, foreign_server, server_tls
from tests.odd_certificates import (
    BAD_EXTENSIONS,
    ODD,
    UNKNOWN_KEYS,
    rebuilt,
    unreadable,
    with_extension,
)
from tests.pki import pki
from tests.transports.doctor.test_hello import HELLO, message

SHORT: Final = ClientTimeouts(connect_s=5.0, handshake_s=1.0, response_s=1.0)
SEED: Final = 20261127


def config(port: int) -> DoctorConfig:
    """A server on this machine."""
    return DoctorConfig(
        uri=EstUri.parse(f"https://127.0.0.1:{port}"),
        trust=TrustAnchors(explicit=(pki().ca.certificate,)),
        timeouts=SHORT,
    )


def unbroken(report: Report) -> None:
    """Fail where a check broke, or shows what a terminal obeys."""
    broken = [each for each in report.findings if "the check broke" in each.seen]
    assert broken == []
    assert all(each.seen.isprintable() and len(each.seen) <= 1003 for each in report.findings)


def odd_certificates() -> dict[str, bytes]:
    """Certificates that cannot be read, in whole or in part, and others that are odd."""
    good, ca = pki().server.certificate, pki().ca
    return {
        **unreadable(good, ca),
        **{f"odd: {name}": rebuilt(good, ca, **fields) for name, fields in ODD.items()},
        **{f"extension: {name}": with_extension(good, ca, e) for name, e in BAD_EXTENSIONS.items()},
        **{
            f"key: {name}": rebuilt(good, ca, subject_public_key_info=key)
            for name, key in UNKNOWN_KEYS.items()
        },
    }


@contextmanager
def replaying(flight: bytes) -> Iterator[int]:
    """Answer every connection with these bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with sock, suppress(OSError):
                    sock.settimeout(30.0)
                    sock.recv(4096)
                    sock.sendall(flight)
                    sock.recv(4096)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(30.0)


def record(*messages: bytes) -> bytes:
    """Handshake messages in records of TLS 1.2."""
    content = b"".join(messages)
    pieces = [content[at : at + 16384] for at in range(0, len(content), 16384)]
    return b"".join(b"\x16\x03\x03" + len(each).to_bytes(2, "big") + each for each in pieces)


def chain_of(*ders: bytes) -> bytes:
    """A Certificate message."""
    listed = b"".join(len(der).to_bytes(3, "big") + der for der in ders)
    return message(11, (len(listed).to_bytes(3, "big") + listed).hex())


@pytest.mark.parametrize("name", odd_certificates())
def test_odd_certificates_break_no_check(name: str, tmp_path: Path) -> None:
    odd, root = odd_certificates()[name], pki().ca.certificate.public_bytes(Encoding.DER)
    for ders in ((odd, root), (root, odd)):
        with replaying(record(message(2, HELLO), chain_of(*ders), message(14, ""))) as port:
            unbroken(examine(config(port), only=["certificate", "clock"]))
    inner = seq(oid("1.2.840.113549.1.7.1"))
    signed = seq(tlv(2, b"\1"), tlv(0x31), inner, tlv(0xA0, odd, root), tlv(0x31))
    bag = foreign.one_line_lf(seq(oid("1.2.840.113549.1.7.2"), tlv(0xA0, signed)))
    said = answer(200, bag, f"Content-Type: {foreign.CERTS}")
    with foreign_server(lambda _: said, server_tls(tmp_path)) as server:
        unbroken(examine(config(server.port), only=["cacerts", "certificate", "clock"]))


def test_a_chain_of_hundreds_is_no_trouble() -> None:
    der = pki().server.certificate.public_bytes(Encoding.DER)
    with replaying(record(message(2, HELLO), chain_of(*[der] * 150), message(14, ""))) as port:
        report = examine(config(port), only=["certificate"])
    unbroken(report)


@pytest.mark.parametrize(
    "body",
    [
        b"/usr/" * 50_000,
        b"/usr/" + b"a" * 250_000,
        b"at " + b"a." * 100_000,
        b"<" * 250_000,
        b"\xff" * 250_000,
        b"=" * 250_000,
        b"30" * 100_000,
        b"-----BEGIN " * 20_000,
    ],
    ids=["paths", "a path", "a trace", "tags", "no UTF-8", "equals", "DER", "PEM"],
)
def test_large_bodies_are_no_trouble(body: bytes, tmp_path: Path) -> None:
    def answers(asked: Asked) -> Said:
        status = 200 if asked.operation in ("cacerts", "csrattrs") else 404
        return answer(status, body, f"Content-Type: {foreign.CERTS}")

    with foreign_server(answers, server_tls(tmp_path)) as server:
        unbroken(examine(config(server.port)))


def test_bytes_by_chance_break_no_check(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    base = answer(401, b"MAA=", f"Content-Type: {foreign.CERTS}", foreign.BASIC, "Date: x").raw

    def answers(_asked: Asked) -> Said:
        raw = bytearray(base)
        for _ in range(chance.randrange(1, 6)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        return Said(raw=bytes(raw), then=Then.CLOSE)

    for _ in range(15):
        with foreign_server(answers, server_tls(tmp_path)) as server:
            unbroken(examine(config(server.port)))


def test_it_ends_when_its_time_is_over(tmp_path: Path) -> None:
    passed = [0.0]

    def clock() -> Instant:
        now = _clock.instant()
        return Instant(mono=now.mono + passed[0], wall=now.wall)

    def answers(_: Asked) -> Said:
        passed[0] += 50.0
        return answer(404)

    with foreign_server(answers, server_tls(tmp_path)) as server:
        patient = ClientTimeouts(connect_s=100.0, handshake_s=100.0, response_s=100.0)
        report = examine(replace(config(server.port), timeouts=patient), clock=clock)
    assert report.requests <= 4
    last = report.findings[-1]
    assert (last.severity, last.seen) == (
        Severity.NOT_JUDGED,
        "it has taken 120 seconds, and ends here",
    )
