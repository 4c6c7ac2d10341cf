"""Targets: CSR attributes and templates, public keys, and the values of attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from asn1crypto.keys import PublicKeyInfo, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.asn1 import _der
from est_core.asn1.attributes import (
    Attribute,
    directory_string,
    extension_request,
    read_change_subject_name,
    read_directory_string,
    read_extensions,
    read_general_names,
    read_name,
    read_oid_value,
)
from est_core.asn1.csrattrs import CsrAttrs, parse_csrattrs
from est_core.asn1.keys import public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request
from est_core.asn1.template import KeyTypeWanted, read_template
from est_core.checks.enforcement import check_csrattrs
from est_core.client.enrollment import (
    renewal_request_info,
    request_info,
    unmet_by,
    wanted_algorithm,
    wanted_key,
)
from fuzz import cast, corpus
from fuzz.cast import LIMITS
from fuzz.target import (
    Reach,
    Result,
    Shape,
    Target,
    accepted,
    furthest,
    refused,
)
from fuzz.targets.asn1 import ASN1_WORDS
from fuzz.tree import Node, parse

_P256: Final = KeyTypeWanted(algorithm="1.2.840.10045.2.1", curve="1.2.840.10045.3.1.7").attribute()


def csrattrs(data: bytes) -> Result:
    """CSR attributes are refused, or nothing of them is lost, and all they mean can be had."""
    try:
        attrs = parse_csrattrs(data, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "der/")
    written = attrs.der()
    assert len(written) == len(data)  # a SET out of order, which is not DER, is put in order
    assert parse_csrattrs(written, LIMITS).der() == written
    assert parse_csrattrs(attrs.with_challenge_password().der(), LIMITS).requires_linking
    plan = attrs.plan()
    assert plan.linking == attrs.requires_linking
    _ = (attrs.oids(), attrs.key_type(), attrs.requested_extensions(), attrs.template())
    _ = (attrs.signature_algorithms(), wanted_key(attrs))
    _ = attrs.with_key_type(_P256).plan()
    request = parse_cert_request(cast.requests()[2], LIMITS)
    with suppress(LocalProtocolError):
        wanted_algorithm(attrs, request.key)
    return accepted(f"ok {len(attrs.items)} {_asked(attrs)} {_enforced(request, attrs)}")


_TEXT_CHARS: Final = 16384  # most is a list of signature algorithms, each of which may be long


def _asked(attrs: CsrAttrs) -> str:
    """Return what becomes of a client that wants to do as it is told."""
    key, current = cast.spki_of(cast.key_of(3)), cast.client().certificate
    try:
        info = request_info(subject=current.subject, key=key, csrattrs=attrs)
        renewal_request_info(current=current, key=key, csrattrs=attrs)
    except RemoteProtocolError as error:
        return error.code
    except LocalProtocolError:  # a part of the subject that we do not have
        return "local"
    parse_cert_request(cast.signed(info, cast.key_of(3)), LIMITS)
    unmet = unmet_by(info, attrs)
    assert all(each.text.isprintable() and len(each.text) < _TEXT_CHARS for each in unmet)
    return f"told but for {len(unmet)}"


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


def template(data: bytes) -> Result:
    """A template is refused, or it has one writing, which means the same."""
    attribute = Attribute(type="1.2.840.113549.1.9.16.2.61", values=(data,))
    try:
        found = read_template(attribute, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "der/")
    written = found.der()
    again = read_template(found.attribute(), LIMITS)
    assert again.der() == written
    assert (again.key, set(again.extensions)) == (found.key, set(found.extensions))
    return accepted(
        f"ok {found.subject is not None} {found.key is not None} {len(found.extensions)}"
    )


def keys(data: bytes) -> Result:
    """A public key is refused, or is not weak, and its facts are what another reader finds.

    They are those of the same key in its usual form, too.
    """
    try:
        facts = public_key_facts(data, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "der/")
    assert public_key_facts(facts.spki, LIMITS) == facts
    key = load_der_public_key(facts.spki)
    if isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        assert facts.bits == key.key_size
    theirs = PublicKeyInfo.load(data)
    assert theirs["algorithm"]["algorithm"].dotted == facts.algorithm
    if isinstance(key, rsa.RSAPublicKey):  # RFC 5274 8
        numbers = theirs["public_key"].parsed.native
        assert numbers == {
            "modulus": key.public_numbers().n,
            "public_exponent": numbers["public_exponent"],
        }
        assert numbers["public_exponent"] % 2 == numbers["modulus"] % 2 == 1
        assert 65537 <= numbers["public_exponent"] == key.public_numbers().e < 2**256
    with suppress(LocalProtocolError):
        signature_algorithm_for(facts)
    return accepted(f"{facts.name} {facts.bits}")


def attributes(data: bytes) -> Result:
    """Names, strings, extensions and ChangeSubjectName are refused, or written as they are read."""
    return furthest(_attempt(read, data) for read in _READERS)


def _attempt(read: Callable[[bytes], str], data: bytes) -> Result:
    try:
        return accepted(read(data))
    except RemoteProtocolError as error:
        return refused(error, "der/")


def _name(data: bytes) -> str:
    name = read_name(data, LIMITS)
    assert len(list(name)) <= LIMITS.names
    assert read_name(name.public_bytes(), LIMITS) == name
    return "name"


def _names(data: bytes) -> str:
    names = read_general_names(data, LIMITS)
    assert 0 < len(names) <= LIMITS.names
    assert _der.sequence(*names) == data
    return "names"


def _text(data: bytes) -> str:
    text = read_directory_string(data, LIMITS)
    assert 0 < len(text) <= LIMITS.challenge_chars
    with suppress(LocalProtocolError):  # a lone surrogate out of a BMPString
        assert read_directory_string(directory_string(text), LIMITS) == text
    return "text"


def _oid(data: bytes) -> str:
    _der.check_der(data, LIMITS)
    assert _der.oid(read_oid_value(data)) == data
    return "oid"


def _extensions(data: bytes) -> str:
    extensions = read_extensions(Attribute(type="1.2.3", values=(data,)), LIMITS)
    assert 0 < len(extensions) <= LIMITS.csr_extensions
    assert read_extensions(extension_request(extensions), LIMITS) == extensions
    return "extensions"


def _change(data: bytes) -> str:
    change = read_change_subject_name(Attribute(type="1.2.3", values=(data,)), LIMITS)
    assert read_change_subject_name(change.attribute(), LIMITS) == change
    return "change"


_READERS: Final = (_name, _names, _text, _oid, _extensions, _change)


def _telling(run: Callable[[bytes], Result], candidates: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return the elements that a target accepts, and one for each way in which it refuses others.

    Most elements of a message are of another kind, and would be refused whatever is changed.
    """
    found: dict[str, bytes] = {}
    for number, each in enumerate(candidates):
        good, text = True, ""
        with suppress(Exception):  # what is raised is for the run to find
            result = run(each)
            good, text = result.reach is Reach.ACCEPTED, result.text
        found.setdefault(f"{number}" if good else text, each)
    return tuple(found.values())


