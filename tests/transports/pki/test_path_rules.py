"""Names that pass OpenSSL below name constraints and are used as if they were excluded ones."""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import Final

import pytest
from cryptography import x509
from OpenSSL import SSL

from est_core.channel import TlsVersion, TrustClass
from est_core.checks.constraints import ConstrainedName, Subtree
from est_transports.channel.tls import TlsError
from est_transports.pki.path_rules import WITHOUT_POLICY, name_flaw, path_flaw, policy_flaw
from est_transports.pki.trust import TrustAnchors
from tests.odd_certificates import element, with_extension
from tests.pki import CLIENT_AUTH, SERVER_AUTH, Authority, Entity, Subject, pki
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server, dtls_connected
from tests.transports.raw_client import resumed
from tests.transports.tls_pair import V12, V13, a_client, a_server, connected

HOST: Final = "bar.example.com"
CA: Final = "CN=Constrained"
OPENSSL: Final = "name among the issuer's excluded names"
_VERSIONS: Final = {"TLS 1.2": V12, "TLS 1.3": V13}
both_wires = pytest.mark.parametrize("wire", ["TLS 1.2", "TLS 1.3", "DTLS"])


@cache
def constrained(*, permitted: str = "", excluded: str = "") -> Authority:
    """Return a CA below the EST CA, with constraints for DNS names."""
    constraints = x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(permitted)] if permitted else None,
        excluded_subtrees=[x509.DNSName(excluded)] if excluded else None,
    )
    return Authority("Constrained", pki().ca, extra=(constraints,))


def named(issuer: Authority, *names: x509.GeneralName) -> Entity:
    """Return what an issuer certifies for these names, for both purposes."""
    extra = (x509.SubjectAlternativeName(names),) if names else ()
    return issuer.issue(Subject(name="device-1", eku=(CLIENT_AUTH, SERVER_AUTH), extra=extra))


def mail(text: str) -> x509.RFC822Name:
    """Return an address that may be none."""
    return x509.RFC822Name._init_without_validation(text)


def trust() -> TrustAnchors:
    """Return the EST CA as the only anchor."""
    return TrustAnchors(explicit=(pki().ca.certificate,))


def seen_by_server(wire: str, entity: Entity) -> tuple[TrustClass, str]:
    """Return what a server says of a client."""
    if wire == "DTLS":
        two = dtls_connected(a_dtls_client(entity), a_dtls_server(trust=trust()))
        channel = two.server.channel()
    else:
        client = a_client(entity, version=_VERSIONS[wire])
        channel = connected(client, a_server(trust=trust())).server.channel()
    return channel.trust_class, channel.failure


def seen_by_client(wire: str, entity: Entity, host: str) -> str:
    """Return why a client does not take a server for `host`, or ""."""
    try:
        if wire == "DTLS":
            client = a_dtls_client(trust=trust(), server_name=host)
            channel = dtls_connected(client, a_dtls_server(entity=entity)).client.channel()
        else:
            tls = a_client(trust=trust(), server_name=host, version=_VERSIONS[wire])
            channel = connected(tls, a_server(entities=(entity,))).client.channel()
    except TlsError as exc:
        return exc.message.partition("not trusted: ")[2]
    return "" if channel.name_matches else "another host"


NOT_JUDGED: Final = "{} cannot be judged by the constraint DNS:bar.example.com"
STANDS_FOR: Final = "{} stands for a name that is excluded by DNS:bar.example.com"
EXCLUDED: Final = {
    "*.example.com": STANDS_FOR,
    "*.EXAMPLE.com": STANDS_FOR,
    f" {HOST}": NOT_JUDGED,
    f"{HOST} ": NOT_JUDGED,
    f"\t{HOST}": NOT_JUDGED,
    f"{HOST}.": NOT_JUDGED,
    f"{HOST}\0": NOT_JUDGED,
    f"{HOST}:8443": NOT_JUDGED,
    "b*.example.com": NOT_JUDGED,
    "*": NOT_JUDGED,
    "": NOT_JUDGED,
    HOST: OPENSSL,
    "Bar.Example.Com": OPENSSL,
    f"below.{HOST}": OPENSSL,
    f"*.{HOST}": OPENSSL,
}
"""Names below a CA that may certify all but one host, and what is said of each."""


def told(name: str) -> str:
    """Return what is said of one of these names."""
    text = EXCLUDED[name]
    quoted = ascii(f"DNS:{name}")
    return text if text == OPENSSL else f"{text.format(quoted)}, by the name constraints of {CA}"


