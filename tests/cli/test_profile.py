"""`est profile`: what profiles allow, and what would be issued for a request, or why not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from est_transports import _clock
from tests.cli.test_server_commands import error_of, est, made

PUMPS = """
[profiles.pumps]
keys = ["EC P-256"]
dns_patterns = ["*.plant.example"]
extended_key_usage = ["client-auth", "1.3.6.1.4.1.99999.9"]
validity = "36h"
policies = ["1.3.6.1.4.1.99999.1", "1.3.6.1.4.1.99999.2 https://pki.example/cps"]
crl_urls = ["http://pki.example/ca.crl"]
ocsp_urls = ["http://pki.example/ocsp"]
ca_issuers_urls = ["http://pki.example/ca.der"]
must_staple = true
[profiles.ended]
not_after = "2020-01-01T00:00:00Z"
[profiles.other]
other_name_types = ["1.2.3"]
names = ["registered-id"]
[labels.pumps]
profile = "pumps"
[labels.gates]
profile = "pumps"
"""
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with profiles, whose CA has lost its key."""
    directory = made(tmp_path_factory.mktemp("profile") / "ca")
    with (directory / "est.toml").open("a") as file:
        file.write(PUMPS)
    (directory / "ca-key.pem").unlink()
    (directory / "server-key.pem").unlink()
    return directory


