"""Targets: the gates for DER and BER, requests, certificates and bags of them."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Final

from asn1crypto.parser import emit as emit_element
from asn1crypto.parser import parse as parse_element
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from est_core import RemoteProtocolError
from est_core.asn1 import _der
from est_core.asn1.certificate_extensions import certificate_extensions
from est_core.asn1.certificates import key_of_unreadable, unreadable
from est_core.asn1.cms import read_bag, read_certificate, read_certs_only, write_certs_only
from est_core.asn1.keys import signature_algorithm_for
from est_core.asn1.pkcs10 import (
    CertRequest,
    CertRequestInfo,
    assemble,
    parse_cert_request,
    signature_is_valid,
)
from est_core.channel import Channel
from est_core.checks.changed_names import with_changed_names
from est_core.checks.codes import code_in
from est_core.checks.pop import check_linking, linking_values
from est_core.checks.renewal import check_renewal
from fuzz import cast, corpus
from fuzz.cast import LIMITS
from fuzz.target import Result, Shape, Target, accepted, passed, refused
from fuzz.tree import Node

_NODES_MAX: Final = LIMITS.der_nodes
_TIGHT: Final = replace(LIMITS, der_depth=8, der_nodes=300)
_HOLDERS: Final = (16, 17)
"""SEQUENCE and SET, which hold elements."""
_ONE_FORM: Final = frozenset((*range(1, 7), 9, 10, 12, 13, 16, 17, *range(18, 31)))
"""Universal tags with one form in DER: theirs, and that of values and strings."""
_TAGS_MAX: Final = 128**5
_ELEMENTS: Final = ("der/empty", "der/truncated", "der/trailing-bytes", "der/too-large")
"""Refusals of what does not consist of elements at all."""


def der(data: bytes) -> Result:
    """What passes the gate, and nothing else, is one element of DER within the bounds.

    It can be walked to its leaves and is written back octet for octet.
    """
    try:
        _der.check_der(data, _TIGHT)
    except RemoteProtocolError as error:
        assert not _is_der(data)
        return refused(error, *_ELEMENTS)
    assert _is_der(data)
    _der.check_ber(data, LIMITS)
    root = _der.read_element(data)
    assert root.der == data
    nodes = _walk(root, ber=False)
    return accepted(f"ok {nodes}" if nodes < 8 else "ok")


def _is_der(data: bytes) -> bool:
    """Return what X.690 says, written a second time, with the headers of another reader."""
    pending, nodes = [(data, 1)], 0
    while pending:
        rest, depth = pending.pop()
        while rest:
            try:
                kind, constructed, tag, header, content, _ = parse_element(rest)
            except ValueError:
                return False
            nodes += 1
            written = emit_element(kind, constructed, tag, content)
            if header + content != written or tag >= _TAGS_MAX:
                return False
            is_odd = tag in _ONE_FORM and bool(constructed) != (tag in _HOLDERS)
            if kind == 0 and (tag == 0 or is_odd):
                return False
            if constructed:
                if depth > _TIGHT.der_depth:
                    return False
                pending.append((content, depth + 1))
            rest = rest[len(written) :]
            if depth == 1 and rest:
                return False
    return 0 < nodes <= _TIGHT.der_nodes


def ber(data: bytes) -> Result:
    """What passes the gate for BER can be walked to its leaves within the bounds."""
    try:
        _der.check_ber(data, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, *_ELEMENTS)
    root = _der.read_element(data, ber=True)
    assert root.der == data
    nodes = _walk(root, ber=True)
    return accepted(f"ok {nodes}" if nodes < 8 else "ok")


def _walk(root: _der.Element, *, ber: bool) -> int:
    pending, nodes = [(root, 1)], 0
    while pending:
        element, depth = pending.pop()
        nodes += 1
        assert nodes <= _NODES_MAX
        # Another writer of DER gives the content the same length, in the same form.
        assert ber or element.der.endswith(Node(tag=0, content=element.content).der()[1:])
        if not element.der[0] & 0x20:
            _ = element.content
            continue
        assert depth <= LIMITS.der_depth
        below = _der.children(element, ber=ber)
        if not ber:
            assert b"".join(child.der for child in below) == element.content
        pending += [(child, depth + 1) for child in below]
    return nodes


def pkcs10(data: bytes) -> Result:
    """A request is refused, or every fact and check of it holds, and it can be signed anew."""
    try:
        csr = parse_cert_request(data, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "der/")
    assert csr.der == data
    outcomes = [_signature(csr), _linking(csr)]
    assert outcomes[0] != "True" or _verifies(data)
    try:
        check_renewal(csr, cast.client().certificate, LIMITS)
    except RemoteProtocolError as error:
        outcomes.append(error.code)
    try:
        renamed = with_changed_names(csr, LIMITS)
    except RemoteProtocolError as error:
        outcomes.append(error.code)
    else:
        assert renamed is None or (renamed.der, renamed.spki) == (csr.der, csr.spki)
    info = CertRequestInfo.of(csr)
    again = parse_cert_request(
        assemble(info.der(), signature_algorithm_for(csr.key), b"x", LIMITS), LIMITS
    )
    assert (again.subject_der, again.spki) == (csr.subject_der, csr.spki)
    assert {each.der() for each in again.attributes} == {each.der() for each in csr.attributes}
    assert again.subject_alt_name_der == csr.subject_alt_name_der
    return accepted(" ".join(outcomes))


def _linking(csr: CertRequest) -> str:
    """Return what the CSR's linking is worth, having held each judgement of it against the rule.

    RFC 7030 3.5, written a second time: a value that is there is the binding, one that is demanded
    is there.
    """
    linked_channel = cast.channels()[0]
    bare = replace(linked_channel, binding=None)
    try:
        values = linking_values(csr)
    except RemoteProtocolError as error:
        for channel in (linked_channel, bare):
            for required, tolerant in product((False, True), repeat=2):
                assert _judged(csr, channel, required=required, tolerant=tolerant) == error.code
        return error.code
    for channel in (linked_channel, bare):
        binding = channel.binding
        text = None if binding is None else base64.b64encode(binding.data).decode()
        for required, tolerant in product((False, True), repeat=2):
            if values and set(values) == {text}:
                expected = "linked"
            elif values and not tolerant:
                expected = "pop/mismatch"
            else:
                expected = "pop/missing" if required else "not linked"
            assert _judged(csr, channel, required=required, tolerant=tolerant) == expected
    return f"linked {len(values)}"


def _judged(csr: CertRequest, channel: Channel, *, required: bool, tolerant: bool) -> str:
    try:
        linked = check_linking(csr, channel, required=required, tolerant=tolerant)
    except RemoteProtocolError as error:
        return error.code
    with suppress(RemoteProtocolError):
        code = code_in(csr, channel, challenge_password=True, otp_challenge=tolerant)
        assert code is None or code.code in {value for _, value in csr.challenges}
    return "linked" if linked else "not linked"


def _verifies(der: bytes) -> bool:
    """Return whether the reader of `cryptography` finds the signature good, or cannot tell."""
    try:
        return x509.load_der_x509_csr(der).is_signature_valid
    except (ValueError, UnsupportedAlgorithm):  # it is stricter, and knows fewer algorithms
        return True


def _signature(csr: CertRequest) -> str:
    try:
        return str(signature_is_valid(csr))
    except RemoteProtocolError as error:
        return error.code


def cms(data: bytes) -> Result:
    """A bag is refused, or its readable certificates are bounded, and our bag holds them too."""
    try:
        bag = read_bag(data, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "der/")
    certificates = bag.certificates
    assert 0 < len(certificates) + len(bag.left_out) <= LIMITS.certificates
    for each in bag.left_out:
        assert each.der in data
        assert "\n" not in each.text
    if not certificates:
        return passed(f"none of {len(bag.left_out)}")
    assert len(set(certificates)) == len(certificates)
    assert all(each.public_bytes(Encoding.DER) in data for each in certificates)
    written = write_certs_only(certificates)
    again = read_certs_only(written, LIMITS)
    assert set(again) == set(certificates)
    assert write_certs_only(again) == written
    return accepted(f"ok {len(certificates)} {len(bag.left_out)}")


def certificate(data: bytes) -> Result:
    """A certificate is refused, or can be read whole and is written as it was read."""
    try:
        found = read_certificate(data, LIMITS)
    except RemoteProtocolError as error:
        text = unreadable(data, 1).text
        assert "\n" not in text
        _ = key_of_unreadable(data)
        return refused(error, "der/")
    assert found.public_bytes(Encoding.DER) == data
    theirs = [(each.oid.dotted_string, each.critical) for each in found.extensions]
    assert [(each.oid, each.critical) for each in certificate_extensions(found)] == theirs
    return accepted(f"ok {len(found.extensions)}")


def _all_kinds() -> tuple[bytes, ...]:
    return (*corpus.requests(), *corpus.csrattrs(), *corpus.bags(), *corpus.certificates())


_OIDS: Final = tuple(
    _der.oid(dotted)
    for dotted in (
        *("2.5.4.3", "2.5.29.17", "2.5.29.15", "2.5.29.37", "1.2.840.10045.2.1", "1.3.132.0.34"),
        *("1.2.840.113549.1.1.1", "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14", "1.3.101.112"),
        *("1.2.840.113549.1.9.16.2.56", "1.2.840.113549.1.9.16.2.61", "1.3.6.1.5.5.7.7.36"),
        *("2.16.840.1.101.3.4.3.17", "1.2.840.10045.4.3.2", "1.2.840.113549.1.1.10"),
    )
)
ASN1_WORDS: Final = (*_OIDS, b"\x05\0", b"\x30\0", b"\x31\0", b"\x30\x80", b"\0\0", b"\x02\x01\0")

_OF_DER: Final = ("est_core.asn1._der",)

_NEARLY_DER: Final = (b"\x30\6\x24\4\4\2AB", b"\x30\4\4\3AB")
"""A string in parts, which BER alone has, and one that is an octet longer than what holds it."""

TARGETS: Final = (
    Target(
        run=der,
        seeds=lambda: (*_all_kinds(), *_NEARLY_DER),
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="consists of whole elements",
        goal="is DER within the bounds",
        modules=_OF_DER,
    ),
    Target(
        run=ber,
        seeds=_all_kinds,
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="consists of whole elements",
        goal="is BER within the bounds",
        modules=_OF_DER,
    ),
    Target(
        run=pkcs10,
        seeds=corpus.requests,
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="is DER",
        goal="is a certificate request that is judged",
        modules=(
            "est_core.asn1.pkcs10",
            "est_core.asn1.request_signature",
            "est_core.asn1.distinguished_name",
            "est_core.asn1.requested",
            "est_core.checks.changed_names",
            "est_core.checks.codes",
            "est_core.checks.pop",
            "est_core.checks.renewal",
        ),
    ),
    Target(
        run=cms,
        seeds=corpus.bags,
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="is BER",
        goal="is a bag with a readable certificate",
        modules=("est_core.asn1.cms", "est_core.asn1.certificates"),
    ),
    Target(
        run=certificate,
        seeds=corpus.certificates,
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="is DER",
        goal="is a readable certificate",
        modules=("est_core.asn1.cms", "est_core.asn1.certificates"),
    ),
)
