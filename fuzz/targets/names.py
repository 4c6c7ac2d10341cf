"""Targets: which names are the same, which are protected, and which a CA may not certify."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from est_core import LocalProtocolError, RemoteProtocolError
from est_core.asn1.attributes import read_name
from est_core.asn1.cms import read_certificate
from est_core.asn1.pkcs10 import parse_cert_request
from est_core.checks.constraints import (
    ConstrainedName,
    NameConstraints,
    NameKind,
    Subtree,
    constrained_names,
    name_constraints,
)
from est_core.checks.hosts import ProtectedHosts, address_in, canonical_host
from est_core.checks.issued import Point, issued_differences
from est_core.checks.names import (
    canonical_general_names,
    canonical_name,
    look_alike,
    same_name,
)
from est_transports.fairness.networks import network_of_host, network_of_peer
from est_transports.pki.host_verification import ip_literal
from est_transports.pki.hosts import host_name
from est_transports.pki.library_warnings import ignore_library_warnings
from fuzz import cast, corpus
from fuzz.cast import HOST, LIMITS
from fuzz.choices import pack, unpack
from fuzz.target import Result, Shape, Target, accepted, passed, refused, stopped
from fuzz.tree import parse

_PLAIN_HOST: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


def hosts(data: bytes) -> Result:
    """Two texts name one host or two, and whoever names a protected host is found, in any form."""
    one, _, other = data.decode("utf-8", "replace").partition("\n")
    host = canonical_host(one)
    assert canonical_host(host) == host
    address = address_in(one)
    assert address is None or str(address) == host
    if not _PLAIN_HOST.fullmatch(host):
        return (stopped if address is None else passed)(f"{address is None}")
    mapped = f"::ffff:{host}" if isinstance(address, ipaddress.IPv4Address) else host
    assert canonical_host(mapped) == host
    protected = ProtectedHosts.of([one])
    assert protected.claimed_in(one)
    if canonical_host(other) != host:
        return passed(f"{address is None} {protected.loopback} {protected.claimed_in(other)}")
    for text in (other, f"https://{host}:8443/x", f"somebody@{host}", f"_est._tcp.{host}"):
        assert protected.claimed_in(text)
    return accepted(f"{address is None} {protected.loopback} same")


def host_names(data: bytes) -> Result:
    """A host is refused, or has one writing, which is ASCII and of one network."""
    text = data.decode("utf-8", "replace")
    network = network_of_peer(text)
    assert network_of_host(network) == network
    try:
        host = host_name(text)
    except LocalProtocolError:
        return (passed if text.isascii() and text else stopped)("refused")
    assert host.isascii()
    assert host_name(host) == host
    literal = ip_literal(host)
    assert literal in ("", host)
    if literal:
        peers = (f"[{host}]:443", f"[{host}]") if ":" in host else (f"{host}:443", host)
        assert {network_of_peer(peer) for peer in peers} == {network_of_host(host)}
    return accepted(f"{bool(literal)} {':' in host}")


def names(data: bytes) -> Result:
    """Two distinguished names are one or two, the same either way; case and type do not matter."""
    parts = (*unpack(data), b"", b"")
    try:
        one, other = (read_name(part, LIMITS) for part in parts[:2])
    except RemoteProtocolError as error:
        return refused(error, "der/")
    same, alike = same_name(one, other), look_alike(one, other)
    assert (same_name(other, one), look_alike(other, one)) == (same, alike)
    assert alike or not same
    assert same == (canonical_name(one) == canonical_name(other))
    with suppress(RemoteProtocolError):  # a country in lower case, for one
        assert same_name(one, read_name(_respelt(parts[0]), LIMITS))
    try:
        found = canonical_general_names(parts[2] or None, LIMITS)
    except RemoteProtocolError as error:
        return accepted(f"{same} {alike} {error.code}")
    assert canonical_general_names(parts[2] or None, LIMITS) == found
    return accepted(f"{same} {alike} {bool(found)}")


def _respelt(name: bytes) -> bytes:
    """Return a name with its letters in the other case, and PrintableStrings as UTF8Strings."""
    nodes = parse(name) or []
    for node in [each for root in nodes for each in root.walk()]:
        if node.tag in (0x13, 0x0C) and node.content.isascii():
            node.tag, node.content = 0x0C, node.content.swapcase()
    return b"".join(node.der() for node in nodes)


def constraints(data: bytes) -> Result:
    """Constraints are refused, or what they let pass is inside of them, judged once more."""
    value, alternatives, *_ = (*unpack(data), b"", b"")
    try:
        found = name_constraints(_with_extension("2.5.29.30", value))
    except LocalProtocolError as error:
        return (stopped if parse(value) is None else passed)(error.message)
    assert found is not None
    subject = cast.name_of(f"www.{HOST}")
    allowed = []
    for name in constrained_names(subject, _alternatives(alternatives)):
        if not found.violation(name):
            assert _is_inside(found, name)
            allowed.append(name.kind.name)
    kinds = sorted({tree.kind.name for tree in (*found.permitted, *found.excluded)})
    return accepted(f"{' '.join(kinds)}: {' '.join(dict.fromkeys(allowed))}")


def _with_extension(oid: str, value: bytes) -> x509.Certificate:
    """Return a certificate that has this extension, whatever stands in it."""
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
    ca = cast.ca()
    builder = x509.CertificateBuilder(
        issuer_name=ca.certificate.subject,
        subject_name=ca.certificate.subject,
        public_key=ca.key.public_key(),
        serial_number=9,
        not_valid_before=ca.certificate.not_valid_before_utc,
        not_valid_after=ca.certificate.not_valid_after_utc,
    )
    builder = builder.add_extension(extension, critical=True)
    return builder.sign(ca.key, hashes.SHA256(), ecdsa_deterministic=True)


def _alternatives(value: bytes) -> x509.SubjectAlternativeName | None:
    ignore_library_warnings()  # of long names
    with suppress(ValueError, TypeError):
        extensions = _with_extension("2.5.29.17", value).extensions
        return extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return None


def _is_inside(found: NameConstraints, name: ConstrainedName) -> bool:
    """Judge by RFC 5280 4.2.1.10, written a second time for hosts and addresses."""
    if name.kind not in (NameKind.DNS, NameKind.IP):
        return True
    permitted = [tree for tree in found.permitted if tree.kind is name.kind]
    excluded = [tree for tree in found.excluded if tree.kind is name.kind]
    if any(_covers(tree, name) for tree in excluded):
        return False
    return not permitted or any(_covers(tree, name) for tree in permitted)


def _covers(tree: Subtree, name: ConstrainedName) -> bool:
    base, value = tree.base, name.value
    if isinstance(base, str) and isinstance(value, str):
        labels, wanted = value.lower().split("."), base.lower().lstrip(".").split(".")
        if not base:
            return True
        below = labels[-len(wanted) :] == wanted
        return below and (not base.startswith(".") or len(labels) > len(wanted))
    if isinstance(base, bytes) and isinstance(value, bytes) and len(base) == 2 * len(value):
        number, network = int.from_bytes(value, "big"), int.from_bytes(base[: len(value)], "big")
        return not (number ^ network) & int.from_bytes(base[len(value) :], "big")
    return False


def issued(data: bytes) -> Result:
    """A certificate is compared with what was asked for: no host and no right of a CA unnoticed."""
    csr_der, certificate_der, *_ = (*unpack(data), b"", b"")
    try:
        csr = parse_cert_request(csr_der, LIMITS)
        certificate = read_certificate(certificate_der, LIMITS)
    except RemoteProtocolError as error:
        return refused(error, "der/")
    found = issued_differences(csr, certificate, now=_NOW, limits=LIMITS)
    assert list(found) == sorted(found, key=lambda each: not each.dangerous)
    dangers = {each.point for each in found if each.dangerous}
    if Point.UNREADABLE not in dangers:
        # The other reader warns of a common name that is empty.
        with suppress(ValueError, x509.UnsupportedGeneralNameType, UserWarning):
            _assert_noticed(x509.load_der_x509_csr(csr_der), certificate, dangers)
    assert (certificate.not_valid_after_utc < _NOW) <= (Point.VALIDITY in dangers)
    return accepted(" ".join(sorted({f"{each.point.name} {each.dangerous}" for each in found})))


def _assert_noticed(
    csr: x509.CertificateSigningRequest, certificate: x509.Certificate, dangers: set[Point]
) -> None:
    asked, got = (_extensions(each.extensions) for each in (csr, certificate))
    assert got[1] <= asked[1] or Point.CA in dangers
    common = {str(each.value).lower() for each in csr.subject}
    assert got[0] <= asked[0] | common or Point.NAMES in dangers


def _extensions(extensions: x509.Extensions) -> tuple[set[str], bool]:
    """Return the hosts that are named, in lower case, and whether it is for a CA."""
    found, is_ca = set[str](), False
    for each in extensions:
        if isinstance(each.value, x509.SubjectAlternativeName):
            for name in each.value.get_values_for_type(x509.DNSName):
                found.add(name.lower().removesuffix("."))
        if isinstance(each.value, x509.BasicConstraints):
            is_ca = each.value.ca
    return found, is_ca


def _name_pairs() -> Iterator[bytes]:
    """Yield names beside each other, with the same again, and with what looks like it."""
    found = [
        each.subject.public_bytes()
        for each in map(x509.load_der_x509_certificate, corpus.certificates())
    ]
    names_der = x509.SubjectAlternativeName([x509.DNSName(HOST), *_some_names()]).public_bytes()
    for number, one in enumerate(found):
        yield pack((one, one, names_der))
        yield pack((one, _respelt(one), names_der))
        yield pack((one, found[number - 1]))


def _some_names() -> tuple[x509.GeneralName, ...]:
    return (
        x509.DNSName(f"a.b.{HOST}"),
        x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
        x509.RFC822Name(f"somebody@{HOST}"),
        x509.UniformResourceIdentifier(f"https://www.{HOST}/x"),
        x509.DirectoryName(cast.name_of("device-1")),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    )


def _constrained() -> Iterator[bytes]:
    """Yield constraints of every kind, beside names that are inside, and that are not."""
    subtrees = (
        *(x509.DNSName(HOST), x509.DNSName(""), x509.RFC822Name(f".{HOST}")),
        *(x509.IPAddress(ipaddress.ip_network(each)) for each in ("192.0.2.0/24", "2001:db8::/32")),
        *(x509.UniformResourceIdentifier(f".{HOST}"), x509.DirectoryName(cast.name_of("a"))),
    )
    some = x509.SubjectAlternativeName(_some_names()).public_bytes()
    hosts_alone = x509.SubjectAlternativeName(_some_names()[:3]).public_bytes()
    everything = x509.NameConstraints(subtrees, None)
    outside = x509.NameConstraints(subtrees[:1], [x509.DNSName("a.b.c")])
    for each in (everything, x509.NameConstraints(None, subtrees[2:]), outside):
        yield pack((each.public_bytes(), some))
    for tree in subtrees:
        yield pack((x509.NameConstraints([tree], None).public_bytes(), hosts_alone))
        yield pack((x509.NameConstraints(None, [tree]).public_bytes(), some))


def _issued_pairs() -> Iterator[bytes]:
    for csr in corpus.requests():
        for certificate in corpus.certificates():
            yield pack((csr, certificate))


_HOSTS: Final = (
    *(b"localhost\n127.0.0.1", b"127.1\n0x7f.0.0.1", b"2130706433\n127.0.0.1", b"::1\n[::1]"),
    *(b"est.example\nEST.example.", b"b\xc3\xbccher.example\nxn--bcher-kva.example"),
    *(b"192.0.2.1\n::ffff:192.0.2.1", b"10.0.0.1\n64:ff9b::a00:1", b"a.example\nb.example"),
    *(b"*.est.example\nwww.est.example", b"0300.0.2.1\n192.0.2.1", b"2002:c000:201::\n192.0.2.1"),
)
_HOST_NAMES: Final = (
    *(b"est.example", b"EST.Example.", b"192.0.2.1", b"[2001:db8::1]", b"2001:DB8::0:1", b"a"),
    *(b"xn--bcher-kva.example", b"::ffff:192.0.2.1", b"fe80::1%eth0", b"a_b.c", b"1.2.3"),
)
_HOST_WORDS: Final = (
    *(b".", b":", b"[", b"]", b"%", b"@", b"*", b"0x", b"0", b"::ffff:", b"64:ff9b::", b"2002:"),
    *(
        b"localhost",
        b"xn--",
        b"\xe3\x80\x82",
        b"\xc2\xad",
        b"\xef\xbc\x8e",
        b"\n",
        b"//",
        b"https:",
    ),
)
_NAME_WORDS: Final = (
    b"\x82\x01.",
    b"\x1e\x02\0a",
    b"\x0c\x00",
    b"\xa0\x03",
    b"\xa1\x03",
    b"\x87\x08",
)

TARGETS: Final = (
    Target(
        run=hosts,
        seeds=lambda: _HOSTS,
        words=_HOST_WORDS,
        max_bytes=512,
        gate="names a host or an address",
        goal="names one host twice",
        modules=("est_core.checks.hosts",),
    ),
    Target(
        run=host_names,
        seeds=lambda: _HOST_NAMES,
        words=_HOST_WORDS,
        max_bytes=512,
        gate="is ASCII",
        goal="is a host that a certificate can have",
        modules=(
            "est_transports.pki.hosts",
            "est_transports.fairness.networks",
            "est_transports.pki.host_verification",
        ),
    ),
    Target(
        run=names,
        seeds=_name_pairs,
        shape=Shape.PARTS,
        words=_NAME_WORDS,
        gate="is DER",
        goal="is two names",
        modules=("est_core.checks.names", "est_core.asn1.distinguished_name"),
    ),
    Target(
        run=constraints,
        seeds=_constrained,
        shape=Shape.PARTS,
        words=_NAME_WORDS,
        gate="is DER",
        goal="is constraints that can be read",
        modules=("est_core.checks.constraints",),
    ),
    Target(
        run=issued,
        seeds=_issued_pairs,
        shape=Shape.PARTS,
        gate="is DER",
        goal="is a request and a certificate",
        modules=("est_core.checks.issued", "est_core.asn1.certificate_extensions"),
    ),
)
