"""What every certificate of a profile has besides what its request asks for.

Policies, and where others find what they need to verify it: revocation lists, an OCSP responder,
the certificate of the issuer. RFC 5280 4.2.1.4, 4.2.1.13, 4.2.2.1; RFC 7633.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from est_core import LocalProtocolError
from est_core.asn1.csrattrs import ObjectId
from est_core.values import value_class
from est_transports.authority.certificate_plan import PlannedExtension

URLS_MAX: Final = 8
POLICIES_MAX: Final = 16
_URL_CHARS: Final = 1024
_URL: Final = re.compile(r"[A-Za-z0-9._~:/?@!$&'()*+,;=%\[\]-]+")


@value_class
class CertificatePolicy:
    """A policy under which certificates are issued, and where it can be read, if anywhere.

    Raises LocalProtocolError for an `oid` that is none, and a `cps` that is no http or https URL.
    """

    oid: str
    cps: str | None = None

    def __post_init__(self) -> None:
        ObjectId(oid=self.oid)
        if self.cps is not None:
            check_url(self.cps, schemes=("http", "https"))

    def information(self) -> x509.PolicyInformation:
        """Return it as the extension has it."""
        return x509.PolicyInformation(
            x509.ObjectIdentifier(self.oid), None if self.cps is None else [self.cps]
        )


@value_class
class ProfileAdditions:
    """What every certificate of a profile has besides: see the module.

    The URLs are http only: who verifies a certificate by them would need another certificate for
    https, and this one perhaps for that (RFC 5280 8). `must_staple` demands of a TLS server that it
    shows an OCSP answer. Raises LocalProtocolError for a URL that cannot be used, for a policy
    that is there twice, and for `must_staple` without a responder.
    """

    policies: tuple[CertificatePolicy, ...] = ()
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    ca_issuers_urls: tuple[str, ...] = ()
    must_staple: bool = False

    def __post_init__(self) -> None:
        oids = [each.oid for each in self.policies]
        if len(set(oids)) < len(oids):
            raise LocalProtocolError("policies: each is there once")
        if len(oids) > POLICIES_MAX:
            raise LocalProtocolError(f"policies: {POLICIES_MAX} at most")
        for name in ("crl_urls", "ocsp_urls", "ca_issuers_urls"):
            urls: tuple[str, ...] = getattr(self, name)
            if len(urls) > URLS_MAX or len(set(urls)) < len(urls):
                raise LocalProtocolError(f"{name}: each is there once, and {URLS_MAX} at most")
            for url in urls:
                check_url(url)
        if self.must_staple and not self.ocsp_urls:
            raise LocalProtocolError("must_staple: there is no responder in ocsp_urls")

    def extensions(self) -> tuple[PlannedExtension, ...]:
        """Return the extensions; none is critical."""
        return _extensions(self)


def check_url(text: str, schemes: tuple[str, ...] = ("http",)) -> None:
    """Return if a text is a URL that everybody can ask. Raises LocalProtocolError."""
    if not 0 < len(text) <= _URL_CHARS or not _URL.fullmatch(text):
        raise LocalProtocolError(f"{text[:_URL_CHARS]!r} is not a URL")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise LocalProtocolError(f"{text!r} is not a URL: {exc}") from exc
    if parts.scheme not in schemes or not text.startswith(f"{parts.scheme}://"):
        raise LocalProtocolError(f"{text!r} is not {' or '.join(f'{each}://' for each in schemes)}")
    if not host or port == 0 or "@" in parts.netloc:
        raise LocalProtocolError(f"{text!r} names no host, or a user")


@lru_cache(maxsize=128)
def _extensions(additions: ProfileAdditions) -> tuple[PlannedExtension, ...]:
    found: list[x509.ExtensionType] = []
    if additions.policies:
        found.append(x509.CertificatePolicies([each.information() for each in additions.policies]))
    if additions.crl_urls:
        # One point with several names: all of them lead to the same list.
        names = [x509.UniformResourceIdentifier(url) for url in additions.crl_urls]
        found.append(x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)]))
    access = [(AuthorityInformationAccessOID.OCSP, url) for url in additions.ocsp_urls]
    access += [(AuthorityInformationAccessOID.CA_ISSUERS, u) for u in additions.ca_issuers_urls]
    if access:
        found.append(
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(kind, x509.UniformResourceIdentifier(url))
                    for kind, url in access
                ]
            )
        )
    if additions.must_staple:
        found.append(x509.TLSFeature([x509.TLSFeatureType.status_request]))
    return tuple(PlannedExtension(value=value) for value in found)
