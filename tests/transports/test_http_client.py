"""A kept HTTPS connection: for which other requests it may serve, and for which not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from est_core import (
    OPERATIONS,
    ChannelBinding,
    CSRAttrsReceived,
    EstUri,
    Operation,
    RemoteProtocolError,
    Request,
    TlsVersion,
)
from est_core.testing import FIXED_INSTANT
from est_transports.errand import Connect
from est_transports.http_client import HttpLink
from est_transports.tls_context import ClientTlsConfig
from est_transports.trust import TrustAnchors
from tests.core.cast import BINDING, EXPORTER
from tests.core.client_cast import reached
from tests.pki import pki
from tests.transports.fake_application import client_config, identity_of
from tests.transports.tls_pair import anchors

NOW = FIXED_INSTANT
WANTED = Connect(
    uri=EstUri.parse("https://est.example:8443"),
    config=ClientTlsConfig(
        server_name="est.example", trust=anchors(), identity=identity_of(pki().client)
    ),
    idempotent=True,
)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def kept(version: TlsVersion = TlsVersion.TLS_1_3, status: bytes = b"204 No Content") -> HttpLink:
    """Return a connection that has answered a request for CSR attributes."""
    link = HttpLink(WANTED, replace(reached(), version=version, binding=None), client_config())
    link.send(Request(operation=Operation.CSRATTRS), WANTED.uri, NOW)
    assert link.outgoing()
    assert not link.fits(WANTED, NOW), "one answer is not there yet"
    link.receive(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n", NOW)
    assert link.answer(Operation.CSRATTRS, NOW) is not None
    return link


@pytest.mark.parametrize(
    "place",
    [
        "https://est.example:8444",
        "https://est.example",
        "https://other.example:8443",
        "https://127.0.0.1:8443",
        "coaps://est.example:8443",
    ],
)
@pytest.mark.req("EST-020")
def test_it_does_not_serve_another_origin(place: str) -> None:
    """The name in the certificate is that of the host, whatever the port: TLS does not tell."""
    link = kept()
    assert link.fits(WANTED, NOW)
    assert link.fits(replace(WANTED, uri=EstUri.parse("https://est.example:8443/tls")), NOW)
    assert not link.fits(replace(WANTED, uri=EstUri.parse(place)), NOW)


def test_it_does_not_serve_whoever_wants_another_identity_or_other_anchors() -> None:
    link = kept()
    for config in (
        replace(WANTED.config, identity=None),
        replace(WANTED.config, identity=identity_of(pki().manufacturer_client)),
        replace(WANTED.config, trust=TrustAnchors(explicit=(pki().ca.certificate,))),
        replace(WANTED.config, server_name="localhost"),
        replace(WANTED.config, provisional=True),
        replace(WANTED.config, tls_exporter=True),
        replace(WANTED.config, require_ems=False),
    ):
        assert not link.fits(replace(WANTED, config=config), NOW)


def test_it_does_not_serve_whoever_wants_an_older_version_of_tls() -> None:
    older = replace(WANTED, config=replace(WANTED.config, max_version=TlsVersion.TLS_1_2))
    newer = replace(WANTED, config=replace(WANTED.config, max_version=TlsVersion.TLS_1_3))
    assert not kept(TlsVersion.TLS_1_3).fits(older, NOW)
    assert kept(TlsVersion.TLS_1_2).fits(older, NOW)
    assert kept(TlsVersion.TLS_1_2).fits(newer, NOW)


@pytest.mark.req("CB-018")
@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("binding", [None, BINDING, EXPORTER], ids=["none", "unique", "exporter"])
def test_it_ends_with_the_request_that_tls_exporter_may_have_linked(
    operation: Operation, binding: ChannelBinding | None
) -> None:
    version = TlsVersion.TLS_1_2 if binding is BINDING else TlsVersion.TLS_1_3
    on = replace(reached(), version=version, binding=binding)
    link = HttpLink(WANTED, on, client_config())
    link.send(Request(operation=operation), WANTED.uri, NOW)
    link.receive(OK, NOW)
    with suppress(RemoteProtocolError):  # an empty answer
        link.answer(operation, NOW)
    used = binding is EXPORTER and OPERATIONS[operation].is_enrollment
    assert link.fits(WANTED, NOW) is not used
    assert link.may_stay(CSRAttrsReceived(csrattrs=None)) is not used


def test_it_does_not_serve_a_post_after_another_answer_than_200() -> None:
    post = replace(WANTED, idempotent=False)
    assert not kept().fits(post, NOW)
