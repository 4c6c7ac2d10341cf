"""What is found in a text: each block with its place, its kind and its octets, and what is said."""

from __future__ import annotations

import base64
from typing import Final

import pytest

from est_core import RemoteProtocolError
from est_core.asn1.kinds import Kind
from est_core.codec.textual import Block, Form, Textual, instead, one_of, read_textual
from est_core.codec.transfer import decode, encode
from tests.core.asn1.build import certificate, oid, request, seq, spki, tlv, unsigned
from tests.core.asn1.build import p256 as key

CERTIFICATE: Final = certificate()
UNKNOWN: Final = seq(oid("2.999"))
LINE: Final = base64.b64encode(UNKNOWN).decode()
INDEFINITE: Final = b"\x30\x80\x02\x01\x00\0\0"


def pem(label: str, octets: bytes, headers: str = "") -> bytes:
    inside = headers + base64.encodebytes(octets).decode()
    return f"-----BEGIN {label}-----\n{inside}-----END {label}-----".encode()


ENCLOSING: Final = seq(tlv(0x0C, pem("CMS", request())))
LETTERS: Final = b"0" + bytes([50]) + b"A" * 50
"""A SEQUENCE of 50 octets, all 52 of which are letters of base64."""


def read(raw: bytes, *, blocks: int = 4, accept_der: bool = True) -> Textual:
    return read_textual(raw, max_bytes=1 << 16, max_blocks=blocks, accept_der=accept_der)


def facts(found: Textual) -> list[tuple[Kind, int, bytes]]:
    return [(block.kind, block.position, block.der) for block in found.blocks]


@pytest.mark.parametrize(
    "raw, form, der",
    [
        (LETTERS, Form.DER, LETTERS),
        (ENCLOSING, Form.DER, ENCLOSING),
        (b"\x30\x80" + ENCLOSING + b"\0\0", Form.DER, b"\x30\x80" + ENCLOSING + b"\0\0"),
        (b"0zAAAAAA", Form.BASE64, base64.b64decode(b"0zAAAAAA")),
        (base64.b64encode(ENCLOSING), Form.BASE64, ENCLOSING),
        (base64.b64encode(pem("LETTER", UNKNOWN)), Form.PEM, UNKNOWN),
        (b"\xff\xfe" + LINE.encode("utf-16-le"), Form.BASE64, UNKNOWN),
        (b"\xfe\xff" + LINE.encode("utf-16-be"), Form.BASE64, UNKNOWN),
    ],
)
def test_the_form_is_seen_though_one_may_look_like_another(
    raw: bytes, form: Form, der: bytes
) -> None:
    found = read(raw)
    assert found.form is form
    assert [(block.position, block.der) for block in found.blocks] == [(1, der)]


def test_what_could_be_der_is_base64_where_der_is_not_accepted() -> None:
    found = read(LETTERS, accept_der=False)
    assert (found.form, found.blocks[0].der) == (Form.BASE64, base64.b64decode(LETTERS))


@pytest.mark.parametrize("raw", [b"\xfe\xed\xfe\xed\0\0", b"ssh-rsa AAAA"])
def test_another_format_is_one_block(raw: bytes) -> None:
    found = read(raw)
    assert found.form is Form.OTHER
    assert [(block.position, block.der) for block in found.blocks] == [(1, b"")]


@pytest.mark.parametrize(
    "raw, blocks",
    [
        (
            request() + CERTIFICATE + INDEFINITE + UNKNOWN + b"\r\n\0",
            [
                (Kind.REQUEST, 1, request()),
                (Kind.CERTIFICATE, 2, CERTIFICATE),
                (Kind.UNKNOWN, 3, INDEFINITE),
                (Kind.UNKNOWN, 4, UNKNOWN),
            ],
        ),
        (
            request() + CERTIFICATE + b"rest",
            [(Kind.REQUEST, 1, request()), (Kind.CERTIFICATE, 2, CERTIFICATE + b"rest")],
        ),
        (
            request() + CERTIFICATE[:-1],
            [(Kind.REQUEST, 1, request()), (Kind.UNKNOWN, 2, CERTIFICATE[:-1])],
        ),
    ],
)
def test_der_is_divided_and_a_rest_belongs_to_the_last(
    raw: bytes, blocks: list[tuple[Kind, int, bytes]]
) -> None:
    assert facts(read(raw)) == blocks


@pytest.mark.parametrize("raw", [UNKNOWN * 3, pem("LETTER", UNKNOWN) * 3])
def test_as_many_blocks_as_are_allowed_are_read(raw: bytes) -> None:
    assert len(read(raw, blocks=3).blocks) == 3
    with pytest.raises(RemoteProtocolError, match="more than 2 blocks"):
        read(raw, blocks=2)


def test_a_block_of_pem_has_its_place_and_its_text() -> None:
    first, second = pem("CERTIFICATE", CERTIFICATE), pem("LETTER", UNKNOWN)
    found = read(b"before\n" + first + b"\nbetween\n" + second + b"\nafter\n")
    assert [(block.label, block.position, block.text) for block in found.blocks] == [
        ("CERTIFICATE", 1, first),
        ("LETTER", 2, second),
    ]
    assert [block.line for block in found.blocks] == [2, 4 + first.count(b"\n")]
    assert [block.where for block in found.blocks][:1] == [" (line 2)"]


ENCRYPTED: Final = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"


