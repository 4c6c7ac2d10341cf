"""est.toml: what it may say, what each key becomes, and what stops the start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est_core import (
    OPERATIONS,
    SIMPLEENROLL,
    SIMPLEREENROLL,
    Authentication,
    ForeignChallenge,
    Label,
    Limits,
    LocalProtocolError,
    RevocationChallenge,
    TlsVersion,
)
from est_core.asn1.csrattrs import CsrAttrs, ObjectId
from est_transports.authority.authentication.back_off import BackOffLimits
from est_transports.authority.csr_attributes import ClientRules, CsrWords
from est_transports.authority.name_patterns import NamePatterns
from est_transports.authority.profile_additions import CertificatePolicy, ProfileAdditions
from est_transports.authority.profiles import KeyKind, KeyUse, Profile, SanKind
from est_transports.channel.dtls_limits import MAX_MTU_BYTES, MIN_MTU_BYTES, DtlsLimits
from est_transports.coap.limits import CoapLimits
from est_transports.service.config.audit import AuditConfig
from est_transports.service.config.coap import CoapConfig
from est_transports.service.config.crl import CrlMaking
from est_transports.service.config.labels import LabelConfig
from est_transports.service.config.listen import ListenAddress, parse_listen
from est_transports.service.config.ocsp import OcspConfig
from est_transports.service.config.reader import load_config
from est_transports.service.config.registration import RaConfig
from est_transports.service.config.settings import (
    MAX_WORKERS,
    AuthConfig,
    CAConfig,
    PopConfig,
    ServerConfig,
    SrpConfig,
    TlsConfig,
)
from est_transports.service.config.text import CONFIG_TEXT
from est_transports.toml.tables import MAX_FILE_BYTES, ConfigError, read_toml
from tests.damage import damaged
from tests.reached import reaches, refusals
from tests.registration import ras

SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"


def loaded(directory: Path, text: str) -> ServerConfig:
    path = directory / "est.toml"
    path.write_text(text, "utf-8")
    return load_config(path)


def uncommented(text: str) -> str:
    """Return the text with every setting that it shows set: those with # and no blank after."""
    return re.sub(r"^#(?! |$)", "", text, flags=re.MULTILINE).replace("#    ", "")


# What init writes


def test_the_file_that_init_writes_says_the_same_as_an_empty_one(tmp_path: Path) -> None:
    assert loaded(tmp_path, CONFIG_TEXT) == loaded(tmp_path, "")


def test_every_setting_it_shows_is_one_that_there_is(tmp_path: Path) -> None:
    text = uncommented(CONFIG_TEXT).replace('base64 = "MAA="', "")
    usual, shown = loaded(tmp_path, ""), loaded(tmp_path, text)
    assert shown.auth == usual.auth
    client = replace(shown.profiles["client"], not_after=None)  # a date has to be said
    assert {"client": client} == usual.profiles
    assert (shown.limits, shown.timeouts) == (usual.limits, usual.timeouts)
    assert [row.label for row in shown.labels] == [Label("web")]


