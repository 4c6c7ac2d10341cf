"""What bytes and PEM labels are taken for, where older writers have other forms."""

from __future__ import annotations

import pytest

from est_core.asn1.kinds import Kind, kind_of, kind_of_label
from tests.core.asn1.build import oid, seq, tlv

SIGNED_DATA = oid("1.2.840.113549.1.7.2")
ALGORITHM = seq(oid("1.2.840.10045.4.3.2"))


def crl(*parts: bytes) -> bytes:
    signed = seq(*parts, ALGORITHM, seq(), tlv(0x17, b"260101000000Z"))
    return seq(signed, ALGORITHM, tlv(0x03, b"\0"))


@pytest.mark.parametrize(
    "der, kind",
    [
        (b"\x30\x80" + SIGNED_DATA + b"\xa0\x80", Kind.SIGNED_DATA),
        (b"\x30\x80\x02\x01\x03\x30\x80", Kind.PKCS12),
        (b"\x30\x80\x04\x01x", Kind.UNKNOWN),
        (crl(), Kind.CRL),  # of version 1
        (crl(tlv(0x02, b"\1")), Kind.CRL),
    ],
)
def test_older_and_indefinite_forms_are_known(der: bytes, kind: Kind) -> None:
    assert kind_of(der) is kind


@pytest.mark.parametrize(
    "label, kind",
    [
        ("DSA PUBLIC KEY", Kind.PUBLIC_KEY),
        ("DSA PRIVATE KEY", Kind.PRIVATE_KEY),
        ("X9.42 DH PARAMETERS", Kind.PARAMETERS),
        ("LETTER", Kind.UNKNOWN),
    ],
)
def test_a_label_that_names_an_algorithm_is_known_by_its_end(label: str, kind: Kind) -> None:
    assert kind_of_label(label) is kind
