"""A configuration made into a running server's parts: files opened, certificates checked.

`load_service` gives all of it or nothing, so that a reload either succeeds as a whole or leaves
what is being served alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypedDict

from cryptography import x509

from est_core import Instant, Label, LocalProtocolError, ServerPolicy
from est_core.arguments import checked
from est_core.asn1.csrattrs import CsrAttr
from est_core.checks.identity import RegistrationAuthorities
from est_core.values import value_class
from est_transports import _clock
from est_transports.authority.application import Authority
from est_transports.authority.authentication.authenticator import Authenticator
from est_transports.authority.authentication.back_off import BackOffs
from est_transports.authority.authentication.look_ups import LookUps
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.csr_attributes import AskedOfClients
from est_transports.authority.former_cas import linked_chain
from est_transports.authority.issue_log import IssueLog
from est_transports.authority.stores import Store
from est_transports.authority.stores.passwords import PasswordChecks
from est_transports.channel.dtls_context import DtlsServerConfig, dtls_server_context
from est_transports.channel.srp_attempts import SrpBackOff
from est_transports.channel.srp_users import SrpAttempts, SrpServerConfig
from est_transports.channel.tls import ServerContext, ServerTlsConfig, server_context
from est_transports.coap.settings import CoapService
from est_transports.http.settings import ServiceConfig
from est_transports.pki.trust import (
    CredentialFileError,
    Revocation,
    TlsIdentity,
    TrustAnchors,
    load_identity,
    load_pem_certificates,
)
from est_transports.publication.resources import Publication
from est_transports.service.ca_loading import ca_limits, load_ca
from est_transports.service.config.settings import ServerConfig
from est_transports.service.crl_loading import LoadedCrls, load_crls
from est_transports.service.errors import ServingError
from est_transports.service.manufacturer_loading import (
    LoadedManufacturer,
    files_of,
    load_manufacturers,
    overlapping,
)
from est_transports.service.publishing import publication_of
from est_transports.service.ra_loading import registration_authorities
from est_transports.service.secret_loading import loaded_secret
from est_transports.service.srp_loading import srp_users
from est_transports.service.startup_checks import (
    Anchors,
    check_files,
    notices_of,
    validities_of,
)
from est_transports.service.validity import Validity


@value_class
class Service:
    """What connections are served with, as it was loaded at one moment.

    `context` is for the handshake, `http` for the conversation, `authority` for its questions;
    `coap` is all of that for EST-coaps, None where it is not offered, and `publication` what is
    there for everybody by plain HTTP.
    `validities` are what the clock ends. `notices` are lines an operator should read: what has
    ended or soon will, what was made less strict.
    """

    config: ServerConfig
    identity: TlsIdentity = field(repr=False)
    context: ServerContext = field(repr=False)
    http: ServiceConfig
    coap: CoapService | None
    authority: Authority = field(repr=False)
    publication: Publication = field(repr=False)
    secret: ServerSecret | None = field(repr=False)
    validities: tuple[Validity, ...] = field(repr=False)
    notices: tuple[str, ...]


@value_class
class CredentialChecks:
    """What bounds the checks of credentials in one process: make one, and use it at each reload."""

    passwords: PasswordChecks = field(default_factory=PasswordChecks)
    look_ups: LookUps = field(default_factory=LookUps)
    back_offs: BackOffs = field(default_factory=BackOffs)
    srp_attempts: SrpAttempts = field(default_factory=SrpBackOff)


@checked
def load_service(
    config: ServerConfig,
    *,
    store: Store,
    checks: CredentialChecks | None = None,
    secret: ServerSecret | None = None,
    issue_log: IssueLog | None = None,
    clock: Callable[[], Instant] = _clock.instant,
) -> Service:
    """Return everything that `config` names, opened and checked against each other.

    `checks` are those of the process, where it loads more than once, and `secret` is that of the
    Service that it loaded before: it stays until the server is started again. `issue_log` is told
    of each certificate.

    Raises CredentialFileError for a file, ServingError where the parts do not fit, and StoreError.
    """
    left_out: list[str] = []
    with _named_keys(config):
        check_files(config)
        identity, ca = _own(config, store, left_out.append)
        secret = loaded_secret(config, store, secret, clock().wall, left_out)
        listed = registration_authorities(config.ra, ca.generations)
        now, trusted = clock(), _trusted(config, ca, clock().wall, left_out.append)
    trust, crls, checks = trusted.trust, trusted.crls, checks or CredentialChecks()
    srp = srp_users(config.srp, store, secret, checks.srp_attempts)
    authority = _authority(config, ca, checks, clock, secret, issue_log)
    policy = _policy(config, secret, trusted.manufacturers, listed)
    own = validities_of(config, identity.certificate, ca.ca_certificates(), trusted.anchors)
    validities = own + crls.validities
    return Service(
        config=config,
        identity=identity,
        context=_context(config, identity, trust, srp),
        coap=_coap(config, identity, trust, authority, policy),
        http=_http(config, policy),
        authority=authority,
        publication=publication_of(config, ca, now.wall),
        secret=secret,
        validities=validities,
        notices=(
            *left_out,
            *notices_of(config, validities, now.wall),
            *crls.notices,
            *_notices_of_ca(config, ca, now),
        ),
    )


def _notices_of_ca(config: ServerConfig, ca: ReferenceCA, now: Instant) -> Iterator[str]:
    """Yield what it cannot do: its lists too where they are wanted."""
    for line in ca_limits(ca, now):
        yield f"{config.ca.certificate}: {line}"
    if config.crl.enabled and not ca.signs_crls:
        yield (
            f"{config.ca.certificate}: its key may not sign revocation lists (keyUsage without"
            " cRLSign): none are made; enabled = false under [crl] leaves this out"
        )


def _own(
    config: ServerConfig, store: Store, left_out: Callable[[str], None]
) -> tuple[TlsIdentity, ReferenceCA]:
    """Return the server's identity, with the links by which each root verifies it, and the CA."""
    identity = load_identity(config.tls.certificate, config.tls.key, left_out=left_out)
    ca = load_ca(config, identity, store, left_out)
    chain = linked_chain(identity.chain, ca.certificate, ca.former)
    return replace(identity, chain=chain), ca


