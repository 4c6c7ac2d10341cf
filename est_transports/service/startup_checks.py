"""Checks of files and dates when a server starts or reloads: what requests will need.

What cannot become right by itself is refused: then nobody is served, and the operator knows. What
the clock decides is said loudly and served all the same: a clock may be wrong when a machine
boots, and others than those whose certificates have lapsed are served as ever.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core import ForeignChallenge, NameRule
from est_transports.authority.stores import Store
from est_transports.pki.names import name_text
from est_transports.pki.trust import CredentialFileError
from est_transports.service.config.former import FormerCaConfig
from est_transports.service.config.settings import ServerConfig
from est_transports.service.initialisation import ROOT_KEY
from est_transports.service.validity import (
    Validity,
    certificate_validity,
)

_NO_NOTICE: Final = timedelta(0)
_FORMER_NOTICE: Final = timedelta(days=30)
_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)

Anchors = Sequence[tuple[Path, x509.Certificate]]


def check_files(config: ServerConfig) -> None:
    """Return if each file that the configuration names is a file, as far as it is there.

    A pipe would have the server wait for somebody who writes into it, with every reload. Raises
    CredentialFileError.
    """
    tls, ca = config.tls, config.ca
    named = (tls.certificate, tls.key, ca.certificate, ca.key, ca.key_password_file)
    others = (tls.client_trust, config.crls.files, config.ra.certificates)
    theirs = (each.trust for each in config.manufacturers)
    former = ((each.certificate, each.links) for each in ca.former)
    for path in (*named, *chain(*others, *theirs, *former)):
        if path is None:
            continue
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # who reads it says so
        if stat.S_ISDIR(mode):
            raise CredentialFileError(path, "is a directory, not a file")
        if not stat.S_ISREG(mode):
            raise CredentialFileError(path, "is a pipe or device, not a file")


def validities_of(
    config: ServerConfig,
    server: x509.Certificate,
    ca_certificates: Sequence[x509.Certificate],
    anchors: Anchors,
) -> tuple[Validity, ...]:
    """Return what the clock ends of what a server uses."""
    place = "DIR" if config.directory is None else shlex.quote(str(config.directory))
    found = [
        certificate_validity(
            config.tls.certificate,
            server,
            else_="no client connects to this server",
            remedy=f"renew it with: est init {place} --renew-server",
        )
    ]
    for number, certificate in enumerate(ca_certificates):
        else_ = "the CA issues nothing" if number == 0 else "nothing below it verifies"
        remedy = "put a new one for the same key there and reload the server (SIGHUP)"
        file = config.ca.certificate
        found.append(certificate_validity(file, certificate, else_=else_, remedy=remedy))
    found += [_former_validity(each, place) for each in config.ca.former]
    for path, anchor in anchors:
        found.append(
            Validity(
                what=f"{path}: {name_text(anchor.subject)}",
                starts=anchor.not_valid_before_utc,
                ends=anchor.not_valid_after_utc,
                notice=_NO_NOTICE,
                verb="expire",
                else_="its certificates do not verify",
                remedy="put a new one there, or take it out of est.toml",
            )
        )
    return tuple(found)


def secret_files(config: ServerConfig) -> Iterator[Path]:
    """Yield the files that nobody but their owner is to read, there or not."""
    ca, used = config.ca, config.auth.secret if config.auth.needs_secret else None
    for secret in (config.tls.key, ca.key, ca.key_password_file, ca.store, used):
        if secret is not None:
            yield secret


def _former_validity(former: FormerCaConfig, place: str) -> Validity:
    return Validity(
        what=f"{former.certificate}: what this former CA key issued",
        starts=_ALWAYS,
        ends=former.trusted_until,
        notice=_FORMER_NOTICE,
        verb="expire",
        else_="it is neither taken nor renewed",
        remedy=f"see what is in use with: est ca status {place}",
    )


def notices_of(
    config: ServerConfig,
    validities: Sequence[Validity],
    now: datetime,
) -> Iterator[str]:
    """Yield what an operator should read at each start and reload."""
    yield from filter(None, (validity.text(now) for validity in validities))
    for secret in secret_files(config):
        if _mode(secret) & stat.S_IROTH:
            yield (
                f"{secret}: everybody on this machine can read it; take that away with:"
                f" chmod o= {shlex.quote(str(secret))}"
            )
    if config.directory is not None and (config.directory / ROOT_KEY).exists():
        yield f"{config.directory / ROOT_KEY}: the root's key is still here; take it away"
    if config.pop.foreign_challenge is ForeignChallenge.IGNORE:
        yield 'pop.foreign_challenge is "ignore": a challengePassword need not match its channel'
    for key in config.names_any():
        does = "renew" if key.endswith("changed_names") else "enroll"
        yield f'{key} is "any": whoever may {does} may have the name of anybody else'
    for each in config.manufacturers:
        if each.manufacturer.accept_expired and not _is_checked_further(config):
            yield (
                f"{each.heading} accept_expired: nothing else tells a good device from one that is"
                " not: give [crls] its list, or register its devices (RFC 9148 9.1)"
            )
    if not config.pop.require_ems:
        yield "pop.require_ems is off: requests are linked to TLS 1.2 without its safeguard"


def prepared_notice(config: ServerConfig, store: Store, now: datetime) -> Iterator[str]:
    """Yield that certificates were left prepared, which may have been signed. Raises StoreError."""
    count = store.count_prepared(now)
    if count:
        place = "DIR" if config.directory is None else shlex.quote(str(config.directory))
        what = "certificate was" if count == 1 else "certificates were"
        yield (
            f"{config.ca.store}: {count} {what} prepared and may have been signed, with nothing on"
            " record of it: the same request, sent again, gets what was prepared; see them with:"
            f" est certs list --prepared {place}, and revoke those that nobody asks for again"
        )


def _is_checked_further(config: ServerConfig) -> bool:
    """True if revocation is checked, or only those enroll who are registered."""
    rules = {config.auth.names, *(each.names for each in config.labels)} - {None}
    return bool(config.crls.files) or rules == {NameRule.REGISTERED}


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0
