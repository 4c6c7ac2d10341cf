"""How a server with the reference CA is to run: values only, no file is opened here.

`config_reader` makes them from est.toml; a program may make its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from est_core import (
    CSRATTRS,
    OPERATIONS,
    RENEWAL_INFO,
    AuthChallenge,
    Authentication,
    ChangedNames,
    DigestAlgorithm,
    DigestScheme,
    Entropy,
    ForeignChallenge,
    Limits,
    LocalProtocolError,
    NameRule,
    Operation,
    PolicyRow,
    RevocationChallenge,
    ServerPolicy,
    TlsVersion,
)
from est_core.auth.nonces import KEY_BYTES
from est_core.auth.scheme import NONCE_S
from est_core.checks.identity import RegistrationAuthorities
from est_core.codec.authheader import basic_challenge, bearer_challenge
from est_core.policy import with_datagram_rows
from est_core.values import value_class
from est_transports import _clock
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.authentication.back_off import BackOffLimits
from est_transports.authority.csr_attributes import AskedOfClients
from est_transports.authority.profiles import Profile
from est_transports.channel.srp_users import DEFAULT_BITS, GROUP_BITS
from est_transports.http.settings import Timeouts
from est_transports.service.config.audit import AuditConfig
from est_transports.service.config.coap import CoapConfig
from est_transports.service.config.crl import CrlMaking
from est_transports.service.config.crls import CrlConfig
from est_transports.service.config.csr_attributes import check_rules
from est_transports.service.config.former import FormerCaConfig
from est_transports.service.config.labels import LabelConfig, label_rows
from est_transports.service.config.listen import ListenAddress
from est_transports.service.config.manufacturers import ManufacturerConfig
from est_transports.service.config.ocsp import OcspConfig
from est_transports.service.config.publication import PublicationConfig
from est_transports.service.config.registration import RaConfig
from est_transports.service.config.renewal_info import RenewalInfoConfig

MAX_WORKERS: Final = 256


@value_class
class AuthConfig:
    """Who may do what: one kind of authentication an operation, and what a CSR must hold.

    `schemes` are the kinds of credentials that are taken where one is "http"; `secret` is the file
    of what nonces, tokens and codes are hashed with. A nonce of Digest is good for `nonce_s`.
    `back_off` is how much may be wrong in each process.
    `names` says which names a client may have, `renew_expired_days` for how long it may renew a
    certificate that has expired, `changed_names` which others than its names a renewal may ask for.
    """

    schemes: frozenset[Scheme] = frozenset({Scheme.BASIC})
    secret: Path | None = None
    digest_algorithms: tuple[DigestAlgorithm, ...] = (
        DigestAlgorithm.MD5,
        DigestAlgorithm.SHA_256,
    )
    nonce_s: int = NONCE_S
    back_off: BackOffLimits = field(default_factory=BackOffLimits)
    authentication: Mapping[Operation, Authentication] = field(
        default_factory=lambda: MappingProxyType(
            {operation: operation.authentication for operation in OPERATIONS}
        )
    )
    require_pop: bool = False
    enforce_csrattrs: bool = False
    names: NameRule = NameRule.IDENTITY
    renew_expired_days: int = 0
    changed_names: ChangedNames = ChangedNames.REGISTERED

    @property
    def needs_secret(self) -> bool:
        """True if a scheme that is taken needs the server's secret."""
        return any(scheme.needs_secret for scheme in self.schemes)

    def challenges(self, realm: str) -> tuple[AuthChallenge, ...]:
        """Return the challenges of the schemes, but for Digest; Bearer comes last.

        Bouncy Castle's client (1.72) reads the first one only and knows no Bearer.
        """
        found = []
        if self.schemes & {Scheme.BASIC, Scheme.OTP}:
            found.append(basic_challenge(realm))
        if Scheme.BEARER in self.schemes:
            found.append(bearer_challenge(realm))
        return tuple(found)

    def digest(self, realm: str, key: bytes, entropy: Entropy) -> DigestScheme | None:
        """Return Digest as it is offered, None where it is not."""
        if Scheme.DIGEST not in self.schemes:
            return None
        return DigestScheme(
            realm=realm,
            key=key,
            entropy=entropy,
            algorithms=self.digest_algorithms,
            nonce_s=self.nonce_s,
        )


