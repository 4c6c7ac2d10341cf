"""Checks of the server's certificate: who vouches for it, for whom, until when, and how well."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from cryptography import x509

from est_core.channel import TrustClass
from est_transports.doctor.findings import NotJudged, Verdict, fault, note, ok, warning, worst
from est_transports.doctor.probes import Probes
from est_transports.doctor.report import Check
from est_transports.doctor.texts import listed, quoted, shown
from est_transports.pki.certificate_checks import (
    UNREADABLE,
    Purpose,
    key_flaw,
    unreadable_part,
    usage_flaw,
    weak_signature,
)
from est_transports.pki.chains import is_issued_by, is_self_signed
from est_transports.pki.host_verification import common_hosts, names_host, own_names
from est_transports.pki.names import name_text, subject_text

_SOON: Final = timedelta(days=30)
_SOON_SHARE: Final = 0.1


def _trust(probes: Probes) -> Verdict:
    probes.anchors()
    channel = probes.verified_channel()
    match channel.trust_class:
        case TrustClass.EXPLICIT:
            return ok("verified by a trust anchor that was given")
        case TrustClass.IMPLICIT:
            return note("verified by a CA of this machine's trust store, as any site's could be")
        case _:
            return fault(f"not verified: {shown(channel.failure) or 'it showed no certificate'}")


def _names(probes: Probes) -> Verdict:
    certificate, host = probes.chain()[0], probes.config.uri.host
    if names_host(certificate, host):
        return ok(f"the certificate names {host}")
    try:
        names, common = own_names(certificate), common_hosts(certificate)
    except UNREADABLE as exc:
        raise NotJudged("the names of the certificate cannot be read") from exc
    if not names and host in common:
        return fault(f"{host} is the common name only, and there is no subjectAltName")
    return fault(f"the certificate does not name {host}: it names {_listed(names)}")


def _listed(names: frozenset[str]) -> str:
    return listed((quoted(each) for each in sorted(names)), "no host")


def _validity(probes: Probes) -> Verdict:
    now, certificate = probes.clock().wall, probes.chain()[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        return fault(f"expired on {_day(end)}")
    if now < begin:
        return fault(f"not valid before {_day(begin)}", "check the clocks of both ends")
    left = end - now
    seen = f"valid until {_day(end)}, {left.days} days left"
    if left < _SOON and left < (end - begin) * _SOON_SHARE:
        return warning(seen)
    return ok(seen)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _order(probes: Probes) -> Verdict:
    chain = probes.chain()
    names = [shown(subject_text(each), 64) for each in chain]
    for place, (below, above) in enumerate(pairwise(chain), start=2):
        if is_issued_by(below, above):
            continue
        if any(is_issued_by(below, each) for each in chain):
            return fault(f"certificate {place} ({names[place - 1]}) is out of order")
        return warning(f"certificate {place} ({names[place - 1]}) does not belong to the chain")
    if len(chain) > 1 and is_self_signed(chain[-1]):
        return note(f"{len(chain)} certificates in order; the last is the root")
    return ok(f"{listed(names)}: in order")


def _complete(probes: Probes) -> Verdict:
    chain = probes.chain()
    last = chain[-1]
    if is_self_signed(last) and len(chain) == 1:
        return warning("the certificate is self-signed: it is its own and only anchor")
    anchors = (*probes.config.trust.certificates, *probes.ca_certificates())
    if not anchors:
        probes.bag()  # says why there are none
    roots = [each for each in anchors if is_self_signed(each)]
    if is_self_signed(last) or any(is_issued_by(last, each) for each in roots):
        return ok("the chain leads to a root")
    issuer = _issuer_text(last)
    if any(is_issued_by(last, each) for each in anchors):
        return warning(f"the certificate of {issuer} is missing in the handshake")
    return warning(f"the chain ends below {issuer}, which is neither sent nor in /cacerts")


def _issuer_text(certificate: x509.Certificate) -> str:
    try:
        return shown(name_text(certificate.issuer), 64)
    except UNREADABLE:
        return "an issuer whose name cannot be read"


def _key(probes: Probes) -> Verdict:
    return worst(
        [
            fault(f"certificate {place}: {flaw}")
            for place, each in enumerate(probes.chain(), start=1)
            if (flaw := unreadable_part(each) or key_flaw(each))
        ],
        ok(_key_text(probes.chain()[0])),
    )


def _key_text(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    size = getattr(key, "key_size", None)
    kind = type(key).__name__.removesuffix("PublicKey").strip("_")
    return f"{kind} key of {size} bits" if size else f"{kind} key"


def _signature(probes: Probes) -> Verdict:
    chain = probes.chain()
    return worst(
        [
            fault(f"certificate {place}: {flaw}")
            for place, each in enumerate(chain, start=1)
            if (flaw := weak_signature(each)) and not is_self_signed(each)
        ],
        ok(_signature_text(chain[0])),
    )


def _signature_text(certificate: x509.Certificate) -> str:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UNREADABLE:
        return "signed with an algorithm that is not known here"
    return f"signed with {algorithm.name if algorithm else 'an algorithm of its own hash'}"


def _usage(probes: Probes) -> Verdict:
    certificate = probes.chain()[0]
    if unread := unreadable_part(certificate):
        raise NotJudged(unread)
    if flaw := usage_flaw(certificate, Purpose.TLS_SERVER):
        return fault(flaw)
    return ok("the certificate may be used by a server")


CHECKS: Final = (
    Check(
        name="certificate.trust",
        title="The server's certificate verifies",
        means="A client goes on with a server only if a trust anchor verifies it; an explicit one "
        "vouches for an EST server, an implicit one for any site (RFC 7030 3.3.1, 3.6).",
        do="give devices the root that certifies this server, or let the server send the "
        "certificates between",
        judge=_trust,
    ),
    Check(
        name="certificate.names",
        title="The certificate names the host",
        means="Clients compare the host of the URL with subjectAltName, and not with the common "
        "name (RFC 7030 3.6, RFC 9525 2).",
        do="issue a certificate with this host as dNSName, or as iPAddress for an address",
        judge=_names,
    ),
    Check(
        name="certificate.validity",
        title="The certificate is valid, and for a while yet",
        means="An expired certificate ends every enrollment (RFC 5280 4.1.2.5).",
        do="renew the server's certificate",
        judge=_validity,
    ),
    Check(
        name="certificate.order",
        title="The certificates in the handshake are in order",
        means="Each MUST certify the one before it in TLS 1.2, and small devices read them so "
        "(RFC 5246 7.4.2, RFC 8446 4.4.2).",
        do="put the server's certificate first in its file, then each issuer after what it issued",
        judge=_order,
    ),
    Check(
        name="certificate.complete",
        title="The chain leads to a root",
        means="A device has the root and not the certificates between, so the server sends those "
        "(RFC 5246 7.4.2).",
        do="add the intermediate certificates to the server's certificate file",
        judge=_complete,
    ),
    Check(
        name="certificate.key",
        title="The keys are strong enough",
        means="RSA from 2048 bits, or P-256 and more (RFC 9325 4.5).",
        do="issue a certificate for a new key, P-256 say",
        judge=_key,
    ),
    Check(
        name="certificate.signature",
        title="The signatures are good ones",
        means="SHA-1 and MD5 prove nothing any more (RFC 9155, RFC 9325 4.5).",
        do="have the certificate issued again with SHA-256",
        judge=_signature,
    ),
    Check(
        name="certificate.usage",
        title="The certificate may be a server's",
        means="extendedKeyUsage, where it is there, has serverAuth or id-kp-cmcRA, and keyUsage "
        "has digitalSignature (RFC 7030 3.6.1, RFC 5280 4.2.1.12).",
        do="issue a certificate with serverAuth",
        judge=_usage,
    ),
)
