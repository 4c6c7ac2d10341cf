"""Keys that a command makes or is given: kinds by name, passwords, and what a server demands."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import Limits, LocalProtocolError, RemoteProtocolError
from est_core.asn1.keys import PublicKeyFacts, public_key_facts
from est_core.asn1.template import KeyTypeWanted
from est_core.values import unchecked_value_class
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.password_input import ask_password
from est_transports.pki.signers import LocalSigner, SigningKey
from est_transports.pki.trust import NEEDS_PASSWORD, CredentialFileError, load_pem_private_key

MAX_PASSWORD_FILE_BYTES: Final = 4096


@unchecked_value_class
class NewKey:
    """A key to be certified, with the password its file is to have or has."""

    key: SigningKey
    password: bytes | None = field(default=None, repr=False)

    @property
    def signer(self) -> LocalSigner:
        """What signs with it."""
        return LocalSigner(self.key)

    @property
    def spki(self) -> bytes:
        """Its SubjectPublicKeyInfo in DER."""
        return spki_of(self.key)

    @property
    def facts(self) -> PublicKeyFacts:
        """What its public half is."""
        return public_key_facts(self.spki, Limits())


def spki_of(key: SigningKey) -> bytes:
    """Return the public half as a SubjectPublicKeyInfo in DER."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def kind_of_key(wanted: KeyTypeWanted | None, key_type: str | None) -> str:
    """Return which kind of key to make: as the user says, else as the server does, else P-256.

    Raises CliError where the server demands what is not made here.
    """
    # Here: most commands make no key.
    from est_transports.pki.new_keys import kind_of_key as kind

    try:
        return kind(wanted, key_type)
    except LocalProtocolError as exc:
        raise CliError(exc.message, ExitCode.REFUSED, "choose another with --key-type") from exc


def make_key(wanted: KeyTypeWanted | None, key_type: str | None) -> SigningKey:
    """Return a new key of the kind that kind_of_key says. Raises CliError as that does."""
    from est_transports.pki.new_keys import make_key as new_key

    return new_key(None, kind_of_key(wanted, key_type))


def load_key(
    path: Path, password_file: Path | None, option: str = "--key-password-file"
) -> tuple[SigningKey, bytes | None]:
    """Return a private key that can sign, and the password that opened it, if any.

    The password is in the file's first line, or asked for on the terminal where the key turns
    out to be encrypted; `option` names the file where nobody can be asked. Raises CliError.
    """
    password = None if password_file is None else read_password_file(password_file)
    try:
        key = load_pem_private_key(path, password)
    except CredentialFileError as exc:
        if password is not None or exc.reason != NEEDS_PASSWORD:
            owner = option.removesuffix("-password-file")
            raise CliError(f"{exc} ({owner})", ExitCode.LOCAL) from exc
        password = ask_password(f"Password of {path}", instead=option).encode()
        key = load_pem_private_key(path, password)
    try:
        public_key_facts(spki_of(key), Limits())
    except RemoteProtocolError as exc:
        raise CliError(f"{path}: {exc.message}", ExitCode.LOCAL) from exc
    return key, password


def read_password_file(path: Path) -> bytes:
    """Return the first line of a file, without its end. Raises CliError."""
    with path.open("rb") as file:
        password = file.readline(MAX_PASSWORD_FILE_BYTES).rstrip(b"\r\n")
    if not password:
        raise CliError(f"{path}: the password is empty", ExitCode.LOCAL)
    return password
