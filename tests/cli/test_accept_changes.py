"""est enroll and reenroll: what a server changes is said, what is dangerous not installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key
from cryptography.x509.oid import NameOID

from est_core.asn1.attributes import Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs
from est_core.asn1.pkcs10 import CertRequest
from tests.cli.canned import CannedServer
from tests.cli.test_client_commands import Terminal, est, server
from tests.pki import HOUR_AGO, pki

__all__ = ["est", "server"]

MINUTE = timedelta(minutes=1)
A_CA = x509.BasicConstraints(ca=True, path_length=None)


def issuing(
    *extensions: x509.ExtensionType,
    subject: str = "device-1",
    begin: timedelta = MINUTE,
    end: timedelta = timedelta(days=3000),
) -> Callable[[CertRequest], x509.Certificate]:
    """Return a CA that issues this, whatever it is asked for."""

    def certify(csr: CertRequest) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(pki().ca.name)
            .public_key(load_der_public_key(csr.spki))  # type: ignore[arg-type]  # any kind
            .serial_number(x509.random_serial_number())
            .not_valid_before(HOUR_AGO + begin)
            .not_valid_after(HOUR_AGO + end)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(pki().ca.key, hashes.SHA256())

    return certify


def dns(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(list(map(x509.DNSName, names)))


DANGEROUS = {
    "CA": (issuing(dns("a.example"), A_CA), "is that of a CA"),
    "added": (issuing(dns("a.example", "b.example")), "is also for DNS:b.example"),
    "missing": (issuing(), "is not for DNS:a.example"),
    "subject": (issuing(dns("a.example"), subject="other"), "is for CN=other, not for CN=device-1"),
    "expired": (issuing(dns("a.example"), end=2 * MINUTE), "is expired since"),
}


@pytest.mark.parametrize("kind", DANGEROUS)
def test_what_is_dangerous_is_put_aside_with_its_key_and_taken_only_when_told(
    est: Terminal, server: CannedServer, kind: str
) -> None:
    certify, said = DANGEROUS[kind]
    server.application.certify = certify
    code, out, err = est.enroll(server, "--san", "dns:a.example")
    assert (code, out) == (1, "")
    assert said in err
    assert "[response/not-as-asked]" in err
    aside, pending = est.out / "cert.pem.refused", est.out / "key.pem.pending"
    assert str(aside) in err
    assert str(pending) in err
    assert "--accept-changes" in err
    assert not (est.out / "cert.pem").exists()
    kept = x509.load_pem_x509_certificate(aside.read_bytes())
    key = load_pem_private_key(pending.read_bytes(), None)
    assert kept.public_key() == key.public_key()
    code, out, err = est.enroll(server, "--san", "dns:a.example", "--accept-changes", "--json")
    assert code == 0
    assert f"the certificate {said}" in err
    differences = json.loads(out)["differences"]
    assert [each["dangerous"] for each in differences] == [True]
    installed = load_pem_private_key((est.out / "key.pem").read_bytes(), None)
    assert installed.public_key() == key.public_key()


def test_what_is_only_odd_is_said_and_installed(est: Terminal, server: CannedServer) -> None:
    server.application.certify = issuing(dns("a.example"), begin=timedelta(days=2))
    code, _, err = est.enroll(server, "--san", "dns:a.example")
    assert code == 0
    assert "est: warning: the certificate is not valid before" in err
    assert (est.out / "cert.pem").exists()


def test_a_renewal_that_changes_names_leaves_the_old_files(
    est: Terminal, server: CannedServer
) -> None:
    assert est.enroll(server)[0] == 0
    before = (est.out / "cert.pem").read_bytes()
    server.application.certify = issuing(dns("b.example"))
    files = ("--cert", est.out / "cert.pem", "--key", est.out / "key.pem")
    code, _, err = est.ask("reenroll", server, *files, "--out", est.out, "--force")
    assert code == 1
    assert "is also for DNS:b.example" in err
    assert (est.out / "cert.pem").read_bytes() == before


def wants(*extensions: x509.ExtensionType) -> CsrAttrs:
    """Return CSR attributes that tell these extensions with their values."""
    return CsrAttrs(
        items=(
            extension_request(
                [
                    Extension(oid=each.oid.dotted_string, value=each.public_bytes())
                    for each in extensions
                ]
            ),
        )
    )


def test_names_out_of_csr_attributes_are_shown(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = wants(dns("told.example"))
    code, _, err = est.enroll(server)
    assert code == 0
    expected = "by the server's CSR attributes, the request is also for DNS:told.example"
    assert expected in err
    assert "warning: the certificate" not in err  # it is what was asked for, by then


def test_a_request_is_not_made_one_for_a_ca_unless_told(
    est: Terminal, server: CannedServer
) -> None:
    server.application.csrattrs = wants(A_CA)
    code, _, err = est.enroll(server)
    assert code == 1
    assert "the request is that of a CA [csrattrs/asks-for-ca]" in err
    assert "nothing was sent" in err
    assert server.application.enrollments == []
    assert not est.out.exists()
    assert est.enroll(server, "--accept-changes")[0] == 0
