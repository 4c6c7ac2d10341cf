"""The openssl program: makes keys and requests, reads answers, verifies chains."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.programs import Ended, run

NEW_KEY: Final = {
    "EC P-256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "EC P-384": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "RSA 2048": ("-newkey", "rsa:2048"),
    "Ed25519": ("-newkey", "ed25519"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A PKCS#10 request in DER, and the file of its key."""

    der: bytes
    key: Path

    @property
    def parsed(self) -> x509.CertificateSigningRequest:
        """The request, parsed."""
        return x509.load_der_x509_csr(self.der)

    @property
    def pem(self) -> bytes:
        """The request with PEM armour."""
        return self.parsed.public_bytes(Encoding.PEM)

    def is_for(self, certificate: x509.Certificate) -> bool:
        """True if the certificate has the key, the subject and the names that were asked for."""
        request = self.parsed
        return (
            _spki(request) == _spki(certificate)
            and request.subject == certificate.subject
            and _names(request) == _names(certificate)
        )


class OpenSsl:
    """The program at `program`; keys go to `directory`."""

    def __init__(self, program: str, directory: Path) -> None:
        self.program = program
        self.directory = directory
        self._made = 0

    def request(
        self,
        name: str,
        *,
        kind: str = "EC P-256",
        key: Path | None = None,
        names: str = "",
        challenge: str = "",
    ) -> CertificateRequest:
        """Make a request for CN=name, with a new key, or with that in the file `key`.

        `names` is a subjectAltName in openssl's notation, `challenge` a challengePassword.
        """
        self._made += 1
        config = self.directory / f"{self._made}.cnf"
        config.write_text(_config(name, names, challenge))
        made = key or self.directory / f"{self._made}.key"
        where = ("-key", str(made)) if key else (*NEW_KEY[kind], "-noenc", "-keyout", str(made))
        command = ("req", "-new", "-config", str(config), *where, "-outform", "DER")
        return CertificateRequest(der=self.run(*command).checked().out, key=made)

    def certificates(self, der: bytes) -> list[x509.Certificate]:
        """Return the certificates in a certs-only PKCS#7."""
        command = ("pkcs7", "-inform", "DER", "-print_certs")
        return x509.load_pem_x509_certificates(self.run(*command, stdin=der).checked().out)

    def verify(self, anchor: Path, certificate: Path) -> None:
        """Fail if the certificate is not good for a TLS client under the anchor."""
        command = ("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(anchor))
        self.run(*command, str(certificate)).checked()

    def run(self, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run the program."""
        return run(self.program, *arguments, stdin=stdin)


def _config(name: str, names: str, challenge: str) -> str:
    """Return a configuration of `openssl req`, so that the system's own plays no part."""
    sections = {"dn": f"CN = {name}"}
    top = ["prompt = no", "distinguished_name = dn"]
    if names:
        top.append("req_extensions = extensions")
        sections["extensions"] = f"subjectAltName = {names}"
    if challenge:
        top.append("attributes = attributes")
        sections["attributes"] = f"challengePassword = {challenge}"
    sections = {"req": "\n".join(top)} | sections
    return "\n".join(f"[{title}]\n{text}" for title, text in sections.items()) + "\n"


def _spki(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(
    holder: x509.Certificate | x509.CertificateSigningRequest,
) -> x509.SubjectAlternativeName | None:
    try:
        return holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def renewal_name(certificate: x509.Certificate) -> str:
    """Return how a certificate is asked about, as a shell would make it of what openssl prints."""
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    serial = certificate.serial_number
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    names = (found.value.key_identifier or b"", octets)
    return ".".join(base64.urlsafe_b64encode(each).decode("ascii").rstrip("=") for each in names)
