"""The readers of bodies and fields at their edges: the last that passes, what is told of others."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from est_core import EstUri, Instant, Limits, LocalProtocolError, RemoteProtocolError
from est_core.asn1.kinds import Kind
from est_core.codec.media import MAX_CHARS, parse_media_type
from est_core.codec.multipart_core import parse_multipart_core
from est_core.codec.retry import parse_retry_after
from est_core.codec.textual import read_textual
from est_core.codec.transfer import decode


def armoured(label: str, octets: bytes) -> bytes:
    inside = base64.encodebytes(octets).decode()
    return f"-----BEGIN {label}-----\n{inside}-----END {label}-----\n".encode()


def test_a_media_type_may_be_as_long_as_the_limit_and_no_longer() -> None:
    text = "a/b".rjust(MAX_CHARS)
    assert parse_media_type(text).subtype == "b"
    with pytest.raises(RemoteProtocolError, match="too long"):
        parse_media_type(f" {text}")


def test_a_body_that_is_shorter_than_it_says_is_cut_and_not_odd() -> None:
    whole = b"\x84\x01\x42ab\x02\x43abc"
    assert [part.body for part in parse_multipart_core(whole, max_bytes=99)] == [b"ab", b"abc"]
    for size in range(len(whole)):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_multipart_core(whole[:size], max_bytes=99)
        assert caught.value.code == "multipart-core/truncated"


@pytest.mark.parametrize(
    "now, year, meant",
    [(2099, 48, 2148), (2099, 49, 2049), (2099, 99, 2099), (2026, 75, 2075), (2026, 77, 1977)],
)
def test_a_year_of_two_digits_is_the_nearest_in_a_span_of_fifty_years(
    now: int, year: int, meant: int
) -> None:
    moment = Instant(mono=0, wall=datetime(now, 6, 1, tzinfo=UTC))
    found = parse_retry_after(f"Friday, 06-Feb-{year:02} 08:49:37 GMT", moment)
    assert found == datetime(meant, 2, 6, 8, 49, 37, tzinfo=UTC)


def test_pem_inside_of_pem_is_not_looked_into() -> None:
    inner = armoured("CERTIFICATE", b"\x30\x00")
    found = read_textual(armoured("CERTIFICATE", inner), max_bytes=9999, max_blocks=9)
    assert [block.der for block in found.blocks] != [b"\x30\x00"]
    found = read_textual(base64.b64encode(inner), max_bytes=9999, max_blocks=9)
    assert [block.der for block in found.blocks] == [b"\x30\x00"]


def test_dashes_alone_are_no_pem() -> None:
    for raw in (b"-----", b"-----x\n", b"-----END CERTIFICATE-----\n"):
        with pytest.raises(RemoteProtocolError, match="no PEM block") as caught:
            read_textual(raw, max_bytes=99, max_blocks=9)
        assert caught.value.code == "body/pem"


def test_a_secret_is_taken_where_it_is_wanted_and_named_where_it_is_not() -> None:
    key = armoured("PRIVATE KEY", b"\x30\x00")
    limits = Limits()
    assert decode(key, max_bytes=limits.body_bytes, wanted=Kind.PRIVATE_KEY) == b"\x30\x00"
    with pytest.raises(RemoteProtocolError, match="nobody else may see"):
        decode(key, max_bytes=limits.body_bytes, wanted=Kind.SIGNED_DATA)


def test_base64_of_another_thing_is_left_to_the_reader_of_what_is_wanted() -> None:
    assert decode(b"MAA=", max_bytes=99, wanted=Kind.SIGNED_DATA) == b"\x30\x00"


def test_a_host_and_a_port_may_be_as_long_as_they_may_be_and_no_longer() -> None:
    longest = ".".join(["a" * 61] * 4) + ".abcde"
    assert len(longest) == 253
    assert EstUri.parse(f"https://{longest}:65535").port == 65535
    for authority in (f"{longest}f", "a.example:000443"):
        with pytest.raises(LocalProtocolError):
            EstUri.parse(f"https://{authority}")
