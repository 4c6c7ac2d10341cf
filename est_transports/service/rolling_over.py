"""`est ca rollover`: a new key and root in the directory of a CA, switched to by one file.

What a crash may leave. Every new file has a name of its own, and est.toml names none of them until
all of them are on the disk and were loaded as a server loads them. Then est.toml is replaced by
one rename. Before it the CA is the old one, whole, with files beside it that nobody uses; from then
on it is the new one, whole. Nothing of the old one is changed or removed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from est_core import Entropy, Instant, LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.ca import (
    CAUnavailable,
    ReferenceCA,
    Refused,
)
from est_transports.authority.issuers import CA_KEYS, ca_key_kind
from est_transports.authority.new_ca import new_tls_identity
from est_transports.authority.profiles import Profile
from est_transports.authority.rollover import RolloverError, RootRollover, roll_root_over
from est_transports.authority.rollover_records import record_links
from est_transports.authority.stores import Store
from est_transports.files.durable import OpenDirectory
from est_transports.files.ownership import Ownership, ownership_of
from est_transports.pki.chains import is_issued_by
from est_transports.pki.credential_files import certificates_pem, key_pem
from est_transports.pki.signers import LocalSigner, SignerError, SigningKey
from est_transports.pki.trust import load_identity, load_pem_certificates
from est_transports.service.ca_loading import key_password, load_ca_signer
from est_transports.service.config.edit import EditError, with_changes
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.config.settings import ServerConfig
from est_transports.service.loading import load_service

_NUMBER: Final = re.compile(r"-\d+$")
_FIRST: Final = 2
_TRIED_MAX: Final = 1000
_CANDIDATE: Final = "est.toml.new"


@value_class
class RolledOver:
    """What a rollover made. `server` is the server's new certificate, where the CA issued the old.

    What the old key issued counts until `trusted_until`.
    """

    former: x509.Certificate
    root: x509.Certificate
    certificate_file: Path
    key_file: Path
    links_file: Path
    server_file: Path | None
    trusted_until: datetime


@value_class
class _Files:
    """The names of the new files, each beside the one whose place it takes, as est.toml has it."""

    certificate: str
    key: str
    links: str
    server: str

    def all(self) -> tuple[str, ...]:
        return self.certificate, self.key, self.links, self.server


@value_class
class _Made:
    """What is to be written: certificates and the key, before there is a file of it."""

    rollover: RootRollover
    key: SigningKey = field(repr=False)
    server: x509.Certificate | None


@checked
def roll_over(
    directory: Path,
    store: Store,
    *,
    now: Instant,
    entropy: Entropy,
    until: datetime | None = None,
    kind: str | None = None,
    keep_server: bool = False,
) -> RolledOver:
    """Give the CA of a directory a new key and root, and return what was made.

    The key is of a kind of CA_KEYS, or of that of the old one. What the old one issued counts
    `until` then, or until its root ends. With `keep_server` the TLS certificate of the server
    stays, though the old key issued it. A server that runs takes it when it reloads. Raises
    RolloverError, ConfigError, CredentialFileError, ServingError, StoreError: all is as before
    then, but for what the store has on record.
    """
    with _errors(directory), _alone(directory):
        path = directory / CONFIG_FILE
        text = path.read_text(encoding="utf-8")
        config = load_config(path)
        old, *chain = load_pem_certificates(config.ca.certificate, needs_first=True)
        if chain:
            raise RolloverError(
                f"{config.ca.certificate}: the CA issues below {chain[-1].subject.rfc4514_string()}"
                ", and only a root is rolled over by links"
            )
        until = _until(until, old, now.wall)
        files = _new_files(config, directory)
        issued = not keep_server and is_issued_by(_server_certificate(config), old)
        changed = _changed(text, config, directory, files, until, has_server=issued)
        made = _make(config, old, store, now, entropy, kind, has_server=issued)
        _switch(directory, config, files, made, (text, changed), store)
    return RolledOver(
        former=old,
        root=made.rollover.root,
        certificate_file=directory / files.certificate,
        key_file=directory / files.key,
        links_file=directory / files.links,
        server_file=None if made.server is None else directory / files.server,
        trusted_until=until,
    )


def _until(until: datetime | None, old: x509.Certificate, now: datetime) -> datetime:
    end = old.not_valid_after_utc
    if until is not None and until <= now:
        raise RolloverError("the old CA cannot be trusted until a time that is over")
    return end if until is None else min(until.replace(microsecond=0), end)


def _new_files(config: ServerConfig, directory: Path) -> _Files:
    """Return names that no file has: of a rollover that was cut short some may be there."""
    ca, server = config.ca, config.tls.certificate
    for number in range(_FIRST, _TRIED_MAX):
        files = _Files(
            certificate=_numbered(ca.certificate, number, directory),
            key=_numbered(ca.key, number, directory),
            links=_numbered(ca.certificate.with_name("ca-links.pem"), number, directory),
            server=_numbered(server, number, directory),
        )
        if not any(os.path.lexists(directory / name) for name in files.all()):
            return files
    raise RolloverError("there are too many files of former rollovers; move some away")


def _numbered(path: Path, number: int, directory: Path) -> str:
    stem = _NUMBER.sub("", path.stem)
    new = path.with_name(f"{stem}-{number}{path.suffix}")
    return _as_written(new, directory)


def _as_written(path: Path, directory: Path) -> str:
    """Return a path as est.toml names it: relative to its own directory, if it is below that."""
    try:
        return str(path.relative_to(directory))
    except ValueError:
        return str(path.absolute())


def _changed(
    text: str,
    config: ServerConfig,
    directory: Path,
    files: _Files,
    until: datetime,
    *,
    has_server: bool,
) -> str:
    ca = config.ca
    changes = {("ca", "certificate"): files.certificate, ("ca", "key"): files.key}
    if has_server:
        changes["tls", "certificate"] = files.server
    former = {
        "certificate": _as_written(ca.certificate, directory),
        "links": files.links,
        "key": _as_written(ca.key, directory),
        "trusted_until": f"{until:%Y-%m-%dT%H:%M:%SZ}",
    }
    if ca.key_password_file is not None:
        former["key_password_file"] = _as_written(ca.key_password_file, directory)
    try:
        return with_changes(text, changes, ("ca.former", former))
    except EditError as exc:
        raise RolloverError(f"{directory / CONFIG_FILE}: {exc}") from exc


def _make(
    config: ServerConfig,
    old: x509.Certificate,
    store: Store,
    now: Instant,
    entropy: Entropy,
    kind: str | None,
    *,
    has_server: bool,
) -> _Made:
    """Return a new key and root, the links, and the server's certificate; all are on record."""
    old_signer = load_ca_signer(config.ca)
    key = CA_KEYS[kind or ca_key_kind(old)]()
    rollover = roll_root_over(
        old,
        old_signer=old_signer,
        signer=LocalSigner(key),
        public_key=key.public_key(),
        now=now.wall,
        entropy=entropy,
    )
    record_links(store, rollover, now=now.wall)
    server = None
    if has_server:
        server = _server(config, rollover, LocalSigner(key), store, now, entropy)
    return _Made(rollover=rollover, key=key, server=server)


