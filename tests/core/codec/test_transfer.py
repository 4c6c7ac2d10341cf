"""Bodies: what counts as base64, what else is read, and what is refused with which code."""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from est_core import Fault, LocalProtocolError, RemoteProtocolError
from est_core.asn1.kinds import Kind
from est_core.codec.transfer import decode, encode
from tests.core.asn1.build import request, seq, signed, tlv
from tests.damage import damaged
from tests.pki import pki
from tests.reached import reached, reaches, refusals

VECTORS: Final = Path(__file__).parents[2] / "vectors"
ROOM: Final = 64 * 1024

DER: Final = bytes.fromhex("300b06092a864886f70d010907")
OTHER_REQUEST: Final = signed()
BASE64: Final = b"MAsGCSqGSIb3DQEJBw=="

PAIRS: Final = (
    "rfc7030/a1-cacerts-response",
    "rfc7030/a2-csrattrs-response",
    "rfc7030/a3-simpleenroll-request",
    "rfc7030/a3-simpleenroll-response",
    "rfc7030/a4-serverkeygen-cert",
    "rfc7030/a4-serverkeygen-key-pkcs8",
    "rfc7030/a4-serverkeygen-request",
    "rfc7030/s452-csrattrs-example",
)


def pem(label: str, text: bytes = BASE64, newline: bytes = b"\n") -> bytes:
    name = label.encode()
    lines = (b"-----BEGIN " + name + b"-----", text, b"-----END " + name + b"-----", b"")
    return newline.join(lines)


def refusal(
    body: bytes, *, accept_pem: bool = True, accept_der: bool = True
) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(body, max_bytes=ROOM, accept_pem=accept_pem, accept_der=accept_der)
    return caught.value


# --- published bodies -------------------------------------------------------------------------


@pytest.mark.req("EST-102")
@pytest.mark.parametrize("name", PAIRS)
def test_published_bodies_decode_to_their_der(name: str) -> None:
    body = (VECTORS / f"{name}.b64").read_bytes()
    assert decode(body, max_bytes=ROOM) == (VECTORS / f"{name}.der").read_bytes()


@pytest.mark.req("EST-106", "EST-105")
def test_sends_one_line_and_a_final_line_feed() -> None:
    der = (VECTORS / "rfc7030/a1-cacerts-response.der").read_bytes()
    line = (VECTORS / "derived-est/cacerts-body-oneline.b64").read_bytes().rstrip(b"\n")
    assert encode(der) == line + b"\n"


@pytest.mark.req("EST-106")
def test_sends_lines_of_64_for_peers_that_need_them() -> None:
    der = (VECTORS / "rfc7030/a1-cacerts-response.der").read_bytes()
    body = (VECTORS / "rfc7030/a1-cacerts-response.b64").read_bytes()
    assert encode(der, columns=64) == body.replace(b"\r", b"")


@pytest.mark.req("EST-104")
def test_white_space_may_stand_anywhere() -> None:
    body = (VECTORS / "derived-est/csrattrs-whitespace-mix.b64").read_bytes()
    der = (VECTORS / "rfc7030/a2-csrattrs-response.der").read_bytes()
    assert decode(body, max_bytes=ROOM) == der


@pytest.mark.req("EST-102")
def test_refuses_the_url_safe_alphabet() -> None:
    body = (VECTORS / "derived-est/csrattrs-NEG-urlsafe.b64").read_bytes()
    assert refusal(body).code == "body/base64"


# --- what clients send ------------------------------------------------------------------------


