"""A new CA in a new directory: keys, certificates, store and configuration, all or nothing."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from est_core import Entropy, Instant, LocalProtocolError
from est_transports.config_reader import CONFIG_FILE
from est_transports.config_text import CONFIG_TEXT
from est_transports.profiles import Profile
from est_transports.refca import ReferenceCA, new_root, new_tls_identity
from est_transports.signers import LocalSigner
from est_transports.stores.sqlite import SqliteStore

CA_KEY: Final = "ca-key.pem"
CA_CERTIFICATE: Final = "ca.pem"
SERVER_KEY: Final = "server-key.pem"
SERVER_CERTIFICATE: Final = "server.pem"
STORE: Final = "est.db"
DEFAULT_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
COMMON_NAME_CHARS: Final = 64  # ub-common-name, RFC 5280 A.1

_DNS_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


class FoundingError(Exception):
    """The directory cannot be made. The text is one line; nothing is left half made."""


class OccupiedError(FoundingError):
    """The directory is there already and holds something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What a new CA is to be. `hosts` are names and addresses of its server.

    `key_password` encrypts the CA's key and is put nowhere; `password_file` is where est.toml
    says that it can be read. Raises LocalProtocolError for a name or host that cannot be.
    """

    hosts: tuple[str, ...] = DEFAULT_HOSTS
    name: str | None = None
    key_password: bytes | None = None
    password_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.hosts:
            raise LocalProtocolError("the server has no host name")
        for host in self.hosts:
            check_host(host)
        if self.name is not None and (
            not 0 < len(self.name.strip()) <= COMMON_NAME_CHARS or not self.name.isprintable()
        ):
            raise LocalProtocolError(f"a CA's name has 1 to {COMMON_NAME_CHARS} characters")
        if (self.key_password is None) != (self.password_file is None):
            raise LocalProtocolError("a key password and its file go together")


def check_host(host: str) -> None:
    """Return if it is a DNS name in A-labels or an IP address. Raises LocalProtocolError."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        if len(host) > 253 or not all(map(_DNS_LABEL.fullmatch, labels)):
            raise LocalProtocolError(
                f"{host!r} is neither a host name in ASCII nor an IP address"
            ) from None


def found(
    directory: Path,
    founding: Founding,
    *,
    now: Instant,
    entropy: Entropy,
    replace: bool = False,
    moved: Callable[[Path], object] | None = None,
) -> x509.Certificate:
    """Make the directory and return the certificate of its CA.

    A directory that holds anything is left alone, unless `replace`: then it is moved aside to
    DIRECTORY.old-N, where its CA's key stays, and `moved` is told that path. The files are made
    in a directory beside it and appear all at once. Raises FoundingError, StoreError.
    """
    directory = Path(os.path.abspath(directory))
    if not replace and os.path.lexists(directory) and not _is_empty(directory):
        if not directory.is_dir():
            raise FoundingError(f"{directory}: is a file, not a directory")
        raise OccupiedError(f"{directory}: is there already and not empty")
    with _errors(directory), _workshop(directory) as workshop:
        certificate = _make(workshop, founding, now, entropy)
        aside = _move(workshop, directory, replace=replace)
    if aside is not None and moved is not None:
        moved(aside)
    return certificate


def _make(workshop: Path, founding: Founding, now: Instant, entropy: Entropy) -> x509.Certificate:
    ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signer = LocalSigner(ca_key)
    # A name of its own: two CAs of one name in one list of anchors are a trap.
    name = founding.name or f"EST CA {entropy(4).hex()}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    root = new_root(subject, signer, ca_key.public_key(), now=now.wall, entropy=entropy)
    store = SqliteStore.create(workshop / STORE)
    try:
        ca = ReferenceCA(
            certificate=root,
            signer=signer,
            store=store,
            profiles={"client": Profile(name="client")},
            default_profile="client",
            entropy=entropy,
        )
        server = new_tls_identity(ca, founding.hosts, server_key.public_key(), now=now.wall)
    finally:
        store.close()
    _write(workshop / CA_KEY, _key_pem(ca_key, founding.key_password), 0o600)
    _write(workshop / SERVER_KEY, _key_pem(server_key, None), 0o600)
    _write(workshop / CA_CERTIFICATE, root.public_bytes(Encoding.PEM), 0o644)
    _write(workshop / SERVER_CERTIFICATE, server.public_bytes(Encoding.PEM), 0o644)
    _write(workshop / CONFIG_FILE, config_text(founding.password_file).encode(), 0o600)
    return root


def config_text(password_file: Path | None) -> str:
    """Return the text of est.toml, with the place of the CA key's password if it has one."""
    if password_file is None:
        return CONFIG_TEXT
    lines = CONFIG_TEXT.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("#key_password_file"))
    escaped = str(password_file.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    lines[at] = f'key_password_file = "{escaped}"'
    return "\n".join(lines) + "\n"


def _key_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


@contextmanager
def _workshop(directory: Path) -> Iterator[Path]:
    """Make a directory beside the one to be, and remove it if it was not moved there."""
    directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # mkdtemp: mode 0700, whatever the umask.
    workshop = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield workshop
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _move(workshop: Path, directory: Path, *, replace: bool) -> Path | None:
    """Put the workshop in its place; return where to the directory that was there has gone."""
    _sync(workshop)
    aside = None
    if replace and os.path.lexists(directory) and not _is_empty(directory):
        aside = _free_name(directory)
        directory.rename(aside)
    try:
        workshop.rename(directory)  # over an empty directory too, and over nothing else
    except BaseException:
        if aside is not None:
            with suppress(OSError):
                aside.rename(directory)
        raise
    _sync(directory.parent)
    return aside


def _free_name(directory: Path) -> Path:
    names: Sequence[str] = [f"{directory.name}.old-{number}" for number in range(1, 1000)]
    for name in names:
        if not os.path.lexists(directory.with_name(name)):
            return directory.with_name(name)
    raise FoundingError(f"{directory}: too many old ones beside it; move them away")


def _is_empty(directory: Path) -> bool:
    try:
        return directory.is_dir() and not any(directory.iterdir())
    except OSError:
        return False


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as exc:
        reason = f"{exc.filename} is no directory"
        raise FoundingError(f"{directory}: cannot be made: {reason}") from exc
    except OSError as exc:
        raise FoundingError(f"{directory}: cannot be made: {exc.strerror}") from exc
