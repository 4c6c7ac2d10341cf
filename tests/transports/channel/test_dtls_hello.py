"""What a DTLS client offers first, and what a server takes of that: suites, curves and keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from est_transports.channel.dtls import DtlsEngine, TlsError
from tests.pki import pki
from tests.transports.client_hello import client_hello
from tests.transports.dtls_pair import a_dtls_client, a_dtls_server, dtls_connected, dtls_pair

SERVER = a_dtls_server()
CLIENT = a_dtls_client()
MANDATORY = 0xC0AE  # TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8
ECDHE_ECDSA_WITH_AES_128 = {MANDATORY, 0xC0AC, 0xC02B}
RENEGOTIATION_INFO = 0x00FF  # no suite: RFC 5746 3.3
PSK_WITH_AES_128_CCM_8 = 0xC0A8
POINT_FORMATS = 11
SECP256R1 = 23
RAW_KEYS = {19, 20}
"""client_certificate_type and server_certificate_type: RFC 7250 3."""


@pytest.mark.req("COAPS-013", "COAPS-014", "COAPS-015", "COAPS-021", "COAPS-022")
def test_a_client_offers_certificates_and_no_raw_or_shared_keys() -> None:
    client = DtlsEngine(CLIENT)
    client.handshake()
    (first,) = client.outgoing()
    hello = client_hello(first)
    assert set(hello.suites) - {RENEGOTIATION_INFO} == ECDHE_ECDSA_WITH_AES_128
    assert not hello.extensions.keys() & RAW_KEYS
    assert SECP256R1 in hello.groups
    assert 0 in hello.extensions[POINT_FORMATS][1:], "uncompressed"


@pytest.mark.req("COAPS-014")
def test_a_client_that_knows_no_curve_but_secp256r1_is_served() -> None:
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_cipher_list(b"ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0")
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.set_tmp_ecdh(ec.SECP256R1())
    context.use_certificate(pki().client.certificate)
    context.use_privatekey(pki().client.key)  # type: ignore[arg-type]  # P-256
    CLIENT.rules.verifier.install(context)
    two = dtls_connected(replace(CLIENT, openssl=context), SERVER)
    assert two.server._connection.get_group_name() == "secp256r1"


@pytest.mark.req("COAPS-021")
def test_a_server_takes_no_client_that_has_a_shared_key_alone() -> None:
    two = dtls_pair(CLIENT, SERVER)

    def offer_psk(datagram: bytes) -> bytes:
        if datagram[0] != 22 or datagram[13] != 1:  # no ClientHello
            return datagram
        hello = client_hello(datagram)
        psk = PSK_WITH_AES_128_CCM_8.to_bytes(2, "big") * len(hello.suites)
        return datagram[: hello.suites_at] + psk + datagram[hello.suites_at + len(psk) :]

    two.through = offer_psk
    with pytest.raises(TlsError):
        two.shake_hands()
    with pytest.raises(TlsError) as caught:
        two.server.handshake()
    assert caught.value.code == "tls/no-shared-cipher"
