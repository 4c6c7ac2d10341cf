"""est.toml: every key that there is, read into the values of `config`.

A key, table or word that is not known is an error, and so is a combination that no server can be
run with. The files that it names are not opened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Final

from est_core import (
    OPERATIONS,
    SIMPLEREENROLL,
    Authentication,
    ChangedNames,
    DigestAlgorithm,
    ForeignChallenge,
    Label,
    Limits,
    NameRule,
    Operation,
    RevocationChallenge,
    TlsVersion,
)
from est_core.arguments import checked
from est_core.auth.scheme import NONCE_S
from est_core.checks.expiry import EXPIRED_DAYS_MAX
from est_transports.authority.authentication.authenticator import Scheme
from est_transports.authority.authentication.back_off import BackOffLimits
from est_transports.authority.profiles import Profile
from est_transports.channel.srp_users import GROUP_BITS
from est_transports.http.settings import Timeouts
from est_transports.service.config.audit import read_audit
from est_transports.service.config.coap import read_coap
from est_transports.service.config.crl import read_crl
from est_transports.service.config.crls import read_crls
from est_transports.service.config.csr_attributes import read_csrattrs
from est_transports.service.config.former import read_former
from est_transports.service.config.labels import LabelConfig
from est_transports.service.config.listen import DEFAULT_PORT, ListenAddress, parse_listen
from est_transports.service.config.manufacturers import read_manufacturers
from est_transports.service.config.moved import MOVED
from est_transports.service.config.ocsp import read_ocsp
from est_transports.service.config.profiles import read_profiles
from est_transports.service.config.publication import read_publication
from est_transports.service.config.registration import read_ra
from est_transports.service.config.renewal_info import read_renewal_info
from est_transports.service.config.settings import (
    MAX_WORKERS,
    AuthConfig,
    CAConfig,
    PopConfig,
    ServerConfig,
    SrpConfig,
    TlsConfig,
)
from est_transports.toml.tables import Asked, NamedFile, TomlTable, read_toml

CONFIG_FILE: Final = "est.toml"
SECRET_FILE: Final = "auth-secret.key"

_AUTHENTICATION: Final = {row.value: row for row in Authentication}
_CHANGED_NAMES: Final = {rule.value: rule for rule in ChangedNames}
_NAME_RULES: Final = {rule.value: rule for rule in NameRule}
_REVOCATION_CHALLENGES: Final = {
    rule.value: rule for rule in (RevocationChallenge.IGNORE, RevocationChallenge.REFUSE)
}
_TLS_VERSIONS: Final = {"1.2": TlsVersion.TLS_1_2, "1.3": TlsVersion.TLS_1_3}


@checked
def load_config(path: Path) -> ServerConfig:
    """Return what a file says. Raises ConfigError, which names the file, the key and the reason.

    Relative paths in it start at its own directory. The files that it names are not opened.
    """
    return _read(read_toml(path, MOVED))


@checked
def files_named(path: Path) -> tuple[NamedFile, ...]:
    """Return each file that an est.toml names, there or not. Raises ConfigError as `load_config`.

    A key that is not written names its default.
    """
    top = read_toml(path, MOVED)
    _read(top)
    return top.files_named()


def asked_keys() -> Mapping[str, Mapping[str, Asked]]:
    """Return what is asked of each key of est.toml, by table.

    What may be there several times, under names of its own, is under "NAME": `profiles.NAME`.
    """
    several = ("manufacturers", "profiles", "labels")
    named: dict[str, object] = {table: {"NAME": {}} for table in several}
    moment = "2027-01-01T00:00:00Z"
    named["ca"] = {"former": [{"certificate": "NAME", "trusted_until": moment}]}
    named["csrattrs"] = {"for": [{"certificate": "NAME"}]}
    top = TomlTable(Path(CONFIG_FILE), "", named)
    _read(top)
    return top.asked()


def _read(top: TomlTable) -> ServerConfig:
    server, body = top.table("server"), top.table("body")
    profiles = read_profiles(top)
    with top.checks():
        config = ServerConfig(
            listen=_listen(server),
            realm=_realm(server),
            workers=server.integer("workers", 1, least=1, most=MAX_WORKERS),
            threads=server.integer("threads", 8, least=1, most=1024),
            connections_max=server.integer("connections_max", 256, least=1, most=65536),
            half_open_max=server.integer("half_open_max", 4096, least=1, most=65536),
            stop_s=server.seconds("stop_s", 10.0),
            auth=_auth(top.table("auth")),
            srp=_srp(top.table("srp")),
            pop=_pop(top.table("pop")),
            tls=_tls(top.table("tls")),
            crls=read_crls(top.table("crls")),
            crl=read_crl(top.table("crl")),
            manufacturers=tuple(read_manufacturers(top)),
            coap=read_coap(top.table("coap")),
            publication=read_publication(top.table("publication")),
            ocsp=read_ocsp(top.table("ocsp")),
            ra=read_ra(top.table("ra")),
            ca=_ca(top.table("ca"), profiles),
            audit=read_audit(top.table("audit")),
            renewal_info=read_renewal_info(top.table("renewal_info")),
            profiles=profiles,
            labels=tuple(_label(name, table, profiles) for name, table in top.tables("labels")),
            csrattrs=read_csrattrs(top.table("csrattrs")),
            limits=_limits(top.table("limits")),
            timeouts=_timeouts(top.table("timeouts")),
            accept_pem=body.flag("accept_pem", True),
            accept_der=body.flag("accept_der", True),
            directory=top.path.parent,
        )
        config.policy()
    for table in (server, body, top):
        table.done()
    return config


def _listen(server: TomlTable) -> ListenAddress:
    with server.checks("listen"):
        return parse_listen(server.text("listen", f"127.0.0.1:{DEFAULT_PORT}"))


def _realm(server: TomlTable) -> str:
    realm = server.text("realm", "est")
    if not realm.isascii():
        raise server.error("realm", "holds characters that are not ASCII")
    return realm


def _auth(table: TomlTable) -> AuthConfig:
    usual = (Scheme.BASIC,)
    words: dict[Operation, Authentication] = {
        operation: table.choice(operation.name, _AUTHENTICATION, operation.authentication)
        for operation in OPERATIONS
    }
    for operation, chosen in words.items():
        # RFC 7030 3.2.3 and 4.2.2: nobody enrolls unknown, and a renewal shows its certificate.
        if operation.is_enrollment and chosen is Authentication.OPEN:
            raise table.error(operation.name, "enrollment is not open to everybody")
    if words[SIMPLEREENROLL] not in (Authentication.CERT, Authentication.CERT_AND_HTTP):
        raise table.error(SIMPLEREENROLL.name, "is 'cert' or 'cert-and-http'")
    schemes = table.choices("schemes", {each.value: each for each in Scheme}, usual)
    if not schemes:
        raise table.error("schemes", 'is empty; name one, and write "cert" for operations')
    config = AuthConfig(
        schemes=frozenset(schemes),
        secret=table.file("secret", SECRET_FILE),
        digest_algorithms=_digest_algorithms(table),
        nonce_s=table.integer("nonce_s", NONCE_S, least=10, most=86400),
        back_off=_back_off(table),
        authentication=MappingProxyType(words),
        require_pop=table.flag("require_pop", False),
        enforce_csrattrs=table.flag("enforce_csrattrs", False),
        names=table.choice("names", _NAME_RULES, AuthConfig().names),
        renew_expired_days=table.integer("renew_expired_days", 0, most=EXPIRED_DAYS_MAX),
        changed_names=table.choice("changed_names", _CHANGED_NAMES, AuthConfig().changed_names),
    )
    table.done()
    return config


def _back_off(table: TomlTable) -> BackOffLimits:
    usual = BackOffLimits()
    most = 1_000_000
    return BackOffLimits(
        per_user=table.integer("wrong_per_user", usual.per_user, least=0, most=most),
        per_network=table.integer("wrong_per_network", usual.per_network, least=0, most=most),
        unknown_per_network=table.integer(
            "unknown_per_network", usual.unknown_per_network, least=0, most=most
        ),
        window_s=table.integer("wrong_s", usual.window_s, least=1, most=86400),
    )


def _digest_algorithms(table: TomlTable) -> tuple[DigestAlgorithm, ...]:
    words = {each.value: each for each in DigestAlgorithm}
    chosen = table.choices("digest_algorithms", words, AuthConfig().digest_algorithms)
    if not chosen or len(set(chosen)) != len(chosen):
        raise table.error("digest_algorithms", "names at least one, and each once")
    return chosen


def _srp(table: TomlTable) -> SrpConfig:
    usual = SrpConfig()
    enabled, bits = table.flag("enabled", usual.enabled), table.integer("bits", usual.bits)
    if bits not in GROUP_BITS:
        raise table.error("bits", f"is none of {', '.join(map(str, GROUP_BITS))}")
    table.done()
    return SrpConfig(enabled=enabled, bits=bits)


def _pop(table: TomlTable) -> PopConfig:
    usual = PopConfig()
    words = {word.value: word for word in ForeignChallenge}
    config = PopConfig(
        foreign_challenge=table.choice("foreign_challenge", words, usual.foreign_challenge),
        require_ems=table.flag("require_ems", usual.require_ems),
        tls_exporter=table.flag("tls_exporter", usual.tls_exporter),
        list_identity_linking=table.flag("list_identity_linking", usual.list_identity_linking),
        revocation_challenge=table.choice(
            "revocation_challenge", _REVOCATION_CHALLENGES, usual.revocation_challenge
        ),
    )
    table.done()
    return config


def _tls(table: TomlTable) -> TlsConfig:
    config = TlsConfig(
        certificate=table.file("certificate", "server.pem"),
        key=table.file("key", "server-key.pem"),
        client_trust=table.files("client_trust"),
        max_version=table.choice("max_version", _TLS_VERSIONS, None),
        resumption=table.flag("resumption", False),
    )
    table.done()
    return config


def _ca(table: TomlTable, profiles: Mapping[str, Profile]) -> CAConfig:
    config = CAConfig(
        certificate=table.file("certificate", "ca.pem"),
        key=table.file("key", "ca-key.pem"),
        key_password_file=table.optional_file("key_password_file"),
        store=table.file("store", "est.db"),
        reserved=table.files("reserved"),
        default_profile=table.text("default_profile", "client"),
        former=tuple(read_former(table)),
    )
    _check_profile(table, "default_profile", config.default_profile, profiles)
    table.done()
    return config


def _check_profile(table: TomlTable, key: str, name: str, profiles: Mapping[str, Profile]) -> None:
    if name not in profiles:
        raise table.error(key, f"there is no profile {name!r}")


def _label(name: str, table: TomlTable, profiles: Mapping[str, Profile]) -> LabelConfig:
    with table.checks():
        label = Label(name)
    enroll = {
        word: kind for word, kind in _AUTHENTICATION.items() if kind is not Authentication.OPEN
    }
    config = LabelConfig(
        label=label,
        profile=table.text("profile", "client"),
        csrattrs=read_csrattrs(table.table("csrattrs")),
        enroll=table.choice("simpleenroll", enroll, None),
        require_pop=table.optional_flag("require_pop"),
        foreign_challenge=table.choice(
            "foreign_challenge", {word.value: word for word in ForeignChallenge}, None
        ),
        names=table.choice("names", _NAME_RULES, None),
        renew_expired_days=table.optional_integer("renew_expired_days", most=EXPIRED_DAYS_MAX),
        changed_names=table.choice("changed_names", _CHANGED_NAMES, None),
    )
    _check_profile(table, "profile", config.profile, profiles)
    table.done()
    return config


def _limits(table: TomlTable) -> Limits:
    usual = Limits()
    values = {
        each.name: table.integer(each.name, getattr(usual, each.name), least=1)
        for each in fields(Limits)
    }
    table.done()
    return Limits(**values)


def _timeouts(table: TomlTable) -> Timeouts:
    usual = Timeouts()
    values = {
        each.name: table.seconds(each.name, getattr(usual, each.name)) for each in fields(Timeouts)
    }
    table.done()
    return Timeouts(**values)
