"""A configuration made into a running server's parts: files opened, certificates checked.

`load_service` gives all of it or nothing, so that a reload either succeeds as a whole or leaves
what is being served alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypedDict

from cryptography import x509
from cryptography.x509.oid import NameOID

from est_core import Instant, Label, LocalProtocolError
from est_core.arguments import checked
from est_core.asn1.csrattrs import CsrAttr, CsrAttrs
from est_core.checks.identity import has_cmc_ra
from est_transports import _clock
from est_transports.authority.application import Authority
from est_transports.authority.ca import ReferenceCA
from est_transports.authority.stores import Store
from est_transports.authority.stores.passwords import PasswordChecks
from est_transports.channel.dtls_context import DtlsServerConfig, dtls_server_context
from est_transports.channel.tls import ServerContext, ServerTlsConfig, server_context
from est_transports.coap.settings import CoapService
from est_transports.http.settings import ServiceConfig
from est_transports.pki.chains import certifier_flaw, issuer_problem
from est_transports.pki.names import name_text
from est_transports.pki.signers import LocalSigner
from est_transports.pki.trust import (
    CredentialFileError,
    TlsIdentity,
    TrustAnchors,
    load_identity,
    load_pem_certificates,
    load_pem_crls,
    load_pem_private_key,
)
from est_transports.service.config.settings import CAConfig, ListenAddress, ServerConfig
from est_transports.service.readiness import check_files, notices_of, terms_of
from est_transports.service.terms import Term

MAX_PASSWORD_FILE_BYTES: Final = 4096
BACKLOG: Final = 1024

_WITHOUT_LABEL: Final = ""
"""The key of the default profile: no label is empty."""


class ServingError(Exception):
    """The server cannot start or reload. The text is one line: what, where, why."""


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What connections are served with, as it was loaded at one moment.

    `context` is for the handshake, `http` for the conversation, `authority` for its questions;
    `coap` is all of that for EST-coaps, None where it is not offered.
    `terms` are what the clock ends. `notices` are lines an operator should read: what has ended or
    soon will, what was made less strict.
    """

    config: ServerConfig
    identity: TlsIdentity = field(repr=False)
    context: ServerContext = field(repr=False)
    http: ServiceConfig
    coap: CoapService | None
    authority: Authority = field(repr=False)
    terms: tuple[Term, ...] = field(repr=False)
    notices: tuple[str, ...]


@checked
def load_service(
    config: ServerConfig,
    *,
    store: Store,
    passwords: PasswordChecks,
    clock: Callable[[], Instant] = _clock.instant,
) -> Service:
    """Return everything that `config` names, opened and checked against each other.

    Raises CredentialFileError for a file, and ServingError where the parts do not fit.
    """
    left_out: list[str] = []
    with _named_keys(config):
        check_files(config)
        identity = load_identity(config.tls.certificate, config.tls.key, left_out=left_out.append)
        ca = _load_ca(config, identity, store, left_out.append)
        anchors = _client_trust(config, left_out.append)
        crls = [(path, crl) for path in config.tls.crls for crl in load_pem_crls(path)]
    trust = TrustAnchors(
        # Not those above it: what a company's root has certified elsewhere may not enrol here.
        explicit=(ca.certificate,),
        implicit=tuple(anchor for _, anchor in anchors),
        crls=tuple(crl for _, crl in crls),
    )
    context = _context(config, identity, trust)
    authority = Authority(ca=ca, store=store, passwords=passwords, clock=clock, **_csrattrs(config))
    now, certificates = clock(), ca.ca_certificates()
    terms = terms_of(config, identity.certificate, certificates, anchors, crls)
    return Service(
        config=config,
        identity=identity,
        context=context,
        coap=_coap(config, identity, trust, authority),
        http=_http(config),
        authority=authority,
        terms=terms,
        notices=(
            *left_out,
            *notices_of(config, terms, certificates, anchors, crls, now.wall),
            *(f"{config.ca.certificate}: {line}" for line in _limits(ca, now)),
        ),
    )


def _context(config: ServerConfig, identity: TlsIdentity, trust: TrustAnchors) -> ServerContext:
    try:
        return server_context(_tls_config(config, identity, trust))
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


