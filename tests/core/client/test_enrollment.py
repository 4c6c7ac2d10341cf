"""What a client puts into its CSR: its names, and what the server's CSR attributes ask for."""

from __future__ import annotations

import ipaddress
from functools import cache
from pathlib import Path

import pytest
from asn1crypto import csr as asn1_csr
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from est_core import Limits, LocalProtocolError, RemoteProtocolError
from est_core.asn1.attributes import Attribute, Extension, extension_request
from est_core.asn1.csrattrs import CsrAttrs, ObjectId, parse_csrattrs
from est_core.asn1.keys import public_key_facts
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo, parse_cert_request
from est_core.asn1.template import (
    CertRequestInfoTemplate,
    ExtensionTemplate,
    KeyTypeWanted,
    SubjectAttribute,
)
from est_core.checks.enforcement import Demand, Flaw
from est_core.checks.renewal import check_renewal
from est_core.client.enrollment import (
    renewal_request_info,
    request_info,
    unmet_by,
    usual_extension,
    wanted_algorithm,
    wanted_key,
)
from tests.core.asn1.build import (
    CHALLENGE_PASSWORD,
    EC_KEY,
    P256,
    P384,
    RSA_KEY,
    SAN,
    VECTORS,
    vector,
)
from tests.core.cast import LIMITS, Key, sign, spki
from tests.pki import HOUR_AGO, IN_TEN_YEARS, common_name, new_key, pki, rsa_key

KEY = new_key()
RFC9908 = VECTORS / "rfc9908"
KEY_USAGE, EKU = "2.5.29.15", "2.5.29.37"
CN, ORG, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME
DEVICE = common_name("device-1")


def csrattrs(name: str) -> CsrAttrs:
    return parse_csrattrs(vector(f"rfc9908/{name}.der"), LIMITS)


def signed(wanted: CertRequestInfo, key: Key = KEY) -> CertRequest:
    """What a server reads; a CSR that it could not read fails here."""
    return parse_cert_request(sign(wanted, key), LIMITS)


def asked_of(attrs: CsrAttrs | None, *names: x509.GeneralName) -> CertRequest:
    return signed(request_info(subject=DEVICE, key=spki(KEY), names=names, csrattrs=attrs))


