"""Who a manufacturer's device is: the manufacturer, and the value of one field of its certificate.

A manufacturer numbers its own devices and knows nothing of others' numbers. So a device is the pair
of both, `ManufacturerIdentity`: two manufacturers that use the same value have two devices, and no
user, nor a device that is known by its name, is one of them. Which manufacturer it is follows from
the trust anchor that verified the certificate, and never from what stands in it.

Values compare character by character. What a reader might take for equal, "sn-1" and "SN-1" say, is
two values here: whoever is taken for another only because a reader is lenient has its certificates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum, unique
from typing import Final

from cryptography import x509

from est_core._errors import Fault, LocalProtocolError, RemoteProtocolError
from est_core._limits import Limits
from est_core.arguments import checked
from est_core.asn1 import check_der, children, read_element, read_oid, tlv
from est_core.asn1.attributes import read_directory_string
from est_core.asn1.oid_names import OID_NAMES, oid_name
from est_core.asn1.pkcs10 import CertRequest
from est_core.checks.allowed_names import DESCRIPTIVE
from est_core.checks.issued import Contents
from est_core.checks.names import shown_name
from est_core.credentials import (
    ManufacturerIdentity,
    check_manufacturer_name,
    device_value_flaw,
)
from est_core.values import value_class

HARDWARE_MODULE_NAME: Final = "1.3.6.1.5.5.7.8.4"
"""id-on-hardwareModuleName, RFC 4108 5: the otherName of an IDevID in IEEE 802.1AR."""
_OID: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,9})){1,32}")
_OTHER_NAME: Final = "otherName:"
_SEQUENCE: Final = 0x30
_OCTET_STRING: Final = 0x04
_MODULE_OCTETS: Final = 64
_SHORT_NAMES: Final = {"CN": "2.5.4.3", "UID": "0.9.2342.19200300.100.1.1"}
_DESCRIPTIVE: Final = frozenset(oid.dotted_string for oid in DESCRIPTIVE)
_ATTRIBUTES: Final = _SHORT_NAMES | {
    name: oid
    for oid, name in OID_NAMES.items()
    if oid.startswith(("2.5.4.", "0.9.2342.19200300.100.1.")) and oid not in _DESCRIPTIVE
}


@unique
class FieldKind(Enum):
    """Where in a certificate a value is."""

    SUBJECT = "subject"
    OTHER_NAME = "otherName"
    HARDWARE_MODULE_NAME = "hardwareModuleName"
    CERTIFICATE_SERIAL = "certificateSerial"


_WORDS: Final = {
    kind.value: kind for kind in (FieldKind.HARDWARE_MODULE_NAME, FieldKind.CERTIFICATE_SERIAL)
}
_WITH_OID: Final = frozenset({FieldKind.SUBJECT, FieldKind.OTHER_NAME})


@value_class
class IdentityField:
    """The field of a certificate whose value tells one device of a manufacturer from the others.

    `oid` is that of the attribute of the subject, or of the otherName. A hardwareModuleName has the
    value TYPE:SERIAL, the serial number in lower-case hexadecimal; the serial number of the
    certificate is lower-case hexadecimal. Raises LocalProtocolError for an `oid` that is none,
    is missing or has no place there, and for an attribute that many holders share.
    """

    kind: FieldKind
    oid: str = ""

    def __post_init__(self) -> None:
        if (self.kind in _WITH_OID) != bool(self.oid):
            raise LocalProtocolError(f"{self.kind.value} has an object identifier, or has none")
        if self.oid and not _OID.fullmatch(self.oid):
            raise LocalProtocolError(f"{self.oid!r} is no object identifier")
        if self.kind is FieldKind.SUBJECT and self.oid in _DESCRIPTIVE:
            raise LocalProtocolError(
                f"{oid_name(self.oid)} says where a holder belongs, and not who it is"
            )

    @classmethod
    def from_argument(cls, value: object) -> IdentityField | None:
        """Return what a str says, as `parse_identity_field`; None for anything else."""
        return parse_identity_field(value) if isinstance(value, str) else None

    def __str__(self) -> str:
        match self.kind:
            case FieldKind.SUBJECT:
                return oid_name(self.oid)
            case FieldKind.OTHER_NAME:
                return f"{_OTHER_NAME}{self.oid}"
            case _:
                return str(self.kind.value)


@checked
def parse_identity_field(text: str) -> IdentityField:
    """Return the field that a text names.

    That is an attribute of the subject by its name or object identifier ("serialNumber",
    "2.5.4.5"), "otherName:OID", "hardwareModuleName" or "certificateSerial". Raises
    LocalProtocolError for another text.
    """
    if kind := _WORDS.get(text):
        return IdentityField(kind=kind)
    if text.startswith(_OTHER_NAME):
        oid = text.removeprefix(_OTHER_NAME)
        if oid == HARDWARE_MODULE_NAME:
            raise LocalProtocolError("that otherName is hardwareModuleName: write so")
        return IdentityField(kind=FieldKind.OTHER_NAME, oid=oid or "none")
    oid = _ATTRIBUTES.get(text, text)
    if not _OID.fullmatch(oid):
        known = (*_ATTRIBUTES, *_WORDS)
        near = [name for name in known if name.casefold() == text.casefold()]
        raise LocalProtocolError(
            f"{text!r} is no attribute of a subject, nor otherName:OID, hardwareModuleName or"
            f" certificateSerial{f'; did you mean {near[0]!r}?' if near else ''}"
        )
    return IdentityField(kind=FieldKind.SUBJECT, oid=oid)


SERIAL_NUMBER: Final = IdentityField(kind=FieldKind.SUBJECT, oid="2.5.4.5")
"""The attribute serialNumber, which IEEE 802.1AR has in every IDevID's subject."""


