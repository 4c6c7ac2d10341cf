"""Bouncy Castle's EST client: one connection a request, and requests linked to it by tls-unique."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from tests.deployment import PASSWORD, USER, Deployment
from tests.interop.java_peer import OWN_TLS, TLS_1_2, TLS_1_3, BouncyCastle
from tests.interop.openssl_peer import OpenSsl

LOG_IN = (f"user={USER}", f"password={PASSWORD}")
NEW = ("subject=CN=java", "out=java.pem", "keyout=java.key")
AGAIN = ("cert=java.pem", "key=java.key", "out=again.pem")


@pytest.mark.req("EST-112")
@pytest.mark.parametrize("tls", [TLS_1_3, TLS_1_2, OWN_TLS], ids=" ".join)
def test_bouncy_castle_fetches_and_trusts_the_ca_certificate(
    bouncy_castle: BouncyCastle, server: Deployment, tmp_path: Path, tls: tuple[str, str]
) -> None:
    ended = bouncy_castle.run("cacerts", *tls, "out=ca.pem").checked()
    assert ended.out == b"trusted true\n"
    assert x509.load_pem_x509_certificates((tmp_path / "ca.pem").read_bytes()) == [server.ca]


@pytest.mark.req("EST-239")
def test_bouncy_castle_understands_that_there_are_no_csr_attributes(
    bouncy_castle: BouncyCastle,
) -> None:
    assert bouncy_castle.run("csrattrs", *TLS_1_3).checked().out == b"none\n"


@pytest.mark.req("EST-002")
@pytest.mark.req("EST-036")
@pytest.mark.req("EST-158")
def test_bouncy_castle_enrolls_after_a_challenge_and_renews_with_the_certificate(
    bouncy_castle: BouncyCastle, openssl: OpenSsl, server: Deployment, tmp_path: Path
) -> None:
    bouncy_castle.run("enroll", *TLS_1_3, *LOG_IN, *NEW).checked()
    openssl.verify(server.ca_file, tmp_path / "java.pem")
    bouncy_castle.run("reenroll", *TLS_1_3, *AGAIN).checked()
    renewed = x509.load_pem_x509_certificate((tmp_path / "again.pem").read_bytes())
    record = server.record(renewed)
    assert (record["operation"], record["client_subject"]) == ("simplereenroll", "CN=java")


@pytest.mark.req("EST-136")
@pytest.mark.req("EST-167")
@pytest.mark.req("EST-170")
@pytest.mark.req("EST-174")
@pytest.mark.req("CB-001")
def test_bouncy_castle_links_its_requests_to_the_channel_by_tls_unique(
    bouncy_castle: BouncyCastle, openssl: OpenSsl, server: Deployment, tmp_path: Path
) -> None:
    enrolled = bouncy_castle.run("enroll", *OWN_TLS, *LOG_IN, *NEW, "pop=yes").checked()
    openssl.verify(server.ca_file, tmp_path / "java.pem")
    # Once for the request that was challenged, once for the next connection.
    assert enrolled.out == b"tls-unique 12\n" * 2
    renewed = bouncy_castle.run("reenroll", *OWN_TLS, *AGAIN, "keyout=new.key", "pop=yes")
    assert renewed.checked().out == b"tls-unique 12\n"
    openssl.verify(server.ca_file, tmp_path / "again.pem")


@pytest.mark.req("EST-136")
@pytest.mark.req("EST-170")
@pytest.mark.req("CB-010")
def test_bouncy_castle_is_refused_with_the_value_of_another_channel(
    bouncy_castle: BouncyCastle, tmp_path: Path
) -> None:
    ended = bouncy_castle.run("enroll", *OWN_TLS, *LOG_IN, *NEW, "pop=wrong")
    assert ended.code == 1
    assert "403" in ended.err
    assert not (tmp_path / "java.pem").exists()
