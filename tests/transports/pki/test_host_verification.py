"""Names of a server: read here where all are plain, as service_identity reads them otherwise."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from est_core import RemoteProtocolError
from est_core.channel import TrustClass
from est_core.checks.identity import check_server
from est_transports.pki.host_verification import ip_literal, names_host
from tests.core.cast import server_channel
from tests.pki import CMC_RA, Subject, new_key, pki, self_signed
from tests.reached import reached, reaches

KEY = new_key()
PLAIN = ["est.example", "EST.Example", "a.est.example", "xn--bcher-kva.example", "localhost"]
ODD = ["*.example", "*.est.example", "*.*.example", "e*.example", "1.2.3.4", "123", "a_b.example",
       "est.example.", " est.example", "est..example", ""]  # fmt: skip
ADDRESSES = ["127.0.0.1", "1.2.3.4", "::1", "fe80::1"]
HOSTS = [*PLAIN, *ADDRESSES, "b.est.example", "est.example.", "[::1]", "fe80::1%eth0", "123",
         "a_b.example", "*.example", "\N{KELVIN SIGN}.example", "k.example", ""]  # fmt: skip
OTHERS: list[x509.GeneralName] = [
    x509.UniformResourceIdentifier("https://est.example"),
    x509.UniformResourceIdentifier("odd"),
    x509.RFC822Name("est@est.example"),
    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7"), b"\x16\x10_est.est.example"),
]

names = st.one_of(
    st.sampled_from([*PLAIN, *PLAIN, "k.example"]).map(x509.DNSName),
    st.sampled_from(ODD).map(x509.DNSName),
    st.sampled_from(ADDRESSES).map(lambda text: x509.IPAddress(ipaddress.ip_address(text))),
    st.sampled_from(OTHERS),
)


@st.composite
def named_and_asked(draw: st.DrawFn) -> tuple[list[x509.GeneralName], str]:
    """Return the names in a certificate, and a host: one of them, or any other."""
    found = draw(st.lists(names, max_size=3))
    own = [str(each.value) for each in found if isinstance(each, x509.DNSName | x509.IPAddress)]
    return found, draw(st.sampled_from(own or HOSTS) | st.sampled_from(HOSTS))


def certificate_of(*names: x509.GeneralName) -> x509.Certificate:
    extra = (x509.SubjectAlternativeName(names),) if names else ()
    return self_signed(Subject(name="est.example", key=KEY, extra=extra)).certificate


def by_service_identity(certificate: x509.Certificate, host: str) -> bool:
    try:
        if address := ip_literal(host):
            verify_certificate_ip_address(certificate, address)
        else:
            verify_certificate_hostname(certificate, host.rstrip("."))
    except (VerificationError, CertificateError, ValueError):
        return False
    return True


@pytest.mark.req("EST-085", "EST-086")
@reaches(named=10, plain=10, other=10)
@given(case=named_and_asked())
def test_a_certificate_names_the_hosts_that_service_identity_finds(
    case: tuple[list[x509.GeneralName], str],
) -> None:
    found, host = case
    certificate = certificate_of(*found)
    named = names_host(certificate, host)
    assert named is by_service_identity(certificate, host)
    if named:
        reached("named")
    plain = all(each.value in PLAIN or isinstance(each, x509.IPAddress) for each in found)
    reached("plain" if plain else "other")


HOST_RULES: list[tuple[tuple[str, ...], str, bool]] = [
    # names in subjectAltName; the host asked for; whether it is named
    (("est.example",), "est.example", True),
    (("est.example",), "EST.EXAMPLE", True),
    (("EST.example",), "est.example", True),
    (("est.example",), "est.example.", True),  # the root of the DNS, written
    (("est.example",), "a.est.example", False),
    (("a.est.example",), "est.example", False),
    (("other.example", "est.example"), "est.example", True),
    ((), "est.example", False),  # the common name says so, and does not count
    # Wildcards: the whole left-most label, and one label.
    (("*.est.example",), "a.est.example", True),
    (("*.est.example",), "A.EST.EXAMPLE.", True),
    (("*.est.example",), "est.example", False),
    (("*.est.example",), "b.a.est.example", False),
    (("*.est.example",), "xn--bcher-kva.est.example", False),  # stricter than RFC 6125 6.4.3
    (("a*.est.example",), "ab.est.example", False),
    (("*a.est.example",), "ba.est.example", False),
    (("a.*.example",), "a.est.example", False),
    (("*",), "localhost", False),
    (("*.*.example",), "a.est.example", False),
    (("a.est.example",), "*.est.example", False),
    # Names in other scripts, as A-labels on both sides.
    (("xn--bcher-kva.example",), "xn--bcher-kva.example", True),
    (("xn--bcher-kva.example",), "XN--BCHER-KVA.example", True),
    (("xn--bcher-kva.example",), "bcher.example", False),
    (("xn--*.example",), "xn--bcher-kva.example", False),
    # Addresses match addresses, written in any way, and no names.
    (("ip:10.0.0.1",), "10.0.0.1", True),
    (("ip:10.0.0.1",), "10.0.0.2", False),
    (("10.0.0.1",), "10.0.0.1", False),
    (("*.0.0.1",), "10.0.0.1", False),
    (("ip:::1",), "::1", True),
    (("ip:::1",), "[::1]", True),
    (("ip:::1",), "[0:0:0:0:0:0:0:1]", True),
    (("ip:fe80::1",), "fe80::1%eth0", True),
    (("ip:::1",), "[::2]", False),
    (("ip:10.0.0.1",), "::ffff:10.0.0.1", False),
    (("ip:10.0.0.1",), "est.example", False),
    # Other kinds of names are none of a host, and do not hide one.
    (("uri:https://est.example",), "est.example", False),
    (("email:est@est.example",), "est.example", False),
    (("uri:https://est.example", "est.example"), "est.example", True),
]


@pytest.mark.req("EST-083", "EST-084", "EST-085", "EST-086")
@pytest.mark.parametrize(("names_there", "host", "named"), HOST_RULES)
def test_which_hosts_a_certificate_names(
    names_there: tuple[str, ...], host: str, named: bool
) -> None:
    """RFC 6125 6.4, RFC 9525; of the common name, est.example, nothing comes."""
    certificate = certificate_of(*map(a_name, names_there))
    assert names_host(certificate, host) is named
    for trust in (TrustClass.EXPLICIT, TrustClass.IMPLICIT):
        on = server_channel(trust=trust, name_matches=named, server=pki().server)
        if named:
            check_server(on)
        else:
            with pytest.raises(RemoteProtocolError, match="host"):
                check_server(on)


def a_name(text: str) -> x509.GeneralName:
    kind, _, rest = text.partition(":")
    match kind:
        case "ip":
            return x509.IPAddress(ipaddress.ip_address(rest))
        case "uri":
            return x509.UniformResourceIdentifier(rest)
        case "email":
            return x509.RFC822Name(rest)
    return x509.DNSName(text)


@pytest.mark.req("EST-083", "EST-084")
def test_id_kp_cmc_ra_replaces_the_name_under_explicit_anchors_alone() -> None:
    ra = pki().ca.issue(Subject(name="ra", dns=("other.example",), eku=(CMC_RA,)))
    check_server(server_channel(trust=TrustClass.EXPLICIT, name_matches=False, server=ra))
    for trust in (TrustClass.IMPLICIT, TrustClass.FAILED):
        with pytest.raises(RemoteProtocolError):
            check_server(server_channel(trust=trust, name_matches=False, server=ra))


@pytest.mark.req("EST-085")
@pytest.mark.parametrize("odd", ["*.*.example", "1.2.3.4", "123"])
def test_a_name_that_is_none_spoils_all_others(odd: str) -> None:
    names = x509.DNSName("est.example"), x509.DNSName(odd)
    assert names_host(certificate_of(names[0]), "est.example")
    assert not names_host(certificate_of(*names), "est.example")
