"""What is learned, after a restore, of the time since the backup was taken: by what is left of it.

That is the directory that was moved aside, files that are named outside, and what the operator has:
an audit file says what was issued, the revocation lists of this CA what was revoked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from cryptography import x509

from est_core.values import value_class
from est_transports.authority.stores import StoreError
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.cli.output import warn
from est_transports.pki.names import name_text
from est_transports.pki.trust import CredentialFileError, load_pem_certificates, load_pem_crls
from est_transports.service.backup.manifest import LeftOut, Reason
from est_transports.service.backup.restoring import Restored
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.config.settings import ServerConfig
from est_transports.service.revoked_since import RevokedSince, is_own_list, revoke_as_listed
from est_transports.service.unrecorded import Unrecorded, unrecorded
from est_transports.toml.tables import ConfigError

Crl = x509.CertificateRevocationList


@value_class
class After:
    """What is to be done by hand, what was done, and what is lost.

    `newer_lists` is how many lists of this CA were found that were made after the backup.
    """

    missing: tuple[LeftOut, ...] = ()
    lacking: tuple[Unrecorded, ...] = ()
    revoked: RevokedSince
    newer_lists: int = 0


def look_after(
    directory: Path, restored: Restored, audit: Path | None, crls: Sequence[Crl]
) -> After:
    """Revoke again what lists of this CA say, and return what there is to be told.

    `audit` and `crls` are what the operator has. What cannot be used is warned of: the directory
    is restored.
    """
    missing = tuple(_missing(restored, directory))
    try:
        config = load_config(directory / CONFIG_FILE)
    except ConfigError as exc:
        warn(f"{exc}; correct it before est serve")
        return After(missing=missing, revoked=RevokedSince())
    lists = tuple(_lists(config, directory, restored, crls))
    with closing(SqliteStore(directory / restored.manifest.store)) as store:
        revoked = revoke_as_listed(store, lists)
        lacking = _lacking(store, [audit, *_places(config.audit.file, directory, restored)])
    newer = [each for each in lists if each.last_update_utc > restored.manifest.created]
    return After(missing=missing, lacking=lacking, revoked=revoked, newer_lists=len(newer))


def _missing(restored: Restored, directory: Path) -> Iterator[LeftOut]:
    """Yield what has to be put back: left out of the backup, and not there now."""
    for each in restored.manifest.left_out:
        is_needed = each.reason in (Reason.SECRET, Reason.OUTSIDE)
        if is_needed and not os.path.lexists(directory / each.path):
            yield each


def _places(path: Path | None, directory: Path, restored: Restored) -> Iterator[Path]:
    """Yield where a file that est.toml names may be: there, and in what was moved aside."""
    if path is not None:
        yield path
        if restored.aside is not None:
            yield restored.aside / os.path.relpath(path, directory)


def _lacking(store: SqliteStore, files: Sequence[Path | None]) -> tuple[Unrecorded, ...]:
    try:
        return unrecorded(store, [each for each in files if each is not None])
    except (OSError, StoreError) as exc:
        warn(f"which certificates are not on record cannot be told: {exc}")
        return ()


def _lists(
    config: ServerConfig, directory: Path, restored: Restored, given: Sequence[Crl]
) -> Iterator[Crl]:
    """Yield the lists of this CA that are given, or lie where it puts them."""
    own = tuple(_own(config))
    for crl in given:
        if is_own_list(crl, own):
            yield crl
        else:
            warn(
                f"the list of {name_text(crl.issuer)} is none of this CA: nothing on it is revoked"
            )
    for place in _places(config.crl.directory, directory, restored):
        for path in sorted(place.glob("*.crl")) if place.is_dir() else ():
            try:
                yield from (each for each in load_pem_crls(path) if is_own_list(each, own))
            except CredentialFileError as exc:
                warn(f"{exc}: what it revokes is not revoked here")


def _own(config: ServerConfig) -> Iterator[x509.Certificate]:
    """Yield the certificates of this CA, and of its former keys, as far as they are there."""
    former = [each.certificate for each in getattr(config.ca, "former", ())]
    for path in (config.ca.certificate, *former):
        try:
            yield from load_pem_certificates(path, left_out=warn)
        except CredentialFileError as exc:
            warn(f"{exc}: what its revocation lists revoke is not revoked here")
