"""Which manufacturer's anchor verified a client, over TLS and DTLS."""

from __future__ import annotations

from typing import Final

import pytest
from cryptography import x509

from est_core import LocalProtocolError
from est_core.channel import Channel, TlsVersion, TrustClass
from est_transports.pki.trust import ManufacturerAnchors, TrustAnchors
from tests.odd_certificates import unreadable
from tests.pki import Authority, Entity, Subject, pki
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server, dtls_connected
from tests.transports.tls_pair import V12, V13, a_client, a_server, connected

ONE: Final = Authority("Maker One Root")
TWO: Final = Authority("Maker Two Root")
LINE: Final = Authority("Maker One Product Line", ONE)
WIRES: Final = (V12, V13, TlsVersion.DTLS_1_2)


def maker(name: str, *authorities: Authority) -> ManufacturerAnchors:
    anchors = tuple(authority.certificate for authority in authorities)
    return ManufacturerAnchors(name=name, anchors=anchors)


def trusting(*makers: ManufacturerAnchors, implicit: tuple[Authority, ...] = ()) -> TrustAnchors:
    return TrustAnchors(
        explicit=(pki().ca.certificate,),
        implicit=tuple(each.certificate for each in implicit),
        manufacturers=makers,
    )


def seen(entity: Entity, trust: TrustAnchors, version: TlsVersion = V13) -> Channel:
    """Return what the server knows of a client."""
    if version.is_datagram:
        server = a_dtls_server(trust=trust)
        return dtls_connected(a_dtls_client(entity), server).server.channel()
    return connected(a_client(entity, version=version), a_server(trust=trust)).server.channel()


@pytest.mark.req("EST-068", "EST-088", "COAPS-018")
@pytest.mark.parametrize("version", WIRES)
def test_a_client_is_of_the_manufacturer_whose_anchor_verified_it(version: TlsVersion) -> None:
    trust = trusting(maker("one", ONE), maker("two", TWO))
    for authority, name in ((ONE, "one"), (TWO, "two"), (LINE, "one")):
        channel = seen(authority.issue(Subject(name="SN-1")), trust, version)
        assert (channel.trust_class, channel.manufacturer) == (TrustClass.IMPLICIT, name)


def test_only_manufacturers_clients_are_of_a_manufacturer() -> None:
    trust = trusting(maker("one", ONE), implicit=(TWO,))
    for entity, trust_class in (
        (pki().client, TrustClass.EXPLICIT),
        (TWO.issue(Subject(name="SN-1")), TrustClass.IMPLICIT),
        (pki().rogue_client, TrustClass.FAILED),
        (Authority("Maker One Root").issue(Subject(name="SN-1")), TrustClass.FAILED),
    ):
        channel = seen(entity, trust)
        assert (channel.trust_class, channel.manufacturer) == (trust_class, "")


@pytest.mark.parametrize(
    ("line", "root"), [("one", "two"), ("one", ""), ("", "one")], ids=["both", "line", "root"]
)
def test_the_anchor_nearest_to_the_client_says_whose_it_is(line: str, root: str) -> None:
    makers = [maker(name, each) for name, each in ((line, LINE), (root, ONE)) if name]
    others = tuple(each for name, each in ((line, LINE), (root, ONE)) if not name)
    trust = trusting(*makers, implicit=others)
    below = LINE.issue(Subject(name="SN-1"))
    for sent in (below, below.with_chain(ONE.certificate)):
        assert seen(sent, trust).manufacturer == line
    assert seen(ONE.issue(Subject(name="SN-1")), trust).manufacturer == root


def test_a_renewed_certificate_of_the_same_anchor_is_that_anchor() -> None:
    renewed = Authority("Maker One Root", key=ONE.key)
    with pytest.raises(LocalProtocolError, match="CN=Maker One Root is an anchor of"):
        trusting(maker("one", ONE), maker("two", renewed))
    trust = trusting(maker("one", renewed))
    assert seen(ONE.issue(Subject(name="SN-1")), trust).manufacturer == "one"


@pytest.mark.req("EST-088")
def test_an_anchor_is_of_one_manufacturer_alone() -> None:
    with pytest.raises(LocalProtocolError, match="of manufacturer two and of manufacturer one"):
        trusting(maker("one", ONE), maker("two", ONE))
    with pytest.raises(LocalProtocolError, match="manufacturer one and of the other implicit"):
        trusting(maker("one", ONE), implicit=(ONE,))
    with pytest.raises(LocalProtocolError, match="manufacturer one and of the explicit"):
        trusting(maker("one", pki().ca))
    with pytest.raises(LocalProtocolError, match="two manufacturers have one name"):
        trusting(maker("one", ONE), maker("one", TWO))
    with pytest.raises(LocalProtocolError, match="has no trust anchor"):
        maker("one")
    with pytest.raises(LocalProtocolError, match="no name of a manufacturer"):
        maker("a/b", ONE)


def test_an_anchor_that_cannot_be_read_trusts_nobody() -> None:
    odd = x509.load_der_x509_certificate(unreadable(TWO.certificate, TWO)["RDN without a part"])
    for makers in (
        (ManufacturerAnchors(name="one", anchors=(ONE.certificate, odd)),),
        (maker("one", ONE), ManufacturerAnchors(name="two", anchors=(odd,))),
    ):
        trust = trusting(*makers)
        assert seen(ONE.issue(Subject(name="SN-1")), trust).manufacturer == "one"
        assert seen(TWO.issue(Subject(name="SN-1")), trust).trust_class is TrustClass.FAILED