@pytest.mark.parametrize(
    "raw, kind, der",
    [
        (pem("EC PRIVATE KEY", b"cipher text", ENCRYPTED), Kind.ENCRYPTED_KEY, b""),
        (pem("CERTIFICATE", CERTIFICATE, ENCRYPTED), Kind.CERTIFICATE, CERTIFICATE),
        (pem("CERTIFICATE", CERTIFICATE, "Note: mine\n\n"), Kind.CERTIFICATE, CERTIFICATE),
        (pem("TRUSTED CERTIFICATE", CERTIFICATE + seq()), Kind.CERTIFICATE, CERTIFICATE),
        (pem("TRUSTED CERTIFICATE", b"no DER"), Kind.CERTIFICATE, b"no DER"),
        (pem("CERTIFICATE", CERTIFICATE + seq()), Kind.CERTIFICATE, CERTIFICATE + seq()),
        (pem("LETTER", UNKNOWN).replace(b"MA", b"MA\n\n"), Kind.UNKNOWN, UNKNOWN),
    ],
)
def test_the_octets_are_those_of_the_thing_itself(raw: bytes, kind: Kind, der: bytes) -> None:
    (block,) = read(raw).blocks
    assert (block.der, block.problem) == (der, "")
    assert kind in (block.kind, Kind.UNKNOWN)


def refusal(raw: bytes, wanted: Kind | None = Kind.REQUEST) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        one_of(read(raw, blocks=16), wanted)
    return caught.value.message


def test_a_lone_block_that_nobody_knows_is_taken_for_the_wanted_one() -> None:
    assert one_of(read(pem("LETTER", UNKNOWN)), Kind.REQUEST).der == UNKNOWN
    assert one_of(read(request() + UNKNOWN), Kind.REQUEST).der == request()
    refusal(pem("LETTER", UNKNOWN) * 2)
    refusal(CERTIFICATE)


REQUESTS: Final = [unsigned(version=version) for version in range(5)]


def armoured(ders: list[bytes]) -> bytes:
    return b"\n".join(pem("CERTIFICATE REQUEST", der) for der in ders)


def test_where_several_are_is_said_of_the_first_four() -> None:
    assert refusal(b"".join(REQUESTS[:2])) == (
        "has 2 certificate requests (positions 1, 2), one is expected"
    )
    assert refusal(b"".join(REQUESTS), None) == (
        "has 5 blocks (positions 1, 2, 3, 4), one is expected"
    )
    one = armoured(REQUESTS[:1]).count(b"\n") + 1
    lines = ", ".join(str(1 + at * one) for at in range(4))
    assert refusal(armoured(REQUESTS)) == (
        f"has 5 certificate requests (lines {lines}), one is expected"
    )


@pytest.mark.parametrize(
    "blocks, shown",
    [
        (1, "something unknown"),
        (4, ", ".join(["something unknown"] * 4)),
        (5, ", ".join(["something unknown"] * 4) + " and 1 more"),
        (6, ", ".join(["something unknown"] * 4) + " and 2 more"),
    ],
)
def test_what_is_there_instead_is_said_of_the_first_four(blocks: int, shown: str) -> None:
    found = [Block(kind=Kind.UNKNOWN, position=at) for at in range(blocks)]
    assert instead(found, Kind.CRL) == f"has no revocation list, but {shown}"


def test_a_label_is_said_of_what_is_unknown_alone() -> None:
    found = read(pem("LETTER", UNKNOWN) + pem("CERTIFICATE", CERTIFICATE)).blocks
    second = pem("LETTER", UNKNOWN).count(b"\n") + 1
    assert instead(found, None) == (
        "has no block of use, but something unknown (line 1) in a block LETTER, "
        f"a certificate (line {second})"
    )


@pytest.mark.parametrize(
    "text, words",
    [
        (b"MA-A", "URL-safe"),
        (b"MA_A", "URL-safe"),
        (b"M-_A", "URL-safe"),
        (b"MA-_!", "neither PEM"),
        (b"MAAAM", "neither PEM"),
    ],
)
def test_why_a_text_is_no_base64_is_said(text: bytes, words: str) -> None:
    with pytest.raises(RemoteProtocolError, match=words):
        read(text)


# --- Bodies ------------------------------------------------------------------------------------


def body(raw: bytes, *, accept_pem: bool = True, accept_der: bool = True) -> bytes:
    return decode(
        raw, max_bytes=1 << 16, accept_pem=accept_pem, accept_der=accept_der, wanted=Kind.REQUEST
    )


def test_a_lone_body_is_left_to_its_decoder_and_of_several_the_wanted_one_is_taken() -> None:
    assert body(CERTIFICATE) == CERTIFICATE
    assert body(base64.b64encode(CERTIFICATE)) == CERTIFICATE
    assert body(CERTIFICATE + request()) == request()
    for several in (CERTIFICATE + spki(key()), pem("CERTIFICATE", CERTIFICATE)):
        with pytest.raises(RemoteProtocolError, match="the body has no certificate request, but"):
            body(several)


def test_what_is_switched_off_is_said_with_what_to_send() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        body(request(), accept_der=False)
    assert caught.value.message == "raw DER is not accepted, send base64"
    with pytest.raises(RemoteProtocolError) as caught:
        body(armoured(REQUESTS[:1]), accept_pem=False)
    assert caught.value.message == "PEM is not accepted, send base64"


def test_a_key_in_der_is_refused_without_a_line() -> None:
    private = seq(tlv(2, b"\0"), seq(oid("1.3.101.112")), tlv(4, tlv(4, bytes(32))))
    with pytest.raises(RemoteProtocolError) as caught:
        body(private)
    assert caught.value.message == "the body has a private key, which nobody else may see"


def test_lines_of_four_octets_are_the_shortest() -> None:
    assert encode(b"abcdef", columns=4) == b"YWJj\nZGVm\n"
