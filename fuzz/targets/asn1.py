"""Targets: the readers of ASN.1, and everything that is done with what they return."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    read_change_subject_name,
    read_directory_string,
    read_extensions,
    read_general_names,
    read_name,
    read_oid_value,
)
from est_core.asn1.certificates import key_of_unreadable, unreadable
from est_core.asn1.cms import read_bag, read_certificate, read_certs_only, write_certs_only
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import (
    CertRequest,
    CertRequestInfo,
    assemble,
    parse_cert_request,
    signature_is_valid,
)
from est_core.asn1.template import read_template
from est_core.channel import Channel
from est_core.checks.enforcement import check_csrattrs
from est_core.checks.pop import check_linking, linking_values
from est_core.checks.renewal import check_renewal
from est_core.enrollment import renewal_info, request_info, wanted_algorithm, wanted_key
from fuzz import cast, corpus
from fuzz.cast import LIMITS
from fuzz.target import Shape, Target, told
from fuzz.tree import Node, parse

_NODES_MAX: Final = LIMITS.der_nodes


def der(data: bytes) -> str:
    """What passes the gate can be walked to its leaves and is written back octet for octet."""
    try:
        _der.check_der(data, LIMITS)
    except RemoteProtocolError as error:
        return error.code
    _der.check_ber(data, LIMITS)
    root = _der.read_element(data)
    assert root.der == data
    nodes = _walk(root, ber=False)
    return f"ok {nodes}" if nodes < 8 else "ok"


def ber(data: bytes) -> str:
    """What passes the gate for BER can be walked to its leaves within the bounds."""
    try:
        _der.check_ber(data, LIMITS)
    except RemoteProtocolError as error:
        return error.code
    root = _der.read_element(data, ber=True)
    assert root.der == data
    nodes = _walk(root, ber=True)
    return f"ok {nodes}" if nodes < 8 else "ok"


def _walk(root: _der.Element, *, ber: bool) -> int:
    pending, nodes = [(root, 1)], 0
    while pending:
        element, depth = pending.pop()
        nodes += 1
        assert nodes <= _NODES_MAX
        if not element.der[0] & 0x20:
            _ = element.content
            continue
        assert depth <= LIMITS.der_depth
        below = _der.children(element, ber=ber)
        if not ber:
            assert b"".join(child.der for child in below) == element.content
        pending += [(child, depth + 1) for child in below]
    return nodes


def pkcs10(data: bytes) -> str:
    """A request is refused, or every fact and check of it holds, and it can be signed anew."""
    try:
        csr = parse_cert_request(data, LIMITS)
    except RemoteProtocolError as error:
        return told(error)
    assert csr.der == data
    outcomes = [_signature(csr), _linking(csr)]
    try:
        check_renewal(csr, cast.client().certificate, LIMITS)
    except RemoteProtocolError as error:
        outcomes.append(error.code)
    info = CertRequestInfo.of(csr)
    again = parse_cert_request(
        assemble(info.der(), signature_algorithm_for(csr.key), b"x", LIMITS), LIMITS
    )
    assert (again.subject_der, again.spki) == (csr.subject_der, csr.spki)
    assert {each.der() for each in again.attributes} == {each.der() for each in csr.attributes}
    assert again.subject_alt_name_der == csr.subject_alt_name_der
    return " ".join(outcomes)


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
    return "linked" if linked else "not linked"


def _signature(csr: CertRequest) -> str:
    try:
        return str(signature_is_valid(csr))
    except RemoteProtocolError as error:
        return error.code


def cms(data: bytes) -> str:
    """A bag is refused, or its readable certificates are bounded, and our bag holds them too."""
    try:
        bag = read_bag(data, LIMITS)
    except RemoteProtocolError as error:
        return told(error)
    certificates = bag.certificates
    assert 0 < len(certificates) + len(bag.left_out) <= LIMITS.certificates
    for each in bag.left_out:
        assert each.der in data
        assert "\n" not in each.text
    if not certificates:
        return f"none of {len(bag.left_out)}"
    assert len(set(certificates)) == len(certificates)
    written = write_certs_only(certificates)
    again = read_certs_only(written, LIMITS)
    assert set(again) == set(certificates)
    assert write_certs_only(again) == written
    return f"ok {len(certificates)} {len(bag.left_out)}"


def certificate(data: bytes) -> str:
    """A certificate is refused, or can be read whole and is written as it was read."""
    try:
        found = read_certificate(data, LIMITS)
    except RemoteProtocolError as error:
        text = unreadable(data, 1).text
        assert "\n" not in text
        _ = key_of_unreadable(data)
        return told(error)
    assert found.public_bytes(Encoding.DER) == data
    return f"ok {len(found.extensions)}"


def csrattrs(data: bytes) -> str:
    """CSR attributes are refused, or nothing of them is lost, and all they mean can be had."""
    try:
        attrs = parse_csrattrs(data, LIMITS)
    except RemoteProtocolError as error:
        return told(error)
    written = attrs.der()
    assert len(written) == len(data)  # a SET out of order, which is not DER, is put in order
    assert parse_csrattrs(written, LIMITS).der() == written
    assert parse_csrattrs(attrs.with_challenge_password().der(), LIMITS).requires_linking
    plan = attrs.plan()
    assert plan.linking == attrs.requires_linking
    _ = (attrs.oids(), attrs.key_type(), attrs.requested_extensions(), attrs.template())
    _ = (attrs.signature_algorithms(), wanted_key(attrs))
    request = parse_cert_request(cast.requests()[2], LIMITS)
    with suppress(LocalProtocolError):
        wanted_algorithm(attrs, request.key)
    return f"ok {len(attrs.items)} {_asked(attrs)} {_enforced(request, attrs)}"


def _asked(attrs: CsrAttrs) -> str:
    """Return what becomes of a client that wants to do as it is told."""
    key, current = cast.spki_of(cast.key_of(3)), cast.client().certificate
    try:
        info = request_info(subject=current.subject, key=key, csrattrs=attrs)
        renewal_info(current=current, key=key, csrattrs=attrs)
    except RemoteProtocolError as error:
        return error.code
    except LocalProtocolError:  # a part of the subject that we do not have
        return "local"
    parse_cert_request(cast.signed(info, cast.key_of(3)), LIMITS)
    return "told"


def _enforced(request: CertRequest, attrs: CsrAttrs) -> str:
    """Return what becomes of a request under CSR attributes that a server may well send."""
    try:
        sendable = CsrAttrs(items=attrs.items)
    except LocalProtocolError:
        return "unsendable"
    try:
        check_csrattrs(request, sendable, LIMITS)
    except (RemoteProtocolError, LocalProtocolError) as error:
        assert len(error.message) <= LIMITS.error_text_chars
        return type(error).__name__
    return "held"


def template(data: bytes) -> str:
    """A template is refused, or it has one writing, which means the same."""
    attribute = Attribute(type="1.2.840.113549.1.9.16.2.61", values=(data,))
    try:
        found = read_template(attribute, LIMITS)
    except RemoteProtocolError as error:
        return told(error)
    written = found.der()
    again = read_template(found.attribute(), LIMITS)
    assert again.der() == written
    assert (again.key, set(again.extensions)) == (found.key, set(found.extensions))
    return f"ok {found.subject is not None} {found.key is not None} {len(found.extensions)}"


def keys(data: bytes) -> str:
    """A public key is refused, or its facts are those of the same key in its usual form."""
    try:
        facts = public_key_facts(data, LIMITS)
    except RemoteProtocolError as error:
        return told(error)
    assert public_key_facts(facts.spki, LIMITS) == facts
    with suppress(LocalProtocolError):
        signature_algorithm_for(facts)
    return f"{facts.name} {facts.bits}"


def attributes(data: bytes) -> str:
    """Names, strings, extensions and ChangeSubjectName are refused, or read within the bounds."""
    attribute = Attribute(type="1.2.3", values=(data,))
    outcomes = []
    readers: tuple[Callable[[], str], ...] = (
        lambda: f"name {len(list(read_name(data, LIMITS))) <= LIMITS.names}",
        lambda: f"names {len(read_general_names(data, LIMITS)) <= LIMITS.names}",
        lambda: f"text {len(read_directory_string(data, LIMITS)) <= LIMITS.challenge_chars}",
        lambda: f"oid {len(read_oid_value(data)) > 0}",
        lambda: f"exts {len(read_extensions(attribute, LIMITS)) <= LIMITS.csr_extensions}",
        lambda: f"change {_changed(attribute)}",
    )
    for read in readers:
        try:
            outcomes.append(read())
        except RemoteProtocolError as error:
            outcomes.append(error.code)
    assert not any(outcome.endswith("False") for outcome in outcomes)
    return " ".join(outcomes)


def _changed(attribute: Attribute) -> bool:
    change = read_change_subject_name(attribute, LIMITS)
    again = read_change_subject_name(change.attribute(), LIMITS)
    return again == change


def _elements(ders: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return all constructed elements inside, which is where names, keys and templates are."""
    nodes: list[Node] = []
    for each in ders:
        for root in parse(each) or ():
            nodes += [node for node in root.walk() if node.children]
    return tuple(dict.fromkeys(node.der() for node in nodes))


