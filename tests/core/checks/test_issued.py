"""What is said of a certificate that is not what was asked for, and what of it is dangerous."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from est_core import SIMPLEENROLL, ClientSession, EnrollRequested, Issue, Limits
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.cms import write_certs_only
from est_core.asn1.pkcs10 import CertRequestInfo
from est_core.checks.issued import (
    Contents,
    Difference,
    Point,
    issued_differences,
    told_differences,
)
from est_core.checks.renewal import public_key_der
from est_core.events import Enrolled, Failed
from tests.application import FakeApplication, issue
from tests.core.asn1.build import certificate, spki, subject_with
from tests.core.cast import info, signer
from tests.core.client_cast import Network, answered, failed, ok, own_key, pair, session
from tests.damage import damaged
from tests.pki import HOUR_AGO, IN_TEN_YEARS, Key, new_key, pki
from tests.reached import reached, reaches

NOW = HOUR_AGO + timedelta(hours=2)
KEY = new_key()
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
DNS = x509.DNSName


def subject(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


DEVICE = subject((NameOID.COMMON_NAME, "device-1"))


def usage(*uses: str) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
        " key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{use: use in uses for use in every})


def asked(*extensions: x509.ExtensionType, name: x509.Name = DEVICE) -> CertRequestInfo:
    wanted = CertRequestInfo(subject=name, spki=spki(KEY))
    if not extensions:
        return wanted
    return wanted.with_attribute(
        extension_request(
            [
                Extension(oid=each.oid.dotted_string, value=each.public_bytes())
                for each in extensions
            ]
        )
    )


def issued(
    *extensions: x509.ExtensionType, name: x509.Name = DEVICE, key: Key = KEY
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(pki().ca.name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(pki().ca.key, hashes.SHA256())


def alt(*names: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(names)


def told(differences: Sequence[Difference]) -> list[tuple[Point, bool]]:
    return [(each.point, each.dangerous) for each in differences]


NO_CA = x509.BasicConstraints(ca=False, path_length=None)
A_CA = x509.BasicConstraints(ca=True, path_length=None)


def test_what_is_as_asked_has_no_difference() -> None:
    names = alt(DNS("a.example"), x509.IPAddress(ipaddress.ip_address("192.0.2.1")))
    wanted = asked(names, usage("digital_signature"), x509.ExtendedKeyUsage([CLIENT]))
    got = issued(
        alt(DNS("A.EXAMPLE"), *list(names)[1:]),
        usage("digital_signature"),
        x509.ExtendedKeyUsage([CLIENT]),
        NO_CA,
        x509.SubjectKeyIdentifier(b"k"),
    )
    assert issued_differences(wanted, got, now=NOW) == ()
    assert issued_differences(asked(), issued(NO_CA, usage("digital_signature")), now=NOW) == ()


@pytest.mark.parametrize(
    "wanted, got, expected, text",
    [
        (asked(), issued(A_CA), [(Point.CA, True)], "is that of a CA"),
        (asked(), issued(usage("key_cert_sign")), [(Point.CA, True)], "allows keyCertSign"),
        (asked(), issued(usage("crl_sign")), [(Point.CA, True)], "allows cRLSign"),
        (
            asked(),
            issued(alt(DNS("b.example"))),
            [(Point.NAMES, True)],
            "is also for DNS:b.example, which was not asked for",
        ),
        (
            asked(alt(DNS("a.example"), DNS("b.example"))),
            issued(alt(DNS("b.example"))),
            [(Point.NAMES, True)],
            "is not for DNS:a.example",
        ),
        (asked(alt(DNS("a.example"))), issued(), [(Point.NAMES, True)], "is not for DNS:a.example"),
        (
            asked(name=subject((NameOID.COMMON_NAME, "A.example"))),
            issued(alt(DNS("a.example")), name=subject((NameOID.COMMON_NAME, "A.example"))),
            [(Point.NAMES, False)],
            "repeats the common name as DNS:a.example",
        ),
        (
            asked(),
            issued(name=subject((NameOID.COMMON_NAME, "device-2"))),
            [(Point.SUBJECT, True)],
            "is for CN=device-2, not for CN=device-1",
        ),
        (
            asked(),
            issued(
                name=subject(
                    (NameOID.ORGANIZATION_NAME, "Example"), (NameOID.COMMON_NAME, "Device-1")
                )
            ),
            [(Point.SUBJECT, False)],
            "is for CN=Device-1,O=Example, not for CN=device-1",
        ),
        (asked(), issued(name=subject()), [(Point.SUBJECT, True)], "is for an empty subject"),
        (
            asked(usage("digital_signature", "key_agreement")),
            issued(usage("digital_signature", "key_encipherment")),
            [(Point.KEY_USAGE, False), (Point.KEY_USAGE, False)],
            "lacks keyUsage keyAgreement",
        ),
        (
            asked(x509.ExtendedKeyUsage([SERVER])),
            issued(x509.ExtendedKeyUsage([CLIENT])),
            [(Point.PURPOSES, False), (Point.PURPOSES, False)],
            "lacks extendedKeyUsage",
        ),
        (
            asked(),
            issued(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x01")),
            [(Point.UNREADABLE, True)],
            "subjectAltName",
        ),
    ],
)
def test_each_difference_is_told_and_the_dangerous_ones_are_marked(
    wanted: CertRequestInfo,
    got: x509.Certificate,
    expected: list[tuple[Point, bool]],
    text: str,
) -> None:
    found = issued_differences(wanted, got, now=NOW)
    assert told(found) == expected
    assert text in found[0].text


def test_an_extension_that_is_not_judged_may_hold_what_it_will() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.32"), b"garbage")
    assert issued_differences(asked(), issued(odd), now=NOW) == ()


def test_what_a_request_asked_for_is_no_difference_even_where_it_is_a_right_of_a_ca() -> None:
    rights = (A_CA, usage("key_cert_sign", "crl_sign"))
    assert issued_differences(asked(*rights), issued(*rights), now=NOW) == ()


def test_a_usage_that_is_asked_for_and_not_said_is_no_difference() -> None:
    wanted = asked(usage("digital_signature"), x509.ExtendedKeyUsage([CLIENT]))
    assert issued_differences(wanted, issued(), now=NOW) == ()


def test_the_same_parts_of_a_subject_in_another_order_are_another_subject_and_no_danger() -> None:
    parts = ((NameOID.ORGANIZATION_NAME, "Example"), (NameOID.COMMON_NAME, "device-1"))
    (found,) = issued_differences(asked(name=subject(*parts)), issued(name=subject(*parts[::-1])))
    assert told([found]) == [(Point.SUBJECT, False)]


def test_a_subject_where_none_was_asked_for_is_told_as_that() -> None:
    (found,) = issued_differences(asked(name=subject()), issued())
    assert found.text == "is for CN=device-1, where no subject was asked for"


def test_only_a_host_repeats_the_common_name() -> None:
    wanted = asked(name=subject((NameOID.COMMON_NAME, "a.example")))
    for name in (x509.UniformResourceIdentifier("a.example"), x509.RFC822Name("a.example")):
        got = issued(alt(name), name=subject((NameOID.COMMON_NAME, "a.example")))
        assert told(issued_differences(wanted, got)) == [(Point.NAMES, True)]


KINDS_OF_NAMES: dict[str, x509.GeneralName] = {
    "dirName:CN=b": x509.DirectoryName(subject((NameOID.COMMON_NAME, "b"))),
    "otherName:1.2.3": x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
    "registeredID:1.2.3.4": x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
    "IP:192.0.2.1": x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    "email:a@b": x509.RFC822Name("a@b"),
    "URI:urn:x": x509.UniformResourceIdentifier("urn:x"),
}


@pytest.mark.parametrize("text", KINDS_OF_NAMES)
def test_each_kind_of_name_is_told_by_its_kind(text: str) -> None:
    (found,) = issued_differences(asked(), issued(alt(KINDS_OF_NAMES[text])))
    assert found.text == f"is also for {text}, which was not asked for"


def test_eight_names_are_told_and_of_more_their_number() -> None:
    names = [DNS(f"{letter}.example") for letter in "abcdefghi"]
    (eight,) = issued_differences(asked(), issued(alt(*names[:8])))
    (nine,) = issued_differences(asked(), issued(alt(*names)))
    listed = ", ".join(f"DNS:{letter}.example" for letter in "abcdefgh")
    assert eight.text == f"is also for {listed}, which was not asked for"
    assert nine.text == f"is also for {listed} and 1 more, which was not asked for"


def test_what_cannot_be_read_is_a_flaw_of_a_request_and_of_a_certificate() -> None:
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x01")
    assert "subjectAltName" in Contents.of_request(asked(broken)).flaw
    found = Contents.of_certificate(issued(broken))
    assert found == Contents(subject=DEVICE, flaw=found.flaw)
    assert "subjectAltName" in found.flaw


def test_limits_bound_what_is_read_of_a_request() -> None:
    names = alt(*(DNS(f"{number}.example") for number in range(40)))
    assert len(Contents.of_request(asked(names)).names) == 40
    assert Contents.of_request(asked(names), Limits(names=8)).flaw
    policy = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.32"), b"\x30\x00")
    many = asked(A_CA, policy)
    assert Point.OTHER in [each.point for each in told_differences(asked(), many)]
    assert told_differences(asked(), many, Limits(csr_extensions=1)) == ()


def test_a_subject_given_as_octets_is_read_and_one_that_is_none_is_empty() -> None:
    der = DEVICE.public_bytes()
    assert Contents.of_request(CertRequestInfo(subject=der, spki=spki(KEY))).subject == DEVICE
    none = CertRequestInfo(subject=b"\x30\x01", spki=spki(KEY))
    assert Contents.of_request(none).subject == subject()


def test_a_validity_that_has_ended_is_dangerous_and_one_to_come_is_not() -> None:
    for moment, expected in (
        (IN_TEN_YEARS + timedelta(seconds=1), [(Point.VALIDITY, True)]),
        (HOUR_AGO - timedelta(days=1), [(Point.VALIDITY, False)]),
    ):
        assert told(issued_differences(asked(), issued(), now=moment)) == expected
        assert issued_differences(asked(), issued()) == ()
    assert told(issued_differences(asked(), issued(), now=IN_TEN_YEARS)) == [(Point.VALIDITY, True)]
    assert issued_differences(asked(), issued(), now=IN_TEN_YEARS - timedelta(seconds=1)) == ()
    assert issued_differences(asked(), issued(), now=HOUR_AGO) == ()


def test_the_dangerous_differences_come_first() -> None:
    wanted = asked(usage("digital_signature", "key_agreement"))
    found = issued_differences(wanted, issued(usage("digital_signature"), A_CA), now=NOW)
    assert told(found) == [(Point.CA, True), (Point.KEY_USAGE, False)]


def test_what_csr_attributes_put_into_a_request_is_told() -> None:
    names = alt(DNS("evil.example"))
    wanted = asked(names, A_CA, usage("key_cert_sign"), x509.ExtendedKeyUsage([SERVER]))
    found = told_differences(asked(), wanted)
    assert told(found) == [
        (Point.CA, True),
        (Point.CA, True),
        (Point.NAMES, False),
        (Point.PURPOSES, False),
    ]
    assert found[2].text == "is also for DNS:evil.example, which was not asked for"
    assert told_differences(asked(names), asked(names)) == ()
    more = told_differences(
        asked(usage("digital_signature")), asked(usage("digital_signature", "key_encipherment"))
    )
    assert [each.text for each in more] == ["has keyUsage keyEncipherment"]
    policy = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.32"), b"\x30\x00")
    serial = Attribute(type="2.5.4.5", values=(b"\x13\x017",))
    (other,) = told_differences(asked(), asked(policy).with_attribute(serial))
    assert told([other]) == [(Point.OTHER, False)]
    assert "2.5.29.32" in other.text
    assert "2.5.4.5" in other.text


CONTENTS = (
    x509.SubjectAlternativeName([DNS("a.example"), DNS("b.example")]),
    usage("key_cert_sign"),
    A_CA,
    x509.ExtendedKeyUsage([SERVER]),
)


@reaches(read=8)
@given(data=st.data())
def test_nothing_in_a_certificate_raises(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(CONTENTS))
    good = content.public_bytes()
    der = data.draw(damaged([good]) | st.just(good))
    got = issued(x509.UnrecognizedExtension(content.oid, der))
    issued_differences(asked(), got, now=NOW)
    with suppress(ValueError):
        assert got.extensions
        reached("read")


def test_an_extension_that_is_not_der_is_read_within_the_bounds() -> None:
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.19"), b"\x30\x03\x01\x01\x01")
    got, small = issued(odd), Limits(der_nodes=1)  # it has two
    assert Contents.of_certificate(got).is_ca
    assert Contents.of_certificate(got, Limits(der_nodes=2)).is_ca
    assert Contents.of_certificate(got, small).flaw
    found = issued_differences(asked(), got, now=NOW, limits=small)
    assert (Point.UNREADABLE, True) in told(found)


def test_a_certificate_whose_subject_cannot_be_read_has_a_flaw() -> None:
    der = certificate(key=spki(KEY), subject=subject_with(0x0C, b"\xff"))
    odd = x509.load_der_x509_certificate(der)
    found = Contents.of_certificate(odd)
    assert found.flaw
    assert found.subject == x509.Name([])
    assert (Point.UNREADABLE, True) in told(issued_differences(asked(), odd))


# --- In an exchange --------------------------------------------------------------------------


def test_an_exchange_tells_the_differences_and_refuses_where_the_session_says_so() -> None:
    application = FakeApplication()
    application.certify = lambda csr: issue(csr.spki)
    result = pair(Network(), application).run(session().enroll(info(own_key())))
    assert isinstance(result, Enrolled)
    assert result.is_dangerous
    assert told(result.differences)[0] == (Point.SUBJECT, True)
    strict = ClientSession(session().uri, trust=session().trust, accept_changes=False)
    refused = pair(Network(), application).run(strict.enroll(info(own_key())))
    assert isinstance(refused, Failed)
    assert refused.code == "response/not-as-asked"
    assert "is for CN=issued, not for CN=device-1" in refused.message
    assert refused.enrolled is not None
    assert public_key_der(refused.enrolled.certificate) == spki(own_key())


def test_a_session_that_takes_no_changes_takes_what_it_asked_for() -> None:
    strict = ClientSession(session().uri, trust=session().trust, accept_changes=False)
    result = pair(Network()).run(strict.enroll(info(own_key(), "issued")))
    assert isinstance(result, Enrolled)
    assert not result.is_dangerous


def test_a_session_that_takes_no_changes_hears_of_an_answer_without_its_certificate() -> None:
    strict = ClientSession(session().uri, trust=session().trust, accept_changes=False)
    exchange = strict.enroll(info(own_key()))
    answered(exchange, ok(SIMPLEENROLL, write_certs_only((pki().ca.certificate,))))
    assert failed(exchange.result).code == "response/other-key"


def test_what_is_refused_tells_the_dangerous_differences_alone() -> None:
    strict = ClientSession(session().uri, trust=session().trust, accept_changes=False)
    got = issued(usage("digital_signature"), name=subject((NameOID.COMMON_NAME, "other")))
    kept = pair(Network(), FakeApplication({EnrollRequested: Issue(certificate=got)}))
    kept.sign = signer(KEY)
    result = failed(kept.run(strict.enroll(asked(usage("key_agreement")))))
    assert result.enrolled is not None
    harmless = [each.text for each in result.enrolled.differences if not each.dangerous]
    assert not [text for text in harmless if text in result.message]
    assert harmless
