"""From a directory to the parts of a server: what fits, what does not, what is worth a word."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from est_core import (
    SIMPLEENROLL,
    AuthenticateRequested,
    BasicCredentials,
    Channel,
    ClientIdentity,
    CSRAttrsRequested,
    Decision,
    Instant,
    Label,
    LocalProtocolError,
    Postpone,
    ProvideCSRAttrs,
    Rejected,
    TlsVersion,
)
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.template import KeyTypeWanted
from est_transports import _clock
from est_transports.authority.authentication.server_secret import ServerSecret
from est_transports.authority.ca import Enrollment, Refused
from est_transports.authority.stores import SrpRecord, TokenRecord
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.pki.host_verification import own_names
from est_transports.pki.hosts import host_name
from est_transports.pki.trust import CredentialFileError
from est_transports.service.config.reader import CONFIG_FILE, load_config
from est_transports.service.errors import ServingError
from est_transports.service.initialisation import (
    CA_CERTIFICATE,
    CA_KEY,
    SERVER_KEY,
    STORE,
    CaSpec,
    InitialisationError,
    initialise,
)
from est_transports.service.loading import CredentialChecks, Service, load_service
from tests.core.asn1.build import GOST_KEY
from tests.core.asn1.build import certificate as odd_certificate
from tests.pki import SERVER_AUTH, Authority, Subject, common_name, pki, weak_rsa_key
from tests.transports.ca_fakes import MemoryStore, request
from tests.transports.pki.test_credential_files import pem


def make(directory: Path, spec: CaSpec | None = None, *, replace: bool = False) -> x509.Certificate:
    return initialise(
        directory,
        spec or CaSpec(),
        now=_clock.instant(),
        entropy=_clock.entropy,
        replace=replace,
    ).root


def load(directory: Path, extra: str = "", now: Instant | None = None) -> Service:
    """Return the service of a directory, with more in its est.toml."""
    path = directory / CONFIG_FILE
    if extra:
        path.write_text(extra, "utf-8")
    moment = now or _clock.instant()
    return load_service(
        load_config(path),
        store=MemoryStore(),
        checks=CredentialChecks(),
        clock=lambda: moment,
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# Initialisation


def test_a_new_directory_is_its_owners_and_its_keys_too(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "ca"
    certificate = make(directory)
    assert mode(directory) == 0o700
    names = {path.name: mode(path) for path in directory.iterdir()}
    assert names == {
        "ca-key.pem": 0o600,
        "ca.pem": 0o644,
        "est.db": 0o600,
        "est.toml": 0o600,
        "server-key.pem": 0o600,
        "server.pem": 0o644,
    }
    assert x509.load_pem_x509_certificate((directory / CA_CERTIFICATE).read_bytes()) == certificate
    assert [path.name for path in directory.parent.iterdir()] == ["ca"]


def test_its_server_is_named_as_told_and_on_record(tmp_path: Path) -> None:
    make(tmp_path / "ca", CaSpec(hosts=("est.example", "192.0.2.7", "2001:db8::1"), name="Plant"))
    service = load(tmp_path / "ca")
    assert own_names(service.identity.certificate) == {"est.example", "192.0.2.7", "2001:db8::1"}
    assert service.authority.ca.certificate.subject.rfc4514_string() == "CN=Plant"
    store = SqliteStore(tmp_path / "ca" / STORE)
    (record,) = store.list_certificates()
    store.close()
    assert record.operation == "tls-identity"


@pytest.mark.req("EST-242")
def test_clients_are_told_the_one_kind_of_key_that_a_profile_takes(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    usual = (tmp_path / "ca" / CONFIG_FILE).read_text("utf-8")
    more = '[profiles.rsa]\nkeys = ["RSA"]\n[labels.old]\nprofile = "rsa"\n'
    authority = load(tmp_path / "ca", usual + more).authority
    told = {}
    for label in (None, Label("old")):
        answer = authority.csr_attrs(
            CSRAttrsRequested(
                label=label,
                identity=ClientIdentity(),
                channel=Channel(version=TlsVersion.TLS_1_3),
            )
        )
        assert isinstance(answer, ProvideCSRAttrs)
        told[label] = answer.csrattrs
    assert told[None] is None
    assert told[Label("old")] == CsrAttrs(
        items=(KeyTypeWanted(algorithm="1.2.840.113549.1.1.1", bits=2048).attribute(),)
    )


def test_a_directory_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "notes.txt").write_text("mine")
    with pytest.raises(InitialisationError, match="not empty"):
        make(tmp_path / "ca")
    assert [path.name for path in (tmp_path / "ca").iterdir()] == ["notes.txt"]


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir(mode=0o755)
    make(tmp_path / "ca")
    assert mode(tmp_path / "ca") == 0o700


def test_what_is_replaced_is_moved_aside_whole(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    first = make(directory)
    key = (directory / CA_KEY).read_bytes()
    second = make(directory, replace=True)
    aside: list[Path] = []
    initialise(
        directory,
        CaSpec(),
        now=_clock.instant(),
        entropy=_clock.entropy,
        replace=True,
        moved=aside.append,
    )
    assert aside == [tmp_path / "ca.old-2"]
    assert (tmp_path / "ca.old-1" / CA_KEY).read_bytes() == key
    assert first != second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca", "ca.old-1", "ca.old-2"]


def test_an_initialisation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken(size: int) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        initialise(tmp_path / "ca", CaSpec(), now=_clock.instant(), entropy=broken)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InitialisationError, match="cannot be made"):
        make(tmp_path / "file" / "ca")


@pytest.mark.parametrize(
    "host", ["", "a b", "*.example", "https://a", "a:1", "-a", "ä.example", "a..b", "x" * 64]
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(LocalProtocolError, match="host name"):
        host_name(host)


# Loading


def test_a_new_directory_can_be_served(tmp_path: Path) -> None:
    certificate = make(tmp_path / "ca")
    service = load(tmp_path / "ca")
    assert service.authority.ca.ca_certificates() == (certificate,)
    assert service.context.config.trust.explicit == (certificate,)
    assert service.notices == ()


def test_an_encrypted_ca_key_needs_its_password(tmp_path: Path) -> None:
    password = tmp_path / 'pass "word"'
    password.write_bytes(b"open sesame\r\nsecond line")
    make(tmp_path / "ca", CaSpec(key_password=b"open sesame", password_file=password))
    load(tmp_path / "ca")
    with pytest.raises(TypeError, match="encrypted"):
        load_pem_private_key((tmp_path / "ca" / CA_KEY).read_bytes(), None)
    for content, reason in ((b"wrong", "password is wrong"), (b"\n", "holds no password")):
        password.write_bytes(content)
        with pytest.raises(CredentialFileError, match=reason):
            load(tmp_path / "ca")
    password.unlink()
    with pytest.raises(CredentialFileError, match=r"No such file.*\(\[ca\] key_password_file\)"):
        load(tmp_path / "ca")


def test_keys_of_other_certificates_are_refused(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    make(directory)
    ca_key, server_key = directory / CA_KEY, directory / SERVER_KEY
    good = ca_key.read_bytes()
    ca_key.write_bytes(server_key.read_bytes())
    with pytest.raises(ServingError, match=r"ca\.pem: .*key is not that of its certificate"):
        load(directory)
    ca_key.write_bytes(good)
    server_key.write_bytes(good)
    with pytest.raises(CredentialFileError, match="is not the key"):
        load(directory)


def test_a_certificate_that_may_not_issue_is_no_ca(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    make(directory)
    with pytest.raises(ServingError, match="not that of a CA"):
        load(directory, '[ca]\ncertificate = "server.pem"\nkey = "server-key.pem"\n')


def test_manufacturers_and_revocation_lists_are_trusted_apart(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    certificate = make(directory)
    maker = pki().manufacturer
    (directory / "maker.pem").write_bytes(maker.certificate.public_bytes(Encoding.PEM))
    crl = maker.crl()
    (directory / "maker.crl").write_bytes(crl.public_bytes(Encoding.PEM))
    service = load(
        directory, '[tls]\nclient_trust = ["maker.pem"]\n[crls]\nfiles = ["maker.crl"]\n'
    )
    trust = service.context.config.trust
    assert (trust.explicit, trust.implicit, trust.revocation.crls) == (
        (certificate,),
        (maker.certificate,),
        (crl,),
    )
    with pytest.raises(CredentialFileError, match="no revocation list, but a certificate"):
        load(directory, '[crls]\nfiles = ["maker.pem"]\n')


def test_certificates_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    make(directory)
    odd = pem("CERTIFICATE", odd_certificate(key=GOST_KEY))
    maker = pki().manufacturer.certificate
    (directory / "makers.pem").write_bytes(odd + maker.public_bytes(Encoding.PEM))
    for name in ("server.pem", CA_CERTIFICATE):
        (directory / name).write_bytes((directory / name).read_bytes() + odd)
    service = load(directory, '[tls]\nclient_trust = ["makers.pem"]\n')
    assert service.context.config.trust.implicit == (maker,)
    told = [line for line in service.notices if "left out certificate" in line]
    assert [line.partition(":")[0] for line in told] == [
        str(directory / name) for name in ("server.pem", CA_CERTIFICATE, "makers.pem")
    ]
    assert all("subject CN=device-1, SHA-256 " in line for line in told)
    (directory / "makers.pem").write_bytes(odd)
    with pytest.raises(CredentialFileError, match=r"certificate 1 .*\[tls\] client_trust"):
        load(directory, '[tls]\nclient_trust = ["makers.pem"]\n')


def test_the_profile_of_a_label_is_not_chosen_by_its_own_name(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    text = """
    [profiles.web]
    extended_key_usage = ["server-auth"]
    [labels.client]
    profile = "web"
    """
    ca = load(tmp_path / "ca", text).authority.ca
    assert ca.profile("client").name == "web"
    assert ca.profile(None).name == "client"


def test_own_certificates_near_their_end_are_worth_a_notice(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    now = _clock.instant()
    near = load(tmp_path / "ca", now=now.after(timedelta(days=340).total_seconds()))
    assert len(near.notices) == 1
    assert "server.pem: expires in 24 days" in near.notices[0]
    assert near.notices[0].endswith(f"; renew it with: est init {tmp_path}/ca --renew-server")
    late = load(tmp_path / "ca", now=now.after(timedelta(days=4000).total_seconds()))
    assert ["expired on" in notice for notice in late.notices] == [True, True]
    assert late.notices[1].endswith(
        ": the CA issues nothing; put a new one for the same key there and reload the server"
        " (SIGHUP)"
    )


def test_what_was_made_less_strict_is_worth_a_notice(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    text = '[pop]\nforeign_challenge = "ignore"\nrequire_ems = false\n'
    first, second = load(tmp_path / "ca", text).notices
    assert "pop.foreign_challenge" in first
    assert "pop.require_ems" in second


# EST-coaps


def test_coap_is_served_where_it_is_configured_with_what_https_has(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    assert load(tmp_path / "ca").coap is None
    service = load(tmp_path / "ca", '[coap]\nlisten = "127.0.0.1:0"\nmtu_bytes = 512\n')
    assert service.coap is not None
    assert service.coap.application is service.authority
    assert (service.coap.policy, service.coap.limits) == (
        service.http.policy,
        service.http.limits,
    )
    dtls = service.coap.context.config
    assert (dtls.identity, dtls.trust) == (service.identity, service.context.config.trust)
    assert (dtls.require_ems, dtls.mtu_bytes) == (True, 512)


def test_what_coap_cannot_keep_is_refused_where_it_is_configured(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    text = "[limits]\nbody_bytes = 33554432\n"
    load(tmp_path / "ca", text)
    with pytest.raises(ServingError, match=r"\[coap\] listen: \[limits\]: .*16 MiB"):
        load(tmp_path / "ca", text + '[coap]\nlisten = "127.0.0.1:0"\n')


def test_a_ca_that_peers_refuse_is_worth_a_notice(tmp_path: Path) -> None:
    weak = Authority("Weak CA", key=weak_rsa_key())
    make(tmp_path / "ca")
    (tmp_path / "ca" / CA_CERTIFICATE).write_bytes(weak.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ca" / CA_KEY).write_bytes(
        weak.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    expected = "peers will refuse what it issues: the certificate of CN=Weak CA: RSA key of 1024"
    assert any(expected in notice for notice in load(tmp_path / "ca").notices)


def test_the_common_name_of_an_old_server_certificate_is_an_own_name(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    old = pki().ca.issue(Subject(name="old.example", eku=(SERVER_AUTH,)))
    (tmp_path / "ca" / "server.pem").write_bytes(old.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "ca" / SERVER_KEY).write_bytes(old.key_pem)
    ca = load(tmp_path / "ca").authority.ca
    csr = request(subject=common_name("OLD.example."))
    with pytest.raises(Refused, match="profile/own-name"):
        ca.issue(csr, Enrollment(operation="simpleenroll"), now=_clock.instant().wall)


# The server's secret


def test_a_scheme_that_needs_the_secret_makes_it_and_says_who_else_can_read_it(
    tmp_path: Path,
) -> None:
    make(tmp_path / "ca")
    secret = tmp_path / "ca" / "auth-secret.key"
    assert load(tmp_path / "ca").notices == ()
    assert not secret.exists()
    assert load(tmp_path / "ca", '[auth]\nschemes = ["digest"]\n').notices == ()
    assert mode(secret) == 0o600
    secret.chmod(0o644)
    (told,) = load(tmp_path / "ca").notices
    assert told.startswith(f"{secret}: everybody on this machine can read it")
    secret.write_text("no secret")
    with pytest.raises(CredentialFileError, match=r"\[auth\] secret"):
        load(tmp_path / "ca")


def test_a_reload_does_not_forgive_wrong_passwords(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    path = tmp_path / "ca" / CONFIG_FILE
    path.write_text("[auth]\nwrong_per_user = 1\n", "utf-8")
    checks = CredentialChecks()

    def judged(password: str) -> Decision:
        service = load_service(load_config(path), store=MemoryStore(), checks=checks)
        decision = service.authority.authenticate(
            AuthenticateRequested(
                operation=SIMPLEENROLL,
                label=None,
                credentials=BasicCredentials(user="alice", password=password),
                channel=Channel(version=TlsVersion.TLS_1_3, peer_address="192.0.2.1:1"),
            )
        )
        return decision.result(60) if isinstance(decision, Future) else decision

    assert judged("guess") == Rejected()
    assert isinstance(judged("another"), Postpone)
    path.write_text("[auth]\nwrong_per_user = 2\n", "utf-8")
    assert judged("another") == Rejected()


ALL_SCHEMES: Final = '[auth]\nschemes = ["digest", "bearer", "otp"]\n'


def loaded_with(directory: Path, store: MemoryStore, secret: ServerSecret | None = None) -> Service:
    path = directory / CONFIG_FILE
    path.write_text(ALL_SCHEMES, "utf-8")
    return load_service(load_config(path), store=store, secret=secret)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "is missing"), ("ab" * 32, "is another secret")]
)
def test_a_secret_that_was_lost_or_is_another_is_refused_while_tokens_need_it(
    content: str | None, said: str, tmp_path: Path
) -> None:
    make(tmp_path / "ca")
    path, store = tmp_path / "ca" / "auth-secret.key", MemoryStore()
    made = loaded_with(tmp_path / "ca", store).secret
    assert made is not None
    digest = made.token_digest("token")
    store.add_token(TokenRecord(name="a", digest=digest, created_at=_clock.instant().wall))
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ServingError) as caught:
        loaded_with(tmp_path / "ca", store)
    text = str(caught.value)
    assert text.startswith(f"{path}: {said}")
    assert "([auth] secret); restore it from a backup" in text
    assert "est token remove --all, est otp remove --all" in text
    assert path.exists() == (content is not None)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, CredentialFileError, r"\[auth\] secret\); restore it"),
        ("ab" * 32, ServingError, "needs a restart"),
    ],
)
def test_a_server_that_serves_with_a_secret_takes_no_other_at_a_reload(
    content: str | None, error: type[Exception], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "ca")
    path, store = tmp_path / "ca" / "auth-secret.key", MemoryStore()
    served = loaded_with(tmp_path / "ca", store).secret
    assert served is not None
    assert loaded_with(tmp_path / "ca", store, served).secret == served
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=said):
        loaded_with(tmp_path / "ca", store, served)
    assert path.exists() == (content is not None)
    assert served.key.hex() not in repr(served)


def test_that_unknown_names_of_tls_srp_get_other_answers_is_told(tmp_path: Path) -> None:
    make(tmp_path / "ca")
    path, store = tmp_path / "ca" / "auth-secret.key", MemoryStore()
    store.add_srp_user(SrpRecord(name="a", salt=b"s" * 16, verifier=b"v", bits=2048))
    assert loaded_with(tmp_path / "ca", store).notices == ()
    path.unlink()
    (told,) = loaded_with(tmp_path / "ca", store).notices
    assert told.startswith(f"{path}: is another secret than before")
