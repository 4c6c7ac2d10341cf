"""A client asks for the renewal of what it has, under the names it has."""

from __future__ import annotations

import pytest
from cryptography import x509

from est_core import ClientSession, Enrolled, Limits, LocalProtocolError, TrustClass
from est_core.asn1.attributes import ChangeSubjectName, Extension, extension_request
from est_core.asn1.pkcs10 import CertRequestInfo, parse_cert_request
from tests.core.cast import csr_der, info
from tests.core.client_cast import URI, Network, own_key, pair, session
from tests.pki import common_name, pki

NAMES = x509.SubjectAlternativeName([x509.DNSName("other.example")]).public_bytes()
SAME = info(own_key(), "device-1")
OTHER_NAME = SAME.with_attribute(extension_request([Extension(oid="2.5.29.17", value=NAMES)]))


@pytest.mark.req("EST-156")
@pytest.mark.parametrize(
    "wanted",
    [info(own_key(), "device-2"), OTHER_NAME],
    ids=["another subject", "another name"],
)
def test_a_request_for_renewal_under_other_names_is_the_callers_mistake(
    wanted: CertRequestInfo,
) -> None:
    with pytest.raises(LocalProtocolError, match="no request for renewal"):
        session().reenroll(wanted)
    session().reenroll(SAME)


@pytest.mark.req("EST-157")
def test_other_names_may_be_asked_for_with_change_subject_name() -> None:
    change = ChangeSubjectName(subject=common_name("device-2")).attribute()
    session().reenroll(SAME.with_attribute(change))


def test_a_signed_request_for_renewal_is_held_to_the_names_too() -> None:

    foreign = parse_cert_request(csr_der(own_key(), name="device-2"), Limits())
    with pytest.raises(LocalProtocolError):
        session().reenroll(foreign)


@pytest.mark.req("EST-143", "EST-144")
def test_who_has_a_certificate_may_ask_for_another_under_other_names() -> None:
    change = ChangeSubjectName(subject=common_name("device-2")).attribute()
    holder = pki().manufacturer_client.certificate
    network = Network(client_trust=TrustClass.IMPLICIT)
    other = info(own_key(), "device-2")
    for wanted, subject in ((other, "device-2"), (SAME.with_attribute(change), "device-1")):
        server = pair(network)
        result = server.run(ClientSession(URI, identity=holder).enroll(wanted))
        assert isinstance(result, Enrolled)
        assert network.asked[-1].identity == holder
        csr = server.exchanges[-1].csr
        assert csr is not None
        assert csr.subject == common_name(subject)
        assert set(wanted.attributes) <= set(csr.attributes)
