"""Each generation of a CA: its certificate, its dates, and what hangs on it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509

from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.planned_certificate import authority_key_id
from est_transports.authority.stores import Store
from est_transports.pki.trust import load_pem_certificates
from est_transports.service.config.settings import ServerConfig


@value_class
class Generation:
    """A key of the CA. `trusted_until` is None for the present one; all None for other keys.

    `certificates` are those in use that it issued: not expired, not revoked. `last_ends` is the
    end of the last one of them.
    """

    name: str
    certificate: x509.Certificate | None = None
    key_identifier: bytes | None = None
    file: Path | None = None
    trusted_until: datetime | None = None
    certificates: int = 0
    last_ends: datetime | None = None


@checked
def generations_of(config: ServerConfig, store: Store, now: datetime) -> tuple[Generation, ...]:
    """Return the present generation, those before it, and last what other keys issued, if anything.

    Raises CredentialFileError, StoreError.
    """
    counts = {each.issuer_key: each for each in store.count_by_issuer(now)}
    files: list[tuple[Path, datetime | None]] = [(config.ca.certificate, None)]
    files += [(each.certificate, each.trusted_until) for each in config.ca.former]
    found = []
    for number, (path, until) in enumerate(files):
        certificate = load_pem_certificates(path, needs_first=True)[0]
        key = authority_key_id(certificate).key_identifier
        count = counts.pop(key, None)
        found.append(
            Generation(
                name=str(len(files) - number),
                certificate=certificate,
                key_identifier=key,
                file=path,
                trusted_until=until,
                certificates=0 if count is None else count.certificates,
                last_ends=None if count is None else count.ends,
            )
        )
    if counts:
        others = tuple(counts.values())
        found.append(
            Generation(
                name="other",
                certificates=sum(each.certificates for each in others),
                last_ends=max(each.ends for each in others),
            )
        )
    return tuple(found)
