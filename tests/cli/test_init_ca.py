"""est init: kinds of keys, a root above the CA, a CA that was there before."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID

from est_transports import _clock
from est_transports.authority.stores.sqlite import SqliteStore
from est_transports.service.config.reader import load_config
from est_transports.service.loading import CredentialChecks, load_service
from tests.cli.test_server_commands import error_of, est, made
from tests.core.asn1.build import GOST_KEY
from tests.core.asn1.build import certificate as odd_certificate
from tests.pki import Authority, pki
from tests.transports.authority.test_issuer_limits import ca_certificate
from tests.transports.ca_fakes import ec_key
from tests.transports.pki.test_credential_files import pem as armoured

PASSWORD = b"open sesame"


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_bytes(PASSWORD + b"\nnot this line\n")
    return path


class Company:
    """Files of a CA that exists: an issuing certificate below a root."""

    def __init__(self, directory: Path, authority: Authority | None = None) -> None:
        self.authority = authority or pki().intermediate
        self.certificate = directory / "issuing.crt"
        self.certificate.write_bytes(pem(self.authority.certificate, pki().ca.certificate))
        self.alone = directory / "alone.crt"
        self.alone.write_bytes(pem(self.authority.certificate))
        self.root = directory / "root.crt"
        self.root.write_bytes(pem(pki().ca.certificate))
        self.key = directory / "issuing.key"
        self.write_key(None)

    def write_key(self, password: bytes | None, form: PrivateFormat = PrivateFormat.PKCS8) -> None:
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        self.key.write_bytes(self.authority.key.private_bytes(Encoding.PEM, form, encryption))

    @property
    def options(self) -> tuple[str, ...]:
        return ("--ca-cert", str(self.certificate), "--ca-key-file", str(self.key))


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


# Kinds of keys


@pytest.mark.parametrize(
    ("kind", "key_type"),
    [("rsa 3072", rsa.RSAPrivateKey), ("Ed25519", ed25519.Ed25519PrivateKey)],
)
def test_the_key_of_the_ca_is_of_the_kind_asked_for(
    tmp_path: Path, kind: str, key_type: type
) -> None:
    directory = made(tmp_path / "ca", "--ca-key", kind)
    key = load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
    assert isinstance(key, key_type)
    server = load_pem_private_key((directory / "server-key.pem").read_bytes(), None)
    assert isinstance(server, ec.EllipticCurvePrivateKey)


def test_another_kind_of_key_is_a_usage_error(tmp_path: Path) -> None:
    assert "ec p-384" in error_of(est("init", tmp_path / "ca", "--ca-key", "RSA 1024"), 2)


# A root above


def test_init_with_an_intermediate_shows_the_root_and_where_its_key_is(tmp_path: Path) -> None:
    done = est("init", tmp_path / "ca", "--intermediate", "--name", "Plant")
    assert done.exit_code == 0
    root = x509.load_pem_x509_certificate((tmp_path / "ca" / "ca.pem").read_bytes())
    assert root.subject.rfc4514_string() == "CN=Plant Root"
    lines = done.stdout.splitlines()
    assert lines[0] == f"CA CN=Plant created in {tmp_path}/ca"
    assert lines[1] == "Root CN=Plant Root"
    assert lines[2].endswith(root.fingerprint(hashes.SHA256()).hex(":").upper())
    assert lines[3].startswith(f"Take {tmp_path}/ca/root-key.pem to a safe place")


def test_init_json_has_both_certificates_and_the_root_key(tmp_path: Path) -> None:
    found = json.loads(est("init", tmp_path / "ca", "--intermediate", "--json").stdout)
    assert found["subject"] == found["issuing_subject"] + " Root"
    assert Path(found["issuing_certificate"]) == tmp_path / "ca" / "issuing.pem"
    assert Path(found["root_key"]) == tmp_path / "ca" / "root-key.pem"
    plain = json.loads(est("init", tmp_path / "one", "--json").stdout)
    assert plain["issuing_certificate"] == plain["ca_certificate"]
    assert plain["root_key"] is None


def test_the_key_of_the_root_can_be_encrypted(tmp_path: Path, password: Path) -> None:
    option = ("--root-key-password-file", str(password))
    directory = made(tmp_path / "ca", "--intermediate", *option)
    load_pem_private_key((directory / "root-key.pem").read_bytes(), PASSWORD)
    load_pem_private_key((directory / "ca-key.pem").read_bytes(), None)
    assert "only an intermediate" in error_of(est("init", tmp_path / "two", *option), 2)


def test_a_new_tls_certificate_comes_with_the_intermediate(tmp_path: Path) -> None:
    directory = made(tmp_path / "ca", "--intermediate")
    (directory / "root-key.pem").unlink()
    assert est("init", directory, "--renew-server").exit_code == 0
    sent = x509.load_pem_x509_certificates((directory / "server.pem").read_bytes())
    issuing = x509.load_pem_x509_certificate((directory / "issuing.pem").read_bytes())
    assert sent[1:] == [issuing]
    sent[0].verify_directly_issued_by(issuing)


# A CA that was there before


def test_a_given_ca_is_copied_and_its_root_is_what_clients_trust(
    tmp_path: Path, company: Company
) -> None:
    directory = made(tmp_path / "ca", *company.options)
    assert (directory / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert (directory / "ca.pem").read_bytes() == company.root.read_bytes()
    assert (directory / "issuing.pem").read_bytes() == company.certificate.read_bytes()
    assert not (directory / "root-key.pem").exists()
    assert "issuing.pem" in (directory / "est.toml").read_text()


def test_the_chain_may_be_in_a_file_of_its_own(tmp_path: Path, company: Company) -> None:
    options = ("--ca-cert", company.alone, "--ca-key-file", company.key)
    line = error_of(est("init", tmp_path / "ca", *options))
    assert line.startswith(f"est: {company.alone}: the chain does not lead to a root: ")
    made(tmp_path / "ca", *map(str, options), "--ca-chain", str(company.root))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_opened_and_stays_encrypted(
    tmp_path: Path, company: Company, password: Path, form: PrivateFormat
) -> None:
    company.write_key(PASSWORD, form)
    needs = error_of(est("init", tmp_path / "ca", *company.options))
    assert needs.endswith("issuing.key: needs a password; give --ca-key-password-file\n")
    directory = made(tmp_path / "ca", *company.options, "--ca-key-password-file", str(password))
    content = (directory / "ca-key.pem").read_bytes()
    assert content.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    load_pem_private_key(content, PASSWORD)
    password.write_bytes(b"wrong")
    options = (*company.options, "--ca-key-password-file", str(password))
    assert "the password is wrong" in error_of(est("init", tmp_path / "two", *options))


def test_a_key_in_the_clear_is_encrypted_on_the_way(
    tmp_path: Path, company: Company, password: Path
) -> None:
    directory = made(tmp_path / "ca", *company.options, "--ca-key-password-file", str(password))
    load_pem_private_key((directory / "ca-key.pem").read_bytes(), PASSWORD)
    assert est("init", directory, "--renew-server").exit_code == 0


def test_a_ca_that_cannot_be_used_is_named_and_leaves_nothing(
    tmp_path: Path, company: Company
) -> None:
    company.key.write_bytes(pki().client.key_pem)
    line = error_of(est("init", tmp_path / "ca", *company.options))
    assert line == f"est: {company.certificate}: the key is that of none of the certificates\n"
    assert not (tmp_path / "ca").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ca-cert", "x"), "go together"),
        (("--ca-key-file", "x"), "go together"),
        (("--ca-chain", "x"), "go together"),
        (("--renew-server", "--intermediate"), "--host only"),
        (("--renew-server", "--ca-key", "Ed25519"), "--host only"),
        (("--renew-server", "--ca-cert", "x"), "--host only"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    assert said in error_of(est("init", tmp_path / "ca", *options), 2)


@pytest.mark.parametrize("option", [("--name", "x"), ("--intermediate",), ("--ca-key", "Ed448")])
def test_a_given_ca_needs_no_name_key_or_root(
    tmp_path: Path, company: Company, option: tuple[str, ...]
) -> None:
    assert "has its name" in error_of(est("init", tmp_path / "ca", *company.options, *option), 2)


# A CA with limits


class Limited:
    """Files of a CA below a root whose certificate has these limits."""

    def __init__(
        self,
        directory: Path,
        constraints: x509.NameConstraints | None = None,
        purposes: tuple[x509.ObjectIdentifier, ...] = (),
    ) -> None:
        now = _clock.instant().wall
        root = ca_certificate("Root", constraints=constraints, purposes=purposes, now=now)
        self.certificate = directory / "issuing.crt"
        self.certificate.write_bytes(pem(ca_certificate("Issuing", "Root", now=now), root))
        self.key = directory / "issuing.key"
        self.key.write_bytes(
            ec_key("Issuing").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )

    @property
    def options(self) -> tuple[str, ...]:
        return ("--ca-cert", str(self.certificate), "--ca-key-file", str(self.key))


def test_init_and_the_start_say_what_a_ca_with_limits_can_never_issue(tmp_path: Path) -> None:
    limits = x509.NameConstraints([x509.DNSName("example.com")], None)
    purposes = (ExtendedKeyUsageOID.SERVER_AUTH,)
    company = Limited(tmp_path, limits, purposes)
    hosts = ("--host", "est.example.com")
    done = est("init", tmp_path / "ca", *company.options, *hosts)
    assert done.exit_code == 0
    expected = (
        "profile client can never issue anything: CN=Root has none of its purposes",
        "profile client can never issue dns names outside of DNS:example.com "
        "(name constraints of CN=Root)",
    )
    for line in expected:
        assert f"By the limits of the CA, {line}\n" in done.stdout
    told = json.loads(est("init", tmp_path / "two", *company.options, *hosts, "--json").stdout)
    assert told["never_issued"] == list(expected)
    with closing(SqliteStore(tmp_path / "ca" / "est.db")) as store:
        notices = load_service(
            load_config(tmp_path / "ca" / "est.toml"), store=store, checks=CredentialChecks()
        ).notices
    issuing = tmp_path / "ca" / "issuing.pem"
    assert notices == tuple(f"{issuing}: {line}" for line in expected)


def test_a_ca_that_cannot_certify_its_own_server_is_no_ca_for_it(tmp_path: Path) -> None:
    company = Limited(tmp_path, x509.NameConstraints([x509.DNSName("example.com")], None))
    line = error_of(est("init", tmp_path / "ca", *company.options))
    assert "the server's certificate would not verify: 'DNS:localhost' is outside of" in line
    company = Limited(tmp_path, None, (ExtendedKeyUsageOID.CLIENT_AUTH,))
    line = error_of(est("init", tmp_path / "ca", *company.options))
    assert "extendedKeyUsage does not allow a TLS server" in line
    assert not (tmp_path / "ca").exists()


def test_a_new_tls_certificate_is_within_the_limits_too(tmp_path: Path) -> None:
    company = Limited(tmp_path, x509.NameConstraints([x509.DNSName("example.com")], None))
    directory = made(tmp_path / "ca", *company.options, "--host", "est.example.com")
    before = (directory / "server.pem").read_bytes()
    line = error_of(est("init", directory, "--renew-server", "--host", "bad.test"))
    assert "'DNS:bad.test' is outside of DNS:example.com" in line
    assert "[issuer/name-constraints]" in line
    assert (directory / "server.pem").read_bytes() == before


# Files as others write them


def files_of_a_ca(directory: Path) -> tuple[bytes, bytes]:
    """The certificate and the key of a CA, in PEM."""
    made(directory)
    return (directory / "ca.pem").read_bytes(), (directory / "ca-key.pem").read_bytes()


def test_a_ca_comes_in_any_form_with_what_tools_write_around_it(tmp_path: Path) -> None:
    certificate, key = files_of_a_ca(tmp_path / "old")
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    wanted = x509.load_pem_x509_certificate(certificate)
    pairs = (
        (b"\xef\xbb\xbfCertificate:\r\n" + certificate.replace(b"\n", b"\r\n"), parameters + key),
        (wanted.public_bytes(Encoding.DER), certificate + key),
    )
    for number, (first, second) in enumerate(pairs):
        (tmp_path / "cert").write_bytes(first)
        (tmp_path / "key").write_bytes(second)
        files = ("--ca-cert", str(tmp_path / "cert"), "--ca-key-file", str(tmp_path / "key"))
        directory = made(tmp_path / f"new-{number}", *files)
        assert x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes()) == wanted


def test_a_certificate_beside_the_cas_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    certificate, key = files_of_a_ca(tmp_path / "old")
    odd = armoured("CERTIFICATE", odd_certificate(key=GOST_KEY))
    (tmp_path / "cert").write_bytes(certificate + odd)
    (tmp_path / "key").write_bytes(key)
    files = ("--ca-cert", str(tmp_path / "cert"), "--ca-key-file", str(tmp_path / "key"))
    done = est("init", tmp_path / "new", *files)
    assert done.exit_code == 0
    assert f"est: warning: {tmp_path}/cert: left out certificate 2 (line " in done.stderr
    (tmp_path / "cert").write_bytes(odd)
    error = error_of(est("init", tmp_path / "other", *files), 5)
    assert "cannot be used: certificate 1 (line 1), subject CN=device-1, SHA-256 " in error


def test_a_pkcs12_file_is_named_with_the_command_that_opens_it(tmp_path: Path) -> None:
    certificate, key = files_of_a_ca(tmp_path / "old")
    (tmp_path / "cert").write_bytes(certificate)
    loaded = load_pem_private_key(key, None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    pfx = serialize_key_and_certificates(None, loaded, None, None, NoEncryption())
    (tmp_path / "ca.p12").write_bytes(pfx)
    files = ("--ca-cert", str(tmp_path / "cert"), "--ca-key-file", str(tmp_path / "ca.p12"))
    error = error_of(est("init", tmp_path / "new", *files), 5)
    assert "a PKCS#12 file; `openssl pkcs12 -in ca.p12 -nodes`" in error
