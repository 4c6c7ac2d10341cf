"""Revocation lists of a server: read, held against the CAs that are trusted, and dated.

What cannot become right by itself is refused at the start, and a reload with it changes nothing: a
list that cannot be used, one with the signature of another than the CA of its name, and, unless
est.toml says otherwise, a CA without a list. A list out of date is served with a warning by
default, for a clock may be wrong when a machine boots; no certificate gets past it all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509

from est_core.values import unchecked_value_class
from est_transports.pki.names import name_text
from est_transports.pki.revocation import Revocation, crl_flaw, folded_name, is_signed_by
from est_transports.pki.trust import CredentialFileError, load_pem_crls
from est_transports.service.config.crls import CrlConfig, InDoubt
from est_transports.service.validity import Validity, crl_validity

Anchors = Sequence[tuple[Path, x509.Certificate]]
State = tuple[int, ...]


@unchecked_value_class
class LoadedCrls:
    """The revocation lists of a server, what the clock ends of them, and what is to be said."""

    revocation: Revocation
    validities: tuple[Validity, ...] = ()
    notices: tuple[str, ...] = ()


def load_crls(
    config: CrlConfig,
    *,
    ca: Sequence[x509.Certificate],
    anchors: Anchors,
    now: datetime,
    former: Sequence[x509.Certificate] = (),
) -> LoadedCrls:
    """Return the lists of a configuration.

    `ca` is the server's own CA with its chain, `former` are its generations before: the store has
    what they revoked, so no list of them is missed. Raises CredentialFileError.
    """
    crls = [(path, _usable(path, crl)) for path in config.files for crl in load_pem_crls(path)]
    if not crls:
        return LoadedCrls(revocation=Revocation())
    revocation = Revocation(
        crls=tuple(crl for _, crl in crls),
        accept_missing=config.missing_in_requests is InDoubt.WARN,
        accept_stale=config.stale_in_requests is InDoubt.WARN,
        recorded=(*ca[:1], *former),
    )
    known = (*ca, *former, *(anchor for _, anchor in anchors))
    notices = [text for path, crl in crls if (text := _of_nobody(path, crl, known))]
    missing = list(_missing(config, revocation, anchors))
    if missing and config.missing_at_start is InDoubt.REFUSE:
        raise CredentialFileError(*missing[0])
    notices += [f"{path}: {reason}" for path, reason in missing]
    validities = tuple(crl_validity(path, crl, refused=_refused(config)) for path, crl in crls)
    if config.stale_at_start is InDoubt.REFUSE:
        _check_dates(crls, validities, now)
    return LoadedCrls(revocation=revocation, validities=validities, notices=tuple(notices))


def crl_states(config: CrlConfig) -> tuple[State, ...]:
    """Return by what a change of the files is seen: another file, another size or time."""
    return tuple(_state(path) for path in config.files)


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _refused(config: CrlConfig) -> bool:
    return config.stale_in_requests is InDoubt.REFUSE


def _usable(path: Path, crl: x509.CertificateRevocationList) -> x509.CertificateRevocationList:
    if text := crl_flaw(crl):
        raise CredentialFileError(path, f"the CRL of {name_text(crl.issuer)} is not usable: {text}")
    return crl


def _of_nobody(
    path: Path, crl: x509.CertificateRevocationList, known: Sequence[x509.Certificate]
) -> str:
    """Return a notice for the list of a CA that is not known; it may come with a certificate.

    Raises CredentialFileError for the list of a known one that none of that name has signed.
    """
    name = folded_name(crl.issuer)
    named = [each for each in known if folded_name(each.subject) == name]
    if named and not any(is_signed_by(crl, each) for each in named):
        reason = (
            f"the CRL of {name_text(crl.issuer)} is not signed by the CA of that name that is"
            " trusted; fetch the list from the CA again"
        )
        raise CredentialFileError(path, reason)
    if named:
        return ""
    return (
        f"{path}: the CRL of {name_text(crl.issuer)}: no CA that is trusted has that name: it"
        " checks nothing, but certificates of a CA of that name below one of those"
    )


def _missing(
    config: CrlConfig, revocation: Revocation, anchors: Anchors
) -> Iterator[tuple[Path, str]]:
    else_ = (
        "and each certificate that it issued is refused"
        if config.missing_in_requests is InDoubt.REFUSE
        else "so none that it issued is looked up"
    )
    for path, anchor in anchors:
        if not revocation.covers(anchor):
            yield (
                path,
                f"there is no CRL of {name_text(anchor.subject)} in [crls] files, {else_};"
                ' fetch it from the CA, or do without with missing_at_start = "warn"',
            )


def _check_dates(
    crls: Sequence[tuple[Path, x509.CertificateRevocationList]],
    validities: Sequence[Validity],
    now: datetime,
) -> None:
    for (path, _), validity in zip(crls, validities, strict=True):
        if validity.standing(now).is_bad:
            raise CredentialFileError(path, validity.text(now).removeprefix(f"{path}: "))
