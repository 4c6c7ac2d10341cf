"""What a CA would issue for a request, told without its key, and without a record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core.asn1.pkcs10 import CertRequest
from est_transports.authority.ca import BACKDATED, CAUnavailable
from est_transports.authority.issuer_limits import IssuerLimits
from est_transports.authority.lint import UnsignedCertificate, check_unsigned
from est_transports.authority.planned_certificate import IssuerPart
from est_transports.authority.profiles import Profile, Refused, ReservedNames, certify


def preview(
    csr: CertRequest,
    profile: Profile,
    reserved: ReservedNames,
    path: Sequence[x509.Certificate],
    *,
    now: datetime,
) -> UnsignedCertificate:
    """Return what would be signed for `csr` now, aware UTC; its serial number stands for any.

    `path` leads from the issuing certificate to the root. The signature of the request was verified
    before. What only the records of the CA tell is not looked at: whose names these are, how often
    the key was certified. Raises Refused and CAUnavailable as `ReferenceCA.issue`, and
    LocalProtocolError for a path whose limits cannot be read.
    """
    issuing = path[0]
    own = issuing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if csr.key.spki == own:
        raise Refused("profile/ca-key", "that is the key of this CA")
    limits = IssuerLimits.of(path)
    plan = certify(csr, profile, reserved)
    limits.check(plan)
    if problem := limits.outdated(now):
        raise CAUnavailable(problem)
    moment = now.astimezone(UTC).replace(microsecond=0)
    begin = max(moment - BACKDATED, limits.begin)
    end = min(plan.end(moment), limits.end)
    found = IssuerPart.of(issuing).unsigned(plan, csr.spki, serial=1, begin=begin, end=end)
    check_unsigned(found)
    return found