@pytest.mark.req("EST-108")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(BASE64, id="one line without newline"),
        pytest.param(BASE64 + b"\n", id="one line"),
        pytest.param(BASE64 + b"\r\n\r\n", id="stray CRLF after it"),
        pytest.param(b"MAsGCSqG\nSIb3DQEJ\nBw==\n", id="LF lines"),
        pytest.param(b"MAsGCSqG\r\nSIb3DQEJ\r\nBw==\r\n", id="CRLF lines"),
        pytest.param(BASE64 + b"\n\0", id="NUL at the end"),
        pytest.param(pem("CERTIFICATE REQUEST"), id="PEM"),
        pytest.param(pem("NEW CERTIFICATE REQUEST"), id="PEM with the old label"),
        pytest.param(pem("X-509 a-b", newline=b"\r\n"), id="PEM with any label and CRLF"),
        pytest.param(b"\r\n\t" + pem("CMS") + b"  \n", id="PEM between white space"),
        pytest.param(pem("CMS") + b"\0", id="PEM and NUL"),
        pytest.param(DER, id="DER"),
        pytest.param(DER + b"\r\n", id="DER and a line end"),
        pytest.param(DER + b"\0\0", id="DER and NULs"),
        pytest.param(b"\xef\xbb\xbf" + BASE64, id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf" + pem("CMS"), id="byte order mark and PEM"),
        pytest.param(b"\xff\xfe" + pem("CMS").decode().encode("utf-16-le"), id="UTF-16"),
        pytest.param(b"\xfe\xff" + pem("CMS").decode().encode("utf-16-be"), id="UTF-16, big end"),
        pytest.param(pem("CMS").decode().encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param(pem("CMS").decode().encode("utf-16-be"), id="UTF-16, big end, without"),
        pytest.param(b"Certificate Request:\n    Data:\n" + pem("CMS"), id="text before PEM"),
        pytest.param(b"0 is a text, too\n" + pem("CMS"), id="text that begins like DER"),
        pytest.param(pem("CMS") + b"\nand after it\n", id="text after PEM"),
        pytest.param(pem("EC PARAMETERS", b"BggqhkjOPQMBBw==") + pem("CMS"), id="key parameters"),
        pytest.param(pem("CMS") * 2, id="the same twice"),
        pytest.param(base64.b64encode(pem("CMS")), id="base64 of PEM"),
        pytest.param(base64.encodebytes(b"text\n" + pem("CMS")), id="base64 of text and PEM"),
        pytest.param(pem("CMS", b"Version: 1\n\n" + BASE64), id="headers in PEM"),
    ],
)
def test_reads_every_form_seen_in_the_field(body: bytes) -> None:
    assert decode(body, max_bytes=ROOM) == DER


@pytest.mark.req("EST-108")
def test_a_zero_at_the_end_of_der_belongs_to_it() -> None:
    assert decode(b"\x30\x03\x02\x01\x00", max_bytes=ROOM) == b"\x30\x03\x02\x01\x00"


@pytest.mark.req("EST-108")
def test_the_empty_sequence_may_come_as_der() -> None:
    assert decode(b"\x30\x00", max_bytes=ROOM) == b"\x30\x00"


# --- one refusal per rule ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"MAA", id="padding missing"),
        pytest.param(b"MAsGCSqGSIb3DQEJBw=", id="half of the padding missing"),
        pytest.param(b"MAA==", id="padding too long"),
        pytest.param(b"MAA=MAA=", id="data after padding"),
        pytest.param(b"MA=A", id="data inside padding"),
        pytest.param(b"=MAA", id="padding first"),
        pytest.param(b"====", id="padding alone"),
        pytest.param(b"MAB=", id="unused bits set"),
        pytest.param(b"MAA=\0MAA=", id="NUL inside"),
        pytest.param(b"MA\x0bA=", id="vertical tab"),
        pytest.param(b"MA\x0cA=", id="form feed"),
        pytest.param(b"MA\xa0A=", id="no-break space"),
        pytest.param(b"MA%3D", id="percent-encoding"),
        pytest.param(b'{"error": 1}', id="JSON"),
        pytest.param(pem("CMS", b"MA-A="), id="bad base64 in PEM"),
        pytest.param(pem("CMS", b"Version: 1\nMAA="), id="PEM headers without an end"),
    ],
)
@pytest.mark.req("EST-108")
def test_refuses_what_is_not_strict_base64(body: bytes) -> None:
    assert refusal(body).code == "body/base64"
    assert refusal(body).fault is Fault.MALFORMED


@pytest.mark.parametrize("body", [b"", b"\r\n \t", b"\0\0", pem("CMS", b"")])
def test_refuses_an_empty_body(body: bytes) -> None:
    assert refusal(body).code == "body/empty"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pem("CMS") + pem("CMS", b"MAA="), id="two blocks"),
        pytest.param(pem("EC PARAMETERS", b"BggqhkjOPQMBBw=="), id="key parameters alone"),
        pytest.param(pem("CMS").replace(b"END CMS", b"END PKCS7"), id="another label at the end"),
        pytest.param(b"-----BEGIN CMS-----\nMAA=\n", id="no last line"),
        pytest.param(b"-----BEGIN CMS-----END CMS-----", id="dashes shared by both lines"),
        pytest.param(b"-----BEGIN CMS\nMAA=\n-----END CMS-----", id="first line not closed"),
        pytest.param(pem(""), id="no label"),
        pytest.param(pem("A" * 500), id="label without end"),
        pytest.param(b"-----END CMS-----", id="last line alone"),
    ],
)
@pytest.mark.req("EST-108")
def test_refuses_armour_that_is_not_one_whole_block(body: bytes) -> None:
    assert refusal(body).code == "body/pem"


