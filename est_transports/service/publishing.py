"""What a server publishes over plain HTTP: the resources of its `[publication]`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from est_core.asn1.cms import write_certs_only
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.crls import crl_issuer_key, crl_issuers
from est_transports.authority.planned_certificate import authority_key_id
from est_transports.publication.resources import Publication, Published, Resource
from est_transports.service.config.settings import ServerConfig
from est_transports.service.crl_resource import CrlResource
from est_transports.service.ocsp_loading import ocsp_resources

CA_CERTIFICATE_TYPE: Final = "application/pkix-cert"
CA_CERTIFICATES_TYPE: Final = "application/pkcs7-mime"
CA_MAX_AGE_S: Final = 3600
"""How long caches may keep CA certificates: a key may get a further one in a rollover."""


def publication_of(config: ServerConfig, ca: ReferenceCA, now: datetime) -> Publication:
    """Return what is published, nothing where it is served nowhere.

    Raises ServingError and StoreError as `ocsp_resources`.
    """
    if not config.publication.listen:
        return Publication()
    lists = (
        CrlResource(ca.store, crl_issuer_key(each)).resource()
        for each in crl_issuers(ca)
        if each.signs_crls
    )
    answers = ocsp_resources(config.ocsp, ca, now)
    return Publication(resources=(*ca_resources(ca.ca_certificates()), *lists, *answers))


def ca_resources(certificates: tuple[x509.Certificate, ...]) -> Iterator[Resource]:
    """Yield a resource for the key of each CA, by its identifier in hexadecimal.

    `/ca/KEY.cer` is the first certificate of that key; `/ca/KEY.p7c` has all of them, where there
    are several. RFC 5280 4.2.2.1.
    """
    by_key: dict[str, list[x509.Certificate]] = {}
    for each in certificates:
        if key := authority_key_id(each).key_identifier:
            by_key.setdefault(key.hex(), []).append(each)
    for name, of_key in by_key.items():
        first = of_key[0]
        der, since = first.public_bytes(Encoding.DER), first.not_valid_before_utc
        yield _fixed(f"/ca/{name}.cer", CA_CERTIFICATE_TYPE, der, since)
        if len(of_key) > 1:
            newest = max(each.not_valid_before_utc for each in of_key)
            yield _fixed(f"/ca/{name}.p7c", CA_CERTIFICATES_TYPE, write_certs_only(of_key), newest)


def _fixed(path: str, content_type: str, body: bytes, modified: datetime) -> Resource:
    published = Published(
        content_type=content_type, body=body, max_age_s=CA_MAX_AGE_S, modified=modified
    )
    return Resource(path=path, answer=lambda *_: published, waits=False)