def names_in(csr: CertRequest) -> list[x509.GeneralName]:
    extension = x509.load_der_x509_csr(csr.der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return list(extension.value)


def name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


# Without a word from the server


@pytest.mark.req("EST-240")
@pytest.mark.parametrize("attrs", [None, csrattrs("DERIVED-empty-csrattrs")], ids=["none", "empty"])
def test_a_request_says_subject_key_and_names(attrs: CsrAttrs | None) -> None:
    csr = asked_of(attrs, x509.DNSName("a.example"))
    assert csr.subject == DEVICE
    assert csr.spki == spki(KEY)
    assert names_in(csr) == [x509.DNSName("a.example")]
    assert [extension.oid for extension in csr.extensions] == [SAN]


def test_without_names_there_are_no_extensions() -> None:
    assert asked_of(None).attributes == ()


@pytest.mark.req("EST-145")
def test_an_empty_subject_is_a_subject() -> None:
    wanted = request_info(subject=x509.Name([]), key=spki(KEY))
    assert len(signed(wanted).subject) == 0


# A list


@pytest.mark.req("EST-249", "EST-244", "EST-187")
def test_an_extension_the_list_gives_is_copied() -> None:
    (told,) = csrattrs("s5.1-acp-san").requested_extensions()
    csr = asked_of(csrattrs("s5.1-acp-san"))
    assert csr.extension(SAN) == told
    assert told.critical


@pytest.mark.req("EST-249")
def test_names_of_the_list_and_own_names_are_merged_once_each() -> None:
    alternatives = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    told = extension_request([Extension(oid=SAN, value=alternatives.public_bytes())])
    own = x509.DNSName("a.example"), x509.DNSName("b.example")
    csr = asked_of(CsrAttrs(items=(told,)), *own)
    assert names_in(csr) == list(own)


@pytest.mark.req("EST-187", "EST-241")
def test_attributes_with_values_are_copied_and_unknown_ones_ignored() -> None:
    attrs = parse_csrattrs(vector("rfc7030/a2-csrattrs-response.der"), LIMITS)
    assert asked_of(attrs).attributes == (), "no value of ours for macAddress, 2.999 unknown"
    known = Attribute(type="1.3.6.1.1.1.1.22", values=(b"\x16\x02ab",))
    unknown = Attribute(type="2.999.1", values=(b"\x16\x02ab",))
    assert asked_of(CsrAttrs(items=(unknown, known))).attributes == (known,)


@pytest.mark.req("EST-275", "EST-241")
@pytest.mark.parametrize(
    "file",
    [
        "rfc7030/s452-csrattrs-example.der",
        "rfc9908/DERIVED-NEG-extreq-bare-extension-no-sequence-of.der",
    ],
)
def test_an_extension_request_in_the_old_bad_form_is_ignored(file: str) -> None:
    csr = asked_of(parse_csrattrs(vector(file), LIMITS))
    assert csr.extensions == ()


@pytest.mark.req("CB-009")
@pytest.mark.parametrize("bare", [False, True])
def test_linking_is_left_to_the_exchange(bare: bool) -> None:
    item = ObjectId(oid=CHALLENGE_PASSWORD)
    valued = Attribute(type=CHALLENGE_PASSWORD, values=(b"\x13\x02ab",))
    attrs = CsrAttrs(items=(item if bare else valued,))
    assert asked_of(attrs).challenge_passwords == ()


def test_alternative_names_from_the_server_that_are_none_are_its_mistake() -> None:
    broken = extension_request([Extension(oid=SAN, value=b"\x30\x03\x02\x01\x00")])
    attrs = CsrAttrs(items=(broken,), received=True)
    with pytest.raises(RemoteProtocolError):
        request_info(subject=DEVICE, key=spki(KEY), csrattrs=attrs)


@pytest.mark.parametrize("path", sorted(RFC9908.glob("s5.*.der")), ids=lambda path: path.stem)
def test_every_published_list_makes_a_request_that_can_be_read(path: Path) -> None:
    asked_of(parse_csrattrs(path.read_bytes(), LIMITS), x509.DNSName("a.example"))


# A template


FULL = name((CN, "device-1"), (ORG, "unwanted"), (OU, "mine"))


@pytest.mark.req("EST-256", "EST-259", "EST-265", "EST-266", "EST-267", "EST-268", "EST-270")
@pytest.mark.parametrize("file", ["DERIVED-s3.4-template-csrattrs", "DERIVED-s4-coexistence"])
def test_the_published_template_is_filled(file: str) -> None:
    address = x509.IPAddress(ipaddress.ip_address("192.0.2.1"))
    wanted = request_info(subject=FULL, key=spki(KEY), names=(address,), csrattrs=csrattrs(file))
    csr = signed(wanted)
    assert csr.subject == name((CN, "device-1"), (OU, "myDept"), (OU, "myGroup"))
    assert names_in(csr) == [x509.DNSName("www.myServer.com"), address]
    assert {extension.oid for extension in csr.extensions} == {KEY_USAGE, SAN, EKU}
    usage = csr.extension(KEY_USAGE)
    assert usage is not None
    assert usage.critical
    template = csrattrs(file).template()
    assert template is not None
    told = next(extension for extension in template.extensions if extension.oid == KEY_USAGE)
    assert usage.value == told.value
    purposes = csr.extension(EKU)
    assert purposes is not None
    client_auth = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    assert purposes.value == client_auth.public_bytes()


def by_template(
    *,
    subject: tuple[tuple[SubjectAttribute, ...], ...] | None = None,
    extensions: tuple[ExtensionTemplate, ...] = (),
) -> CsrAttrs:
    template = CertRequestInfoTemplate(subject=subject, extensions=extensions)
    return CsrAttrs(items=(template.attribute(),))


def gap(oid: x509.ObjectIdentifier) -> tuple[SubjectAttribute, ...]:
    return (SubjectAttribute(type=oid.dotted_string),)


@pytest.mark.req("EST-259", "EST-258", "EST-298")
@pytest.mark.parametrize(
    ("template", "result"),
    [
        (None, FULL),
        ((), x509.Name([])),
        ((gap(ORG), gap(CN)), name((ORG, "unwanted"), (CN, "device-1"))),
        (
            ((SubjectAttribute(type=CN.dotted_string, value=b"\x0c\x06opaque"),),),
            name((CN, "opaque")),
        ),
    ],
    ids=["no demand", "empty", "order", "the server's value for ours"],
)
def test_the_template_decides_which_parts_of_the_subject_are_sent(
    template: tuple[tuple[SubjectAttribute, ...], ...] | None, result: x509.Name
) -> None:
    attrs = by_template(subject=template)
    assert signed(request_info(subject=FULL, key=spki(KEY), csrattrs=attrs)).subject == result


@pytest.mark.req("EST-259")
def test_several_gaps_of_one_type_are_filled_in_order_and_each_once() -> None:
    subject = name((OU, "first"), (OU, "second"))
    attrs = by_template(subject=(gap(OU), gap(OU)))
    assert signed(request_info(subject=subject, key=spki(KEY), csrattrs=attrs)).subject == subject
    with pytest.raises(LocalProtocolError):
        request_info(subject=name((OU, "only")), key=spki(KEY), csrattrs=attrs)


@pytest.mark.req("EST-259")
def test_a_part_of_the_subject_that_is_demanded_and_not_there_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError) as refusal:
        request_info(subject=DEVICE, key=spki(KEY), csrattrs=by_template(subject=(gap(ORG),)))
    assert ORG.dotted_string in refusal.value.message


