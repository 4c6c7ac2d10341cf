"""What the tests of the reference CA share: requests, a fixed moment, a store in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from est_core import Entropy, Limits
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.keys import SignatureAlgorithm, public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo, assemble, parse_cert_request
from est_transports.authority.ca import ReferenceCA, new_root
from est_transports.authority.profiles import Profile
from est_transports.authority.stores import DuplicateSerial, IssuedRecord, UserRecord
from est_transports.pki.signers import LocalSigner, Signer, SigningKey

NOW: Final = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
CA_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])


@cache
def ec_key(name: str = "client") -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key of that name, the same one throughout a run."""
    return ec.generate_private_key(ec.SECP256R1())


def name(*values: str, oid: x509.ObjectIdentifier = NameOID.COMMON_NAME) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value, _validate=False) for value in values])


def alt_names(*names: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(names)


def dns(*names: str) -> x509.SubjectAlternativeName:
    return alt_names(*(x509.DNSName(text) for text in names))


def key_usage(*uses: str) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{use: use in uses for use in every})


def request(
    *extensions: x509.ExtensionType,
    subject: x509.Name | None = None,
    critical: bool = False,
    key: SigningKey | None = None,
    attributes: Iterable[Attribute] = (),
) -> CertRequest:
    """Return a signed request for those extensions, all of them critical or none."""
    signer = LocalSigner(key or ec_key())
    wanted = [
        Extension(oid=item.oid.dotted_string, critical=critical, value=item.public_bytes())
        for item in extensions
    ]
    info = CertRequestInfo(
        subject=name("device-1") if subject is None else subject,
        spki=signer.public_key_spki,
        attributes=(*([extension_request(wanted)] if wanted else []), *attributes),
    ).der()
    algorithm = signature_algorithm_for(public_key_facts(signer.public_key_spki, Limits()))
    der = assemble(info, algorithm, signer.sign(info, algorithm), Limits())
    return parse_cert_request(der, Limits())


def counting_entropy() -> Entropy:
    """Return a source whose every answer is another, and the same in every run."""
    count = itertools.count(1)
    return lambda size: (next(count) << 64).to_bytes(size, "big")


class MemoryStore:
    """A store that forgets when it goes."""

    def __init__(self) -> None:
        self.records: dict[str, IssuedRecord] = {}
        self.users: dict[str, str] = {}

    def record_certificate(self, record: IssuedRecord) -> None:
        if record.serial in self.records:
            raise DuplicateSerial(record.serial)
        self.records[record.serial] = record

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        return self.records.get(serial)

    def list_certificates(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        subject: str | None = None,
        spki_sha256: bytes | None = None,
    ) -> tuple[IssuedRecord, ...]:
        return tuple(self.records.values())[:limit]

    def revoke_certificate(self, serial: str, *, at: datetime, reason: str) -> bool:
        if serial not in self.records:
            return False
        found = self.records[serial]
        self.records[serial] = replace(found, revoked_at=at, revocation_reason=reason)
        return True

    def add_user(self, name: str, password_record: str, *, replace: bool = False) -> bool:
        if name in self.users and not replace:
            return False
        self.users[name] = password_record
        return True

    def find_user(self, name: str) -> UserRecord | None:
        found = self.users.get(name)
        return UserRecord(name=name, password_record=found) if found else None

    def remove_user(self, name: str) -> bool:
        return self.users.pop(name, None) is not None

    def list_users(self, *, limit: int = 100, after: str | None = None) -> tuple[UserRecord, ...]:
        return ()

    def close(self) -> None:
        pass


def make_ca(
    store: MemoryStore | None = None,
    *,
    signer: Signer | None = None,
    certificate: x509.Certificate | None = None,
    chain: Sequence[x509.Certificate] = (),
    profiles: Iterable[Profile] = (),
    own_names: frozenset[str] = frozenset({"est.example.com", "192.0.2.7"}),
    entropy: Entropy | None = None,
) -> ReferenceCA:
    """Return a CA with a P-256 root, a default profile and those given."""
    source = entropy or counting_entropy()
    local = LocalSigner(ec_key("ca"))
    root = certificate or new_root(
        CA_NAME, local, ec_key("ca").public_key(), now=NOW, entropy=source
    )
    every = (Profile(name="default"), *profiles)
    return ReferenceCA(
        certificate=root,
        chain=chain,
        signer=signer or local,
        store=MemoryStore() if store is None else store,
        profiles={profile.name: profile for profile in every},
        default_profile="default",
        own_names=own_names,
        entropy=source,
    )


class RemoteSigner:
    """A signer that gives nobody its key, as a token would."""

    def __init__(self, local: LocalSigner) -> None:
        self._local = local
        self.signatures = 0

    @property
    def public_key_spki(self) -> bytes:
        return self._local.public_key_spki

    def sign(self, tbs: bytes, algorithm: SignatureAlgorithm) -> bytes:
        self.signatures += 1
        return self._local.sign(tbs, algorithm)