@value_class
class SrpConfig:
    """Whether clients may prove who they are by TLS-SRP, on the port of all others. RFC 5054.

    `bits` is the smallest group that a user's verifier may have, and the one that names have which
    nobody has: one of GROUP_BITS, LocalProtocolError otherwise.
    """

    enabled: bool = False
    bits: int = DEFAULT_BITS

    def __post_init__(self) -> None:
        if self.bits not in GROUP_BITS:
            raise LocalProtocolError(f"bits is one of {', '.join(map(str, GROUP_BITS))}")


@value_class
class PopConfig:
    """How requests are linked to their channel, where they are. RFC 7030 3.5, RFC 9266.

    `require_ems` False takes tls-unique without extended master secret; `tls_exporter` links on
    TLS 1.3, with clients that were told to do the same. With `list_identity_linking` clients that
    know estIdentityLinking (RFC 7894) are told to link by it. The reference CA revokes nothing by a
    revocationChallenge: LocalProtocolError for one that is taken.
    """

    foreign_challenge: ForeignChallenge = ForeignChallenge.REFUSE
    require_ems: bool = True
    tls_exporter: bool = False
    list_identity_linking: bool = False
    revocation_challenge: RevocationChallenge = RevocationChallenge.IGNORE

    def __post_init__(self) -> None:
        if self.revocation_challenge is RevocationChallenge.TAKE:
            raise LocalProtocolError("the reference CA keeps no revocationChallenge")


@value_class
class TlsConfig:
    """Files of the TLS identity, and whom it trusts beside the CA itself.

    `client_trust` are implicit trust anchors beside those of manufacturers (RFC 7030 3.3.2).
    """

    certificate: Path
    key: Path
    client_trust: tuple[Path, ...] = ()
    max_version: TlsVersion | None = None
    resumption: bool = False


@value_class
class CAConfig:
    """Files of the CA. `certificate` holds the issuing certificate, then its chain to the root.

    `reserved` are certificates whose subjects nobody else gets: an OCSP responder's, those of
    registration authorities. `former` are the generations before this key, the newest first.
    """

    certificate: Path
    key: Path
    key_password_file: Path | None = None
    store: Path
    reserved: tuple[Path, ...] = ()
    default_profile: str = "client"
    former: tuple[FormerCaConfig, ...] = ()