def test_an_rdn_with_several_parts_is_one_rdn_in_the_request() -> None:
    subject = name((CN, "device-1"), (ORG, "unwanted"))
    attrs = by_template(subject=((*gap(CN), *gap(ORG)),))
    csr = signed(request_info(subject=subject, key=spki(KEY), csrattrs=attrs))
    assert [len(rdn) for rdn in csr.subject.rdns] == [2]


@pytest.mark.req("EST-267")
def test_an_extension_left_to_the_client_is_left_out_where_it_has_no_value() -> None:
    unknown = ExtensionTemplate(oid="2.999.7")
    assert asked_of(by_template(extensions=(unknown, ExtensionTemplate(oid=SAN)))).extensions == ()


@pytest.mark.req("EST-266", "EST-268")
def test_gaps_in_names_are_filled_from_own_names_or_left_out() -> None:
    gaps = ExtensionTemplate(oid=SAN, critical=True, value=b"\x30\x06\x87\x00\xa4\x02\x30\x00")
    attrs = by_template(extensions=(gaps,))
    assert asked_of(attrs).extension(SAN) is None
    csr = asked_of(attrs, x509.DNSName("a.example"))
    assert names_in(csr) == [x509.DNSName("a.example")]
    extension = csr.extension(SAN)
    assert extension is not None
    assert extension.critical


# Key and signature


@pytest.mark.req("EST-242", "EST-246", "EST-253", "EST-255", "EST-260")
@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("s5.4-rsa4096", KeyTypeWanted(algorithm=RSA_KEY, bits=4096)),
        ("s5.5-p384", KeyTypeWanted(algorithm=EC_KEY, curve=P384)),
        ("DERIVED-s3.4-template-csrattrs", KeyTypeWanted(algorithm=EC_KEY, curve=P256)),
        ("s5.1-acp-san", None),
        ("DERIVED-minimal-template-csrattrs", None),
    ],
)
def test_the_key_a_server_demands_is_found(file: str, wanted: KeyTypeWanted | None) -> None:
    assert wanted_key(csrattrs(file)) == wanted
    assert wanted_key(None) is None