def test_it_mentions_every_key(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    reader = (root / "est_transports" / "service" / "config" / "reader.py").read_text()
    keys = re.findall(r'(?:table|server|body)\.\w+\(\s*"(\w+)"', reader)
    assert len(keys) > 40
    assert [key for key in keys if not re.search(rf"^#{key} = ", CONFIG_TEXT, re.MULTILINE)] == []


def test_an_empty_file_says_what_the_values_say_by_themselves(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == ServerConfig(
        listen=ListenAddress(host="127.0.0.1", port=8443),
        auth=AuthConfig(secret=tmp_path / "auth-secret.key"),
        crl=CrlMaking(directory=tmp_path / "crl"),
        tls=TlsConfig(certificate=tmp_path / "server.pem", key=tmp_path / "server-key.pem"),
        audit=AuditConfig(file=tmp_path / "audit.jsonl"),
        ocsp=OcspConfig(identity=tmp_path / "ocsp.pem"),
        ca=CAConfig(
            certificate=tmp_path / "ca.pem", key=tmp_path / "ca-key.pem", store=tmp_path / "est.db"
        ),
        profiles={"client": Profile(name="client")},
        directory=tmp_path,
    )
    # What a mention of it alone does not change.
    mentioned = "[pop]\n[coap]\n[limits]\n[timeouts]\n[profiles.client]\n[csrattrs]\n"
    assert loaded(tmp_path, mentioned) == loaded(tmp_path, "")


# What keys become


BOUNDS = [
    ("server", "workers", 1, MAX_WORKERS),
    ("server", "threads", 1, 1024),
    ("server", "connections_max", 1, 65536),
    ("server", "half_open_max", 1, 65536),
    ("coap", "associations_max", 1, 65536),
    ("coap", "mtu_bytes", MIN_MTU_BYTES, MAX_MTU_BYTES),
    ("coap", "waiting_per_association", 1, None),
    ("coap", "unverified_messages", 1, None),
    ("coap", "unverified_per_host", 1, None),
    ("profiles.client", "names_max", 1, None),
    ("profiles.client", "rsa_bits_min", 2048, 8192),
    ("profiles.client", "rsa_bits_max", 2048, 16384),
    ("limits", "body_bytes", 1, None),
]
"""Integers of est.toml with the least and the most that each may be; None for no own bound."""


@pytest.mark.parametrize(("table", "key", "least", "most"), BOUNDS)
def test_a_number_may_be_as_small_and_as_large_as_its_bounds(
    table: str, key: str, least: int, most: int | None, tmp_path: Path
) -> None:
    for number in (least, most):
        if number is not None:
            found: object = loaded(tmp_path, f"[{table}]\n{key} = {number}\n")
            for part in [*table.removeprefix("server").split("."), key]:
                if part:
                    found = found[part] if isinstance(found, Mapping) else getattr(found, part)
            assert found == number
    for number in (least - 1, None if most is None else most + 1):
        if number is not None:
            with pytest.raises(ConfigError, match=re.escape(f"[{table}]")):
                loaded(tmp_path, f"[{table}]\n{key} = {number}\n")


@pytest.mark.parametrize(
    ("key", "name", "usual", "least", "most"),
    [
        ("wrong_per_user", "per_user", 10, 0, 1_000_000),
        ("wrong_per_network", "per_network", 100, 0, 1_000_000),
        ("unknown_per_network", "unknown_per_network", 0, 0, 1_000_000),
        ("wrong_s", "window_s", 600, 1, 86400),
    ],
)
def test_how_much_may_be_wrong_can_be_said(
    key: str, name: str, usual: int, least: int, most: int, tmp_path: Path
) -> None:
    assert getattr(loaded(tmp_path, "").auth.back_off, name) == usual
    for number in (least, most):
        back_off = loaded(tmp_path, f"[auth]\n{key} = {number}\n").auth.back_off
        assert back_off == replace(BackOffLimits(), **{name: number})
    for number in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=rf"\[auth\] {key}"):
            loaded(tmp_path, f"[auth]\n{key} = {number}\n")


def test_every_switch_can_be_turned(tmp_path: Path) -> None:
    usual = loaded(tmp_path, "")
    turned = loaded(
        tmp_path,
        """
        [auth]
        enforce_csrattrs = true
        [pop]
        require_ems = false
        tls_exporter = true
        list_identity_linking = true
        revocation_challenge = "refuse"
        foreign_challenge = "ignore"
        [tls]
        resumption = true
        max_version = "1.2"
        [body]
        accept_pem = false
        accept_der = false
        [labels.a]
        require_pop = false
        """,
    )
    assert turned.auth == replace(usual.auth, enforce_csrattrs=True)
    assert turned.pop == PopConfig(
        require_ems=False,
        tls_exporter=True,
        list_identity_linking=True,
        revocation_challenge=RevocationChallenge.REFUSE,
        foreign_challenge=ForeignChallenge.IGNORE,
    )
    policy = turned.policy()
    assert policy.list_identity_linking
    assert policy.revocation_challenge is RevocationChallenge.REFUSE
    assert turned.tls == replace(usual.tls, resumption=True, max_version=TlsVersion.TLS_1_2)
    assert (turned.accept_pem, turned.accept_der) == (False, False)
    assert turned.labels == (LabelConfig(label=Label("a"), profile="client", require_pop=False),)


def test_tls_srp_is_off_unless_it_is_wanted_and_has_the_groups_that_there_are(
    tmp_path: Path,
) -> None:
    assert loaded(tmp_path, "").srp == SrpConfig(enabled=False, bits=2048)
    written = "[srp]\nenabled = true\nbits = 3072\n"
    assert loaded(tmp_path, written).srp == SrpConfig(enabled=True, bits=3072)
    with pytest.raises(ConfigError, match="bits: is none of 1536, 2048, 3072, 4096"):
        loaded(tmp_path, "[srp]\nbits = 1024\n")
    with pytest.raises(LocalProtocolError):
        SrpConfig(bits=1024)


def test_a_registration_authority_is_taken_for_enrollments_only(tmp_path: Path) -> None:
    listed = ras("ra")
    for row in loaded(tmp_path, "").policy(registration_authorities=listed).rows:
        expected = listed if row.operation.is_enrollment else ras()
        assert row.registration_authorities == expected
    assert not any(row.registration_authorities for row in loaded(tmp_path, "").policy().rows)


def test_registration_authorities_are_listed_by_file_and_by_fingerprint(tmp_path: Path) -> None:
    text = ":".join(["AB"] * 32)
    found = loaded(tmp_path, f'[ra]\ncertificates = ["ra.pem"]\nfingerprints = ["{text}"]\n').ra
    assert found == RaConfig(
        certificates=(tmp_path / "ra.pem",), fingerprints=frozenset({b"\xab" * 32})
    )
    for wrong in ("AB", "z" * 64, "ab" * 33):
        with pytest.raises(ConfigError, match="is no SHA-256 in hexadecimal"):
            loaded(tmp_path, f'[ra]\nfingerprints = ["{wrong}"]\n')


def test_a_label_that_needs_no_linking_is_an_exception_from_the_rule(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "[auth]\nrequire_pop = true\n[labels.a]\nrequire_pop = false\n[labels.b]\n"
    )
    linked = {
        None if label is None else label: policy.require_pop
        for label in (None, "a", "b")
        if (policy := config.policy().row(SIMPLEENROLL, None if label is None else Label(label)))
    }
    assert linked == {None: True, "a": False, "b": True}
    rows = {row.operation for row in config.policy().rows if row.label == Label("a")}
    assert rows == {SIMPLEENROLL, SIMPLEREENROLL}


def test_labels_and_profiles_fit_together_whoever_makes_the_config(tmp_path: Path) -> None:
    usual = loaded(tmp_path, "")
    label = LabelConfig(label=Label("a"), profile="client")
    assert replace(usual, labels=(label,)).labels == (label,)
    with pytest.raises(LocalProtocolError, match="two labels are the same"):
        replace(usual, labels=(label, label))
    with pytest.raises(LocalProtocolError, match="no profile 'x'"):
        replace(usual, labels=(replace(label, profile="x"),))
    with pytest.raises(LocalProtocolError, match="no profile 'x'"):
        replace(usual, ca=replace(usual.ca, default_profile="x"))


def test_the_reference_ca_takes_no_revocation_challenge(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[pop\] revocation_challenge"):
        loaded(tmp_path, '[pop]\nrevocation_challenge = "take"\n')
    with pytest.raises(LocalProtocolError, match="keeps no revocationChallenge"):
        PopConfig(revocation_challenge=RevocationChallenge.TAKE)


def test_paths_start_at_the_directory_of_the_file(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, '[tls]\ncertificate = "sub/tls.pem"\nclient_trust = ["/etc/maker.pem"]\n'
    )
    assert config.tls.certificate == tmp_path / "sub" / "tls.pem"
    assert config.tls.client_trust == (Path("/etc/maker.pem"),)
    assert config.ca.store == tmp_path / "est.db"
    assert config.ca.key_password_file is None


def test_a_profile_is_read_key_by_key(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
        [ca]
        default_profile = "web"
        [profiles.web]
        keys = ["EC P-384", "RSA"]
        rsa_bits_min = 3072
        key_usage = ["digital-signature"]
        extended_key_usage = ["server-auth", "1.3.6.1.4.1.99999.1"]
        names = ["dns"]
        other_name_types = ["1.3.6.1.4.1.99999.2"]
        names_max = 3
        dns_patterns = ["*.plant.example"]
        ip_networks = ["10.0.0.0/8", "fd00::/8"]
        email_patterns = ["*@plant.example"]
        uri_patterns = ["urn:dev:**"]
        validity = "36h"
        not_after = "2036-01-01T00:00:00Z"
        policies = ["1.3.6.1.4.1.99999.3", "1.3.6.1.4.1.99999.4 https://pki.example/cps"]
        crl_urls = ["http://pki.example/ca.crl"]
        ocsp_urls = ["http://pki.example:8080/ocsp"]
        ca_issuers_urls = ["http://[::1]/ca.der"]
        must_staple = true
        """,
    )
    web = config.profiles["web"]
    assert web.key_kinds == {KeyKind.P384, KeyKind.RSA}
    assert (web.rsa_bits_min, web.names_max) == (3072, 3)
    assert (web.validity, web.not_after) == (timedelta(hours=36), datetime(2036, 1, 1, tzinfo=UTC))
    assert web.patterns == NamePatterns(
        dns=("*.plant.example",),
        ip=(IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8")),
        email=("*@plant.example",),
        uri=("urn:dev:**",),
    )
    assert web.additions == ProfileAdditions(
        policies=(
            CertificatePolicy(oid="1.3.6.1.4.1.99999.3"),
            CertificatePolicy(oid="1.3.6.1.4.1.99999.4", cps="https://pki.example/cps"),
        ),
        crl_urls=("http://pki.example/ca.crl",),
        ocsp_urls=("http://pki.example:8080/ocsp",),
        ca_issuers_urls=("http://[::1]/ca.der",),
        must_staple=True,
    )
    assert web.key_usage == {KeyUse.DIGITAL_SIGNATURE}
    assert web.extended_key_usage == (SERVER_AUTH, "1.3.6.1.4.1.99999.1")
    assert web.san_kinds == {SanKind.DNS}
    assert set(config.profiles) == {"client", "web"}


def test_the_profile_nobody_wrote_is_for_clients_only(tmp_path: Path) -> None:
    profile = loaded(tmp_path, "").profiles["client"]
    assert profile.extended_key_usage == ("1.3.6.1.5.5.7.3.2",)


def test_csr_attributes_are_a_list_or_base64(tmp_path: Path) -> None:
    listed = loaded(
        tmp_path, f'[csrattrs]\noids = ["{CHALLENGE_PASSWORD}"]\nkey_type = "EC P-384"\n'
    ).csrattrs
    assert isinstance(listed, CsrAttrs)
    assert listed.requires_linking
    wanted = listed.key_type()
    assert wanted is not None
    assert wanted.curve == "1.3.132.0.34"
    encoded = "MAsGCSqGSIb3DQEJBw=="
    whole = loaded(tmp_path, f'[csrattrs]\nbase64 = "{encoded}"\n').csrattrs
    assert isinstance(whole, CsrAttrs)
    assert whole.oids() == (CHALLENGE_PASSWORD,)
    lines = "\n".join(encoded[at : at + 8] for at in range(0, len(encoded), 8))
    assert loaded(tmp_path, f'[csrattrs]\nbase64 = """\n{lines}\n"""\n').csrattrs == whole
    rsa = loaded(tmp_path, '[csrattrs]\nkey_type = "RSA 3072"\n').csrattrs
    assert isinstance(rsa, CsrAttrs)
    assert (found := rsa.key_type()) is not None
    assert found.bits == 3072


@pytest.mark.req("EST-256", "EST-269")
def test_csr_attributes_are_written_in_words(tmp_path: Path) -> None:
    text = """
        subject = ["CN", "O=Example"]
        key_type = "EC P-384"
        signature = ["ecdsa-with-SHA384"]
        san = ["ip", "dns:gate.example"]
        extensions = ["keyUsage=critical,digitalSignature", "1.2.3.4=hex:0500"]
        attributes = ["unstructuredName=gate", "macAddress"]
    """
    told = loaded(tmp_path, f"[csrattrs]\n{text}").csrattrs
    assert isinstance(told, CsrAttrs)
    plan = told.plan()
    assert plan.from_template
    assert plan.key_type is not None
    assert plan.key_type.text == "EC P-384"
    assert [each.oid for each in plan.extensions] == ["2.5.29.15", "1.2.3.4"]
    assert [each.oid for each in plan.extensions_to_fill] == ["2.5.29.17"]
    assert plan.subject is not None
    assert len(plan.subject) == 2
    assert {"1.3.6.1.1.1.1.22", "1.2.840.10045.4.3.3", "2.5.4.3"} <= set(told.oids())
    own = loaded(tmp_path, f"[labels.a.csrattrs]\n{text}").labels[0].csrattrs
    assert own == told


def test_csr_attributes_that_name_the_client_stay_words(tmp_path: Path) -> None:
    told = loaded(tmp_path, '[csrattrs]\nsubject = ["CN={identity}"]\n').csrattrs
    assert told == CsrWords(subject=("CN={identity}",))


@pytest.mark.req("EST-237")
def test_csr_attributes_differ_by_client(tmp_path: Path) -> None:
    rules = """
        [[labels.a.csrattrs.for]]
        user = "gate-*"
        key_type = "EC P-384"
        [[labels.a.csrattrs.for]]
        certificate = "*.example"
        issuer = "Maker"
        subject = ["CN={identity}"]
        [[labels.a.csrattrs.for]]
        certificate = "*"
    """
    for knows in ('[auth]\ncsrattrs = "cert-or-http"\n', "[srp]\nenabled = true\n"):
        asked = loaded(tmp_path, f'{knows}[labels.a.csrattrs]\noids = ["1.2.3"]\n{rules}')
        told = asked.labels[0].csrattrs
        assert isinstance(told, ClientRules)
        assert [(each.user, each.certificate, each.issuer) for each in told.rules] == [
            ("gate-*", None, None),
            (None, "*.example", "Maker"),
            (None, "*", None),
        ]
        assert told.usual == CsrAttrs(items=(ObjectId(oid="1.2.3"),))
        assert told.rules[1].told == CsrWords(subject=("CN={identity}",))
        assert told.rules[2].told == CsrAttrs(items=())
    shown = '[[csrattrs.for]]\ncertificate = "a"\noids = ["1.2.3"]\n'
    assert isinstance(loaded(tmp_path, shown).csrattrs, ClientRules)
    made = '[manufacturers.acme]\ntrust = ["a.pem"]\n[[csrattrs.for]]\nmanufacturer = "acme"\n'
    acme = loaded(tmp_path, made).csrattrs
    assert isinstance(acme, ClientRules)
    assert acme.manufacturers == {"acme"}


def test_no_csr_attributes_are_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, '[csrattrs]\nbase64 = "MAA="\n').csrattrs is None
    assert loaded(tmp_path, "").csrattrs is None


def test_a_label_differs_only_where_it_says_so(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """
        [labels.plain]
        [labels.strict]
        simpleenroll = "cert-and-http"
        require_pop = true
        """,
    )
    policy = config.policy()
    plain = policy.row(SIMPLEENROLL, Label("plain"))
    strict = policy.row(SIMPLEENROLL, Label("strict"))
    renewal = policy.row(SIMPLEREENROLL, Label("strict"))
    assert plain == policy.row(SIMPLEENROLL, None)
    assert strict is not None
    assert strict.authentication is Authentication.CERT_AND_HTTP
    assert strict.require_pop
    assert renewal is not None
    assert renewal.authentication is Authentication.CERT
    assert renewal.require_pop
    assert config.max_version is TlsVersion.TLS_1_2
    assert policy.row(SIMPLEENROLL, Label("other")) is None


# Policy


@pytest.mark.req("EST-168", "EST-171")
def test_csr_attributes_are_enforced_on_enrollments_and_renewals_only_when_asked_for(
    tmp_path: Path,
) -> None:
    text = '[auth]\nenforce_csrattrs = true\n[labels.a]\nsimpleenroll = "http"\n'
    for written, wanted in (("", False), (text, True)):
        policy = loaded(tmp_path, written).policy()
        enforced = {row.operation for row in policy.rows if row.enforce_csrattrs}
        assert enforced == ({SIMPLEENROLL, SIMPLEREENROLL} if wanted else set())
        for row in policy.rows:
            assert row.enforce_csrattrs == (wanted and row.operation in enforced)


def test_required_linking_caps_tls_unless_there_is_the_exporter(tmp_path: Path) -> None:
    linked = "[auth]\nrequire_pop = true\n"
    assert loaded(tmp_path, "").max_version is None
    assert not any(row.require_pop for row in loaded(tmp_path, "").policy().rows)
    assert loaded(tmp_path, linked).max_version is TlsVersion.TLS_1_2
    assert loaded(tmp_path, linked + "[pop]\ntls_exporter = true\n").max_version is None
    rows = loaded(tmp_path, linked).policy().rows
    assert [(row.operation, row.datagram) for row in rows if row.require_pop] == [
        (operation, datagram)
        for datagram in (None, True)
        for operation in (SIMPLEENROLL, SIMPLEREENROLL)
    ]


def test_passwords_are_asked_for_only_where_they_count(tmp_path: Path) -> None:
    only = '[auth]\nsimpleenroll = "cert"\n'
    assert loaded(tmp_path, only).policy().challenges == ()
    (challenge,) = loaded(tmp_path, '[server]\nrealm = "plant 7"\n').policy().challenges
    assert challenge.get("realm") == "plant 7"


@pytest.mark.parametrize(
    ("key", "listed", "says"),
    [
        ("schemes", "[]", "is empty"),
        ("digest_algorithms", "[]", "names at least one"),
        ("digest_algorithms", '["MD5", "MD5"]', "each once"),
    ],
)
def test_a_list_that_offers_nothing_or_one_thing_twice_stops_the_start(
    key: str, listed: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"\[auth\] {key}: .*{says}"):
        loaded(tmp_path, f"[auth]\n{key} = {listed}\n")


def test_a_challenge_is_a_code_only_where_codes_are_taken(tmp_path: Path) -> None:
    for told in (
        '[pop]\nforeign_challenge = "code"\n',
        '[labels.shop]\nforeign_challenge = "code"\n',
    ):
        with pytest.raises(ConfigError, match=r'needs "otp" in auth\.schemes'):
            loaded(tmp_path, told)
        loaded(tmp_path, f'{told}[auth]\nschemes = ["otp"]\n')


def test_a_foreign_challenge_is_refused_unless_told_otherwise(tmp_path: Path) -> None:
    told = '[pop]\nforeign_challenge = "ignore"\n'
    assert loaded(tmp_path, "").policy().foreign_challenge is ForeignChallenge.REFUSE
    assert loaded(tmp_path, told).policy().foreign_challenge is ForeignChallenge.IGNORE


# EST-coaps


def test_coap_is_not_served_unless_it_is_said_where(tmp_path: Path) -> None:
    usual = loaded(tmp_path, "").coap
    assert usual.listen is None
    assert usual.limits(Limits()) == CoapLimits()
    assert usual.dtls_limits() == DtlsLimits()


@pytest.mark.parametrize("changes", [{"block_bytes": 100}, {"associations_max": 0}])
def test_bounds_of_coap_are_checked_whoever_makes_them(changes: dict[str, int]) -> None:
    with pytest.raises(LocalProtocolError):
        CoapConfig(**changes)  # type: ignore[arg-type]  # by name


def test_coap_has_its_own_bounds_and_shares_those_of_bodies(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        '[coap]\nlisten = "[::1]"\nassociations_max = 7\nidle_s = 9\nblock_bytes = 64\n'
        "mtu_bytes = 300\n[limits]\nbody_bytes = 4096\nresponse_body_bytes = 8192\n",
    )
    assert config.coap.listen == ListenAddress(host="::1", port=5684)
    assert config.coap.mtu_bytes == 300
    dtls, coap = config.coap.dtls_limits(), config.coap.limits(config.limits)
    assert (dtls.associations, dtls.idle_s) == (7, 9.0)
    assert (coap.block_bytes, coap.request_bytes) == (64, 4096)
    assert (coap.response_bytes, coap.kept_bytes) == (8192, 8192)


@pytest.mark.req("COAPS-017")
def test_over_coap_a_certificate_takes_the_place_of_a_password(tmp_path: Path) -> None:
    policy = loaded(tmp_path, '[labels.web]\nsimpleenroll = "http"\n').policy()
    found = {
        (operation, label): policy.row(operation, label, datagram=True)
        for operation in OPERATIONS
        for label in (None, Label("web"))
    }
    closed = found.pop((SIMPLEENROLL, Label("web")))
    assert closed is not None
    assert closed.authentication is Authentication.CERT_AND_HTTP
    for row in found.values():
        assert row is not None
        assert row.authentication is Authentication.CERT


# What stops the start


REFUSED = {
    "not TOML": ("[server", "est.toml", "not TOML"),
    "unknown table": ("[servre]\n", "servre: unknown table; did you mean 'server'?"),
    "unknown key": ('[tls]\ncertificat = "x"\n', "[tls] certificat", "mean 'certificate'?"),
    "unknown key, far off": ("[tls]\nqqq = 1\n", "[tls] qqq: unknown key"),
    "key that has moved": ('[tls]\ncrls = ["a.crl"]\n', "[tls] crls: has moved", "files of [crls]"),
    "key that is gone": (
        "[auth]\naccept_ra = false\n",
        "[auth] accept_ra: is gone: put the certificate of each registration authority into",
        "where it is false, remove the line",
    ),
    "manufacturer without a name": (
        '[manufacturers]\ntrust = ["acme.pem"]\n',
        "[manufacturers] trust: is not a table: keys stand in one of them, [manufacturers.NAME]",
    ),
    "key of another table": (
        "[tls]\nrequire_pop = true\n",
        "[tls] require_pop: unknown key; it belongs in [auth]",
    ),
    "key of two other tables": (
        '[server]\nkey = "x"\n',
        "[server] key: unknown key; it belongs in [tls] or [ca]",
    ),
    "table twice": (
        "[auth]\n[tls]\n[auth]\n",
        "table [auth] is there already; put the key under it (at line 3",
    ),
    "inner table twice": (
        "[labels.a]\n[tls]\n[labels.a]\n",
        "table [labels.a] is there already",
    ),
    "key twice": ('[tls]\nkey = "a"\nkey = "b"\n', "a key is there twice (at line 3"),
    "key outside tables": ("realm = 1\n", "realm: unknown key; it belongs in [server]"),
    "text for a table": ('server = "x"\n', "server: is not a table"),
    "number for text": ("[server]\nrealm = 1\n", "[server] realm: is not a string"),
    "empty text": ('[server]\nrealm = ""\n', "[server] realm: is empty"),
    "control character": ('[server]\nrealm = "a\\nb"\n', "realm", "control"),
    "realm in other letters": ('[server]\nrealm = "é"\n', "realm", "ASCII"),
    "text for a number": ('[server]\nworkers = "2"\n', "workers: is not an integer"),
    "boolean for a number": ("[server]\nworkers = true\n", "workers: is not an integer"),
    "number out of range": ("[server]\nworkers = 0\n", "workers: is not between 1 and 256"),
    "text for a boolean": ('[body]\naccept_pem = "no"\n', "accept_pem: is not true or false"),
    "no seconds": ("[timeouts]\nhead_s = 0\n", "[timeouts] head_s", "more than 0"),
    "seconds not a number": ("[timeouts]\nhead_s = nan\n", "[timeouts] head_s"),
    "infinite seconds": ("[timeouts]\nhead_s = inf\n", "[timeouts] head_s"),
    "zero limit": ("[limits]\nbody_bytes = 0\n", "[limits] body_bytes"),
    "unknown limit": ("[limits]\nbodybytes = 1\n", "mean 'body_bytes'?"),
    "unknown word": ('[auth]\ncacerts = "yes"\n', "[auth] cacerts: 'yes' is none of 'open'"),
    "open enrollment": ('[auth]\nsimpleenroll = "open"\n', "simpleenroll", "not open"),
    "renewal by password": ('[auth]\nsimplereenroll = "http"\n', "simplereenroll", "'cert'"),
    "old TLS": ('[tls]\nmax_version = "1.1"\n', "max_version: '1.1' is none of '1.2', '1.3'"),
    "no array": ('[crls]\nfiles = "x"\n', "files: is not an array"),
    "array of numbers": ("[crls]\nfiles = [1]\n", "files: is not a string"),
    "bad listen": ('[server]\nlisten = "::1"\n', "[server] listen", "brackets"),
    "unknown default profile": (
        '[ca]\ndefault_profile = "x"\n',
        "[ca] default_profile: there is no profile 'x'",
    ),
    "unknown profile of a label": (
        '[labels.a]\nprofile = "x"\n',
        "[labels.a] profile: there is no profile 'x'",
    ),
    "impossible label": ('[labels."a/b"]\n', "[labels.a/b]", "label"),
    "no place for CoAP": ('[coap]\nlisten = "5684"\n', "[coap] listen", "did you mean :5684"),
    "no block size": ("[coap]\nblock_bytes = 100\n", "[coap]", "power of two"),
    "a tiny datagram": ("[coap]\nmtu_bytes = 255\n", "[coap] mtu_bytes", "256"),
    "no association": ("[coap]\nassociations_max = 0\n", "[coap] associations_max"),
    "never idle": ("[coap]\nidle_s = -1\n", "[coap] idle_s"),
    "label of an operation": ("[labels.cacerts]\n", "name of an operation"),
    "open label": ('[labels.a]\nsimpleenroll = "open"\n', "[labels.a] simpleenroll"),
    "unknown key kind": ('[profiles.a]\nkeys = ["DSA"]\n', "[profiles.a] keys: 'DSA'"),
    "profile without a name": ('[profiles.""]\n', "[profiles.]", "a profile has a name"),
    "no keys": ("[profiles.a]\nkeys = []\n", "[profiles.a]"),
    "purpose of the CA": (
        '[profiles.a]\nextended_key_usage = ["1.3.6.1.5.5.7.3.28"]\n',
        "[profiles.a]: profile a: 1.3.6.1.5.5.7.3.28",
    ),
    "no purpose": ("[profiles.a]\nextended_key_usage = []\n", "[profiles.a]"),
    "purpose misspelt": ('[profiles.a]\nextended_key_usage = ["web"]\n', "[profiles.a]"),
    "weak RSA": ("[profiles.a]\nrsa_bits_min = 1024\n", "[profiles.a]", "2048"),
    "csrattrs not base64": (
        '[csrattrs]\nbase64 = "??"\n',
        "[csrattrs] base64: is neither PEM",
    ),
    "csrattrs not DER": ('[csrattrs]\nbase64 = "AAAA"\n', "[csrattrs] base64"),
    "csrattrs twice": ('[csrattrs]\nbase64 = "MAA="\noids = ["1.2.3"]\n', "excludes"),
    "csrattrs no oid": ('[csrattrs]\noids = ["x"]\n', "[csrattrs]"),
    "csrattrs no key type": ('[csrattrs]\nkey_type = "DSA"\n', "[csrattrs] key_type"),
    "csrattrs RSA without a number": ('[csrattrs]\nkey_type = "RSA "\n', "[csrattrs] key_type"),
    "csrattrs bits alone": ('[csrattrs]\nkey_type = "3072"\n', "[csrattrs] key_type"),
    "csrattrs huge key": ('[csrattrs]\nkey_type = "RSA 100000"\n', "[csrattrs] key_type"),
    "csrattrs other digits": ('[csrattrs]\nkey_type = "RSA ٣٠٧٢"\n', "[csrattrs] key_type"),
    "csrattrs key type and whole": (
        '[csrattrs]\nbase64 = "MAA="\nkey_type = "EC P-256"\n',
        "excludes",
    ),
    **{
        f"{key} {value}": (f"[profiles.a]\n{key} = {value}\n", f"[profiles.a] {key}: ", reason)
        for key, value, reason in (
            ("validity_days", "90", 'has moved: write validity = "90d"'),
            ("validity", "90", "is not a string"),
            ("validity", '"90"', 'no time such as "90d" or "36h"'),
            ("validity", '"-1d"', "no time"),
            ("validity", '"0h"', "is not between 1h and 36500d"),
            ("validity", '"36501d"', "is not between"),
            ("not_after", '"tomorrow"', "no date and time such as 2036-01-01T00:00:00Z"),
            ("dns_patterns", '["***.example"]', "write * or **"),
            ("dns_patterns", '["ß.example"]', "1 to 255 ASCII characters"),
            ("email_patterns", "[1]", "is not a string"),
            ("uri_patterns", f'["{"a" * 256}"]', "is no pattern"),
            ("ip_networks", '["10.0.0.1/8"]', "has host bits set"),
            ("ip_networks", '["plant"]', "is no network"),
            ("policies", '["1.2.3.x"]', "1.2.3.x"),
            ("policies", '["1.2.3", "1.2.3"]', "each is there once"),
            ("policies", '["1.2.3 ftp://pki.example/"]', "is not http:// or https://"),
            ("crl_urls", '["https://pki.example/ca.crl"]', "is not http://"),
            ("crl_urls", '["ldap://pki.example/"]', "is not http://"),
            ("ocsp_urls", '["http:///ocsp"]', "names no host"),
            ("ocsp_urls", '["http://u@pki.example/"]', "or a user"),
            ("ca_issuers_urls", '["http://pki.example:0/"]', "names no host"),
            ("ca_issuers_urls", '["http://pki.example:x/"]', "is not a URL"),
            ("ca_issuers_urls", '["http://a/\\u00e4"]', "is not a URL"),
            ("must_staple", '"yes"', "is not true or false"),
        )
    },
    "to staple without a responder": (
        "[profiles.a]\nmust_staple = true\n",
        "[profiles.a]: must_staple: there is no responder in ocsp_urls",
    ),
    "a URL twice": ('[profiles.a]\ncrl_urls = ["http://a/", "http://a/"]\n', "once, and 8 at most"),
    "name type misspelt": ('[profiles.a]\nother_name_types = ["web"]\n', "[profiles.a]"),
    "csrattrs tiny key": ('[csrattrs]\nkey_type = "RSA 64"\n', "[csrattrs]", "512"),
    "csrattrs unknown part": ('[csrattrs]\nsubject = ["Foo"]\n', "[csrattrs] subject: 'Foo' is no"),
    "csrattrs no name": (
        '[csrattrs]\nsan = ["dns"]\n',
        "[csrattrs] san: 'dns' needs a name, as dns:...",
    ),
    "csrattrs no use": (
        '[labels.a.csrattrs]\nextensions = ["keyUsage=x"]\n',
        "[labels.a.csrattrs] extensions: 'x' is no use of a key",
    ),
    "csrattrs no value": (
        '[csrattrs]\nattributes = ["macAddress="]\n',
        "[csrattrs] attributes: 'macAddress=': a string has 1 to 255",
    ),
    "csrattrs no algorithm": (
        '[csrattrs]\nsignature = ["sha1"]\n',
        "[csrattrs] signature: 'sha1' is no signature algorithm",
    ),
    "csrattrs in a form that cannot say it": (
        '[csrattrs]\nform = "classic"\nsubject = ["O=Example"]\n',
        "[csrattrs] form: the classic form cannot say which organizationName the subject has",
    ),
    "csrattrs no form": ('[csrattrs]\nform = "list"\n', "[csrattrs] form: 'list' is none of"),
    "csrattrs a form of nothing": (
        '[csrattrs]\nform = "both"\n',
        "[csrattrs] form: is the form of",
    ),
    "csrattrs twice over": (
        '[csrattrs]\nsan = ["ip"]\nextensions = ["subjectAltName"]\n',
        "[csrattrs]: a template names each extension once",
    ),
    "csrattrs for nobody": (
        '[[csrattrs.for]]\noids = ["1.2.3"]\n',
        "[csrattrs.for]: name the clients, by user, certificate, issuer or manufacturer",
    ),
    "csrattrs for stars": (
        '[[csrattrs.for]]\ncertificate = "*****"\n',
        "[csrattrs.for]: a pattern",
    ),
    "csrattrs for one": (
        '[csrattrs.for]\nuser = "a"\n',
        "[csrattrs] for: is not an array of tables",
    ),
    "csrattrs for text": ('[csrattrs]\nfor = ["a"]\n', "write [[csrattrs.for]]"),
    "csrattrs for what": (
        '[[csrattrs.for]]\ncertificate = "a"\ncolour = "a"\n',
        "[csrattrs.for] colour: unknown key",
    ),
    "csrattrs for wrong words": (
        '[[labels.a.csrattrs.for]]\nissuer = "a"\nsan = ["dns"]\n',
        "[labels.a.csrattrs.for] san: 'dns' needs a name",
    ),
    "csrattrs for an unknown manufacturer": (
        '[[labels.a.csrattrs.for]]\nmanufacturer = "acme"\n',
        "csrattrs.for: there is no manufacturer 'acme'",
    ),
    "csrattrs for users that nobody knows": (
        '[[csrattrs.for]]\nuser = "a"\n',
        'csrattrs.for user: /csrattrs knows no user while auth.csrattrs is "open" or "cert"',
    ),
    "csrattrs of a label": ("[labels.a.csrattrs]\nx = 1\n", "[labels.a.csrattrs] x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_names_file_key_and_reason_on_one_line(name: str, tmp_path: Path) -> None:
    text, *parts = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    message = str(caught.value)
    whole = f"{tmp_path / 'est.toml'} line {caught.value.line}: "
    assert message.startswith(whole if caught.value.line else f"{tmp_path / 'est.toml'}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "table",
    "server body auth pop tls coap ca profiles.a labels.a labels.a.csrattrs csrattrs limits "
    "timeouts".split(),
)
def test_no_table_takes_a_key_that_it_does_not_have(table: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"[{table}] zzzz: unknown key")):
        loaded(tmp_path, f"[{table}]\nzzzz = 1\n")


def test_a_byte_order_mark_and_other_ends_of_lines_mean_nothing(tmp_path: Path) -> None:
    text = uncommented(CONFIG_TEXT).replace('base64 = "MAA="', "")
    expected = loaded(tmp_path, text)
    path = tmp_path / "est.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load_config(path) == expected


def test_a_file_that_cannot_be_read_is_said_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_toml(tmp_path / "missing.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b'realm = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_toml(path)
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger"):
        read_toml(path)


VALUES = ("1", "-1", "1.5", "true", '""', '"x"', "[]", '["x"]', "[[]]", "{}", "{x = 1}", "nan")


@reaches(accepted=1)
@given(st.data())
def test_no_value_of_any_key_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = uncommented(CONFIG_TEXT).replace('base64 = "MAA="', "").splitlines()
    settings = [n for n, line in enumerate(lines) if re.match(r"\w+ = [^\[]", line)]
    at = data.draw(st.sampled_from(settings))
    lines[at] = f"{lines[at].partition(' = ')[0]} = {data.draw(st.sampled_from(VALUES))}"
    directory = tmp_path_factory.mktemp("toml")
    with refusals(error=ConfigError):
        loaded(directory, "\n".join(lines))


@reaches(accepted=4)
@given(damaged([uncommented(CONFIG_TEXT).replace('base64 = "MAA="', "").encode()]))
def test_no_file_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("toml") / "est.toml"
    path.write_bytes(raw)
    with refusals(error=ConfigError):
        load_config(path)


# Addresses


@pytest.mark.parametrize(
    "text,host,port",
    [
        ("127.0.0.1:8443", "127.0.0.1", 8443),
        ("[::1]:443", "::1", 443),
        ("[::]", "::", 8443),
        ("est.example", "est.example", 8443),
        (":0", "0.0.0.0", 0),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    found = parse_listen(text)
    assert (found.host, found.port) == (host, port)
    assert parse_listen(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "coaps://a:1",
        "8463",
        "::1",
        "::1:443",
        "a:b",
        "a:",
        "a:65536",
        "a:0000000080",
        "a:000080",
        "[::1",
        "::1]",
        "[::1:443",
        "::1]:443",
        "a\x00:1",
        "a b:1",
        "a:٣",
        "a:-1",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        parse_listen(text)


def test_what_is_no_address_is_told_how_to_write_it() -> None:
    expected = {
        "": "'': write HOST:PORT",
        "coaps://a:1": "'coaps://a:1': write HOST:PORT, without coaps://",
        "8443": "'8443' is only a number; did you mean :8443 or 127.0.0.1:8443?",
        "::1": "'::1': write an IPv6 address in brackets, [::1]:8443",
    }
    for text, reason in expected.items():
        with pytest.raises(LocalProtocolError) as caught:
            parse_listen(text)
        assert caught.value.message == reason


def test_an_address_may_be_given_as_a_text(tmp_path: Path) -> None:
    given: Any = ":1"
    assert replace(loaded(tmp_path, ""), listen=given).listen == parse_listen(":1")
    wrong: Any = 1
    with pytest.raises(LocalProtocolError):
        replace(loaded(tmp_path, ""), listen=wrong)


@pytest.mark.parametrize(
    "text, config",
    [
        ("", {}),
        ("[audit]\nenabled = false", {"file": None}),
        ("[audit]\nrequired = true\nrotate_mib = 0\nkeep = 2", {
            "required": True, "rotate_mib": 0, "keep": 2,
        }),
    ],
)  # fmt: skip
def test_the_audit_file_is_on_and_can_be_turned_off(
    tmp_path: Path, text: str, config: dict[str, Any]
) -> None:
    usual = AuditConfig(file=tmp_path / "audit.jsonl")
    assert loaded(tmp_path, text).audit == replace(usual, **config)
    assert usual.rotate_bytes == 32 * 1024 * 1024


@pytest.mark.parametrize(
    "text, said",
    [
        ("[audit]\nenabled = false\nrequired = true", r"\[audit\] required: is true, and enabled"),
        ("[audit]\nkeep = 0", r"\[audit\] keep"),
        ("[audit]\nrotate_mib = -1", r"\[audit\] rotate_mib"),
    ],
)
def test_an_audit_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, text)