def _elements(ders: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return all elements inside, which is where names, keys and templates are."""
    nodes: list[Node] = []
    for each in ders:
        for root in parse(each) or ():
            nodes += root.walk()
    return tuple(dict.fromkeys(node.der() for node in nodes))


def _changes() -> tuple[bytes, ...]:
    return _elements((*corpus.vectors("rfc6402/*.der", "rfc7894/*.der"), *corpus.requests()))


def _keys() -> tuple[bytes, ...]:
    return (*_elements((*corpus.requests(), *corpus.certificates())), *_rsa_keys())


def _rsa_keys() -> Iterator[bytes]:
    """Yield RSA keys, some of them weak: the numbers are made up, and nobody can sign with them."""
    modulus = int.from_bytes(b"\xb7" * 256, "big")
    for n, e in (
        (modulus, 65537),
        (modulus, 65539),
        (modulus, 3),
        (modulus, 65538),
        (modulus - 1, 65537),
    ):
        key = RSAPublicKey({"modulus": n, "public_exponent": e})
        yield PublicKeyInfo.wrap(key, "rsa").dump()


TARGETS: Final = (
    Target(
        run=csrattrs,
        seeds=corpus.csrattrs,
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="is DER",
        goal="is CSR attributes",
        modules=(
            "est_core.asn1.csrattrs",
            "est_core.client.enrollment",
            "est_core.checks.enforcement",
        ),
    ),
    Target(
        run=template,
        seeds=lambda: _telling(template, _elements(corpus.csrattrs())),
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="is DER",
        goal="is a template",
        modules=("est_core.asn1.template",),
    ),
    Target(
        run=keys,
        seeds=lambda: _telling(keys, _keys()),
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="is DER",
        goal="is a public key of a kind that is known",
        modules=("est_core.asn1.keys",),
    ),
    Target(
        run=attributes,
        seeds=lambda: _telling(attributes, _changes()),
        shape=Shape.DER,
        words=ASN1_WORDS,
        gate="is DER",
        goal="is read by one of the readers",
        modules=("est_core.asn1.attributes", "est_core.asn1.distinguished_name"),
    ),
)
