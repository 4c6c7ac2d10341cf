"""Fingerprints: read as programs and people write them, in full, and shown to be read aloud."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from est_core import LocalProtocolError
from est_transports.pki.fingerprints import groups, read_fingerprint
from tests.pki import pki
from tests.reached import reached, reaches

ROOT = pki().ca.certificate
SHA256, SHA384, SHA512 = (
    ROOT.fingerprint(kind) for kind in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
)


@pytest.mark.req("EST-096")
@pytest.mark.parametrize(
    "text",
    [
        SHA256.hex(),
        SHA256.hex(":").upper(),
        SHA256.hex(" "),
        SHA256.hex(":", 2),
        f"  {SHA256.hex()}\n",
        f"SHA256:{SHA256.hex()}",
        f"SHA-256 {SHA256.hex(' ', 4)}",
        f"sha256 Fingerprint={SHA256.hex(':').upper()}",
        f"SHA256 Fingerprint: {SHA256.hex()}",
        f"sha384:{SHA384.hex()}",
        f"SHA-512={SHA512.hex(':')}",
        SHA384.hex(),
        SHA512.hex(":"),
        "\n".join(groups(ROOT)),
    ],
    ids=range(14),
)
def test_a_fingerprint_is_read_as_programs_write_it(text: str) -> None:
    assert read_fingerprint(text).is_of(ROOT)
    assert not read_fingerprint(text).is_of(pki().rogue.certificate)


@pytest.mark.req("EST-096")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this has 0"),
        (SHA256.hex()[:-2], "this has 62"),
        (SHA256.hex()[:-1], "this has 63"),
        (SHA256.hex()[:16], "this has 16"),
        (SHA256.hex() + "00", "this has 66"),
        (ROOT.fingerprint(hashes.SHA1()).hex(":"), "this has 40"),
        (f"SHA256:{SHA384.hex()}", "SHA-256 has other than 96"),
        (f"sha384 {SHA256.hex()}", "SHA-384 has other than 64"),
        (f"sha1:{SHA256.hex()}", "SHA-1 has other than 64"),
        ("SHA256:AbCdEfGh", "hexadecimal digits"),
        ("-" * 64, "hexadecimal digits"),
        (f"SHA256{SHA256.hex()}", "hexadecimal digits"),
        ("\u0661" * 64, "hexadecimal digits"),
        ("0" * 1025, "not as long"),
    ],
    ids=range(14),
)
def test_a_part_of_one_or_another_text_is_none(text: str, said: str) -> None:
    with pytest.raises(LocalProtocolError, match=said):
        read_fingerprint(text)


WHOLE = st.sampled_from([32, 48, 64]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
TEXTS = st.text("0123456789abcdefABCDEF: \nsSHh-", max_size=80) | WHOLE.map(bytes.hex)


@reaches(read=20)
@given(TEXTS)
def test_what_is_read_is_all_of_the_digits_and_nothing_else_happens(text: str) -> None:
    try:
        found = read_fingerprint(text)
    except LocalProtocolError:
        return
    reached("read")
    digits = "".join(text.split()).replace(":", "").lower()
    assert digits.endswith(found.digest.hex())
    assert len(found.digest) in {32, 48, 64}


def test_groups_are_the_whole_fingerprint() -> None:
    lines = groups(ROOT)
    assert [len(line.split()) for line in lines] == [4] * 4
    assert {len(group) for line in lines for group in line.split()} == {4}
    assert bytes.fromhex("".join(lines)) == SHA256


def test_a_fingerprint_does_not_show_itself() -> None:
    assert SHA256.hex() not in repr(read_fingerprint(SHA256.hex()))