class _Trusted(NamedTuple):
    """Who may certify clients: as handshakes want it, each anchor with its file, and the parts."""

    trust: TrustAnchors
    anchors: Anchors
    manufacturers: tuple[LoadedManufacturer, ...]
    crls: LoadedCrls


def _trusted(
    config: ServerConfig, ca: ReferenceCA, now: datetime, left_out: Callable[[str], None]
) -> _Trusted:
    anchors = _client_trust(config, left_out)
    makers = load_manufacturers(config.manufacturers, left_out)
    every = (*anchors, *files_of(makers))
    former = tuple(each.certificate for each in ca.former if each.is_trusted(now))
    own = ca.ca_certificates()
    crls = load_crls(config.crls, ca=own, anchors=every, now=now, former=former)
    trust = _trust((ca.certificate, *former), anchors, makers, crls.revocation)
    return _Trusted(trust, every, makers, crls)


def _trust(
    own: tuple[x509.Certificate, ...],
    anchors: Anchors,
    makers: Sequence[LoadedManufacturer],
    revocation: Revocation,
) -> TrustAnchors:
    try:
        return TrustAnchors(
            # Not those above it: what a company's root has certified elsewhere may not enroll here.
            explicit=own,
            implicit=tuple(anchor for _, anchor in anchors),
            revocation=revocation,
            manufacturers=tuple(maker.anchors for maker in makers),
        )
    except LocalProtocolError as exc:
        raise overlapping(exc) from exc


def _context(
    config: ServerConfig,
    identity: TlsIdentity,
    trust: TrustAnchors,
    srp: SrpServerConfig | None,
) -> ServerContext:
    try:
        return server_context(_tls_config(config, identity, trust, srp))
    except LocalProtocolError as exc:
        raise ServingError(f"{config.tls.certificate}: {exc.message}") from exc


def _client_trust(
    config: ServerConfig, left_out: Callable[[str], None]
) -> list[tuple[Path, x509.Certificate]]:
    """Return the trust anchors of clients, with the file of each."""
    return [
        (path, each)
        for path in config.tls.client_trust
        for each in load_pem_certificates(path, left_out=left_out)
    ]


def _policy(
    config: ServerConfig,
    secret: ServerSecret | None,
    makers: Sequence[LoadedManufacturer],
    listed: RegistrationAuthorities,
) -> ServerPolicy:
    policy = config.policy(None if secret is None else secret.nonce_key(), listed)
    return replace(policy, manufacturers=tuple(each.manufacturer for each in makers))


def _authority(
    config: ServerConfig,
    ca: ReferenceCA,
    checks: CredentialChecks,
    clock: Callable[[], Instant],
    secret: ServerSecret | None,
    issue_log: IssueLog | None,
) -> Authority:
    authenticator = Authenticator(
        store=ca.store,
        schemes=config.auth.schemes,
        passwords=checks.passwords,
        look_ups=checks.look_ups,
        now=lambda: clock().wall,
        secret=secret,
        back_off=checks.back_offs.of(config.auth.back_off),
    )
    return Authority(
        ca=ca, store=ca.store, authenticator=authenticator, clock=clock, issue_log=issue_log,
        renewals=config.renewal_info.schedule,
        **_csrattrs(config),
    )  # fmt: skip


