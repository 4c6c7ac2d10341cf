"""Keys that a command makes or is given: kinds by name, passwords, and what a server demands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from est_core import Limits, RemoteProtocolError
from est_core.asn1.keys import PublicKeyFacts, public_key_facts
from est_core.asn1.template import KeyTypeWanted
from est_core.values import unchecked_value_class
from est_transports.cli.errors import CliError, ExitCode
from est_transports.cli.password_input import ask_password
from est_transports.pki.signers import SigningKey
from est_transports.pki.trust import NEEDS_PASSWORD, CredentialFileError, load_pem_private_key

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192  # making one takes half a minute
MAX_PASSWORD_FILE_BYTES: Final = 4096

DEFAULT_KEY_TYPE: Final = "ec:P-256"


def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


KEY_TYPES: Final[dict[str, Callable[[], SigningKey]]] = {
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa:2048": lambda: _rsa(2048),
    "rsa:3072": lambda: _rsa(3072),
    "rsa:4096": lambda: _rsa(4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}
"""Kinds of keys by the names that --key-type takes."""

_EC: Final = "1.2.840.10045.2.1"
_RSA: Final = "1.2.840.113549.1.1.1"
_WITHOUT_CHOICE: Final = {
    "1.3.101.112": "ed25519",
    "1.3.101.113": "ed448",
    "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
    "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
    "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}
_CURVES: Final = {
    "1.2.840.10045.3.1.7": "ec:P-256",
    "1.3.132.0.34": "ec:P-384",
    "1.3.132.0.35": "ec:P-521",
    None: DEFAULT_KEY_TYPE,
}


@unchecked_value_class
class NewKey:
    """A key to be certified, with the password its file is to have or has."""

    key: SigningKey
    password: bytes | None = field(default=None, repr=False)

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


def make_key(wanted: KeyTypeWanted | None, key_type: str | None) -> SigningKey:
    """Return a new key of the kind asked for, by the user first, else by the server.

    P-256 where nobody has an opinion. Raises CliError where the server demands what is not made
    here: too weak (RFC 7030 6) or unknown.
    """
    if key_type is not None:
        return KEY_TYPES[key_type]()
    if wanted is None:
        return KEY_TYPES[DEFAULT_KEY_TYPE]()
    if wanted.algorithm == _RSA:
        bits = MIN_RSA_BITS if wanted.bits is None else wanted.bits
        if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
            raise _unwilling(wanted)
        return _rsa(bits)
    name = _CURVES.get(wanted.curve) if wanted.algorithm == _EC else None
    name = name or _WITHOUT_CHOICE.get(wanted.algorithm)
    if name is None:
        raise _unwilling(wanted)
    return KEY_TYPES[name]()


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


def _unwilling(wanted: KeyTypeWanted) -> CliError:
    return CliError(
        f"the server asks for a key of type {wanted.text}, which is not made here",
        ExitCode.REFUSED,
        "choose another with --key-type",
    )
