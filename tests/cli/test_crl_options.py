"""Revocation lists that a client is given for the certificates of servers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.canned import canned_coap_server, canned_server
from tests.cli.test_client_commands import Terminal, one_error_line
from tests.pki import YESTERDAY, Authority, Subject, pki
from tests.transports.pki.test_revocation import a_list, an_entry


@pytest.fixture
def est(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    return Terminal(capsys, tmp_path)


def written(est: Terminal, name: str, crl: x509.CertificateRevocationList) -> Path:
    """Write a list in DER, as CAs publish it."""
    path = est.directory / name
    path.write_bytes(crl.public_bytes(Encoding.DER))
    return path


def revoking_the_server() -> x509.CertificateRevocationList:
    return a_list(entries=(an_entry(pki().server.certificate),))


def stale() -> x509.CertificateRevocationList:
    return a_list(starts=YESTERDAY - timedelta(days=30), ends=YESTERDAY)


@pytest.mark.req("EST-061")
def test_a_server_whose_certificate_is_revoked_is_refused(est: Terminal) -> None:
    with canned_server(identity=pki().server) as server:
        revoking = written(est, "revoking.crl", revoking_the_server())
        code, out, err = est.ask("cacerts", server, "--crl", revoking)
        assert (code, out) == (4, "")
        assert one_error_line(err)
        assert "revoked [tls/untrusted-server]" in err
        other = written(est, "others.crl", a_list(by=pki().manufacturer))
        both = ("--crl", other, "--crl", written(est, "good.crl", a_list()))
        assert est.ask("cacerts", server, *both)[0] == 0


@pytest.mark.req("EST-061")
def test_a_revoked_server_is_refused_over_coap_too(est: Terminal) -> None:
    with canned_coap_server() as server:
        mine = est.identity(pki().manufacturer_client)
        assert est.ask("cacerts", server, *mine)[0] == 0
        revoking = written(est, "revoking.crl", revoking_the_server())
        code, _, err = est.ask("cacerts", server, *mine, "--crl", revoking)
        assert code == 4
        assert "revoked" in err


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--crl-missing", "no revocation list that covers it"),
        ("--crl-stale", "revocation list out of date"),
    ],
)
def test_what_a_list_leaves_in_doubt_is_refused_or_warned_of(
    est: Terminal, option: str, problem: str
) -> None:
    crl = a_list(by=pki().manufacturer) if option == "--crl-missing" else stale()
    given = ("--crl", written(est, "some.crl", crl))
    with canned_server(identity=pki().server) as server:
        for words in ((), (option, "refuse")):
            code, _, err = est.ask("cacerts", server, *given, *words)
            assert code == 4
            assert problem in err
            assert "[tls/untrusted-server]" in err
        code, _, err = est.ask("cacerts", server, *given, option, "warn")
        assert code == 0
        assert (
            f"warning: accepted though its revocation is in doubt: CN=est.example: {problem}" in err
        )
        revoking = ("--crl", written(est, "revoking.crl", revoking_the_server()))
        code, _, err = est.ask("cacerts", server, *revoking, option, "warn")
        assert code == 4


def test_the_lists_of_namesakes_do_not_count(est: Terminal) -> None:
    given = ("--crl", written(est, "some.crl", a_list(by=Authority("Test EST CA"))))
    with canned_server(identity=pki().server) as server:
        code, _, err = est.ask("cacerts", server, *given, "--crl-missing", "warn")
    assert code == 4
    assert "signature of the revocation list does not verify" in err


def test_files_that_are_no_use_are_named_before_anybody_is_asked(est: Terminal) -> None:
    delta = written(est, "delta.crl", a_list((x509.DeltaCRLIndicator(1), True)))
    text = est.directory / "text.crl"
    text.write_text("nothing")
    for path, words in (
        (delta, "is not usable: it has changes only (a delta CRL)"),
        (text, "text.crl: "),
        (est.directory / "none.crl", "No such file"),
    ):
        code, _, err = est("cacerts", "https://localhost:1", "--trust", est.trust, "--crl", path)
        assert code == 5
        assert words in err
        assert "(--crl)" in err
    code, _, err = est(
        "cacerts", "https://localhost:1", "--trust", est.trust, "--crl-stale", "warn"
    )
    assert code == 2
    assert "--crl-missing and --crl-stale go with --crl" in err


@pytest.mark.req("EST-079", "EST-078")
def test_a_server_of_a_namesake_ca_is_refused_on_both_wires(est: Terminal) -> None:
    """Its certificate has the issuer's name, and another key has signed it."""
    namesake = Authority("Test EST CA")
    subject = Subject(
        name="est.example", dns=("localhost",), ips=("127.0.0.1",),
        eku=(x509.oid.ExtendedKeyUsageOID.SERVER_AUTH,),
    )  # fmt: skip
    fake = namesake.issue(subject).with_chain(namesake.certificate)
    mine = est.identity(pki().manufacturer_client)
    for serving in (canned_server, canned_coap_server):
        with serving(identity=fake) as server:
            code, _, err = est.ask("cacerts", server, *mine)
        assert code == 4
        assert "trust anchor" in err
        assert server.records == [] or server.records[0].operation is None