def _http(config: ServerConfig) -> ServiceConfig:
    return ServiceConfig(
        policy=config.policy(),
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
            **dict.fromkeys(tls.crls, "[tls] crls"),
            **dict.fromkeys(ca.reserved, "[ca] reserved"),
            ca.key_password_file: "[ca] key_password_file",
            ca.key: "[ca] key",
            ca.certificate: "[ca] certificate",
            tls.key: "[tls] key",
            tls.certificate: "[tls] certificate",
        }
        if exc.path not in keys:
            raise
        key = keys[exc.path]
        reason = f"{exc.reason} ({key}); {_remedy(exc, key)}"
        raise CredentialFileError(exc.path, reason) from exc


def _remedy(error: CredentialFileError, key: str) -> str:
    """Return what to do about a file that the configuration names with `key`."""
    match error.__cause__:
        case PermissionError():
            return "let the user who runs the server read it"
        case FileNotFoundError():
            return f"restore it, or correct {key} in est.toml"
        case _:
            return f"put the right one there, or correct {key} in est.toml"


@checked
def own_names(certificate: x509.Certificate) -> frozenset[str]:
    """Return the host names and addresses that a server's certificate speaks for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = names.get_values_for_type(x509.IPAddress)
    return frozenset([*names.get_values_for_type(x509.DNSName), *map(str, addresses)])


def _common_hosts(certificate: x509.Certificate) -> frozenset[str]:
    """Return the common names that are hosts: of old, a server's certificate has no others."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    texts = (str(name.value) for name in names)
    return frozenset(text for text in texts if not {" "} & set(text) and {".", ":"} & set(text))


def _reserved_subjects(
    config: ServerConfig, identity: TlsIdentity, left_out: Callable[[str], None]
) -> Iterator[tuple[str, x509.Name]]:
    """Yield the subjects that are the server's or configured to be somebody's, and whose."""
    for certificate in identity.chain[:1]:
        yield "this server's TLS certificate", certificate.subject
    for certificate in identity.chain[1:]:
        yield "a CA above this server's TLS certificate", certificate.subject
    for path in config.ca.reserved:
        for certificate in load_pem_certificates(path, left_out=left_out):
            is_ra = has_cmc_ra(certificate)
            whose = "a registration authority" if is_ra else "a certificate that is reserved"
            yield whose, certificate.subject


@checked
def load_ca_signer(ca: CAConfig) -> LocalSigner:
    """Return the signer of the CA's key, opened with the password of its file, if any.

    Raises CredentialFileError.
    """
    password = None if ca.key_password_file is None else _password(ca.key_password_file)
    return LocalSigner(load_pem_private_key(ca.key, password))


def _load_ca(
    config: ServerConfig, identity: TlsIdentity, store: Store, left_out: Callable[[str], None]
) -> ReferenceCA:
    certificate, *chain = load_pem_certificates(
        config.ca.certificate, left_out=left_out, needs_first=True
    )
    signer = load_ca_signer(config.ca)
    profiles = {_WITHOUT_LABEL: config.profiles[config.ca.default_profile]}
    profiles |= {row.label.text: config.profiles[row.profile] for row in config.labels}
    try:
        return ReferenceCA(
            certificate=certificate,
            chain=chain,
            signer=signer,
            store=store,
            profiles=profiles,
            default_profile=_WITHOUT_LABEL,
            own_names=own_names(identity.certificate) | _common_hosts(identity.certificate),
            reserved_subjects=tuple(_reserved_subjects(config, identity, left_out)),
            entropy=_clock.entropy,
        )
    except LocalProtocolError as exc:
        raise ServingError(f"{config.ca.certificate}: {exc.message}") from exc


def _tls_config(
    config: ServerConfig, identity: TlsIdentity, trust: TrustAnchors
) -> ServerTlsConfig:
    return ServerTlsConfig(
        identities=(identity,),
        trust=trust,
        max_version=config.max_version,
        resumption=config.tls.resumption,
        require_ems=config.pop.require_ems,
        tls_exporter=config.pop.tls_exporter,
    )


