"""Clients whose certificate cannot be read, at the servers: what they are told, and the log."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from est_core import Channel
from est_core.wires.coapmap import Code
from est_transports.channel.dtls_records import datagrams
from est_transports.channel.tls import TlsEngine
from est_transports.coap.client_wire import ClientConnection, ResponseReceived
from est_transports.coap.limits import CoapLimits
from est_transports.drive.observe import request_fields
from est_transports.drive.open_request import Finished
from tests.odd_certificates import unreadable
from tests.pki import pki
from tests.transports.coap_site import SEN, Site, csr_of
from tests.transports.http.test_server import BASIC, CSR, Driver
from tests.transports.https_site import enroll_request
from tests.transports.odd_peers import odd_peer, shake_hands
from tests.transports.tls_pair import a_server

WRONG = list(unreadable(pki().client.certificate, pki().ca))
ADDRESS = ("192.0.2.1", 40001)


def odd(wrong: str) -> bytes:
    """Return the usual client's certificate, and what is wrong with it."""
    return unreadable(pki().client.certificate, pki().ca)[wrong]


def channel(wrong: str) -> Channel:
    """Return what a server has of a TLS client with that certificate."""
    chain = (odd(wrong), pki().ca.certificate.public_bytes(Encoding.DER))
    peer = odd_peer(SSL.TLS_CLIENT_METHOD, pki().client.key, chain)
    return shake_hands(TlsEngine(a_server()), peer).channel()


@pytest.mark.parametrize("wrong", WRONG)
def test_over_https_it_may_log_in_and_is_asked_to_otherwise(wrong: str) -> None:
    logged_in = Driver(channel=channel(wrong))
    logged_in.run(enroll_request(CSR, BASIC))
    assert logged_in.statuses == [200]
    assert logged_in.log.records[0].identity.certificate is None
    asked = Driver(channel=channel(wrong))
    asked.run(enroll_request(CSR, b"X: y"))
    assert asked.statuses == [401]
    reason = str(request_fields(asked.log.records[0])["reason"])
    assert any(word in reason for word in ("read", "twice", "validity")), reason


@pytest.mark.parametrize("wrong", WRONG)
def test_over_coaps_it_is_refused_as_one_that_is_not_trusted(wrong: str) -> None:
    site = Site()
    peer = odd_peer(SSL.DTLS_CLIENT_METHOD, pki().client.key, (odd(wrong),))
    peer.set_ciphertext_mtu(1200)
    for _ in range(8):
        with suppress(SSL.WantReadError):
            peer.do_handshake()
        carry(site, peer)
    connection = ClientConnection(limits=CoapLimits(), entropy=site.chance.randbytes)
    connection.send_request(SEN, csr_of(), site.now.mono)
    for datagram in connection.outgoing():
        peer.send(datagram)
    carry(site, peer)
    connection.receive(peer.recv(2000), site.now.mono)
    answer = connection.next_event()
    assert isinstance(answer, ResponseReceived)
    assert answer.head.code == Code.FORBIDDEN
    while (step := site.endpoint.next_step()) is not None:
        assert isinstance(step, Finished)
        site.log(step.record)
    assert site.log.codes == [(403, "auth/certificate-not-accepted")]


def carry(site: Site, peer: SSL.Connection) -> None:
    """Carry what both have to say to the other one."""
    with suppress(SSL.WantReadError):
        for datagram in datagrams(peer.bio_read(1 << 16), 1200):
            site.endpoint.receive(datagram, ADDRESS, site.now)
    for _, datagram in site.endpoint.outgoing():
        peer.bio_write(datagram)
        with suppress(SSL.WantReadError):
            peer.do_handshake()
