"""A new CA in a new directory: keys, certificates, store and configuration, all or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from est_core import Entropy, Instant, LocalProtocolError
from est_core.arguments import checked
from est_core.values import value_class
from est_transports.authority.ca import CAUnavailable, ReferenceCA, Refused
from est_transports.authority.issuers import (
    CA_KEYS,
    COMMON_NAME_CHARS,
    DEFAULT_CA_KEY,
    ROOT_SUFFIX,
    Issuer,
    IssuerError,
    make_issuer,
)
from est_transports.authority.new_ca import new_tls_identity
from est_transports.authority.profiles import Profile
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.chains import chain_problem
from est_transports.pki.credential_files import certificates_pem, key_pem
from est_transports.pki.hosts import host_name
from est_transports.pki.signers import LocalSigner
from est_transports.service.config.reader import CONFIG_FILE
from est_transports.service.config.text import CONFIG_TEXT
from est_transports.service.new_directory import (
    DirectoryError,
    check_movable,
    is_empty,
    put_in_place,
    staging_directory_for,
)

CA_KEY: Final = "ca-key.pem"
CA_CERTIFICATE: Final = "ca.pem"
"""The root: what clients are given to trust."""
ISSUING_CERTIFICATES: Final = "issuing.pem"
"""The issuing certificate and those above it, where it is not the root itself."""
ROOT_KEY: Final = "root-key.pem"
SERVER_KEY: Final = "server-key.pem"
SERVER_CERTIFICATE: Final = "server.pem"
STORE: Final = "est.db"
OWN_FILES: Final = (CONFIG_FILE, CA_KEY, STORE)
"""By any of them a directory is known as one that was made here."""
DEFAULT_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
MAX_PASSWORD_BYTES: Final = 1023  # OpenSSL's bound for an encrypted key


class InitialisationError(Exception):
    """The directory cannot be made. The text is one line; nothing is left half made."""


class OccupiedError(InitialisationError):
    """The directory is there already and holds something."""


@value_class
class CaSpec:
    """What a new CA is to be. `hosts` are names and addresses of its server (see host_name).

    It is made, with a key of kind `ca_key` (of CA_KEYS) and below a root of its own if
    `intermediate`; or it is `given` (see given_issuer) and has all that. `key_password` encrypts
    the CA's key and is put nowhere; `password_file` is where est.toml says that it can be read.
    `root_key_password` is for the root's key, `name_constraints` for the certificate of a new CA:
    its server's hosts have to be within. Raises LocalProtocolError for a name or host that
    cannot be, and for what does not go together.
    """

    hosts: tuple[str, ...] = DEFAULT_HOSTS
    name: str | None = None
    ca_key: str | None = None
    intermediate: bool = False
    given: Issuer | None = None
    key_password: bytes | None = field(default=None, repr=False)
    password_file: Path | None = None
    root_key_password: bytes | None = field(default=None, repr=False)
    name_constraints: x509.NameConstraints | None = None

    def __post_init__(self) -> None:
        if not self.hosts:
            raise LocalProtocolError("the server has no host name")
        # Frozen, but not before it is written as certificates have it.
        object.__setattr__(self, "hosts", tuple(dict.fromkeys(map(host_name, self.hosts))))
        self._check_name()
        if self.ca_key is not None and self.ca_key not in CA_KEYS:
            raise LocalProtocolError(f"a CA has no {self.ca_key} key")
        if (self.key_password is None) != (self.password_file is None):
            raise LocalProtocolError("a key password and its file go together")
        if self.password_file is not None and not str(self.password_file.absolute()).isprintable():
            raise LocalProtocolError("est.toml cannot hold the path of the key password's file")
        for password in (self.key_password, self.root_key_password):
            if password is not None and not 0 < len(password) <= MAX_PASSWORD_BYTES:
                raise LocalProtocolError(f"a key password has 1 to {MAX_PASSWORD_BYTES} bytes")
        if self.given is not None and (self.name or self.ca_key or self.intermediate):
            raise LocalProtocolError("a CA that is given has its name, its key and its root")
        if self.given is not None and self.name_constraints is not None:
            raise LocalProtocolError("a CA that is given has the name constraints that it has")
        if self.root_key_password is not None and not self.intermediate:
            raise LocalProtocolError("only an intermediate has a root with a key of its own")

    def _check_name(self) -> None:
        longest = COMMON_NAME_CHARS - (len(ROOT_SUFFIX) if self.intermediate else 0)
        if self.name is not None and (
            not 0 < len(self.name.strip()) <= len(self.name) <= longest
            or not self.name.isprintable()
        ):
            raise LocalProtocolError(f"a CA's name has 1 to {longest} characters")


@value_class
class InitialisedCa:
    """A CA in its directory. `chain` leads from the issuing certificate to the root.

    `root_key` is the file with the key of a root that was made with an intermediate: nobody needs
    it before the intermediate ends, and it should not stay there. `never_issued` has a line for
    each thing that its profile allows and the limits of a given CA forbid.
    """

    chain: tuple[x509.Certificate, ...]
    certificates_file: Path
    root_key: Path | None = None
    never_issued: tuple[str, ...] = ()

    @property
    def issuing(self) -> x509.Certificate:
        """The certificate that certifies."""
        return self.chain[0]

    @property
    def root(self) -> x509.Certificate:
        """The certificate that clients are to trust, in the file CA_CERTIFICATE."""
        return self.chain[-1]


@checked
def initialise(
    directory: Path,
    spec: CaSpec,
    *,
    now: Instant,
    entropy: Entropy,
    replace: bool = False,
    moved: Callable[[Path], object] | None = None,
) -> InitialisedCa:
    """Make the directory and return what is in it.

    A directory that holds anything is left alone, unless `replace`: then it is moved aside to
    DIRECTORY.old-N, where its CA's key stays, and `moved` is told that path; the new one belongs
    to the same user. An empty one is filled. Raises InitialisationError, StoreError, and
    LocalProtocolError for a directory that nobody means to move, the current one say.
    """
    directory = Path(os.path.abspath(directory))
    with _errors(directory):
        _check_place(directory, replace=replace)
    password_file = spec.password_file
    if password_file is not None and directory in Path(os.path.abspath(password_file)).parents:
        raise InitialisationError(f"{password_file}: is in the directory that would be moved aside")
    with _errors(directory), staging_directory_for(directory) as staging:
        issuer, never_issued = _make(staging, spec, now, entropy)
        aside = put_in_place(staging, directory, last=CONFIG_FILE)
    if aside is not None and moved is not None:
        moved(aside)
    return InitialisedCa(
        chain=issuer.certificates,
        certificates_file=directory / _certificates_file(issuer),
        root_key=None if issuer.root_key is None else directory / ROOT_KEY,
        never_issued=never_issued,
    )


def _check_place(directory: Path, *, replace: bool) -> None:
    if not os.path.lexists(directory) or is_empty(directory):
        return
    if replace:
        check_movable(directory, OWN_FILES)
    elif not directory.is_dir():
        raise InitialisationError(f"{directory}: is a file, not a directory")
    else:
        raise OccupiedError(f"{directory}: is there already and not empty")


def _make(
    staging: Path, spec: CaSpec, now: Instant, entropy: Entropy
) -> tuple[Issuer, tuple[str, ...]]:
    issuer = _issuer(spec, now, entropy)
    server_key = ec.generate_private_key(ec.SECP256R1())
    store = SqliteStore.create(staging / STORE)
    try:
        ca = ReferenceCA(
            certificate=issuer.certificate,
            chain=issuer.chain,
            signer=LocalSigner(issuer.key),
            store=store,
            profiles={"client": Profile(name="client")},
            default_profile="client",
            entropy=entropy,
        )
        server = new_tls_identity(ca, spec.hosts, server_key.public_key(), now=now.wall)
    except Refused as exc:
        raise InitialisationError(f"the server's certificate would not verify: {exc.text}") from exc
    except (CAUnavailable, LocalProtocolError) as exc:
        raise InitialisationError(f"the CA cannot issue: {exc}") from exc
    finally:
        store.close()
    problem = chain_problem(
        server, anchors=(issuer.root,), others=issuer.certificates, now=now.wall
    )
    if problem:  # say, a name outside of those that a given CA may certify
        raise InitialisationError(f"the server's certificate would not verify: {problem}")
    _write_files(staging, spec, issuer)
    _write(staging / SERVER_KEY, key_pem(server_key), 0o600)
    intermediates = (each for each in issuer.certificates if each != issuer.root)
    _write(staging / SERVER_CERTIFICATE, certificates_pem((server, *intermediates)), 0o644)
    return issuer, ca.never_issued()


def _issuer(spec: CaSpec, now: Instant, entropy: Entropy) -> Issuer:
    if spec.given is not None:
        return spec.given
    try:
        return make_issuer(
            # A name of its own: two CAs of one name in one list of anchors are a trap.
            spec.name or f"EST CA {entropy(4).hex()}",
            spec.ca_key or DEFAULT_CA_KEY,
            intermediate=spec.intermediate,
            now=now.wall,
            entropy=entropy,
            name_constraints=spec.name_constraints,
        )
    except IssuerError as exc:
        raise InitialisationError(str(exc)) from exc


def _write_files(staging: Path, spec: CaSpec, issuer: Issuer) -> None:
    _write(staging / CA_CERTIFICATE, certificates_pem((issuer.root,)), 0o644)
    _write(staging / CA_KEY, key_pem(issuer.key, spec.key_password), 0o600)
    settings = {}
    if issuer.chain:
        _write(staging / ISSUING_CERTIFICATES, certificates_pem(issuer.certificates), 0o644)
        settings["certificate"] = ISSUING_CERTIFICATES
    if issuer.root_key is not None:
        root_key = key_pem(issuer.root_key, spec.root_key_password)
        _write(staging / ROOT_KEY, root_key, 0o600)
    if spec.password_file is not None:
        settings["key_password_file"] = str(spec.password_file.absolute())
    _write(staging / CONFIG_FILE, config_text(settings).encode(), 0o600)


def _certificates_file(issuer: Issuer) -> str:
    return ISSUING_CERTIFICATES if issuer.chain else CA_CERTIFICATE


@checked
def config_text(ca_settings: Mapping[str, str]) -> str:
    """Return the text of est.toml, with these keys of its table [ca] set to strings."""
    lines = CONFIG_TEXT.splitlines()
    table = lines.index("[ca]")
    for key, value in ca_settings.items():
        at = next(n for n in range(table, len(lines)) if lines[n].startswith(f"#{key} = "))
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        lines[at] = f'{key} = "{escaped}"'
    return "\n".join(lines) + "\n"


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


@contextmanager
def _errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except DirectoryError as exc:
        raise InitialisationError(str(exc)) from exc
    except (FileExistsError, NotADirectoryError) as exc:
        reason = f"{exc.filename} is no directory"
        raise InitialisationError(f"{directory}: cannot be made: {reason}") from exc
    except OSError as exc:
        raise InitialisationError(f"{directory}: cannot be made: {exc.strerror}") from exc