def _server(
    config: ServerConfig,
    rollover: RootRollover,
    signer: LocalSigner,
    store: Store,
    now: Instant,
    entropy: Entropy,
) -> x509.Certificate:
    """Return a certificate of the new root for the names and the key that the server has."""
    present = _server_certificate(config)
    ca = ReferenceCA(
        certificate=rollover.root,
        signer=signer,
        store=store,
        profiles={"": Profile(name="client")},
        default_profile="",
        entropy=entropy,
    )
    return new_tls_identity(ca, _names(present), present.public_key(), now=now.wall)


def _server_certificate(config: ServerConfig) -> x509.Certificate:
    return load_identity(config.tls.certificate, config.tls.key).certificate


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names of a certificate in its own order: the first is also its common name."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    kinds = (x509.DNSName, x509.IPAddress)
    return tuple(str(name.value) for name in found.value if isinstance(name, kinds))


def _switch(
    directory: Path,
    config: ServerConfig,
    files: _Files,
    made: _Made,
    texts: tuple[str, str],
    store: Store,
) -> None:
    """Write the new files, load them as a server would, and let est.toml name them."""
    before, text = texts
    password, written = key_password(config.ca), list[Path]()
    contents = {
        files.key: (key_pem(made.key, password), config.ca.key),
        files.certificate: (certificates_pem((made.rollover.root,)), config.ca.certificate),
        files.links: (certificates_pem(made.rollover.links), config.ca.certificate),
    }
    if made.server is not None:
        contents[files.server] = (certificates_pem((made.server,)), config.tls.certificate)
    contents[_CANDIDATE] = (text.encode(), directory / CONFIG_FILE)
    try:
        for name, (content, like) in contents.items():
            written.append(directory / name)
            _write(directory / name, content, ownership_of(like))
        load_service(load_config(directory / _CANDIDATE), store=store)
        if (directory / CONFIG_FILE).read_text(encoding="utf-8") != before:
            raise RolloverError(f"{directory / CONFIG_FILE}: was changed meanwhile; try again")
        target = (directory / CONFIG_FILE).resolve()
        _write_alone(target, text.encode())
    except BaseException:
        for each in written:
            with suppress(OSError):
                each.unlink()
        raise
    with OpenDirectory.open(target.parent) as place:  # it is the new one by now, come what may
        place.sync()
    with suppress(OSError):
        (directory / _CANDIDATE).unlink()


def _write_alone(path: Path, content: bytes) -> None:
    with OpenDirectory.open(path.parent) as place:
        place.write(path.name, content, ownership_of(path))


def _write(path: Path, content: bytes, owner: Ownership | None) -> None:
    with OpenDirectory.open(path.parent) as place:
        place.write(path.name, content, owner)
        place.sync()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Refuse to run beside another rollover of the same directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise RolloverError(f"{directory}: another program rolls this CA over") from exc
    finally:
        os.close(descriptor)


@contextmanager
def _errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise RolloverError(f"{exc.filename or directory}: {exc.strerror}") from exc
    except (CAUnavailable, LocalProtocolError, SignerError) as exc:
        raise RolloverError(f"the new CA cannot issue: {exc}") from exc
    except Refused as exc:
        raise RolloverError(f"the server's certificate would not verify: {exc.text}") from exc