def _coap(
    config: ServerConfig, identity: TlsIdentity, trust: TrustAnchors, authority: Authority
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
        policy=config.policy(),
        lifetime_s=config.coap.lifetime_s,
        limits=config.limits,
        coap=coap,
    )


class _Told(TypedDict):
    csrattrs: dict[Label | None, CsrAttrs | None]
    key_types: dict[Label | None, CsrAttr | None]


def _csrattrs(config: ServerConfig) -> _Told:
    """Return what clients are told to put into their requests, and what their keys have to be."""
    profiles = {None: config.ca.default_profile} | {row.label: row.profile for row in config.labels}
    return _Told(
        csrattrs={None: config.csrattrs}
        | {row.label: row.csrattrs for row in config.labels if row.csrattrs is not None},
        key_types={label: config.profiles[name].key_type() for label, name in profiles.items()},
    )


def _password(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            password = file.readline(MAX_PASSWORD_FILE_BYTES).rstrip(b"\r\n")
    except OSError as exc:
        raise CredentialFileError(path, exc.strerror or "cannot be read") from exc
    if not password:
        raise CredentialFileError(path, "holds no password")
    return password


def _limits(ca: ReferenceCA, now: Instant) -> Iterator[str]:
    """Yield what the CA can never issue, whatever the profiles say."""
    *others, root = ca.ca_certificates()
    problem = issuer_problem(ca.certificate, anchors=(root,), others=others, now=now.wall)
    if problem and not ca.outdated(now.wall):  # that was told with the date
        yield f"nothing that it issues will verify: {problem}"
    for certificate in ca.ca_certificates():
        if weak := certifier_flaw(certificate):
            whose = name_text(certificate.subject)
            yield f"peers will refuse what it issues: the certificate of {whose}: {weak}"
    yield from ca.never_issued()


@checked
def open_sockets(address: ListenAddress) -> tuple[socket.socket, ...]:
    """Return listening sockets for every address of a host, all on one port.

    They do not block and survive a fork. Raises ServingError.
    """
    opened = _open(address, socket.SOCK_STREAM)
    for listener in opened:
        listener.listen(BACKLOG)
    return opened


@checked
def open_datagram_sockets(
    address: ListenAddress, workers: int
) -> tuple[tuple[socket.socket, ...], ...]:
    """Return, for each of the workers, UDP sockets for every address of a host, all on one port.

    The kernel gives all datagrams from one client to the same worker, as long as each keeps its
    sockets. Raises ServingError.
    """
    opened: list[tuple[socket.socket, ...]] = []
    with ExitStack() as undo:
        for number in range(workers):
            # The first ones share their port only once they have it: with another server that
            # shares the same port, each would get some of the other's clients.
            sockets = _open(address, socket.SOCK_DGRAM, joins=number > 0)
            for each in sockets:
                undo.enter_context(each)
                if workers > 1:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.append(sockets)
            address = replace(address, port=sockets[0].getsockname()[1])
        undo.pop_all()
    return tuple(opened)


def _open(
    address: ListenAddress, kind: socket.SocketKind, *, joins: bool = False
) -> tuple[socket.socket, ...]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as exc:
        reason = getattr(exc, "strerror", None) or "not a host name"
        raise ServingError(f"cannot listen on {address}: {reason}") from exc
    opened: list[socket.socket] = []
    port = address.port
    with ExitStack() as undo:
        for family, _, _, _, place in dict.fromkeys(found):
            try:
                listener = undo.enter_context(socket.socket(family, kind))
                _bind(listener, family, (place[0], port, *place[2:]), joins=joins)
            except OSError as exc:
                raise ServingError(f"cannot listen on {address}: {exc.strerror}") from exc
            port = listener.getsockname()[1]
            opened.append(listener)
        undo.pop_all()
    return tuple(opened)


def _bind(listener: socket.socket, family: int, place: tuple[object, ...], *, joins: bool) -> None:
    listener.setblocking(False)
    if listener.type is socket.SOCK_STREAM:
        # Without it a restart waits until the last connection's TIME_WAIT is over. With it, two
        # servers could have the same UDP port, and one of them would hear nothing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if joins:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(place)