@both_wires
@pytest.mark.parametrize("name", list(EXCLUDED))
@pytest.mark.req("EST-061")
def test_no_name_passes_that_is_used_as_an_excluded_one(name: str, wire: str) -> None:
    """CVE-2025-61727 in its two forms: a wildcard, and a name that is compared without a space."""
    entity = named(constrained(excluded=HOST), x509.DNSName("fine.example"), x509.DNSName(name))
    assert seen_by_client(wire, entity, HOST) == told(name)
    assert seen_by_server(wire, entity) == (TrustClass.FAILED, told(name))


@both_wires
@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("foo.example.com", "foo.example.com"),
        ("foo_1.example.com", "foo_1.example.com"),
        ("*.other.example", "www.other.example"),
        ("*.foo.example.com", "www.foo.example.com"),
    ],
)
def test_other_names_below_the_same_ca_are_taken(name: str, host: str, wire: str) -> None:
    entity = named(constrained(excluded=HOST), x509.DNSName(name))
    assert seen_by_client(wire, entity, host) == ""
    assert seen_by_server(wire, entity) == (TrustClass.EXPLICIT, "")


@both_wires
def test_wildcards_within_permitted_names_are_taken(wire: str) -> None:
    entity = named(constrained(permitted="example.com"), x509.DNSName("*.example.com"))
    assert seen_by_client(wire, entity, HOST) == ""
    assert seen_by_server(wire, entity) == (TrustClass.EXPLICIT, "")


@both_wires
def test_without_constraints_a_certificate_may_have_any_name(wire: str) -> None:
    """Such as a device's serial number; only constraints need names that can be compared."""
    entity = named(pki().ca, x509.DNSName("serial number 12"), mail("a@b@c"))
    assert seen_by_server(wire, entity) == (TrustClass.EXPLICIT, "")
    about_mail = x509.NameConstraints([x509.RFC822Name("example.com")], None)
    issuer = Authority("Mail", pki().ca, extra=(about_mail,))
    entity = named(issuer, x509.DNSName("serial number 12"))
    assert seen_by_server(wire, entity) == (TrustClass.EXPLICIT, "")


@both_wires
def test_a_certificate_without_names_is_taken_below_constraints(wire: str) -> None:
    assert seen_by_server(wire, named(constrained(excluded=HOST))) == (TrustClass.EXPLICIT, "")


@both_wires
def test_constraints_further_up_count(wire: str) -> None:
    below = Authority("Below", constrained(excluded=HOST))
    entity = named(below, x509.DNSName("*.example.com"))
    assert seen_by_client(wire, entity, HOST) == told("*.example.com")
    assert seen_by_server(wire, entity) == (TrustClass.FAILED, told("*.example.com"))


@both_wires
def test_constraints_of_an_anchor_count(wire: str) -> None:
    excluding = x509.NameConstraints(None, [x509.DNSName(HOST)])
    anchor = Authority("Constrained", extra=(excluding,))
    trusted = TrustAnchors(implicit=(anchor.certificate,))
    entity = named(anchor, x509.DNSName("*.example.com"))
    if wire == "DTLS":
        server = dtls_connected(a_dtls_client(entity), a_dtls_server(trust=trusted)).server
        channel = server.channel()
    else:
        client = a_client(entity, version=_VERSIONS[wire])
        channel = connected(client, a_server(trust=trusted)).server.channel()
    assert (channel.trust_class, channel.failure) == (TrustClass.FAILED, told("*.example.com"))


def test_every_kind_of_name_is_held_against_them() -> None:
    """What each kind comes to is tested with the rule itself."""
    excluding = x509.NameConstraints(None, [x509.RFC822Name("example.com")])
    issuer = Authority("Constrained", pki().ca, extra=(excluding,)).certificate
    below = named(pki().ca, mail("a@b@example.com")).certificate
    assert name_flaw((below, issuer)) == (
        "'email:a@b@example.com' cannot be judged by the constraint email:example.com, by the name "
        "constraints of CN=Constrained"
    )
    assert name_flaw((below, pki().ca.certificate)) == ""


def test_a_long_name_is_cut_and_what_does_not_print_is_seen() -> None:
    issuer = constrained(excluded=HOST).certificate
    below = named(pki().ca, x509.DNSName("\x1b[31m" + "x" * 5000)).certificate
    text = name_flaw((below, issuer))
    assert text.startswith("'DNS:\\x1b[31mxxx")
    assert len(text) < 200


