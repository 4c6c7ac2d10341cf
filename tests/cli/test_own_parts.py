"""est enroll --attr and --strict-csrattrs: what is added by hand, what is not met, and said."""

from __future__ import annotations

import json

import pytest
from cryptography import x509

from est_core import EnrollRequested, Limits, ReenrollRequested
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs, ObjectId, parse_csrattrs
from est_core.asn1.pkcs10 import CertRequest
from est_core.asn1.template import CertRequestInfoTemplate, ExtensionTemplate, SubjectAttribute
from tests.cli.canned import CannedServer
from tests.cli.test_client_commands import LOGIN, Terminal, est, server
from tests.core.asn1.build import VECTORS
from tests.core.cast import csr_der
from tests.pki import pki

__all__ = ["est", "server"]

MAC = "1.3.6.1.1.1.1.22"
NAME = "1.2.840.113549.1.9.2"
ASKED = CsrAttrs(items=(ObjectId(oid=MAC), ObjectId(oid="2.5.4.5"), ObjectId(oid="2.5.29.15")))


def sent(server: CannedServer) -> CertRequest:
    """The request that came last."""
    question = server.application.asked[-1]
    assert isinstance(question, EnrollRequested | ReenrollRequested)
    return question.csr


@pytest.mark.req("EST-247")
def test_what_a_server_wants_is_given_by_hand(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = ASKED
    code, out, err = est.enroll(
        server,
        *("--attr", "macAddress=00:1b", "--attr", "serialNumber=17", "--attr", "key-usage"),
        *("--attr", "1.2.3.4=hex:0500", "--strict-csrattrs", "--json"),
    )
    assert code == 0, err
    assert "does not hold" not in err
    assert json.loads(out)["unmet"] == []
    csr = sent(server)
    assert csr.attribute(MAC) == (Attribute(type=MAC, values=(b"\x16\x0500:1b",)),)
    assert csr.attribute("1.2.3.4") == (Attribute(type="1.2.3.4", values=(b"\x05\0",)),)
    assert csr.extension("2.5.29.15") is not None
    assert csr.subject.rfc4514_string() == "2.5.4.5=17,CN=device-1"


@pytest.mark.req("EST-241")
def test_what_is_not_met_is_said_and_sent_all_the_same(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = ASKED
    code, out, err = est.enroll(server, "--json")
    assert code == 0
    warning = json.loads(err.splitlines()[0])["warning"]
    assert warning == (
        "the server asks for what the request does not hold: "
        "attribute macAddress; attribute serialNumber; extension keyUsage"
    )
    assert json.loads(out)["unmet"][0] == {
        "demand": "attribute",
        "flaw": "missing",
        "oid": MAC,
        "text": "attribute macAddress",
    }


def test_of_very_many_a_few_are_said(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = CsrAttrs(
        items=tuple(ObjectId(oid=f"1.3.6.1.4.1.55555.{last}") for last in range(100))
    )
    code, _, err = est.enroll(server)
    assert code == 0
    assert "item 1.3.6.1.4.1.55555.7; and 92 more" in err
    assert "55555.8;" not in err


def test_strictly_nothing_is_sent_and_nothing_is_left(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = ASKED
    code, out, err = est.enroll(server, "--strict-csrattrs")
    assert (code, out) == (1, "")
    assert "attribute macAddress; attribute serialNumber; extension keyUsage" in err
    assert "[csrattrs/unmet]" in err
    assert "nothing was sent" in err
    assert not server.application.issued
    assert not est.out.exists()


def test_ones_own_word_goes_before_the_servers(est: Terminal, server: CannedServer) -> None:
    server.application.csrattrs = CsrAttrs(
        items=(Attribute(type=NAME, values=(b"\x13\x06theirs",)),)
    )
    code, _, err = est.enroll(server, "--attr", "unstructuredName=mine")
    assert code == 0
    assert sent(server).attribute(NAME)[0].values == (b"\x13\x04mine",)
    assert "attribute unstructuredName with the value told (it is another)" in err


@pytest.mark.req("EST-274")
def test_what_is_by_hand_is_no_servers_word(est: Terminal, server: CannedServer) -> None:
    """The rights of a CA may be asked for by hand, and not by what a server tells."""
    a_ca = x509.BasicConstraints(ca=True, path_length=None).public_bytes()
    server.application.csrattrs = CsrAttrs(
        items=(extension_request([Extension(oid="2.5.29.19", value=a_ca)]),)
    )
    code, _, err = est.enroll(server, "--attr", "macAddress=x")
    assert code == 1
    assert "[csrattrs/asks-for-ca]" in err
    code, _, err = est.enroll(server, "--attr", "basicConstraints=CA:FALSE")
    assert code == 0
    assert "extension basicConstraints with the value told (it is another)" in err


@pytest.mark.req("EST-259")
def test_a_template_takes_the_parts_of_the_subject_that_it_names(
    est: Terminal, server: CannedServer
) -> None:
    template = CertRequestInfoTemplate(
        subject=((SubjectAttribute(type="2.5.4.5"),), (SubjectAttribute(type="2.5.4.3"),)),
        extensions=(ExtensionTemplate(oid="2.5.29.32"),),
    )
    server.application.csrattrs = CsrAttrs(items=(template.attribute(),))
    code, _, err = est.enroll(server)
    assert code == 1
    assert "the server asks for 2.5.4.5 in the subject" in err
    code, _, err = est.enroll(server, "--attr", "serialNumber=17")
    assert code == 0
    assert sent(server).subject.rfc4514_string() == "CN=device-1,2.5.4.5=17"
    assert "does not hold: extension certificatePolicies" in err


def test_a_renewal_takes_attributes_and_keeps_its_names(
    est: Terminal, server: CannedServer
) -> None:
    identity = est.identity(pki().client)
    out = ("--out", est.out)
    code, _, err = est.ask("reenroll", server, *identity, *out, "--attr", "macAddress=00:1b")
    assert code == 0, err
    assert sent(server).attribute(MAC)
    code, _, err = est.ask("reenroll", server, *identity, *out, "--attr", "O=Other", "--force")
    assert code == 2
    assert "a renewal keeps the subject it has" in err


@pytest.mark.parametrize(
    "word, told",
    [
        ("macAddress", "a value is needed"),
        ("certificatePolicies", "a value is needed"),
        ("O", "a value is needed"),
        ("foo=1", "'foo' is no part of a request that is known"),
        ("1.2.3=hex:5", "is no hex"),
        ("challengePassword=x", "is not among the attributes of one's own"),
        ("otpChallenge=x", "is not among the attributes of one's own"),
        ("extensionRequest=hex:0500", "is not among the attributes of one's own"),
        ("subjectAltName=dns:a.b", "alternative names are given as names"),
        ("1.2.3=hex:ffff", "no request can say that"),
    ],
)
def test_a_word_that_cannot_be_put_in_is_a_usage_error(
    est: Terminal, server: CannedServer, word: str, told: str
) -> None:
    code, out, err = est.enroll(server, "--attr", word)
    assert (code, out) == (2, "")
    assert told in err
    assert not server.application.issued
    assert not est.out.exists()


def test_a_request_of_somebody_else_is_sent_as_it_is_and_said_to_lack_things(
    est: Terminal, server: CannedServer
) -> None:
    file = est.directory / "request.der"
    der = csr_der()
    file.write_bytes(der)
    server.application.csrattrs = ASKED
    code, _, err = est.ask("enroll", server, "--csr", file, *LOGIN, "--out", est.out)
    assert code == 0, err
    assert "attribute macAddress" in err
    assert sent(server).der == der
    code, _, err = est.ask(
        "enroll", server, "--csr", file, *LOGIN, "--out", est.out, "--attr", "macAddress=x"
    )
    assert code == 2
    assert "--csr goes without" in err


@pytest.mark.req("EST-275")
def test_the_broken_example_of_rfc_7030_is_left_out_and_said(
    est: Terminal, server: CannedServer
) -> None:
    published = (VECTORS / "rfc7030" / "s452-csrattrs-example.der").read_bytes()
    server.application.csrattrs = parse_csrattrs(published, Limits())
    code, _, err = est.enroll(server, "--pop", "never")
    assert code == 0, err
    assert "warning: the server's CSR attributes hold an extensionRequest that is none" in err
    assert not sent(server).extensions
    assert err.count("extensionRequest") == 2  # and that the request holds none
