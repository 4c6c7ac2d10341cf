"""Target: which device of a manufacturer a certificate is of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from est_core import Manufacturer, RemoteProtocolError
from est_core.asn1 import tlv
from est_core.asn1.cms import read_certificate
from est_core.checks.manufacturers import (
    HARDWARE_MODULE_NAME,
    FieldKind,
    parse_identity_field,
)
from est_core.credentials import VALUE_CHARS
from fuzz import cast, corpus
from fuzz.cast import LIMITS
from fuzz.target import Result, Shape, Target, accepted, passed, stopped, told

_UPN: Final = "1.3.6.1.4.1.311.20.2.3"
_MODULE: Final = bytes.fromhex("060a2b060104019c2b640101") + b"\x04\x03\x0a\xbb\xcc"
_MAKERS: Final = tuple(
    Manufacturer(name=f"maker-{number}", field=parse_identity_field(text))
    for number, text in enumerate(("CN", "serialNumber", f"otherName:{_UPN}", "hardwareModuleName"))
)


def manufacturers(data: bytes) -> Result:
    """A certificate is of one device, whose value stands in it once, or is refused with a code."""
    try:
        certificate = read_certificate(data, LIMITS)
    except RemoteProtocolError as error:
        return stopped(told(error))
    found, refusals = [], []
    for maker in _MAKERS:
        try:
            identity = maker.identity_of(certificate)
        except RemoteProtocolError as error:
            assert error.code.startswith("manufacturer/")
            assert error.message.isprintable()
            refusals.append(told(error))
            continue
        assert identity.manufacturer == maker.name
        assert 0 < len(identity.value) <= VALUE_CHARS
        assert identity.value.isprintable()
        assert identity.value == identity.value.strip()
        _assert_once(certificate, maker, identity.value)
        found.append(maker.name)
    return accepted(" ".join(found)) if found else passed(" ".join(refusals))


def _assert_once(certificate: x509.Certificate, maker: Manufacturer, value: str) -> None:
    if maker.field.kind is FieldKind.SUBJECT:
        oid = x509.ObjectIdentifier(maker.field.oid)
        assert [str(each.value) for each in certificate.subject.get_attributes_for_oid(oid)] == [
            value
        ]


def _certificates() -> Iterator[bytes]:
    yield from corpus.certificates()
    number = x509.NameAttribute(NameOID.SERIAL_NUMBER, "SN-1")
    name = x509.NameAttribute(NameOID.COMMON_NAME, "device")
    upn = x509.OtherName(x509.ObjectIdentifier(_UPN), b"\x0c\x04SN-1")
    module = x509.OtherName(x509.ObjectIdentifier(HARDWARE_MODULE_NAME), tlv(0x30, _MODULE))
    for subject, names in (
        ((name, number), (upn,)),
        ((number,), (module,)),
        ((name,), (upn, module)),
        ((number, number), (upn, upn)),
    ):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(cast.name_of("maker"))
            .public_key(cast.key_of(4).public_key())
            .serial_number(7)
            .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(9999, 12, 31, tzinfo=UTC))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        signed = builder.sign(cast.key_of(1), hashes.SHA256(), ecdsa_deterministic=True)
        yield signed.public_bytes(Encoding.DER)


TARGETS: Final = (
    Target(
        run=manufacturers,
        seeds=_certificates,
        shape=Shape.DER,
        gate="is a certificate that can be read",
        goal="is of a device",
        modules=("est_core.checks.manufacturers",),
    ),
)
