"""What a CA can never issue is refused before it is signed; what it issues, openssl accepts."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from est_core import CertRequest, LocalProtocolError
from est_transports.authority.ca import CAUnavailable, Enrollment, ReferenceCA, Refused
from est_transports.authority.issuer_limits import IssuerLimits
from est_transports.authority.new_ca import new_tls_identity
from est_transports.authority.profile_additions import CertificatePolicy, ProfileAdditions
from est_transports.authority.profiles import CertificatePlan, PlannedExtension, Profile, SanKind
from est_transports.pki.signers import LocalSigner
from tests.conftest import PeerFinder
from tests.programs import run
from tests.transports.ca_fakes import (
    NOW,
    MemoryStore,
    alt_names,
    counting_entropy,
    dns,
    ec_key,
    key_usage,
    name,
    request,
)

ENROLL = Enrollment(operation="simpleenroll")
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
DAY = timedelta(days=1)
GENEROUS = Profile(
    name="generous",
    san_kinds=frozenset(SanKind),
    other_name_types=("1.2.3.4",),
    extended_key_usage=(CLIENT.dotted_string, SERVER.dotted_string),
)
CLIENTS = Profile(name="clients")
STAPLED = Profile(
    name="stapled",
    additions=ProfileAdditions(
        policies=(CertificatePolicy(oid="1.2.3"),),
        ocsp_urls=("http://pki.example/ocsp",),
        must_staple=True,
    ),
)


def ca_certificate(
    common_name: str,
    issuer: str | None = None,
    *,
    constraints: x509.ExtensionType | None = None,
    purposes: Iterable[x509.ObjectIdentifier] = (),
    other: x509.ExtensionType | None = None,
    days: int = 3650,
    now: datetime = NOW,
) -> x509.Certificate:
    """Return the certificate of a CA; each name has its key."""
    key = ec_key(common_name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(name(issuer or common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                ec_key(issuer or common_name).public_key()
            ),
            critical=False,
        )
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if other is not None:
        builder = builder.add_extension(other, critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(ec_key(issuer or common_name), hashes.SHA256())


def permitting(*names: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(names, None)


def excluding(*names: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(None, names)


def ca_of(*path: x509.Certificate, profiles: Sequence[Profile] = (GENEROUS,)) -> ReferenceCA:
    (common_name,) = path[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return ReferenceCA(
        certificate=path[0],
        chain=path[1:],
        signer=LocalSigner(ec_key(str(common_name.value))),
        store=MemoryStore(),
        profiles={profile.name: profile for profile in profiles},
        default_profile=profiles[0].name,
        entropy=counting_entropy(),
    )


def below(
    limit: x509.NameConstraints | None, purposes: Sequence[x509.ObjectIdentifier] = ()
) -> tuple[ReferenceCA, ReferenceCA]:
    """Return two CAs: the first has the limit in its issuing certificate, the other is a root."""
    free, limited = (
        ca_certificate("Root"),
        ca_certificate("Root", constraints=limit, purposes=purposes),
    )
    issuing = ca_certificate("Issuing", "Root", constraints=limit, purposes=purposes)
    return ca_of(issuing, free), ca_of(limited)


def refusal(ca: ReferenceCA, *names: x509.GeneralName, subject: x509.Name | None = None) -> Refused:
    csr = request(*([alt_names(*names)] if names else []), subject=subject or name("device"))
    with pytest.raises(Refused) as caught:
        ca.issue(csr, ENROLL, now=NOW)
    assert isinstance(ca.store, MemoryStore)
    assert not ca.store.records
    return caught.value


def issues(ca: ReferenceCA, csr: CertRequest) -> None:
    """Fail unless the CA certifies the request."""
    certificate = ca.issue(csr, ENROLL, now=NOW)
    certificate.verify_directly_issued_by(ca.certificate)


DNS, URI = x509.DNSName, x509.UniformResourceIdentifier
MAIL = x509.RFC822Name._init_without_validation
EXAMPLE = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
        x509.NameAttribute(NameOID.COMMON_NAME, "x"),
    ]
)


def network(text: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_network(text))


def address(text: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(text))


def directory(subject: x509.Name) -> x509.GeneralName:
    return x509.DirectoryName(subject)


@pytest.mark.parametrize(
    "limit, allowed, refused",
    [
        (permitting(DNS("example.com")), DNS("a.example.com"), DNS("bad.test")),
        (permitting(DNS(".example.com")), DNS("a.example.com"), DNS("example.com")),
        (excluding(DNS("bad.test")), DNS("a.test"), DNS("a.bad.test")),
        (excluding(DNS("")), address("192.0.2.1"), DNS("a.test")),
        (permitting(network("192.0.2.0/24")), address("192.0.2.1"), address("198.51.100.1")),
        (permitting(network("192.0.2.0/24")), DNS("a.test"), address("2001:db8::1")),
        (excluding(network("::/0")), address("192.0.2.1"), address("2001:db8::1")),
        (permitting(MAIL("example.com")), MAIL("a@EXAMPLE.com"), MAIL("a@b.example.com")),
        (permitting(MAIL(".example.com")), MAIL("a@b.example.com"), MAIL("a@example.com")),
        (permitting(MAIL("a@example.com")), MAIL("a@example.com"), MAIL("A@example.com")),
        (excluding(MAIL("bad.test")), MAIL("a@b.bad.test"), MAIL("a@bad.test")),
        (
            permitting(URI(".example.com")),
            URI("https://a.example.com:8443/x"),
            URI("https://example.com/"),
        ),
        (permitting(URI("a.test")), URI("https://a.test"), URI("urn:uuid:1")),
        (excluding(URI("a.test")), URI("https://b.test/"), URI("https://192.0.2.1/")),
        (excluding(URI("a.test")), URI("https://b.test/"), URI("https://u@b.test/")),
        (
            excluding(directory(EXAMPLE)),
            directory(name("x", oid=NameOID.ORGANIZATION_NAME)),
            directory(EXAMPLE),
        ),
        (
            excluding(x509.RegisteredID(x509.ObjectIdentifier("1.2"))),
            DNS("a.test"),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
        ),
        (
            permitting(x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x01a")),
            DNS("a.test"),
            x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x0c\x01a"),
        ),
    ],
)
def test_a_name_outside_of_the_name_constraints_is_refused_and_the_limit_named(
    limit: x509.NameConstraints, allowed: x509.GeneralName, refused: x509.GeneralName
) -> None:
    for ca, whose in zip(below(limit), ("CN=Issuing", "CN=Root"), strict=True):
        why = refusal(ca, refused)
        assert (why.code, why.content) == ("issuer/name-constraints", True)
        assert f"by the name constraints of {whose}" in why.text
        issues(ca, request(alt_names(allowed)))


@pytest.mark.parametrize(
    "limit, allowed, refused",
    [
        (permitting(DNS("example.com")), name("device"), name("bad.test")),
        (permitting(DNS("example.com")), name("a.example.com"), name("-", "a.bad_test.com")),
        (permitting(directory(EXAMPLE)), EXAMPLE, name("device")),
        (
            permitting(directory(name("EXAMPLE ", oid=NameOID.ORGANIZATION_NAME))),
            EXAMPLE,
            x509.Name([*EXAMPLE.rdns[::-1]]),
        ),
        (
            permitting(MAIL("example.com")),
            name("a@example.com", oid=NameOID.EMAIL_ADDRESS),
            name("a@bad.test", oid=NameOID.EMAIL_ADDRESS),
        ),
        (
            permitting(DNS("example.com")),
            name("a@example.com", oid=NameOID.EMAIL_ADDRESS),
            x509.Name(
                [
                    x509.NameAttribute(
                        NameOID.EMAIL_ADDRESS, "a@example.com", _type=_ASN1Type.UTF8String
                    )
                ]
            ),
        ),
    ],
    ids=["one label", "CN", "subject", "order", "emailAddress", "UTF8String"],
)
def test_the_subject_and_what_stands_in_it_is_constrained_too(
    limit: x509.NameConstraints, allowed: x509.Name, refused: x509.Name
) -> None:
    for ca in below(limit):
        assert refusal(ca, subject=refused).code == "issuer/name-constraints"
        issues(ca, request(subject=allowed))


def test_the_limits_of_the_root_hold_below_an_issuing_ca_without_any() -> None:
    root = ca_certificate("Root", constraints=permitting(DNS("example.com")), purposes=[CLIENT])
    ca = ca_of(ca_certificate("Issuing", "Root"), root, profiles=[CLIENTS])
    assert "by the name constraints of CN=Root" in refusal(ca, DNS("bad.test")).text
    ca = ca_of(ca_certificate("Issuing", "Root"), root)
    purposes = request(x509.ExtendedKeyUsage([SERVER]))
    with pytest.raises(Refused, match="not among those of CN=Root"):
        ca.issue(purposes, ENROLL, now=NOW)


def test_a_common_name_is_no_host_beside_a_dns_name() -> None:
    issuing, _ = below(permitting(DNS("example.com")))
    csr = request(dns("a.example.com"), subject=name("bad.test"))
    issues(issuing, csr)


@pytest.mark.parametrize("allowed", [[CLIENT], [CLIENT, ExtendedKeyUsageOID.EMAIL_PROTECTION]])
def test_a_purpose_that_a_ca_above_does_not_have_is_refused(
    allowed: list[x509.ObjectIdentifier],
) -> None:
    server = request(x509.ExtendedKeyUsage([SERVER]))
    client = request(x509.ExtendedKeyUsage([CLIENT]))
    for ca, whose in zip(below(None, allowed), ("CN=Issuing", "CN=Root"), strict=True):
        with pytest.raises(Refused, match=f"{SERVER.dotted_string} is not among .* {whose}") as why:
            ca.issue(server, ENROLL, now=NOW)
        assert why.value.code == "issuer/extended-key-usage"
        issues(ca, client)
        with pytest.raises(Refused):
            new_tls_identity(ca, ["a.test"], ec_key("tls").public_key(), now=NOW)


def test_any_purpose_and_none_told_are_every_purpose() -> None:
    for purposes in ([], [ANY], [ANY, CLIENT]):
        for ca in below(None, purposes):
            issues(ca, request(x509.ExtendedKeyUsage([SERVER])))


def raw_constraints(value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.30"), value)


def test_a_subtree_with_a_minimum_cannot_be_judged_and_forbids_only_its_own_kind() -> None:
    value = bytes.fromhex("300aa0083006820161800101")
    ca = ca_of(ca_certificate("Root", constraints=raw_constraints(value)))
    assert "cannot be judged by the constraint DNS:a" in refusal(ca, DNS("b.a")).text
    issues(ca, request(alt_names(address("192.0.2.1"))))


@pytest.mark.parametrize(
    "value",
    ["", "3000", "0500", "3002a000", "300400000000", "3004a0023000", "3009a007300582016180"],
)
def test_constraints_that_cannot_be_read_make_no_ca(value: str) -> None:
    certificate = ca_certificate("Root", constraints=raw_constraints(bytes.fromhex(value)))
    with pytest.raises(LocalProtocolError, match="CN=Root: the nameConstraints"):
        ca_of(certificate)


def test_other_extensions_that_cannot_be_read_make_no_ca() -> None:
    # An x400Address: read here, but not by the library, which has to read the rest.
    certificate = ca_certificate(
        "Root", constraints=raw_constraints(bytes.fromhex("3006a0043002a300"))
    )
    with pytest.raises(LocalProtocolError, match="CN=Root: an extension cannot be read"):
        ca_of(certificate)


def test_a_ca_outside_of_the_constraints_above_it_issues_nothing() -> None:
    root = ca_certificate("Root", constraints=permitting(directory(EXAMPLE)))
    ca = ca_of(ca_certificate("Issuing", "Root"), root, profiles=[CLIENTS])
    why = refusal(ca, subject=EXAMPLE)
    assert why.code == "issuer/name-constraints"
    assert "the certificate of CN=Issuing" in why.text
    assert any("can never issue anything" in line for line in ca.never_issued())


def test_a_ca_outside_of_the_constraints_of_any_ca_above_issues_nothing() -> None:
    middle = ca_certificate("Middle", "Root", constraints=permitting(directory(EXAMPLE)))
    ca = ca_of(ca_certificate("Issuing", "Middle"), middle, ca_certificate("Root"))
    why = refusal(ca, subject=EXAMPLE).text
    assert why.startswith("the certificate of CN=Issuing: ")
    assert why.endswith("by the name constraints of CN=Middle")


def test_a_self_issued_certificate_of_a_ca_needs_not_be_within_the_constraints_above() -> None:
    """As those of a key rollover are. RFC 5280 6.1.3 (b)."""
    old = ca_certificate("Root", constraints=permitting(directory(EXAMPLE)))
    ca = ca_of(ca_certificate("Root"), old, profiles=[CLIENTS])
    issues(ca, request(subject=EXAMPLE))


def test_a_host_in_the_name_of_a_ca_counts_in_its_alternative_names_only() -> None:
    root = ca_certificate("Root", constraints=permitting(DNS("example.com")))
    csr = request(dns("a.example.com"))
    issues(ca_of(ca_certificate("bad.test", "Root"), root), csr)
    for text, broken in (("ca.example.com", False), ("bad.test", True)):
        ca = ca_of(ca_certificate("Issuing", "Root", other=dns(text)), root)
        if broken:
            why = refusal(ca, DNS("a.example.com")).text
            assert why.startswith("the certificate of CN=Issuing: 'DNS:bad.test'")
        else:
            issues(ca, csr)


def test_a_path_is_valid_from_the_first_to_the_last_second_of_all_of_it() -> None:
    minute = timedelta(minutes=1)
    root = ca_certificate("Root", days=30, now=NOW + DAY - minute)
    ca = ca_of(ca_certificate("Issuing", "Root"), root)
    assert ca.issue(request(), ENROLL, now=NOW).not_valid_before_utc == NOW - minute
    begin, end = root.not_valid_before_utc, root.not_valid_after_utc
    second = timedelta(seconds=1)
    assert ca.outdated(begin) == ca.outdated(end) == ""
    assert "not valid before" in ca.outdated(begin - second)
    assert "CN=Root expired" in ca.outdated(end + second)


def test_a_plan_without_purposes_is_within_all_of_them() -> None:
    issuing, _ = below(permitting(DNS("example.com")), [CLIENT])
    plan = CertificatePlan(
        subject=name("a.example.com"),
        public_key=ec_key().public_key(),
        extensions=(),
        validity=timedelta(days=1),
    )
    assert issuing.issue_plan(plan, ENROLL, now=NOW).subject == plan.subject


def test_nothing_is_valid_longer_than_the_shortest_certificate_above() -> None:
    ca = ca_of(ca_certificate("Issuing", "Root"), ca_certificate("Root", days=30))
    certificate = ca.issue(request(), ENROLL, now=NOW)
    assert certificate.not_valid_after_utc == NOW + 30 * DAY
    with pytest.raises(CAUnavailable, match="the certificate of CN=Root expired"):
        ca.issue(request(), ENROLL, now=NOW + 31 * DAY)
    with pytest.raises(CAUnavailable, match="the certificate of CN=Issuing is not valid before"):
        ca.issue(request(), ENROLL, now=NOW - 2 * DAY)


def test_what_a_ca_can_never_issue_is_told_by_profile() -> None:
    issuing, _ = below(permitting(DNS("example.com"), network("192.0.2.0/24")), [CLIENT])
    assert issuing.never_issued() == (
        f"profile generous can never issue purpose {SERVER.dotted_string}: not among those of "
        "CN=Issuing",
        "profile generous can never issue dns names outside of DNS:example.com "
        "(name constraints of CN=Issuing)",
        "profile generous can never issue ip names outside of IP:192.0.2.0/24 "
        "(name constraints of CN=Issuing)",
    )
    servers = ca_of(ca_certificate("Root", purposes=[SERVER]), profiles=[CLIENTS])
    assert servers.never_issued() == (
        "profile clients can never issue anything: CN=Root has none of its purposes",
    )
    some = ca_of(
        ca_certificate("Root", constraints=excluding(directory(EXAMPLE), URI("a.test"))),
        profiles=[CLIENTS],
    )
    assert some.never_issued() == (
        "profile clients can never issue subjects in dirName:CN=x,O=Example "
        "(name constraints of CN=Root)",
        "profile clients can never issue uri names in URI:a.test (name constraints of CN=Root)",
    )
    assert ca_of(ca_certificate("Root")).never_issued() == ()
    assert ca_of(ca_certificate("Root", purposes=[ANY])).never_issued() == (
        f"profile generous can never issue purpose {CLIENT.dotted_string}, {SERVER.dotted_string} "
        "for OpenSSL: CN=Root has it by anyExtendedKeyUsage",
    )
    both = ca_of(ca_certificate("Root", purposes=[ANY, CLIENT, SERVER]))
    assert both.never_issued() == ()


def policies_after(count: int) -> x509.PolicyConstraints:
    return x509.PolicyConstraints(require_explicit_policy=count, inhibit_policy_mapping=None)


@pytest.mark.parametrize(
    "at_the_root, count, told",
    [(False, 0, True), (False, 1, True), (False, 2, False), (True, 2, True), (True, 3, False)],
)
def test_policies_that_a_ca_demands_are_told(at_the_root: bool, count: int, told: bool) -> None:
    demand = policies_after(count)
    issuing = ca_certificate("Issuing", "Root", other=None if at_the_root else demand)
    root = ca_certificate("Root", other=demand if at_the_root else None)
    whose = "Root" if at_the_root else "Issuing"
    line = (
        "profile clients can never issue certificate policies (policyConstraints), without which "
        f"not everybody verifies what is below CN={whose}"
    )
    assert ca_of(issuing, root, profiles=[CLIENTS]).never_issued() == (line,) * told


def test_tls_features_that_a_ca_demands_are_told() -> None:
    demand = x509.TLSFeature([x509.TLSFeatureType.status_request])
    (line,) = ca_of(ca_certificate("Root", other=demand), profiles=[CLIENTS]).never_issued()
    assert line.startswith("profile clients can never issue TLS features (tlsFeature), without")
    others = x509.TLSFeature([x509.TLSFeatureType.status_request_v2])
    (line,) = ca_of(ca_certificate("Root", other=others), profiles=[STAPLED]).never_issued()
    assert line.startswith("profile stapled can never issue TLS features beside that of OCSP")


def test_demands_that_the_certificates_of_a_profile_meet_are_not_told() -> None:
    demand = x509.TLSFeature([x509.TLSFeatureType.status_request])
    assert ca_of(ca_certificate("Root", other=demand), profiles=[STAPLED]).never_issued() == ()
    root = ca_certificate("Root", other=policies_after(0))
    assert ca_of(root, profiles=[STAPLED]).never_issued() == ()
    for policy, told in (("1.2.3", False), ("2.5.29.32.0", False), ("1.2.4", True)):
        policies = x509.CertificatePolicies(
            [x509.PolicyInformation(x509.ObjectIdentifier(policy), None)]
        )
        issuing = ca_certificate("Issuing", "Root", other=policies)
        assert bool(ca_of(issuing, root, profiles=[STAPLED]).never_issued()) is told


# --- OpenSSL's opinion -----------------------------------------------------------------------

BASES = {
    "dns": ["example.com", ".example.com", "a.example.com", "test", "com", "EXAMPLE.com", ""],
    "email": ["example.com", ".example.com", "u@example.com", "bad.test", ".test"],
    "uri": ["a.example.com", ".example.com", "bad.test", ".test"],
    "ip": ["192.0.2.0/24", "192.0.2.1/32", "0.0.0.0/0", "2001:db8::/32", "::/0"],
    "dir": ["Example", "EXAMPLE  ", "Other"],
}
NAMES = {
    "dns": ["example.com", "a.example.com", "b.A.example.com", "xexample.com", "bad.test", "a.org"],
    "email": ["u@example.com", "U@example.com", "v@a.example.com", "v@bad.test", "v@A.bad.TEST"],
    "uri": [
        "https://a.example.com/x",
        "coaps://a.EXAMPLE.com:5684/",
        "https://b.a.example.com",
        "https://bad.test/?q",
        "https://u@a.example.com/",
        "https://192.0.2.1/",
        "urn:uuid:f81d4fae",
    ],
    "ip": ["192.0.2.1", "192.0.2.9", "198.51.100.7", "2001:db8::1", "2001:db9::1"],
    "dir": ["Example", "example", "Other", "Third"],
}
KINDS = (_ASN1Type.UTF8String, _ASN1Type.PrintableString, _ASN1Type.BMPString)


@dataclass
class Fuzz:
    """Paths and plans of chance, the same in every run."""

    chance: random.Random = field(default_factory=lambda: random.Random(5280))

    def general_name(self, kind: str, text: str) -> x509.GeneralName:
        match kind:
            case "dns":
                return DNS(text)
            case "email":
                return MAIL(text)
            case "uri":
                return URI(text)
            case "ip":
                return network(text) if "/" in text else address(text)
            case _:
                return directory(self.subject(text))

    def subject(self, organization: str, *more: x509.NameAttribute[str]) -> x509.Name:
        kind = self.chance.choice(KINDS)
        first = x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization, _type=kind)
        return x509.Name([first, *more])

    def subtrees(self) -> list[x509.GeneralName] | None:
        kinds = self.chance.sample(sorted(BASES), self.chance.randint(0, 2))
        trees = [
            self.general_name(kind, text)
            for kind in kinds
            for text in self.chance.sample(BASES[kind], self.chance.randint(1, 2))
        ]
        return trees or None

    def constraints(self) -> x509.NameConstraints | None:
        permitted, excluded = (
            self.subtrees(),
            self.subtrees() if self.chance.random() < 0.4 else None,
        )
        return x509.NameConstraints(permitted, excluded) if permitted or excluded else None

    def path(self, number: int) -> tuple[x509.Certificate, ...]:
        purposes = [[], [], [CLIENT], [CLIENT, SERVER]]
        root = f"Root {number}"
        limits = [
            (self.constraints() if self.chance.random() < 0.7 else None, purpose)
            for purpose in self.chance.choices(purposes, k=2)
        ]
        issuing, above = limits
        return (
            ca_certificate(f"Issuing {number}", root, constraints=issuing[0], purposes=issuing[1]),
            ca_certificate(root, constraints=above[0], purposes=above[1]),
        )

    def plan(self) -> CertificatePlan:
        more = []
        if self.chance.random() < 0.4:
            text = self.chance.choice([*NAMES["dns"], "device", "device 7"])
            more.append(x509.NameAttribute(NameOID.COMMON_NAME, text))
        if self.chance.random() < 0.2:
            text = self.chance.choice(NAMES["email"])
            more.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, text))
        kinds = self.chance.sample(sorted(NAMES), self.chance.randint(0, 2))
        names = [self.general_name(kind, self.chance.choice(NAMES[kind])) for kind in kinds]
        purposes = self.chance.choice([[CLIENT], [CLIENT], [CLIENT, SERVER]])
        extensions = [
            PlannedExtension(value=x509.BasicConstraints(ca=False, path_length=None)),
            PlannedExtension(value=x509.ExtendedKeyUsage(purposes)),
            *([PlannedExtension(value=alt_names(*names))] if names else []),
        ]
        return CertificatePlan(
            subject=self.subject(self.chance.choice(NAMES["dir"]), *more),
            public_key=ec_key().public_key(),
            extensions=tuple(extensions),
            validity=timedelta(days=30),
        )


def signed(plan: CertificatePlan, issuer: x509.Certificate, number: int) -> x509.Certificate:
    """Return the certificate, whatever the limits of the issuer."""
    (common_name,) = issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    builder = (
        x509.CertificateBuilder()
        .subject_name(plan.subject)
        .issuer_name(issuer.subject)
        .public_key(plan.public_key)
        .serial_number(number + 1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 30 * DAY)
    )
    for item in plan.extensions:
        builder = builder.add_extension(item.value, item.critical)
    return builder.sign(ec_key(str(common_name.value)), hashes.SHA256())


def purposes_of(plan: CertificatePlan) -> list[str]:
    found = [
        item.value for item in plan.extensions if isinstance(item.value, x509.ExtendedKeyUsage)
    ]
    return ["sslserver"] * (SERVER in found[0]) + ["sslclient"] * (CLIENT in found[0])


def test_what_is_issued_openssl_accepts_and_what_is_refused_it_does_not(
    peer: PeerFinder, tmp_path: Path
) -> None:
    openssl, fuzz = peer("openssl"), Fuzz()
    counted: Counter[tuple[bool, bool]] = Counter()
    for number in range(60):
        path = fuzz.path(number)
        limits = IssuerLimits.of(path)
        for file, certificate in zip(("issuing.pem", "root.pem"), path, strict=True):
            (tmp_path / file).write_bytes(certificate.public_bytes(Encoding.PEM))
        plans = [fuzz.plan() for _ in range(12)]
        for at, plan in enumerate(plans):
            certificate = signed(plan, path[0], at)
            (tmp_path / f"{at}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        wanted = {at: purposes_of(plan) for at, plan in enumerate(plans)}
        good = {
            purpose: verified(
                openssl, tmp_path, purpose, [at for at in wanted if purpose in wanted[at]]
            )
            for purpose in ("sslserver", "sslclient")
        }
        for at, plan in enumerate(plans):
            try:
                limits.check(plan)
            except Refused:
                ours = False
            else:
                ours = True
            theirs = all(at in good[purpose] for purpose in wanted[at])
            counted[ours, theirs] += 1
            assert theirs or not ours, (number, at, plan)
            if theirs and not ours:
                # Stricter than OpenSSL only where RFC 5280 is: a URI is of a host, not an address.
                assert "URI" in str(plan) or "Uniform" in str(plan), (number, at, plan)
    assert counted[True, True] > 150
    assert counted[False, False] > 150
    assert counted[False, True] < 20


def verified(openssl: str, directory: Path, purpose: str, numbers: list[int]) -> set[int]:
    """Return which of these certificates openssl accepts, all told by one process."""
    if not numbers:
        return set()
    moment = str(int(NOW.timestamp()))
    command = ("verify", "-attime", moment, "-purpose", purpose, "-CAfile", "root.pem")
    files = [f"{number}.pem" for number in numbers]
    ended = run(openssl, *command, "-untrusted", "issuing.pem", *files, directory=directory)
    said = ended.out.decode().splitlines()
    good = {number for number in numbers if f"{number}.pem: OK" in said}
    assert (ended.code == 0) == (len(good) == len(numbers)), ended
    return good