def request(path: Path, *names: x509.GeneralName, common: str = "pump-1") -> Path:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
    builder = x509.CertificateSigningRequestBuilder(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    path.write_bytes(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return request(tmp_path / "good.csr", x509.DNSName("pump-1.plant.example"))


def test_profiles_are_listed_with_what_they_are_used_for(ca: Path) -> None:
    rows = [line.split("\t") for line in est("profile", "list", ca).stdout.splitlines()]
    assert [row[:3] for row in rows] == [
        ["client", "no label", "365d"],
        ["pumps", "pumps, gates", "36h"],
        ["ended", "nothing", "365d"],
        ["other", "nothing", "365d"],
    ]
    listed = json.loads(est("profile", "list", ca, "--json").stdout)
    assert [each["profile"] for each in listed] == ["client", "pumps", "ended", "other"]
    assert (listed[0]["without_label"], listed[0]["labels"]) == (True, [])
    assert (listed[1]["without_label"], listed[1]["labels"]) == (False, ["pumps", "gates"])


def test_a_profile_is_shown_in_the_words_of_est_toml(ca: Path) -> None:
    shown = json.loads(est("profile", "show", ca, "pumps", "--json").stdout)
    assert shown["dns_patterns"] == ["*.plant.example"]
    assert shown["extended_key_usage"] == ["client-auth", "1.3.6.1.4.1.99999.9"]
    assert shown["policies"][1] == "1.3.6.1.4.1.99999.2 https://pki.example/cps"
    assert (shown["validity"], shown["not_after"]) == ("36h", None)
    assert shown["never_issued"] == []
    lines = dict(line.split("\t") for line in est("profile", "show", ca).stdout.splitlines())
    assert lines["profile"] == "client"
    assert (lines["validity"], lines["not_after"], lines["must_staple"]) == ("365d", "none", "no")
    assert "there are: client, pumps" in error_of(est("profile", "show", ca, "pump"), 2)


def test_what_would_be_issued_is_told_without_a_key_or_a_record(ca: Path, good: Path) -> None:
    before = (ca / "est.db").read_bytes()
    done = est("profile", "test", ca, good, "--label", "gates")
    assert done.exit_code == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head == "would be issued by profile pumps:"
    lines = dict(row.split("\t") for row in rows)
    assert lines["subject"] == "CN=pump-1"
    assert lines["basicConstraints (critical)"] == "no CA"
    assert lines["keyUsage (critical)"] == "digitalSignature"
    assert lines["extendedKeyUsage"] == "client-auth, 1.3.6.1.4.1.99999.9"
    assert lines["subjectAltName"] == "dNSName pump-1.plant.example"
    assert lines["certificatePolicies"] == (
        "1.3.6.1.4.1.99999.1, 1.3.6.1.4.1.99999.2 https://pki.example/cps"
    )
    assert lines["cRLDistributionPoints"] == "http://pki.example/ca.crl"
    assert lines["authorityInfoAccess"] == (
        "OCSP http://pki.example/ocsp, CA issuers http://pki.example/ca.der"
    )
    assert lines["tlsFeature"] == "status_request"
    assert (ca / "est.db").read_bytes() == before


def test_what_would_be_issued_is_told_as_json(ca: Path, good: Path) -> None:
    told = json.loads(est("profile", "test", ca, good, "--json").stdout)
    assert (told["issued"], told["profile"]) == (True, "client")
    assert told["names"] == ["dNSName pump-1.plant.example"]
    values = {each["name"]: each for each in told["extensions"]}
    assert values["basicConstraints"]["critical"]
    assert values["basicConstraints"]["der"] == "3000"
    assert len(values["subjectKeyIdentifier"]["value"]) == len(
        values["authorityKeyIdentifier"]["value"]
    )


def test_a_refusal_is_told_with_its_code_and_remedy(ca: Path, tmp_path: Path) -> None:
    bad = request(tmp_path / "bad.csr", x509.DNSName("pump-1.evil.example"))
    done = est("profile", "test", ca, bad, "--profile", "pumps")
    assert done.exit_code == 1
    assert "[profile/name-pattern]\nremedy: ask for a name that fits" in done.stdout
    told = est("profile", "test", ca, bad, "--profile", "pumps", "--json")
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert (found["issued"], found["code"]) == (False, "profile/name-pattern")
    assert found["remedy"].startswith("ask for")
    own = request(tmp_path / "own.csr", x509.DNSName("localhost"))
    assert "[profile/own-name]" in est("profile", "test", ca, own).stdout
    nameless = request(tmp_path / "nameless.csr", common="")
    assert "[profile/no-name]" in est("profile", "test", ca, nameless).stdout


def test_a_profile_that_has_ended_and_a_signature_that_does_not_verify_are_told(
    ca: Path, good: Path, tmp_path: Path
) -> None:
    ended = est("profile", "test", ca, good, "--profile", "ended")
    assert ended.exit_code == 1
    assert "[profile/not-after]" in ended.stdout
    der = bytearray(x509.load_pem_x509_csr(good.read_bytes()).public_bytes(Encoding.DER))
    der[der.index(b"pump-1")] ^= 1
    damaged = tmp_path / "damaged.csr"
    damaged.write_bytes(bytes(der))
    assert "[csr/bad-signature]" in est("profile", "test", ca, damaged).stdout


def test_what_cannot_be_tried_is_an_error(ca: Path, good: Path, tmp_path: Path) -> None:
    both = est("profile", "test", ca, good, "--label", "pumps", "--profile", "pumps")
    assert "exclude each other" in error_of(both, 2)
    assert "there is no label 'x'" in error_of(est("profile", "test", ca, good, "--label", "x"), 2)
    assert error_of(est("profile", "test", ca, good, "--label", "a/b"), 2)
    assert "no certificate request" in error_of(est("profile", "test", ca, ca / "ca.pem"))
    assert "is not the directory of a CA" in error_of(est("profile", "list", tmp_path / "none"))


def test_values_that_have_no_words_are_in_hexadecimal(ca: Path, tmp_path: Path) -> None:
    path = request(tmp_path / "id.csr", x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")))
    told = est("profile", "test", ca, path, "--profile", "other")
    assert "registeredID" in told.stdout


def test_a_ca_whose_certificate_is_lost_shows_nothing(tmp_path: Path) -> None:
    directory = made(tmp_path / "lost")
    (directory / "ca.pem").write_text("nothing")
    path = request(tmp_path / "a.csr")
    assert "ca.pem" in error_of(est("profile", "show", directory))
    assert "ca.pem" in error_of(est("profile", "test", directory, path))


def test_a_ca_that_has_expired_or_is_limited_says_so(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = made(
        tmp_path / "narrow", "--host", "est.plant.example", "--permit", "dns:plant.example"
    )
    shown = est("profile", "show", directory).stdout
    assert "by the limits of the CA, never dns names outside of DNS:plant.example" in shown
    now = _clock.instant()
    late = replace(now, wall=now.wall + timedelta(days=4000))
    monkeypatch.setattr(_clock, "instant", lambda: late)
    told = est("profile", "test", directory, good)
    assert told.exit_code == 1
    assert "[server/ca-unavailable]" in told.stdout
