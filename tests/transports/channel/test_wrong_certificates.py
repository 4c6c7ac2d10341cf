"""A certificate that is wrong in one thing: each end says which, over TLS and DTLS."""

from __future__ import annotations

from typing import Final

import pytest

from est_core.channel import Channel, TrustClass
from est_transports.channel.tls import TlsError
from est_transports.pki.revocation import Revocation
from est_transports.pki.trust import TrustAnchors
from tests.pki import CLIENT_AUTH, SERVER_AUTH, Entity, Subject, pki
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server, dtls_connected
from tests.transports.tls_pair import V12, V13, a_client, a_server, connected
from tests.wrong_certificates import WRONG

DEVICE: Final = Subject(name="device-1", eku=(CLIENT_AUTH,))
SERVER: Final = Subject(name="est.example", dns=("est.example",), eku=(SERVER_AUTH,))
_VERSIONS: Final = {"TLS 1.2": V12, "TLS 1.3": V13}
both_wires = pytest.mark.parametrize("wire", ["TLS 1.2", "TLS 1.3", "DTLS"])


def trust(*revoked: Entity) -> TrustAnchors:
    """Return the EST CA as the only anchor, and perhaps its list of who is revoked."""
    crls = (pki().ca.crl(*(each.certificate for each in revoked)),) if revoked else ()
    return TrustAnchors(explicit=(pki().ca.certificate,), revocation=Revocation(crls=crls))


def seen_by_server(wire: str, entity: Entity, *revoked: Entity) -> Channel:
    """Return what a server says of a client."""
    if wire == "DTLS":
        client = a_dtls_client(entity)
        return dtls_connected(client, a_dtls_server(trust=trust(*revoked))).server.channel()
    tls = a_client(entity, version=_VERSIONS[wire])
    return connected(tls, a_server(trust=trust(*revoked))).server.channel()


def refused_by_client(wire: str, entity: Entity, *revoked: Entity) -> TlsError:
    """Return why a client does not talk to a server."""
    try:
        if wire == "DTLS":
            client = a_dtls_client(trust=trust(*revoked))
            dtls_connected(client, a_dtls_server(entity=entity))
        else:
            tls = a_client(trust=trust(*revoked), version=_VERSIONS[wire])
            connected(tls, a_server(entities=(entity,)))
    except TlsError as exc:
        return exc
    raise AssertionError("it talks to it")


@both_wires
@pytest.mark.parametrize("kind", list(WRONG))
@pytest.mark.req("EST-061", "COAPS-031")
def test_a_server_says_what_is_wrong_with_a_clients_certificate(kind: str, wire: str) -> None:
    channel = seen_by_server(wire, WRONG[kind].make(pki().ca, DEVICE))
    assert channel.trust_class is TrustClass.FAILED
    assert WRONG[kind].said in channel.failure


@both_wires
@pytest.mark.parametrize("kind", list(WRONG))
@pytest.mark.req("EST-060", "EST-061", "COAPS-031")
def test_a_client_says_what_is_wrong_with_a_servers_certificate(kind: str, wire: str) -> None:
    failure = refused_by_client(wire, WRONG[kind].make(pki().ca, SERVER))
    if kind == "not for signatures" and wire != "TLS 1.3":
        assert failure.code == "tls/handshake"  # OpenSSL has nothing to show then
        return
    assert failure.code == "tls/untrusted-server"
    assert WRONG[kind].said in failure.message


@both_wires
@pytest.mark.req("EST-061", "COAPS-031")
def test_both_say_that_a_certificate_is_revoked(wire: str) -> None:
    device, server = pki().ca.issue(DEVICE), pki().ca.issue(SERVER)
    channel = seen_by_server(wire, device, device)
    assert (channel.trust_class, channel.failure) == (TrustClass.FAILED, "revoked")
    assert seen_by_server(wire, device, server).trust_class is TrustClass.EXPLICIT
    failure = refused_by_client(wire, server, server)
    assert failure.code == "tls/untrusted-server"
    assert failure.message.endswith(": revoked")
