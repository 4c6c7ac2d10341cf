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

from est_transports.pki.host_verification import ip_literal, names_host
from tests.pki import Subject, new_key, self_signed
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


@pytest.mark.req("EST-085")
@pytest.mark.parametrize("odd", ["*.*.example", "1.2.3.4", "123"])
def test_a_name_that_is_none_spoils_all_others(odd: str) -> None:
    names = x509.DNSName("est.example"), x509.DNSName(odd)
    assert names_host(certificate_of(names[0]), "est.example")
    assert not names_host(certificate_of(*names), "est.example")
