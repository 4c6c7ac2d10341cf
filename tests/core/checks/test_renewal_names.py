"""Alternative names of a renewal: any spelling of the same ones is taken, any other is refused."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from est_core import RemoteProtocolError
from est_core.asn1.attributes import Extension, extension_request
from est_core.asn1.pkcs10 import CertRequest, CertRequestInfo, parse_cert_request
from est_core.checks.renewal import check_renewal
from tests.core.asn1.build import SAN
from tests.core.cast import LIMITS, sign, spki
from tests.pki import HOUR_AGO, IN_TEN_YEARS, common_name, new_key, pki
from tests.reached import reached, reaches

KEY = new_key()
SUBJECT = common_name("gate")
LABELS = st.text("abcz09", min_size=1, max_size=4)
Name = tuple[str, str]

NAMES = st.one_of(
    st.tuples(st.just("dns"), st.lists(LABELS, min_size=1, max_size=3).map(".".join)),
    st.tuples(st.just("email"), st.tuples(LABELS, LABELS).map("@".join)),
    st.tuples(st.just("uri"), st.tuples(LABELS, LABELS).map("https://{0[0]}/{0[1]}".format)),
    st.tuples(st.just("ip"), st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"])),
    st.tuples(st.just("directory"), LABELS),
)


def made(name: Name) -> x509.GeneralName:
    kind, text = name
    match kind:
        case "dns":
            return x509.DNSName(text)
        case "email":
            return x509.RFC822Name(text)
        case "uri":
            return x509.UniformResourceIdentifier(text)
        case "ip":
            return x509.IPAddress(ipaddress.ip_address(text))
        case _:
            return x509.DirectoryName(common_name(text))


@st.composite
def spelled(draw: st.DrawFn, name: Name) -> x509.GeneralName:
    """The same name in another spelling that RFC 5280 7 takes for it."""
    kind, text = name
    upper = draw(st.booleans())
    if not upper or kind == "ip":
        return made(name)
    if kind == "email":
        local, _, domain = text.partition("@")
        return x509.RFC822Name(f"{local}@{domain.upper()}")
    if kind == "uri":
        _, _, host, path = text.split("/")
        return x509.UniformResourceIdentifier(f"HTTPS://{host.upper()}/{path}")
    return made((kind, text.upper()))


def current(names: list[x509.GeneralName], *, critical: bool) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(SUBJECT)
        .issuer_name(pki().ca.name)
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(HOUR_AGO)
        .not_valid_after(IN_TEN_YEARS)
        .add_extension(x509.SubjectAlternativeName(names), critical=critical)
    )
    return builder.sign(pki().ca.key, hashes.SHA256())


def asked(names: list[x509.GeneralName], *, critical: bool) -> CertRequest:
    value = x509.SubjectAlternativeName(names).public_bytes()
    extension = Extension(oid=SAN, critical=critical, value=value)
    wanted = CertRequestInfo(subject=SUBJECT, spki=spki(KEY))
    wanted = wanted.with_attribute(extension_request([extension]))
    return parse_cert_request(sign(wanted, KEY), LIMITS)


@reaches(critical_in_one=20, repeated=20)
@given(data=st.data(), names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
@pytest.mark.req("EST-156", "EST-159")
def test_the_same_names_are_taken_in_any_spelling_order_and_number(
    data: st.DataObject, names: list[Name]
) -> None:
    sides = []
    for _ in range(2):
        repeats = data.draw(st.lists(st.sampled_from(names), max_size=2))
        order = data.draw(st.permutations([*names, *repeats]))
        sides.append([data.draw(spelled(each)) for each in order])
        if repeats:
            reached("repeated")
    critical = data.draw(st.tuples(st.booleans(), st.booleans()))
    if critical[0] != critical[1]:
        reached("critical_in_one")
    csr = asked(sides[0], critical=critical[0])
    assert check_renewal(csr, current(sides[1], critical=critical[1]), LIMITS) is False


@reaches(less=10, more=10)
@given(
    data=st.data(),
    names=st.lists(NAMES, min_size=2, max_size=4, unique=True),
    other=NAMES,
)
@pytest.mark.req("EST-156", "EST-158", "EST-159")
def test_a_name_more_or_less_or_another_is_refused(
    data: st.DataObject, names: list[Name], other: Name
) -> None:
    less = data.draw(st.booleans())
    wanted = names[1:] if less else [*names[data.draw(st.integers(0, 1)) :], other]
    if set(wanted) == set(names):
        return
    reached("less" if less else "more")
    csr = asked([made(each) for each in wanted], critical=False)
    with pytest.raises(RemoteProtocolError) as caught:
        check_renewal(csr, current([made(each) for each in names], critical=False), LIMITS)
    assert caught.value.code == "renewal/subject-alt-name"