def _all_kinds() -> tuple[bytes, ...]:
    return (*corpus.requests(), *corpus.csrattrs(), *corpus.bags(), *corpus.certificates())


def _changes() -> tuple[bytes, ...]:
    return _elements((*corpus.vectors("rfc6402/*.der", "rfc7894/*.der"), *corpus.requests()))


_OIDS: Final = tuple(
    _der.oid(dotted)
    for dotted in (
        *("2.5.4.3", "2.5.29.17", "2.5.29.15", "2.5.29.37", "1.2.840.10045.2.1", "1.3.132.0.34"),
        *("1.2.840.113549.1.1.1", "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14", "1.3.101.112"),
        *("1.2.840.113549.1.9.16.2.56", "1.2.840.113549.1.9.16.2.61", "1.3.6.1.5.5.7.7.36"),
        *("2.16.840.1.101.3.4.3.17", "1.2.840.10045.4.3.2", "1.2.840.113549.1.1.10"),
    )
)
_WORDS: Final = (*_OIDS, b"\x05\0", b"\x30\0", b"\x31\0", b"\x30\x80", b"\0\0", b"\x02\x01\0")

TARGETS: Final = (
    Target(run=der, seeds=_all_kinds, shape=Shape.DER, words=_WORDS),
    Target(run=ber, seeds=_all_kinds, shape=Shape.DER, words=_WORDS),
    Target(run=pkcs10, seeds=corpus.requests, shape=Shape.DER, words=_WORDS),
    Target(run=cms, seeds=corpus.bags, shape=Shape.DER, words=_WORDS),
    Target(run=certificate, seeds=corpus.certificates, shape=Shape.DER, words=_WORDS),
    Target(run=csrattrs, seeds=corpus.csrattrs, shape=Shape.DER, words=_WORDS),
    Target(run=template, seeds=lambda: _elements(corpus.csrattrs()), shape=Shape.DER, words=_WORDS),
    Target(run=keys, seeds=lambda: _elements(corpus.requests()), shape=Shape.DER, words=_WORDS),
    Target(run=attributes, seeds=_changes, shape=Shape.DER, words=_WORDS),
)