@value_class
class Manufacturer:
    """How the devices of a manufacturer are told from each other.

    With `csr_field`, a request of such a device has to carry the value there. `issuer` is the only
    one whose certificates count: it has to be told for certificateSerial, which is unique for one
    issuer alone. `accept_expired` takes certificates that have expired too, for a device often
    outlives its own (RFC 9148 9.1): check whether they are revoked, or who it is in another way.
    Raises LocalProtocolError for a name as ManufacturerIdentity does, and for
    certificateSerial as a field of a request.
    """

    name: str
    field: IdentityField = SERIAL_NUMBER
    csr_field: IdentityField | None = None
    accept_expired: bool = False
    issuer: x509.Name | None = None

    def __post_init__(self) -> None:
        check_manufacturer_name(self.name)
        if self.csr_field and self.csr_field.kind is FieldKind.CERTIFICATE_SERIAL:
            raise LocalProtocolError("a request has no certificateSerial")

    @checked
    def identity_of(
        self, certificate: x509.Certificate, limits: Limits | None = None
    ) -> ManufacturerIdentity:
        """Return who the device is whose certificate an anchor of this manufacturer verified.

        Raises RemoteProtocolError: "manufacturer/no-value" where the field is missing or empty,
        "manufacturer/several-values" where it is there twice, "manufacturer/unreadable" where it,
        or the certificate, cannot be read, "manufacturer/other-issuer".
        """
        if self.field.kind is FieldKind.CERTIFICATE_SERIAL:
            return self._by_serial(certificate)
        contents = Contents.of_certificate(certificate, limits)
        if contents.flaw:
            raise _unreadable(f"the client's certificate: {contents.flaw}")
        value = _value(self.field, contents, "the client's certificate", limits or Limits())
        return ManufacturerIdentity(manufacturer=self.name, value=value)

    @checked
    def check_request(
        self, csr: CertRequest, identity: ManufacturerIdentity, limits: Limits | None = None
    ) -> None:
        """Return if a request carries the value of its device where it has to, if anywhere.

        Raises RemoteProtocolError "manufacturer/not-in-request".
        """
        if self.csr_field is None:
            return
        try:
            contents = Contents.of_request(csr, limits)
            found = _value(self.csr_field, contents, "the request", limits or Limits())
        except RemoteProtocolError as exc:
            raise _not_in_request(exc.message) from exc
        if found != identity.value:
            text = f"{self.csr_field} in the request is {shown_name(found)}"
            raise _not_in_request(f"{text}, and the device is {shown_name(identity.value)}")

    def _by_serial(self, certificate: x509.Certificate) -> ManufacturerIdentity:
        try:
            issuer, serial = certificate.issuer, certificate.serial_number
        except (ValueError, TypeError, Warning) as exc:
            raise _unreadable("the client's certificate cannot be read") from exc
        if self.issuer is None or issuer != self.issuer:
            message = f"manufacturer {self.name}: its serial numbers count from one issuer alone"
            raise RemoteProtocolError("manufacturer/other-issuer", message, Fault.FORBIDDEN)
        if serial <= 0:
            raise _unreadable("the serial number of the client's certificate is not positive")
        return ManufacturerIdentity(manufacturer=self.name, value=f"{serial:x}")