@value_class
class ServerConfig:
    """Everything that est.toml can say, with its defaults.

    `threads`, `connections_max` and `half_open_max` are for each of the `workers`, which are
    processes; `stop_s` is how long a stopping server waits for requests under way. `labels`
    without a rule of their own are guarded as no label is. `directory` is where est.toml is, for
    advice only.
    Raises LocalProtocolError for names that do not fit together.
    """

    listen: ListenAddress
    realm: str = "est"
    workers: int = 1
    threads: int = 8
    connections_max: int = 256
    half_open_max: int = 4096
    stop_s: float = 10.0
    auth: AuthConfig
    srp: SrpConfig = field(default_factory=SrpConfig)
    pop: PopConfig = field(default_factory=PopConfig)
    tls: TlsConfig
    crls: CrlConfig = field(default_factory=CrlConfig)
    crl: CrlMaking = field(default_factory=CrlMaking)
    manufacturers: tuple[ManufacturerConfig, ...] = ()
    coap: CoapConfig = field(default_factory=CoapConfig)
    publication: PublicationConfig = field(default_factory=PublicationConfig)
    ocsp: OcspConfig = field(default_factory=OcspConfig)
    ra: RaConfig = field(default_factory=RaConfig)
    ca: CAConfig
    audit: AuditConfig = field(default_factory=AuditConfig)
    renewal_info: RenewalInfoConfig = field(default_factory=RenewalInfoConfig)
    profiles: Mapping[str, Profile]
    labels: tuple[LabelConfig, ...] = ()
    csrattrs: AskedOfClients | None = None
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    accept_pem: bool = True
    accept_der: bool = True
    directory: Path | None = None

    def __post_init__(self) -> None:
        for name in (self.ca.default_profile, *(label.profile for label in self.labels)):
            if name not in self.profiles:
                raise LocalProtocolError(f"there is no profile {name!r}")
        if len({label.label for label in self.labels}) != len(self.labels):
            raise LocalProtocolError("two labels are the same")
        check_rules(
            (self.csrattrs, *(label.csrattrs for label in self.labels)),
            knows_users=self.srp.enabled or self.auth.authentication[CSRATTRS].takes_http,
            manufacturers={each.manufacturer.name for each in self.manufacturers},
        )
        if self.ocsp.enabled and not self.publication.listen:
            raise LocalProtocolError("ocsp.enabled needs an address in publication.listen")
        if self._takes_challenges_for_codes and Scheme.OTP not in self.auth.schemes:
            raise LocalProtocolError('foreign_challenge "code" needs "otp" in auth.schemes')

    @property
    def max_version(self) -> TlsVersion | None:
        """The cap on TLS: 1.2 where linking is required and TLS 1.3 has no binding for it."""
        linked = self.auth.require_pop or any(label.require_pop for label in self.labels)
        return TlsVersion.TLS_1_2 if linked and not self.pop.tls_exporter else self.tls.max_version

    @property
    def has_registered_names(self) -> bool:
        """True where the list of devices says, under a label or without, who has which name."""
        found = (self.auth.names, *(label.names for label in self.labels))
        return NameRule.REGISTERED in found

    def names_any(self) -> tuple[str, ...]:
        """Return the keys that leave a client any name it asks for."""
        found = ["auth.names"] if self.auth.names is NameRule.ANY else []
        if self.auth.changed_names is ChangedNames.ANY:
            found.append("auth.changed_names")
        for each in self.labels:
            found += [f"labels.{each.label}.{key}" for key in each.any_keys()]
        return tuple(found)

    @property
    def _takes_challenges_for_codes(self) -> bool:
        found = [self.pop.foreign_challenge, *(label.foreign_challenge for label in self.labels)]
        return ForeignChallenge.CODE in found

    def _offered(self) -> Iterator[tuple[Operation, Authentication]]:
        """Yield what is offered, and to whom."""
        yield from self.auth.authentication.items()
        if self.renewal_info.enabled:
            yield RENEWAL_INFO, self.renewal_info.authentication

    def policy(
        self,
        nonce_key: bytes | None = None,
        registration_authorities: RegistrationAuthorities | None = None,
    ) -> ServerPolicy:
        """Return the rules for a ServerSession. Raises LocalProtocolError as ServerPolicy does.

        `registration_authorities` are those of the files that `ra` names.

        Nonces of Digest are made under `nonce_key`; without one under a key that nobody else has,
        so that only this policy knows them.
        """
        nobody = RegistrationAuthorities()
        listed = registration_authorities or nobody
        rows = [
            PolicyRow(
                operation=operation,
                authentication=authentication,
                certificate_trust=operation.certificate_trust,
                require_pop=self.auth.require_pop and operation.is_enrollment,
                registration_authorities=listed if operation.is_enrollment else nobody,
                enforce_csrattrs=self.auth.enforce_csrattrs and operation.is_enrollment,
                names=self.auth.names if operation.is_enrollment else NameRule.ANY,
                expired_days=self.auth.renew_expired_days if operation.is_renewal else 0,
                changed_names=self.auth.changed_names
                if operation.is_renewal
                else ChangedNames.REFUSE,
            )
            for operation, authentication in self._offered()
        ]
        rows += [row for label in self.labels for row in label_rows(label, rows)]
        asks = any(row.authentication.takes_http for row in rows)
        key = nonce_key or _clock.entropy(KEY_BYTES)
        return ServerPolicy(
            rows=with_datagram_rows(tuple(rows)),
            challenges=self.auth.challenges(self.realm) if asks else (),
            digest=self.auth.digest(self.realm, key, _clock.entropy) if asks else None,
            labels=frozenset(label.label for label in self.labels),
            foreign_challenge=self.pop.foreign_challenge,
            otp_challenge=Scheme.OTP in self.auth.schemes,
            list_identity_linking=self.pop.list_identity_linking,
            revocation_challenge=self.pop.revocation_challenge,
            manufacturers=tuple(each.manufacturer for each in self.manufacturers),
        )
