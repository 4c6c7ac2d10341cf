"""Requests of openssl, strongSwan's pki, GnuTLS and Bouncy Castle renew each other's certificates.

They write one name in several ways: a PrintableString or a UTF8String, a host in the case that it
was typed in or not, alternative names in the order of the command line or sorted.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from est_core import Limits, RemoteProtocolError
from est_core.asn1.pkcs10 import CertRequest, parse_cert_request, signature_is_valid
from est_core.checks.renewal import check_renewal
from est_transports.authority.ca import Enrollment
from tests.conftest import PeerFinder
from tests.programs import run
from tests.transports.ca_fakes import NOW, make_ca

TOOLS: Final = ("openssl", "pki", "certtool", "Bouncy Castle 1.72")
BOUNCY_CASTLE: Final = base64.b64decode(
    # Of JcaPKCS10CertificationRequestBuilder; Java takes too long to start for one request.
    "MIIBHTCBxQIBADA2MQswCQYDVQQGEwJERTEUMBIGA1UECgwLRXhhbXBsZSBMdGQxETAPBgNVBAMMCEdlcsOkdCAxMFkw"
    "EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyE1DN4ZsqNDxNNH6zWRE9lEb+Q/fRUIQuKB55Ge97oih41Dslhku8bphWSlh"
    "oHcWgk37/1/XipBr5D/PvrLnK6AtMCsGCSqGSIb3DQEJDjEeMBwwGgYDVR0RBBMwEYcEwAACAYIJQS5FeGFtcGxlMAoG"
    "CCqGSM49BAMCA0cAMEQCIDSXR9zN2r5vfsvprLE24o0gsJJLtZiw9Bp0Gic/uVf2AiBFFDxTrocNZ6CZIrbvC0FOy6M9"
    "ITVwSc3iaoMlzcAARA=="
)
TEMPLATE: Final = """\
cn = "{cn}"
organization = "Example Ltd"
country = "DE"
dns_name = "a.example"
ip_address = "192.0.2.1"
"""


def requests(peer: PeerFinder, place: Path, cn: str) -> dict[str, CertRequest]:
    """Return the request of each program for that common name."""
    openssl, key = peer("openssl"), str(place / "key.pem")
    curve = ("-name", "prime256v1", "-genkey", "-noout")
    run(openssl, "ecparam", *curve, "-out", key).checked()
    (place / "template").write_text(TEMPLATE.format(cn=cn), "utf-8")
    names = ("-utf8", "-subj", f"/C=DE/O=Example Ltd/CN={cn}")
    san = ("-addext", "subjectAltName=IP:192.0.2.1,DNS:A.example")
    ders = {
        "openssl": run(openssl, "req", "-new", "-key", key, *names, *san, "-outform", "DER"),
        "pki": run(
            *(peer("pki"), "--req", "--type", "ecdsa", "--in", key, "--outform", "der"),
            *("--dn", f"C=DE, O=Example Ltd, CN={cn}", "--san", "a.example", "--san", "192.0.2.1"),
        ),
        "certtool": run(
            *(peer("certtool"), "--generate-request", "--load-privkey", key, "--outder"),
            *("--template", str(place / "template")),
        ),
    }
    return {name: parse_cert_request(done.checked().out, Limits()) for name, done in ders.items()}


@pytest.mark.req("EST-156", "EST-158", "EST-159")
def test_each_renews_what_any_of_them_got(peer: PeerFinder, tmp_path: Path) -> None:
    ca, same = make_ca(), requests(peer, tmp_path, "Gerät 1")
    same["Bouncy Castle 1.72"] = parse_cert_request(BOUNCY_CASTLE, Limits())
    enroll = Enrollment(operation="simpleenroll")
    assert len({csr.subject_der for csr in same.values()}) > 1, "they differ in their bytes"
    for first, second in product(TOOLS, TOOLS):
        current = ca.issue(same[first], enroll, now=NOW)
        again = same[second]
        assert signature_is_valid(again)
        check_renewal(again, current, Limits())
        renew = replace(enroll, operation="simplereenroll")
        new = ca.issue(again, renew, now=NOW, replaces=current)
        assert new.subject.public_bytes() == current.subject.public_bytes()
    for csr in requests(peer, tmp_path, "Gerät 2").values():
        with pytest.raises(RemoteProtocolError) as caught:
            check_renewal(csr, current, Limits())
        assert caught.value.code == "renewal/subject"