def _value(where: IdentityField, contents: Contents, whose: str, limits: Limits) -> str:
    """Return the value of a field that is there once, and is a text or becomes one."""
    match where.kind:
        case FieldKind.SUBJECT:
            found = _in_subject(where.oid, contents.subject)
        case FieldKind.OTHER_NAME:
            found = (_text(der, limits) for der in _other_names(where.oid, contents.names))
        case _:
            modules = _other_names(HARDWARE_MODULE_NAME, contents.names)
            found = (_module(der, limits) for der in modules)
    values = list(found)
    if not values or not values[0].strip():
        message = f"{whose} has no {where}, which says which device this is"
        raise RemoteProtocolError("manufacturer/no-value", message, Fault.FORBIDDEN)
    if len(values) > 1:
        message = f"{whose} has {len(values)} values of {where}"
        raise RemoteProtocolError("manufacturer/several-values", message, Fault.FORBIDDEN)
    if flaw := device_value_flaw(values[0]):
        raise _unreadable(f"{where} in {whose} {flaw}")
    return values[0]


def _in_subject(oid: str, subject: x509.Name) -> Iterator[str]:
    for attribute in subject:
        if attribute.oid.dotted_string == oid:
            if not isinstance(attribute.value, str):
                raise _unreadable(f"{oid_name(oid)} is no text")
            yield attribute.value


def _other_names(oid: str, names: Iterable[x509.GeneralName]) -> Iterator[bytes]:
    for name in names:
        if isinstance(name, x509.OtherName) and name.type_id.dotted_string == oid:
            yield name.value


def _text(der: bytes, limits: Limits) -> str:
    try:
        check_der(der, limits)
        if not read_element(der).content:
            return ""
        return read_directory_string(der, limits, "its otherName")
    except RemoteProtocolError as exc:
        raise _unreadable(exc.message) from exc


def _module(der: bytes, limits: Limits) -> str:
    """Return TYPE:SERIAL of a HardwareModuleName. RFC 4108 5."""
    try:
        check_der(der, limits)
        module = read_element(der)
        parts = children(module)
        if module.tag != _SEQUENCE or len(parts) != 2 or parts[1].tag != _OCTET_STRING:
            raise _unreadable("its hardwareModuleName is no pair of hwType and hwSerialNum")
        kind, serial = read_oid(parts[0]), parts[1].content
        if der != tlv(_SEQUENCE, parts[0].der + parts[1].der):
            raise _unreadable("its hardwareModuleName is not in DER")
    except RemoteProtocolError as exc:
        raise exc if exc.code.startswith("manufacturer/") else _unreadable(exc.message) from exc
    if len(serial) > _MODULE_OCTETS:
        raise _unreadable(f"its hwSerialNum has more than {_MODULE_OCTETS} octets")
    return f"{kind}:{serial.hex()}" if serial else ""


def _unreadable(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("manufacturer/unreadable", message, Fault.FORBIDDEN)


def _not_in_request(message: str) -> RemoteProtocolError:
    return RemoteProtocolError("manufacturer/not-in-request", message, Fault.CONTENT)
