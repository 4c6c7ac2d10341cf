"""Certificates that lead up to a trust anchor, validated outside of any handshake.

For what came from a server and for what an operator brings along. OpenSSL does the path
validation (RFC 5280 6); strength and use of each certificate are judged as in a handshake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from OpenSSL import crypto

from est_core.arguments import checked
from est_transports.pki.certificate_checks import UNREADABLE, Purpose, flaw
from est_transports.pki.certificates import read_certificate
from est_transports.pki.clock_floor import raised
from est_transports.pki.openssl_store import fill_store
from est_transports.pki.path_problems import problem_of, problem_text
from est_transports.pki.trust import TrustAnchors


@checked
def chain_problem(
    certificate: x509.Certificate,
    *,
    anchors: Iterable[x509.Certificate],
    others: Iterable[x509.Certificate] = (),
    now: datetime,
) -> str:
    """Return why no valid path leads from `certificate` to one of `anchors`, or "".

    `others` may be on the path and are not trusted. `now` is aware UTC. Names and purposes are
    not looked at. RFC 5280 6.1.
    """
    _, problem = _path(certificate, anchors, others, now)
    return problem


@checked
def issuer_problem(
    certificate: x509.Certificate,
    *,
    anchors: Iterable[x509.Certificate],
    others: Iterable[x509.Certificate] = (),
    now: datetime,
) -> str:
    """Return why `certificate` cannot certify end entities below one of `anchors`, or "".

    As chain_problem, for the certificate of a CA: it has to fit into the path lengths above it.
    """
    path, problem = _path(certificate, anchors, others, now)
    if problem:
        return problem
    if not is_ca(certificate):
        return "is not that of a CA"
    return "" if _lengths_are_kept(path) else "path length exceeded"


def _path(
    certificate: x509.Certificate,
    anchors: Iterable[x509.Certificate],
    others: Iterable[x509.Certificate],
    now: datetime,
) -> tuple[tuple[x509.Certificate, ...], str]:
    """Return the verified path, the certificate first, and what is wrong with it."""
    anchors = tuple(anchors)
    try:
        store = crypto.X509Store()
        store.set_time(now)
        fill_store(store, TrustAnchors(explicit=anchors))
        untrusted = [crypto.X509.from_cryptography(each) for each in others]
        leaf = crypto.X509.from_cryptography(certificate)
        found = crypto.X509StoreContext(store, leaf, untrusted).get_verified_chain()
        return tuple(each.to_cryptography() for each in found), ""
    except crypto.X509StoreContextError as exc:
        return (), _problem(exc, anchors)
    except (crypto.Error, *UNREADABLE):
        return (), "cannot be read"


def _problem(error: crypto.X509StoreContextError, anchors: tuple[x509.Certificate, ...]) -> str:
    """Return what OpenSSL found, and of which certificate."""
    number, depth, *_ = error.errors
    certificate = read_certificate(error.certificate)
    if certificate is None:  # OpenSSL copies none whose key it cannot read
        return problem_text(number)
    return problem_of(certificate, number, depth=depth, anchors=anchors)


def _lengths_are_kept(path: Sequence[x509.Certificate]) -> bool:
    """True if the first certificate of a verified path may be an issuer itself.

    OpenSSL takes it for the end of the path and does not count it. RFC 5280 4.2.1.9.
    """
    below = 0  # CAs that are not self-issued
    for certificate, issuer in pairwise(path):
        below += certificate.subject != certificate.issuer
        room = _constraints(issuer)
        if room is not None and room.path_length is not None and below > room.path_length:
            return False
    return True


@checked
def leading_to(
    anchors: Sequence[x509.Certificate],
    certificates: Iterable[x509.Certificate],
    *,
    now: datetime,
    floor: datetime | None = None,
) -> tuple[x509.Certificate, ...]:
    """Return the CA certificates among `certificates` that are anchors or validly lead to one.

    In their order. Where `now` is before `floor` the clock is unset, see pki.clock_floor.
    What a bootstrap accepted is a root and no more: the rest of the answer may be anybody's, and
    is good for building paths only after this. RFC 7030 4.1.3.
    """
    given = tuple(certificates)
    unset = None if floor is None or now >= floor else floor

    def leads(each: x509.Certificate) -> bool:
        # Each by its own time: one of them cannot move the time of the others.
        when = now if unset is None else raised(unset, (*anchors, each))
        return not issuer_problem(each, anchors=anchors, others=given, now=when)

    return tuple(each for each in given if each in anchors or leads(each))


@checked
def issuer_flaw(certificate: x509.Certificate) -> str:
    """Return why a certificate of a CA is no good above a TLS server's, or "".

    It must be a CA's, with keyCertSign where it has keyUsage, and strong enough. The signature
    on a self-signed one counts for nothing.
    """
    if not is_ca(certificate):
        return "is not that of a CA"
    if not may_certify(certificate):
        return "is not for signing certificates (no keyCertSign)"
    return flaw(certificate, Purpose.TLS_SERVER, leaf=False, signed=not is_self_signed(certificate))


@checked
def certifier_flaw(certificate: x509.Certificate) -> str:
    """Return why a certificate is no good above any other, whatever that is for, or "".

    As `issuer_flaw`, with the purposes left out.
    """
    if not is_ca(certificate):
        return "is not that of a CA"
    if not may_certify(certificate):
        return "is not for signing certificates (no keyCertSign)"
    signed = not is_self_signed(certificate)
    flaws = {flaw(certificate, purpose, leaf=False, signed=signed) for purpose in Purpose}
    return flaws.pop() if len(flaws) == 1 else ""


@checked
def is_ca(certificate: x509.Certificate) -> bool:
    """True if basicConstraints says so. RFC 5280 4.2.1.9."""
    constraints = _constraints(certificate)
    return constraints is not None and constraints.ca


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return None


@checked
def may_certify(certificate: x509.Certificate) -> bool:
    """True unless keyUsage is there without keyCertSign. RFC 5280 4.2.1.3."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False


@checked
def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True if the issuer's name and key are those that signed the certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


@checked
def is_self_signed(certificate: x509.Certificate) -> bool:
    """True if the certificate is signed with its own key, as a root is, with whatever algorithm."""
    return is_issued_by(certificate, certificate) or _is_root_to_openssl(certificate)


def _is_root_to_openssl(certificate: x509.Certificate) -> bool:
    """True if OpenSSL verifies a certificate with its own key.

    `cryptography` verifies no signature over SHA-1, which many an old root still bears.
    """
    try:
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.CHECK_SS_SIGNATURE)
        store.set_time(certificate.not_valid_before_utc)
        root = crypto.X509.from_cryptography(certificate)
        store.add_cert(root)
        crypto.X509StoreContext(store, root).verify_certificate()
    except (crypto.Error, crypto.X509StoreContextError, *UNREADABLE):
        return False
    return True