def test_names_and_subtrees_by_the_hundred_are_not_all_held_against_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is work for a server that anybody with a certificate of that CA could give it."""
    held: list[ConstrainedName] = []
    holds = Subtree.holds

    def counted(tree: Subtree, name: ConstrainedName) -> bool | None:
        held.append(name)
        return holds(tree, name)

    monkeypatch.setattr(Subtree, "holds", counted)
    hosts = [x509.DNSName(f"{number}.example.com") for number in range(300)]
    issuer = Authority("Constrained", extra=(x509.NameConstraints(None, hosts),)).certificate
    names = [x509.DNSName(f"{number}.example") for number in range(300)]
    assert name_flaw((named(pki().ca, *names).certificate, issuer)) == ""
    assert held == []
    bad = named(pki().ca, *names, x509.DNSName("*.example.com")).certificate
    assert "'DNS:*.example.com' stands for a name" in name_flaw((bad, issuer))
    assert len(held) < 1000


def test_below_constraints_that_cannot_be_read_nothing_has_a_name() -> None:
    empty = bytes.fromhex("30090603551d1e04023000")  # nameConstraints without any
    der = with_extension(pki().intermediate.certificate, pki().ca, empty)
    issuer = x509.load_der_x509_certificate(der)
    assert name_flaw((pki().client.certificate, issuer)) == (
        "is kept out by what cannot be read, by the name constraints of CN=Test EST Issuing CA"
    )


def test_constraints_for_other_kinds_of_names_ask_nothing_of_these() -> None:
    network = x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))
    about_others = x509.NameConstraints([network], None)
    issuer = Authority("Constrained", pki().ca, extra=(about_others,)).certificate
    entity = named(pki().ca, x509.DNSName("no host name"))
    assert name_flaw((entity.certificate, issuer)) == ""


@pytest.mark.parametrize("version", [V12, V13])
def test_a_resumed_session_is_judged_by_the_same_rule(version: TlsVersion) -> None:
    entity = named(constrained(excluded=HOST), x509.DNSName("*.example.com"))
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION if version is V12 else SSL.TLS1_3_VERSION)
    context.use_certificate(entity.certificate)
    context.use_privatekey(entity.key)  # type: ignore[arg-type]  # P-256
    context.add_extra_chain_cert(entity.chain[1])
    channel = resumed(a_server(trust=trust(), resumption=True), context).engine.channel()
    assert channel.resumed
    assert (channel.trust_class, channel.failure) == (TrustClass.FAILED, told("*.example.com"))


# --- Certificate policies -----------------------------------------------------------------------

A_POLICY, ANOTHER = x509.ObjectIdentifier("1.3.6.1.4.1.55555.7"), x509.ObjectIdentifier("1.2.3.4")


def policies(*oids: x509.ObjectIdentifier) -> x509.CertificatePolicies:
    """Return the extension that has these policies."""
    return x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids])


def demanding(after: int = 0) -> Authority:
    """Return a CA that requires a policy, and has one, from so many certificates below it on."""
    required = x509.PolicyConstraints(require_explicit_policy=after, inhibit_policy_mapping=None)
    return Authority("Demanding", pki().ca, extra=(required, policies(A_POLICY)))


def both_purposes(*extra: x509.ExtensionType) -> Subject:
    """Return who may be a client, and a server of this host."""
    names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    return Subject(name="device-1", eku=(CLIENT_AUTH, SERVER_AUTH), extra=(names, *extra))


def check_judged(wire: str, entity: Entity, said: str) -> None:
    """Both ends say this of a certificate, "" if they take it."""
    trust_class = TrustClass.FAILED if said else TrustClass.EXPLICIT
    assert seen_by_server(wire, entity) == (trust_class, said)
    assert seen_by_client(wire, entity, HOST) == said


@both_wires
@pytest.mark.req("EST-061")
def test_a_policy_that_a_ca_requires_is_asked_for(wire: str) -> None:
    """RFC 5280 6.1.5. The extension is critical, and OpenSSL passes over it unless it is told."""
    for extra, said in (
        ((), WITHOUT_POLICY),
        ((policies(ANOTHER),), WITHOUT_POLICY),
        ((policies(A_POLICY),), ""),
        ((policies(A_POLICY, ANOTHER),), ""),
    ):
        check_judged(wire, demanding().issue(both_purposes(*extra)), said)


@both_wires
def test_a_policy_is_asked_for_from_where_the_ca_says(wire: str) -> None:
    for after, said in ((0, WITHOUT_POLICY), (1, WITHOUT_POLICY), (2, "")):
        check_judged(wire, demanding(after).issue(both_purposes()), said)
    for after, said in ((2, WITHOUT_POLICY), (3, "")):
        between = Authority("Below", demanding(after))
        check_judged(wire, between.issue(both_purposes()), said)


@both_wires
def test_of_an_anchor_no_policy_is_asked_for(wire: str) -> None:
    """RFC 5280 6.1.1 (d): it is a name and a key."""
    issuer = demanding()
    trusted = TrustAnchors(explicit=(issuer.certificate,))
    entity = issuer.issue(both_purposes())
    if wire == "DTLS":
        server = dtls_connected(a_dtls_client(entity), a_dtls_server(trust=trusted)).server
        assert server.channel().trust_class is TrustClass.EXPLICIT
    else:
        client = a_client(entity, version=_VERSIONS[wire])
        ends = connected(client, a_server(trust=trusted))
        assert ends.server.channel().trust_class is TrustClass.EXPLICIT


def test_other_constraints_on_policies_need_no_second_look() -> None:
    no_mapping = x509.PolicyConstraints(require_explicit_policy=None, inhibit_policy_mapping=0)
    issuer = Authority("Plain", pki().ca, extra=(no_mapping,))
    path = (issuer.issue(both_purposes()).certificate, issuer.certificate, pki().ca.certificate)
    assert policy_flaw(path) == ""
    assert path_flaw(path) == ""
    assert path_flaw(path[:1]) == ""  # a pinned certificate


def judged(
    *statements: tuple[x509.ExtensionType, ...], last: tuple[x509.ExtensionType, ...]
) -> str:
    """Return what is said of a path of CAs that state so much of policies, and of the last."""
    issuer = pki().ca
    path = [issuer.certificate]
    for number, extra in enumerate(statements):
        issuer = Authority(f"CA {number}", issuer, extra=extra)
        path.append(issuer.certificate)
    path.append(issuer.issue(both_purposes(*last)).certificate)
    return policy_flaw(tuple(reversed(path)))


def required(after: int | None, mapping: int | None = None) -> x509.PolicyConstraints:
    """Return the extension that requires a policy after so many certificates."""
    return x509.PolicyConstraints(after, mapping)


ANY_POLICY: Final = policies(x509.ObjectIdentifier("2.5.29.32.0"))
MAPPING: Final = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("2.5.29.33"),
    bytes.fromhex("3014301206") + bytes.fromhex("0a2b0601040183b2030706") + b"\x04\x2a\x03\x04\x05",
)
A, B = policies(A_POLICY), policies(ANOTHER)


def test_every_certificate_below_the_anchor_has_to_have_it() -> None:
    """RFC 5280 6.1.3 (d) and (e): one without ends it, and anyPolicy is as good as each."""
    assert judged((required(0), A), (A,), last=(A,)) == ""
    assert judged((required(0), A), (), last=(A,)) == WITHOUT_POLICY
    assert judged((A,), (required(0), B), last=(B,)) == WITHOUT_POLICY
    assert judged((required(0), ANY_POLICY), (A,), last=(A,)) == ""
    assert judged((required(0), A), (ANY_POLICY,), last=(A,)) == ""
    assert judged((required(0), A), (ANY_POLICY,), last=(B,)) == WITHOUT_POLICY
    assert judged((required(0), A), (A,), last=(ANY_POLICY,)) == ""
    assert judged((required(0),), (A,), last=(A,)) == WITHOUT_POLICY


def test_what_is_mapped_counts_for_any() -> None:
    assert judged((required(0), A, MAPPING), last=(B,)) == ""
    assert judged((required(0), A, MAPPING), last=()) == WITHOUT_POLICY
    assert judged((required(0), MAPPING), last=(B,)) == WITHOUT_POLICY


def test_the_strictest_ca_counts_and_so_does_the_last_certificate() -> None:
    assert judged((required(5),), (required(0),), last=()) == WITHOUT_POLICY
    assert judged((required(0),), (required(5),), last=()) == WITHOUT_POLICY
    assert judged((required(5),), last=(required(0),)) == WITHOUT_POLICY
    assert judged((required(5),), last=(required(3),)) == ""
    assert judged((required(None, 0),), last=()) == ""


def test_self_issued_certificates_do_not_count() -> None:
    """RFC 5280 6.1.4 (h): such as one by which a CA changes its key."""
    first = Authority("CA", pki().ca, extra=(required(2), A))
    second = Authority("CA", first)
    leaf = second.issue(both_purposes())
    path = (leaf.certificate, second.certificate, first.certificate, pki().ca.certificate)
    assert policy_flaw(path) == ""


def test_constraints_that_cannot_be_read_keep_everybody_out() -> None:
    bad = element(0x30, bytes.fromhex("0603551d1e"), element(4, b"\xff\xff"))
    ca = x509.load_der_x509_certificate(with_extension(pki().ca.certificate, pki().ca, bad))
    leaf = named(pki().ca, x509.DNSName(HOST)).certificate
    assert "cannot be read" in path_flaw((leaf, ca))
