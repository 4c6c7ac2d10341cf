"""What the tests of the reference CA share: requests, a fixed moment, a store in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from est_core import Entropy, Limits, ManufacturerIdentity
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.keys import SignatureAlgorithm, public_key_facts, signature_algorithm_for
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo, assemble, parse_cert_request
from est_core.checks.names import canonical_text
from est_transports.authority.authentication.authenticator import Authenticator, Scheme
from est_transports.authority.authentication.back_off import BackOff
from est_transports.authority.authentication.look_ups import LookUps
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.authentication.tokens import TokenVerifier
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.new_ca import new_root
from est_transports.authority.profiles import Profile
from est_transports.authority.stores import (
    HOLD,
    ISSUED,
    PREPARED,
    CodeRecord,
    CodeSpent,
    CodeUse,
    CrlRecord,
    DeviceRecord,
    DuplicateSerial,
    IssuedRecord,
    IssuerCount,
    KeyHistory,
    NamesHeld,
    Revoked,
    RevokedRecord,
    SrpRecord,
    Store,
    TokenRecord,
    UserRecord,
)
from est_transports.authority.stores.device_records import DEVICES_FOUND_MAX
from est_transports.authority.stores.passwords import PasswordChecks
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
        self.names: dict[str, frozenset[str]] = {}
        self.users: dict[str, UserRecord] = {}
        self.tokens: dict[bytes, TokenRecord] = {}
        self.codes: dict[bytes, CodeRecord] = {}
        self.uses: dict[tuple[bytes, bytes], str] = {}
        self.nonces: dict[str, tuple[int, datetime]] = {}
        self.secret_check: bytes | None = None
        self.srp_users: dict[str, SrpRecord] = {}
        self.devices: dict[str, DeviceRecord] = {}
        self.crls: dict[bytes, CrlRecord] = {}
        self.changes = self.crl_number = 0

    def record_certificate(
        self,
        record: IssuedRecord,
        *,
        spends: CodeUse | None = None,
        names: Collection[str] = (),
        unless_held: bool = False,
        unless_revoked: Collection[str] = (),
        per_name: int | None = None,
    ) -> None:
        if per_name is not None:
            raise NotImplementedError("see the rules of renewals on a real store")
        if record.serial in self.records:
            raise DuplicateSerial(record.serial)
        if unless_held and any(self._holds(each, record, names) for each in self.records.values()):
            raise NamesHeld("held")
        shown = (self.records.get(serial) for serial in unless_revoked)
        if any(each is not None and each.revoked_at is not None for each in shown):
            raise Revoked("revoked")
        self.names[record.serial] = frozenset(names)
        if spends is not None:
            self.spend(spends, record.serial)
        self.records[record.serial] = record

    def _holds(self, held: IssuedRecord, new: IssuedRecord, names: Collection[str]) -> bool:
        is_revoked = held.revocation_reason not in (None, HOLD)
        is_live = not is_revoked and held.not_after >= new.issued_at
        is_others = held.manufacturer != new.manufacturer
        counts = held.manufacturer is not None or new.manufacturer is not None
        shares = not self.names[held.serial].isdisjoint(names)
        return is_live and is_others and counts and shares

    def spend(self, use: CodeUse, serial: str) -> None:
        code = self.codes.get(use.digest)
        if (
            code is None
            or code.uses == code.uses_max
            or use.at >= code.expires_at
            or (use.digest, use.request) in self.uses
        ):
            raise CodeSpent("no use left")
        self.codes[use.digest] = replace(code, uses=code.uses + 1)
        self.uses[use.digest, use.request] = serial

    def complete_certificate(
        self, serial: str, der: bytes, *, unless_revoked: Collection[str] = ()
    ) -> bool:
        counted = [self.records.get(each) for each in {serial, *unless_revoked}]
        is_good = all(each is None or each.revoked_at is None for each in counted)
        found = self.records.get(serial)
        if found is not None and found.state == PREPARED:
            self.records[serial] = found = replace(found, der=der, state=ISSUED)
        return found is not None and found.der == der and is_good

    def find_prepared(self, request: bytes) -> IssuedRecord | None:
        found = [each for each in self._prepared() if each.request == request]
        return found[-1] if found else None

    def count_prepared(self, now: datetime) -> int:
        return len([each for each in self._prepared() if each.not_after >= now])

    def _prepared(self) -> list[IssuedRecord]:
        every = self.records.values()
        return [each for each in every if each.state == PREPARED and each.revoked_at is None]

    def count_by_issuer(self, now: datetime) -> tuple[IssuerCount, ...]:
        raise NotImplementedError("a status is tested on a real store")

    def find_code_use(self, digest: bytes, request: bytes) -> IssuedRecord | None:
        return self.records.get(self.uses.get((digest, request), ""))

    def find_certificate(self, serial: str) -> IssuedRecord | None:
        return self.records.get(serial)

    def renewal_line(self, serial: str) -> int | None:
        found = self.records.get(serial)
        if found is None:
            return None
        while found.replaces in self.records:
            found = self.records[found.replaces]
        return 1 + list(self.records).index(found.serial)

    def key_history(self, spki_sha256: bytes, profile: str, *, limit: int) -> KeyHistory | None:
        raise NotImplementedError("see the rules of renewals on a real store")

    def list_certificates(
        self,
        *,
        limit: int = 100,
        after: str | None = None,
        subject: str | None = None,
        spki_sha256: bytes | None = None,
        user: str | None = None,
        state: str | None = None,
    ) -> tuple[IssuedRecord, ...]:
        every = (each for each in self.records.values() if state in (None, each.state))
        return tuple(every)[:limit]

    def revoke_certificate(self, serial: str, *, at: datetime, reason: str) -> bool:
        return self.revoke_certificates((serial,), at=at, reason=reason)

    def revoke_certificates(self, serials: Collection[str], *, at: datetime, reason: str) -> bool:
        changes = self.changes
        for serial in serials:
            found = self.records.get(serial)
            if found is None:
                continue
            became_final = found.revocation_reason == HOLD != reason
            if found.revoked_at is None or became_final:
                since = found.revoked_at or at
                marked = replace(found, revoked_at=since, revocation_reason=reason)
                self.records[serial] = marked
                self.changes += 1
        return self.changes > changes

    def release_hold(self, serial: str) -> bool:
        found = self.records.get(serial)
        if found is None or found.revocation_reason != HOLD:
            return False
        self.records[serial] = replace(found, revoked_at=None, revocation_reason=None)
        self.changes += 1
        return True

    def revoked_certificates(
        self, *, issuer_key: bytes | None = None, after: str | None = None, limit: int = 1000
    ) -> tuple[RevokedRecord, ...]:
        found = (
            RevokedRecord(
                serial=each.serial,
                not_after=each.not_after,
                revoked_at=each.revoked_at,
                reason=each.revocation_reason or "",
            )
            for each in sorted(self.records.values(), key=lambda each: each.serial)
            if each.revoked_at is not None and each.serial > (after or "")
            if issuer_key is None or each.issuer_key in (None, issuer_key)
        )
        return tuple(itertools.islice(found, limit))

    def revocation_changes(self) -> int:
        return self.changes

    def next_crl_number(self, *, at_least: int) -> int:
        self.crl_number = max(self.crl_number + 1, at_least)
        return self.crl_number

    def record_crl(self, crl: CrlRecord) -> bool:
        if self.find_crl(crl.issuer_key, newer_than=crl.number - 1) is not None:
            return False
        self.crls[crl.issuer_key] = crl
        return True

    def find_crl(self, issuer_key: bytes, *, newer_than: int = 0) -> CrlRecord | None:
        found = self.crls.get(issuer_key)
        return None if found is None or found.number <= newer_than else found

    def add_user(
        self,
        name: str,
        password_record: str,
        *,
        digest_record: str | None = None,
        replace: bool = False,
    ) -> bool:
        if name in self.users and not replace:
            return False
        self.users[name] = UserRecord(
            name=name, password_record=password_record, digest_record=digest_record
        )
        return True

    def find_user(self, name: str) -> UserRecord | None:
        return self.users.get(name)

    def remove_user(self, name: str) -> bool:
        return self.users.pop(name, None) is not None

    def list_users(self, *, limit: int = 100, after: str | None = None) -> tuple[UserRecord, ...]:
        return ()

    def add_token(self, record: TokenRecord, *, replace: bool = False) -> bool:
        self.tokens[record.digest] = record
        return True

    def find_token(self, digest: bytes) -> TokenRecord | None:
        return self.tokens.get(digest)

    def list_tokens(self, *, limit: int = 100, after: str | None = None) -> tuple[TokenRecord, ...]:
        return ()

    def remove_token(self, name: str) -> bool:
        return False

    def add_codes(self, records: Sequence[CodeRecord], *, replace: bool = False) -> tuple[str, ...]:
        self.codes |= {record.digest: record for record in records}
        return ()

    def find_code(self, digest: bytes) -> CodeRecord | None:
        return self.codes.get(digest)

    def list_codes(self, *, limit: int = 100, after: str | None = None) -> tuple[CodeRecord, ...]:
        return ()

    def remove_code(self, name: str) -> bool:
        return False

    def remove_codes(self, names: Sequence[str]) -> None:
        pass

    def count_nonce(self, nonce: str, count: int, *, expires_at: datetime, now: datetime) -> bool:
        self.nonces = {key: kept for key, kept in self.nonces.items() if kept[1] >= now}
        if count <= self.nonces.get(nonce, (0, now))[0]:
            return False
        self.nonces[nonce] = count, expires_at
        return True

    def needs_secret(self, *, now: datetime) -> bool:
        ends = [each.expires_at for each in self.tokens.values()]
        ends += [each.expires_at for each in self.codes.values()]
        return any(end is None or end > now for end in ends)

    def find_secret_check(self) -> bytes | None:
        return self.secret_check

    def keep_secret_check(self, value: bytes, *, now: datetime) -> bool:
        if self.secret_check is None or not self.needs_secret(now=now):
            self.secret_check = value
        return self.secret_check == value

    def add_srp_user(self, record: SrpRecord, *, replace: bool = False) -> bool:
        self.srp_users[record.name] = record
        return True

    def find_srp_user(self, name: str) -> SrpRecord | None:
        return self.srp_users.get(name)

    def list_srp_users(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[SrpRecord, ...]:
        return tuple(self.srp_users.values())[:limit]

    def remove_srp_user(self, name: str) -> bool:
        return False

    def add_devices(
        self,
        records: Sequence[DeviceRecord],
        *,
        codes: Sequence[CodeRecord] = (),
        replace: bool = False,
    ) -> tuple[str, ...]:
        taken = tuple(record.id for record in records if record.id in self.devices)
        if taken and not replace:
            return taken
        self.devices |= {record.id: record for record in records}
        return self.add_codes(codes, replace=replace)

    def find_device(self, device_id: str) -> DeviceRecord | None:
        return self.devices.get(device_id)

    def find_device_of(self, manufacturer: ManufacturerIdentity) -> DeviceRecord | None:
        found = (each for each in self.devices.values() if each.manufacturer == manufacturer)
        return next(found, None)

    def find_devices(self, names: Collection[str]) -> tuple[DeviceRecord, ...]:
        wanted = {canonical_text(name) for name in names}
        return tuple(
            device
            for known_as, device in sorted(self.devices.items())
            if wanted & {canonical_text(name) for name in (known_as, *device.names)}
        )[:DEVICES_FOUND_MAX]

    def list_devices(
        self, *, limit: int = 100, after: str | None = None
    ) -> tuple[DeviceRecord, ...]:
        later = [known_as for known_as in sorted(self.devices) if known_as > (after or "")]
        return tuple(self.devices[known_as] for known_as in later[:limit])

    def remove_devices(self, ids: Sequence[str], *, with_codes: bool = False) -> int:
        return sum(self.devices.pop(known_as, None) is not None for known_as in ids)

    def close(self) -> None:
        pass


SECRET: Final = ServerSecret(key=bytes(range(32)))


def make_authenticator(
    store: Store,
    *schemes: Scheme,
    passwords: PasswordChecks | None = None,
    look_ups: LookUps | None = None,
    now: Callable[[], datetime] = lambda: NOW,
    secret: ServerSecret | None = SECRET,
    verify_token: TokenVerifier | None = None,
    back_off: BackOff | None = None,
) -> Authenticator:
    """Return what judges credentials by these schemes; without one, passwords."""
    return Authenticator(
        store=store,
        schemes=frozenset(schemes or (Scheme.BASIC,)),
        passwords=passwords or PasswordChecks(),
        look_ups=look_ups or LookUps(),
        now=now,
        secret=secret,
        verify_token=verify_token,
        back_off=back_off,
    )


def make_ca(
    store: Store | None = None,
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