def facts_of(key: object) -> bytes:
    public = key.public_key()  # type: ignore[attr-defined]  # any private key has one
    der: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


P384_KEY = ec.generate_private_key(ec.SECP384R1())


@pytest.mark.req("EST-245", "EST-242")
@pytest.mark.parametrize(
    ("file", "key", "digest", "algorithm"),
    [
        (None, KEY, None, "ecdsa-with-SHA256"),
        (None, P384_KEY, None, "ecdsa-with-SHA384"),
        ("s5.5-p384", KEY, None, "ecdsa-with-SHA384"),
        ("s5.6-p521-attrs", P384_KEY, None, "ecdsa-with-SHA512"),
        ("s5.4-rsa4096", KEY, None, "ecdsa-with-SHA256"),
        ("s5.4-rsa4096", rsa_key(), None, "sha256WithRSAEncryption"),
        ("s5.5-p384", rsa_key(), None, "sha256WithRSAEncryption"),
        ("s5.5-p384", KEY, "sha512", "ecdsa-with-SHA512"),
        ("DERIVED-s3.4-template-csrattrs", KEY, None, "ecdsa-with-SHA256"),
    ],
)
def test_a_csr_is_signed_as_asked_where_the_key_can(
    file: str | None, key: object, digest: str | None, algorithm: str
) -> None:
    attrs = None if file is None else csrattrs(file)
    facts = public_key_facts(facts_of(key), LIMITS)
    assert wanted_algorithm(attrs, facts, digest).name == algorithm


def test_a_digest_the_key_cannot_be_used_with_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        wanted_algorithm(None, public_key_facts(spki(KEY), LIMITS), "md5")


# Renewal