def _http(config: ServerConfig, policy: ServerPolicy) -> ServiceConfig:
    return ServiceConfig(
        policy=policy,
        limits=config.limits,
        timeouts=config.timeouts,
        accept_pem=config.accept_pem,
        accept_der=config.accept_der,
    )


@contextmanager
def _named_keys(config: ServerConfig) -> Iterator[None]:
    """Add to an error about a file the key that names it, and what to do."""
    try:
        yield
    except CredentialFileError as exc:
        tls, ca = config.tls, config.ca
        keys: dict[Path | None, str] = {
            **dict.fromkeys(tls.client_trust, "[tls] client_trust"),
            **{
                path: f"{each.heading} trust"
                for each in config.manufacturers
                for path in each.trust
            },
            **dict.fromkeys(config.crls.files, "[crls] files"),
            **dict.fromkeys(config.ra.certificates, "[ra] certificates"),
            **dict.fromkeys(ca.reserved, "[ca] reserved"),
            config.auth.secret: "[auth] secret",
            ca.key_password_file: "[ca] key_password_file",
            **{path: f"[[ca.former]] {key}" for key, path in _former_files(config)},
            ca.key: "[ca] key",
            ca.certificate: "[ca] certificate",
            tls.key: "[tls] key",
            tls.certificate: "[tls] certificate",
        }
        if exc.path not in keys:
            raise
        key = keys[exc.path]
        says_what_to_do = "; " in exc.reason
        more = "" if says_what_to_do else f"; {_remedy(exc, key)}"
        reason = f"{exc.reason} ({key}){more}"
        raise CredentialFileError(exc.path, reason) from exc


def _former_files(config: ServerConfig) -> Iterator[tuple[str, Path]]:
    for each in config.ca.former:
        yield "certificate", each.certificate
        if each.links is not None:
            yield "links", each.links


def _remedy(error: CredentialFileError, key: str) -> str:
    """Return what to do about a file that the configuration names with `key`."""
    match error.__cause__:
        case PermissionError():
            return "let the user who runs the server read it"
        case FileNotFoundError():
            return f"restore it, or correct {key} in est.toml"
        case _:
            return f"put the right one there, or correct {key} in est.toml"


def _tls_config(
    config: ServerConfig,
    identity: TlsIdentity,
    trust: TrustAnchors,
    srp: SrpServerConfig | None,
) -> ServerTlsConfig:
    return ServerTlsConfig(
        identities=(identity,),
        trust=trust,
        max_version=config.max_version,
        resumption=config.tls.resumption,
        require_ems=config.pop.require_ems,
        tls_exporter=config.pop.tls_exporter,
        srp=srp,
    )


def _coap(
    config: ServerConfig,
    identity: TlsIdentity,
    trust: TrustAnchors,
    authority: Authority,
    policy: ServerPolicy,
) -> CoapService | None:
    if config.coap.listen is None:
        return None
    try:
        dtls = DtlsServerConfig(
            identity=identity,
            trust=trust,
            require_ems=config.pop.require_ems,
            mtu_bytes=config.coap.mtu_bytes,
        )
        context = dtls_server_context(dtls)
    except LocalProtocolError as exc:
        raise ServingError(f"[coap] listen: {config.tls.certificate}: {exc.message}") from exc
    try:
        coap = config.coap.limits(config.limits)
    except LocalProtocolError as exc:
        raise ServingError(f"[coap] listen: [limits]: {exc.message}") from exc
    return CoapService(
        context=context,
        application=authority,
        policy=policy,
        lifetime_s=config.coap.lifetime_s,
        limits=config.limits,
        coap=coap,
    )


class _Told(TypedDict):
    csrattrs: dict[Label | None, AskedOfClients | None]
    key_types: dict[Label | None, CsrAttr | None]


def _csrattrs(config: ServerConfig) -> _Told:
    """Return what clients are told to put into their requests, and what their keys have to be."""
    profiles = {None: config.ca.default_profile} | {row.label: row.profile for row in config.labels}
    return _Told(
        csrattrs={None: config.csrattrs}
        | {row.label: row.csrattrs for row in config.labels if row.csrattrs is not None},
        key_types={label: config.profiles[name].key_type() for label, name in profiles.items()},
    )