def test_base64_of_base64_of_pem_is_not_looked_into() -> None:
    twice = base64.b64encode(base64.b64encode(pem("CMS")))
    assert decode(twice, max_bytes=ROOM) == base64.b64encode(pem("CMS"))


def test_base64_of_the_url_safe_alphabet_is_named() -> None:
    assert "URL-safe alphabet" in refusal(b"MA-_").message
    assert "nor base64 of RFC 4648" in refusal(b"M!A=").message


def test_base64_without_padding_is_called_by_its_name() -> None:
    assert "without the padding" in refusal(b"MAM\nCAQ").message


# --- several things in one body ----------------------------------------------------------------


CSR: Final = pem("CERTIFICATE REQUEST", base64.b64encode(request()))
CERTIFICATE: Final = pem(
    "CERTIFICATE", base64.b64encode(pki().ca.certificate.public_bytes(Encoding.DER))
)
KEY: Final = pki().client.key_pem


def asked_for(body: bytes) -> bytes:
    return decode(body, max_bytes=ROOM, wanted=Kind.REQUEST)


@pytest.mark.parametrize(
    "body",
    [
        CSR,
        CERTIFICATE + CSR,
        CSR + CERTIFICATE + CERTIFICATE,
        CSR + CSR,
        pem("CERTIFICATE", base64.b64encode(request())),
        pem("MY REQUEST", base64.b64encode(request())),
        request(),
        base64.b64encode(request()),
    ],
)
def test_the_wanted_thing_is_found_among_others(body: bytes) -> None:
    assert asked_for(body) == request()