def certificate(subject: x509.Name, names: list[x509.GeneralName], critical: bool) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(pki().ca.name)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=critical)
    return builder.sign(pki().ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


ODD_SUBJECT = x509.Name(
    [
        x509.RelativeDistinguishedName(
            [
                x509.NameAttribute(ORG, "Größe", _ASN1Type.UTF8String),
                x509.NameAttribute(OU, "two", _ASN1Type.PrintableString),
            ]
        ),
        x509.RelativeDistinguishedName([x509.NameAttribute(CN, "D v", _ASN1Type.BMPString)]),
        x509.RelativeDistinguishedName([x509.NameAttribute(CN, "D  V ", _ASN1Type.T61String)]),
        x509.RelativeDistinguishedName(
            [x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b.example", _ASN1Type.IA5String)]
        ),
    ]
)
ODD_NAMES: list[x509.GeneralName] = [
    x509.DNSName("B.Example"),
    x509.DNSName("a.example"),
    x509.DNSName("a.example"),
    x509.RFC822Name("User@b.example"),
    x509.UniformResourceIdentifier("urn:dev:ops:32473-1"),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    x509.DirectoryName(ODD_SUBJECT),
    x509.RegisteredID(x509.ObjectIdentifier("2.999.3")),
    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4"), b"\x30\x03\x06\x01\x2a"),
]


@pytest.mark.req("EST-156")
@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("names", [ODD_NAMES, ODD_NAMES[:1], []], ids=["many", "one", "none"])
@pytest.mark.parametrize("subject", [ODD_SUBJECT, DEVICE, x509.Name([])], ids=["odd", "cn", "-"])
def test_a_renewal_repeats_subject_and_alternative_names_octet_for_octet(
    subject: x509.Name, names: list[x509.GeneralName], critical: bool
) -> None:
    der = certificate(subject, names, critical)
    current = x509.load_der_x509_certificate(der)
    csr = signed(renewal_request_info(current=current, key=spki(KEY)))
    # Read by another decoder, as a server that compares octets would.
    tbs = asn1_x509.Certificate.load(der)["tbs_certificate"]
    info = asn1_csr.CertificationRequest.load(csr.der)["certification_request_info"]
    assert info["subject"].dump() == tbs["subject"].dump()
    told = [found for found in tbs["extensions"] or () if found["extn_id"].dotted == SAN]
    assert csr.subject_alt_name_der == (told[0]["extn_value"].contents if told else None)
    if (extension := csr.extension(SAN)) is not None:
        assert extension.critical is critical
    assert check_renewal(csr, current, LIMITS) is False


@pytest.mark.req("EST-163")
def test_a_rekeying_repeats_the_names_with_another_key() -> None:
    current, key = pki().server.certificate, new_key()
    csr = signed(renewal_request_info(current=current, key=spki(key)), key)
    assert check_renewal(csr, current, LIMITS) is True


# What is asked for and cannot be


ALPHA, BETA = x509.DNSName("a.example"), x509.DNSName("b.example")


def test_own_names_are_critical_only_where_the_server_says_so() -> None:
    own = asked_of(None, ALPHA).extension(SAN)
    assert own is not None
    assert not own.critical
    value = x509.SubjectAlternativeName([BETA]).public_bytes()
    for critical in (False, True):
        wanted = Extension(oid=SAN, critical=critical, value=value)
        told = asked_of(CsrAttrs(items=(extension_request([wanted]),)), ALPHA).extension(SAN)
        assert told is not None
        assert told.critical is critical


def test_a_request_beyond_the_limits_is_the_callers_mistake() -> None:
    current = x509.load_der_x509_certificate(certificate(DEVICE, [ALPHA, BETA], False))
    few = Limits(names=1)
    for given in (None, CsrAttrs(items=())):
        with pytest.raises(LocalProtocolError):
            request_info(
                subject=DEVICE, key=spki(KEY), names=[ALPHA, BETA], csrattrs=given, limits=few
            )
        with pytest.raises(LocalProtocolError):
            renewal_request_info(current=current, key=spki(KEY), csrattrs=given, limits=few)


def test_a_renewal_does_not_take_over_other_names_that_it_is_told() -> None:
    current = x509.load_der_x509_certificate(certificate(DEVICE, [ALPHA], False))
    value = x509.SubjectAlternativeName([BETA]).public_bytes()
    told = CsrAttrs(items=(extension_request([Extension(oid=SAN, value=value)]),))
    csr = signed(renewal_request_info(current=current, key=spki(KEY), csrattrs=told))
    assert names_in(csr) == [ALPHA]


def test_csr_attributes_no_renewal_can_hold_are_the_servers_mistake() -> None:
    current = pki().client.certificate
    mac = Attribute(type="1.3.6.1.1.1.1.22", values=(b"\x16\x02aa",))
    unreadable = Extension(oid=EKU, value=b"garbage")
    told = CsrAttrs(items=(extension_request([unreadable]),), received=True)
    with pytest.raises(RemoteProtocolError) as caught:
        renewal_request_info(current=current, key=spki(KEY), csrattrs=told)
    assert caught.value.code == "csrattrs/unusable"
    with pytest.raises(LocalProtocolError):
        renewal_request_info(current=current, key=b"no key", csrattrs=told)
    usable = renewal_request_info(current=current, key=spki(KEY), csrattrs=CsrAttrs(items=(mac,)))
    assert signed(usable).attributes == (mac,)


# What is the client's own, and what is not met

MAC = Attribute(type="1.3.6.1.1.1.1.22", values=(b"\x16\x0500:1b",))
USAGE = Extension(oid=KEY_USAGE, value=b"\x03\x02\x07\x80")


@pytest.mark.req("EST-247")
def test_an_attribute_that_is_listed_bare_is_met_by_one_of_ones_own() -> None:
    listed = CsrAttrs(items=(ObjectId(oid=MAC.type), ObjectId(oid="2.5.29.15")))
    bare = request_info(subject=DEVICE, key=spki(KEY), csrattrs=listed)
    assert [(each.demand, each.flaw, each.oid) for each in unmet_by(bare, listed)] == [
        (Demand.ATTRIBUTE, Flaw.MISSING, MAC.type),
        (Demand.EXTENSION, Flaw.MISSING, KEY_USAGE),
    ]
    made = request_info(
        subject=DEVICE, key=spki(KEY), csrattrs=listed, attributes=[MAC], extensions=[USAGE]
    )
    assert unmet_by(made, listed) == ()
    csr = signed(made)
    assert csr.attribute(MAC.type) == (MAC,)
    assert csr.extension(KEY_USAGE) == USAGE
    assert unmet_by(csr, listed) == ()


def test_ones_own_take_the_place_of_what_is_told_and_stay_critical() -> None:
    told = CsrAttrs(
        items=(
            Attribute(type=MAC.type, values=(b"\x16\x01x",)),
            extension_request([Extension(oid=KEY_USAGE, critical=True, value=b"\x03\x02\x05\xa0")]),
        )
    )
    own = {"attributes": [MAC], "extensions": [USAGE]}
    made = request_info(subject=DEVICE, key=spki(KEY), csrattrs=told, **own)  # type: ignore[arg-type]
    current = pki().client.certificate
    again = renewal_request_info(current=current, key=spki(KEY), csrattrs=told, **own)  # type: ignore[arg-type]
    for csr in (signed(made), signed(again)):
        assert csr.attribute(MAC.type) == (MAC,)
        assert csr.extension(KEY_USAGE) == Extension(
            oid=KEY_USAGE, critical=True, value=USAGE.value
        )
    assert [(each.demand, each.flaw) for each in unmet_by(again, told, renewal=True)] == [
        (Demand.EXTENSION, Flaw.WRONG),
        (Demand.ATTRIBUTE, Flaw.WRONG),
    ]


def test_a_gap_that_a_template_makes_critical_stays_critical_with_ones_own_value() -> None:
    template = CertRequestInfoTemplate(
        extensions=(ExtensionTemplate(oid=KEY_USAGE, critical=True),)
    )
    told = CsrAttrs(items=(template.attribute(),))
    made = request_info(subject=DEVICE, key=spki(KEY), csrattrs=told, extensions=[USAGE])
    found = signed(made).extension(KEY_USAGE)
    assert found is not None
    assert found.critical
    assert unmet_by(made, told) == ()


@pytest.mark.req("EST-267")
def test_a_gap_without_a_safe_value_is_left_and_told() -> None:
    template = CertRequestInfoTemplate(extensions=(ExtensionTemplate(oid="2.5.29.32"),))
    told = CsrAttrs(items=(template.attribute(),))
    made = request_info(subject=DEVICE, key=spki(KEY), csrattrs=told)
    assert [each.oid for each in unmet_by(made, told)] == ["2.5.29.32"]
    constraints = usual_extension(ExtensionTemplate(oid="2.5.29.19", critical=True))
    assert constraints == Extension(oid="2.5.29.19", critical=True, value=b"\x30\0")


def test_the_signature_that_is_to_come_is_judged_too() -> None:
    listed = CsrAttrs(items=(ObjectId(oid="1.2.840.10045.4.3.3"),))
    made = request_info(subject=DEVICE, key=spki(KEY), csrattrs=listed)
    (unmet,) = unmet_by(made, listed)
    assert unmet.demand is Demand.SIGNATURE
    facts = public_key_facts(spki(KEY), LIMITS)
    assert unmet_by(made, listed, algorithm=wanted_algorithm(listed, facts)) == ()


@pytest.mark.parametrize(
    "own",
    [
        {"attributes": [Attribute(type=CHALLENGE_PASSWORD, values=(b"\x13\x01a",))]},
        {"attributes": [Attribute(type="1.2.840.113549.1.9.16.2.56", values=(b"\x13\x01a",))]},
        {"attributes": [extension_request([USAGE])]},
        {"attributes": [MAC, MAC]},
        {"attributes": [Attribute(type="1.2.3", values=(b"zz",))]},
        {"extensions": [USAGE, USAGE]},
        {"extensions": [Extension(oid=SAN, value=b"\x30\x03\x82\x01a")]},
    ],
)
def test_what_cannot_be_ones_own_is_the_callers_fault(own: dict[str, list[object]]) -> None:
    listed = CsrAttrs(items=(MAC,))
    for asked in (None, listed):
        with pytest.raises(LocalProtocolError):
            request_info(subject=DEVICE, key=spki(KEY), csrattrs=asked, **own)  # type: ignore[arg-type]
        with pytest.raises(LocalProtocolError):
            renewal_request_info(
                current=pki().client.certificate,
                key=spki(KEY),
                csrattrs=asked,
                **own,  # type: ignore[arg-type]
            )


@pytest.mark.req("EST-241", "EST-247", "EST-265", "EST-275")
@pytest.mark.parametrize(
    "name, key, lacking",
    [
        ("rfc9908/s5.1-acp-san.der", None, []),
        ("rfc9908/s5.2-rfc7030-corrected.der", "EC P-384", ["macAddress"]),
        # as published the octets of 5.6: nothing of the names that its text speaks of
        (
            "rfc9908/s5.3-san-AS-PUBLISHED-MALFORMED.der",
            "EC P-521",
            ["friendlyName", "favouriteDrink", "serialNumber"],
        ),
        ("rfc9908/DERIVED-s5.3-as-described.der", "EC P-521", []),
        ("rfc9908/s5.4-rsa4096.der", "RSA 4096", []),
        ("rfc9908/s5.5-p384.der", "EC P-384", ["serialNumber"]),
        (
            "rfc9908/s5.6-p521-attrs.der",
            "EC P-521",
            ["friendlyName", "favouriteDrink", "serialNumber"],
        ),
        ("rfc9908/DERIVED-s3.4-template-csrattrs.der", "EC P-256", []),
        ("rfc9908/DERIVED-s4-coexistence.der", "EC P-256", []),
        ("rfc9908/DERIVED-minimal-template-csrattrs.der", None, []),
        # malformed, and met by any extension: which one is wanted nobody knows
        ("rfc7030/s452-csrattrs-example.der", "EC P-384", []),
        ("csrattrs-repo-history/potato-8d088eb-BROKEN.der", "EC P-384", []),
        ("rfc9908/DERIVED-NEG-extreq-bare-extension-no-sequence-of.der", None, []),
        (
            "rfc7030/a2-csrattrs-response.der",
            None,
            ["2.999.1", "2.999.2", "macAddress", "1.3.36.3.3.2.8.1.1.11", "2.16.840.1.101.3.4.2.2"],
        ),
    ],
)
def test_the_published_examples_are_followed_and_what_is_left_is_told(
    name: str, key: str | None, lacking: list[str]
) -> None:
    told = parse_csrattrs(vector(name), LIMITS)
    wanted = wanted_key(told)
    assert (None if wanted is None else wanted.text) == key
    own = keys_of(key)
    spki_of = own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    names = (x509.IPAddress(ipaddress.ip_address("192.0.2.1")),)
    made = request_info(subject=DEVICE, key=spki_of, names=names, csrattrs=told)
    algorithm = wanted_algorithm(told, public_key_facts(spki_of, LIMITS))
    unmet = unmet_by(made, told, algorithm=algorithm)
    assert [each.text.split(" ", 1)[1] for each in unmet] == lacking


@cache
def keys_of(kind: str | None) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    match kind:
        case "EC P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "EC P-521":
            return ec.generate_private_key(ec.SECP521R1())
        case "RSA 4096":
            return rsa.generate_private_key(65537, 4096)
        case _:
            return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "name, code",
    [
        ("DERIVED-NEG-two-extensionreq", "csrattrs/duplicate-extension-request"),
        ("DERIVED-NEG-template-both-ext-attrs", "csrattrs/template"),
    ],
)
def test_examples_that_nobody_can_follow_are_refused(name: str, code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        csrattrs(name)
    assert caught.value.code == code