@pytest.mark.parametrize(
    "body, words",
    [
        (CERTIFICATE, ("no certificate request", "a certificate (line 1)")),
        (b"text\n\n" + CERTIFICATE, ("a certificate (line 3)",)),
        (CERTIFICATE + CERTIFICATE, ("a certificate (line 1), a certificate (line 4)",)),
        (CSR + pem("CERTIFICATE REQUEST", base64.b64encode(OTHER_REQUEST)), ("2", "lines 1, 4")),
        (CSR.replace(b"-----END", b"----END"), ("CERTIFICATE REQUEST (line 1)", "last line")),
        (pem("CERTIFICATE REQUEST", b"MA-A="), ("CERTIFICATE REQUEST (line 1)", "base64")),
        (KEY + CSR, ("private key (line 1), which nobody else may see",)),
        (CSR + KEY, ("private key (line 4), which nobody else may see",)),
        (b"\xfe\xed\xfe\xed\0\0", ("Java keystore",)),
        (b"ssh-rsa AAAA", ("an SSH public key",)),
    ],
)
def test_a_body_with_something_else_says_what_it_is(body: bytes, words: tuple[str, ...]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        asked_for(body)
    assert caught.value.code in ("body/pem", "body/base64")
    for word in ("the body ", *words):
        assert word in caught.value.message
    assert b64_of_key() not in caught.value.message


def b64_of_key() -> str:
    return KEY.decode().splitlines()[1][:16]


def test_blocks_are_bounded() -> None:
    assert "more than 16 blocks" in refusal(pem("CMS") * 17).message
    assert "more than 16 blocks" in refusal(DER * 17).message


@pytest.mark.req("EST-108")
def test_pem_can_be_switched_off() -> None:
    assert refusal(pem("CMS"), accept_pem=False).code == "body/not-accepted"


@pytest.mark.req("EST-108")
def test_der_can_be_switched_off() -> None:
    assert refusal(DER, accept_der=False).code == "body/not-accepted"


@pytest.mark.req("EST-018")
@pytest.mark.parametrize("body", [BASE64, DER, pem("CMS"), b" " * 100])
def test_the_bound_holds_before_decoding(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(body, max_bytes=len(body) - 1)
    assert caught.value.code == "body/too-large"
    assert caught.value.fault is Fault.BODY_TOO_LARGE


@pytest.mark.req("EST-018")
def test_a_body_of_exactly_the_bound_is_read() -> None:
    assert decode(BASE64, max_bytes=len(BASE64)) == DER


@pytest.mark.parametrize("columns", [0, -4, 63])
def test_refuses_line_lengths_that_base64_cannot_have(columns: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode(DER, columns=columns)


def test_nothing_encodes_to_nothing() -> None:
    assert encode(b"") == encode(b"", columns=64) == b""


# --- properties -------------------------------------------------------------------------------


PRIVATE_KEY: Final = seq(tlv(2, b"\1"), tlv(4, b"x"))
ENCRYPTED_KEY: Final = seq(seq(DER), tlv(4, b"x"))
PKCS12: Final = seq(tlv(2, b"\3"), seq(DER), seq())
OF_ALL_KINDS: Final = (DER, request(), OTHER_REQUEST, PRIVATE_KEY, ENCRYPTED_KEY, PKCS12)


def outcome(body: bytes, wanted: Kind | None) -> bytes | tuple[str, str]:
    try:
        octets = decode(body, max_bytes=ROOM, wanted=wanted)
    except RemoteProtocolError as error:
        reached("secret" if "nobody else" in error.message else "refused")
        return error.code, error.message
    reached("read")
    return octets


@reaches(read=20, secret=5, refused=20)
@given(
    body=damaged(OF_ALL_KINDS).map(base64.b64encode)
    | damaged([base64.b64encode(der) for der in OF_ALL_KINDS]),
    wanted=st.sampled_from([Kind.REQUEST, Kind.SIGNED_DATA, Kind.PRIVATE_KEY, None]),
)
def test_a_body_that_the_shortcut_reads_is_what_it_is_with_a_nul_behind(
    body: bytes, wanted: Kind | None
) -> None:
    """The NUL, which means nothing, keeps a body from the shortcut."""
    assert outcome(body, wanted) == outcome(body + b"\0", wanted)


@pytest.mark.req("EST-102")
@given(octets=st.binary(min_size=1, max_size=400), columns=st.none() | st.sampled_from([4, 64]))
def test_what_is_encoded_decodes_to_itself(octets: bytes, columns: int | None) -> None:
    body = encode(octets, columns=columns)
    assert decode(body, max_bytes=ROOM, accept_pem=False, accept_der=False) == octets


@given(octets=st.binary(min_size=1, max_size=200))
def test_encodes_as_the_standard_library_does(octets: bytes) -> None:
    assert encode(octets) == base64.b64encode(octets) + b"\n"


@given(octets=st.binary(max_size=400), columns=st.sampled_from([4, 64, 76]))
def test_no_line_is_longer_than_asked_and_each_ends(octets: bytes, columns: int) -> None:
    body = encode(octets, columns=columns)
    assert all(0 < len(line) <= columns for line in body.split(b"\n")[:-1])
    assert body == b"" or body.endswith(b"\n")


@reaches(accepted=5)
@given(
    body=damaged(
        (BASE64, DER, pem("CMS"), pem("PKCS7", newline=b"\r\n"), BASE64[:8] + b"\r\n" + BASE64[8:])
    )
)
def test_only_a_remote_protocol_error_escapes(body: bytes) -> None:
    with refusals():
        decode(body, max_bytes=256)


NEARLY_ONE: Final = damaged((b"MAA=\n", b"MABw", b"MABwMA==", b"MA\nBw"), changes=1)


@reaches(accepted=7)
@given(body=st.text("MABw+/=0\n \0", max_size=24).map(str.encode) | NEARLY_ONE)
def test_accepts_exactly_the_one_encoding_of_each_value(body: bytes) -> None:
    try:
        octets = decode(body, max_bytes=ROOM, accept_der=False)
    except RemoteProtocolError:
        return
    reached("accepted")
    kept = body.rstrip(b"\0\r\n\t ").translate(None, b"\r\n\t ")
    assert kept == base64.b64encode(octets)


@pytest.mark.parametrize("body", [BASE64, pem("CMS").strip()])
def test_truncation_at_every_byte_never_gives_the_whole(body: bytes) -> None:
    for end in range(len(body)):
        with suppress(RemoteProtocolError):
            assert decode(body[:end], max_bytes=ROOM) != DER
